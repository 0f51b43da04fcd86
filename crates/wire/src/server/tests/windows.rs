//! Clients over HTTP/2 that don't make room for their answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use tokio::time::timeout;

use super::*;

const WAIT: Duration = Duration::from_secs(30);

/// Answers `/endless` without an end and `/whole` with one large piece, and counts those answers that are under way; echoes the
/// rest.
#[derive(Clone, Default)]
struct Endless {
    echo: Echo,
    answers: Arc<AtomicUsize>,
}

impl Handler for Endless {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        let answer = || {
            self.answers.fetch_add(1, Ordering::SeqCst);
            Answer(vec![b'x'; LARGE], self.answers.clone())
        };
        match request.uri().path() {
            "/endless" => Response::new(ReplyBody::streamed(answer())),
            "/whole" => Response::new(Bytes::from_owner(answer()).into()),
            _ => self.echo.call(request, peer).await,
        }
    }
}

struct Answer(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 100_000])))))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Served {
    address: SocketAddr,
    answers: Arc<AtomicUsize>,
}

async fn endless(write_timeout: Duration) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = Endless::default();
    let answers = handler.answers.clone();
    let options = Options { write_timeout, ..Options::default() };
    tokio::spawn(serve(listener, handler, options, CancellationToken::new(), Duration::ZERO));
    Served { address, answers }
}

impl Served {
    /// Asks for something else until no answer is under way.
    async fn at_rest(&self, sender: &mut SendRequest<Full<Bytes>>) {
        let at_rest = async {
            while self.answers.load(Ordering::SeqCst) > 0 {
                assert_eq!(sender.send_request(get("/")).await.unwrap().status(), 200);
            }
        };
        timeout(WAIT, at_rest).await.expect("an answer is kept for ever");
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://mainstay{path}")).body(Full::default()).unwrap()
}

#[tokio::test]
async fn an_answer_that_its_client_makes_no_room_for_ends_and_no_other() {
    let served = endless(Duration::from_millis(200)).await;
    let (mut sender, _connection) = http2(served.address).await;
    for path in ["/endless", "/whole"] {
        let stalled = sender.send_request(get(path)).await.unwrap().into_body();
        served.at_rest(&mut sender).await;
        // Who reads now doesn't take what there is for the whole.
        body::read(stalled, usize::MAX).await.unwrap_err();
    }
    assert_eq!(sender.send_request(get("/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_answer_that_is_taken_in_slowly_goes_on() {
    let write_timeout = Duration::from_secs(2);
    let served = endless(write_timeout).await;
    let (mut sender, _connection) = http2(served.address).await;
    for path in ["/endless", "/whole"] {
        let mut slow = sender.send_request(get(path)).await.unwrap().into_body();
        let (started, mut taken) = (Instant::now(), 0);
        while taken < LARGE {
            let frame = timeout(WAIT, slow.frame()).await.unwrap();
            taken += frame.expect("it is shorter").expect("it was broken off").into_data().unwrap().len();
            if started.elapsed() < 2 * write_timeout {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        drop(slow);
        served.at_rest(&mut sender).await;
    }
}

#![allow(clippy::unwrap_used)]

mod differs;
mod early;
mod lifetime;
mod proxy;
mod smuggling;
mod stalls;
mod streams;
mod tls;
mod unix;
mod windows;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

use super::activity::{State, verdict};
use super::*;
use crate::body::{self, BodyError};
use crate::client::{self, Client};

const LIMIT: usize = 1000;
/// More than sockets hold.
const LARGE: usize = 64 << 20;

/// Echoes bodies up to the limit; some paths do something else.
#[derive(Clone, Default)]
struct Echo {
    release: Arc<Notify>,
    waiting: Arc<AtomicUsize>,
}

impl Handler for Echo {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        match request.uri().path() {
            "/panic" => panic!("on purpose"),
            "/peer" => return Response::new(peer.port().to_string().into()),
            "/large" => return Response::new(vec![b'x'; LARGE].into()),
            "/wait" => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.release.notified().await;
            }
            _ => {}
        }
        let (status, body) = match body::read(request.into_body(), LIMIT).await {
            Ok(body) => (StatusCode::OK, body),
            Err(BodyError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()),
            Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
        };
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        response
    }
}

struct Running {
    address: SocketAddr,
    echo: Echo,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

async fn start(options: Options, grace: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (echo, stop) = (Echo::default(), CancellationToken::new());
    let served = tokio::spawn(serve(listener, echo.clone(), options, stop.clone(), grace));
    Running { address, echo, stop, served }
}

async fn running() -> Running {
    start(Options::default(), Duration::from_secs(10)).await
}

impl Running {
    fn client(&self, path: &str) -> Client {
        let url = Url::parse(&format!("http://{}{path}", self.address)).unwrap();
        Client::new(&url, client::Options::default()).unwrap()
    }

    /// Waits until `n` handlers wait.
    async fn waiting(&self, n: usize) {
        while self.echo.waiting.load(Ordering::SeqCst) < n {
            tokio::task::yield_now().await;
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn post(client: &Client, body: &'static str) -> (u16, Bytes) {
    let reply = client.post(Bytes::from(body), None, soon()).await.unwrap();
    (reply.status.as_u16(), reply.body)
}

/// Sends bytes as they are and reads until the server closes.
async fn raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut reply));
    // A reset closes as well.
    let _ = closed.await.expect("the server keeps the connection open");
    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = running().await;
    let client = server.client("/peer");
    let (_, first) = post(&client, "").await;
    for _ in 0..5 {
        assert_eq!(post(&client, "").await, (200, first.clone()));
    }
}

#[tokio::test]
async fn many_connections_at_once() {
    let server = running().await;
    let calls = (0..200).map(|_| {
        let client = server.client("/");
        tokio::spawn(async move { post(&client, "hello").await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), (200, Bytes::from("hello")));
    }
}

#[tokio::test]
async fn more_connections_than_allowed_wait_their_turn() {
    let options = Options { max_connections: 2, ..Options::default() };
    let server = start(options, Duration::from_secs(10)).await;
    let calls = (0..20).map(|_| {
        let client = server.client("/");
        // The client goes with the call, and with it the connection.
        tokio::spawn(async move { post(&client, "hello").await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().0, 200);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = running().await;
    let request = |fields: &str| format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n");
    for (fields, status) in [
        ("a: b\r\n".repeat(98), 200),
        ("a: b\r\n".repeat(99), 431),
        (format!("a: {}\r\n", "b".repeat(65_000)), 200),
        (format!("a: {}\r\n", "b".repeat(66_000)), 431),
    ] {
        let reply = raw(server.address, &request(&fields)).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{} bytes: {reply}", fields.len());
        assert!(reply.contains("connection: close\r\n"), "{reply}");
        assert_eq!(reply.matches("HTTP/1.1").count(), 1, "{reply}");
    }
}

/// Something to send requests with over HTTP/2, and the connection that they go over.
async fn http2(address: SocketAddr) -> (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    (sender, tokio::spawn(connection))
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let server = running().await;
    let (mut sender, connection) = http2(server.address).await;
    for _ in 0..3 {
        let request = Request::post("http://mainstay/").body(Full::from("over h2c")).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(body::read(response.into_body(), LIMIT).await.unwrap(), "over h2c");
    }
    let request = Request::post("http://mainstay/panic").body(Full::from("")).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 500);
    let request = Request::post("http://mainstay/").body(Full::from("on")).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    server.stop.cancel();
    connection.await.unwrap().unwrap();
    server.served.await.unwrap();
}

#[tokio::test]
async fn a_body_too_large_is_refused() {
    let server = running().await;
    let announced = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", LIMIT + 1);
    assert!(raw(server.address, &announced).await.starts_with("HTTP/1.1 413"));
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let chunked =
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk.repeat(3));
    assert!(raw(server.address, &chunked).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = running().await;
    assert_eq!(post(&server.client("/panic"), "").await.0, 500);
    assert_eq!(post(&server.client("/"), "on").await, (200, Bytes::from("on")));
}

#[test]
fn when_a_connection_must_go() {
    let options = Options::default();
    let now = Instant::now() + Duration::from_secs(10_000);
    let ago = |seconds| now - Duration::from_secs(seconds);
    let state = State {
        in_flight: 0,
        head_since: None,
        idle_since: ago(0),
        write_blocked_since: None,
        is_http2: false,
        may_be_sending: false,
        is_stopping: false,
    };
    let goes = |state: State| verdict(&state, &options, now).is_some();
    assert!(!goes(State { idle_since: ago(599), ..state.clone() }), "idle for long");
    assert!(goes(State { idle_since: ago(600), ..state.clone() }), "idle for too long");
    assert!(!goes(State { head_since: Some(ago(9)), ..state.clone() }), "a slow head");
    assert!(goes(State { head_since: Some(ago(10)), ..state.clone() }), "half a head");
    let busy = State { in_flight: 1, idle_since: ago(900), ..state };
    assert!(!goes(busy.clone()), "a handler that takes its time");
    assert!(!goes(State { write_blocked_since: Some(ago(29)), ..busy.clone() }), "a slow reader");
    assert!(goes(State { write_blocked_since: Some(ago(30)), ..busy }), "a reader that stopped");
}

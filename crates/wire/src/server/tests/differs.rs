//! The same bytes to this server's HTTP/1 and to hyper's: whatever is taken here hyper takes too, and reads it the same way.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use proptest::prelude::*;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::either::Either;

use super::*;

/// What a handler was asked: line and fields, and the body if it came whole.
type Asked = (String, Option<Vec<u8>>);

#[derive(Clone, Default)]
struct Keeping(Arc<Mutex<Vec<Asked>>>);

impl Keeping {
    async fn keep<B: Body<Data = Bytes> + Unpin>(&self, request: http::Request<B>) -> Response {
        let (parts, mut body) = request.into_parts();
        let mut fields: Vec<_> = parts.headers.iter().map(|field| format!("{field:?}")).collect();
        fields.sort();
        let line = format!("{} {} {:?} {fields:?}", parts.method, parts.uri, parts.version);
        let mut whole = BytesMut::new();
        let mut is_whole = true;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => whole.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    is_whole = false;
                    break;
                }
            }
        }
        self.0.lock().unwrap().push((line, is_whole.then(|| whole.to_vec())));
        Response::new("ok".into())
    }
}

impl Handler for Keeping {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response {
        self.keep(request).await
    }
}

/// More than any body can be long here: a length has two digits, a chunk's size in between text at most four.
const BEYOND: usize = 0x1_0000;

/// Sends all of it, and what ends a connection wherever it stands: within a head, or behind any body. Hears what is answered.
async fn tell(stream: UnixStream, wire: &[u8]) -> String {
    let (mut from, mut to) = stream.into_split();
    let end = [&[0; 200][..], b"\r\n\r\n", &[0; BEYOND], b"\r\n\r\n"].concat();
    let mut replies = Vec::new();
    let sending = async {
        // Whoever has heard enough closes.
        let _ = to.write_all(wire).await;
        let _ = to.write_all(&end).await;
        to
    };
    // A reset closes as well.
    let (_open, _closed) = tokio::join!(sending, from.read_to_end(&mut replies));
    String::from_utf8(replies).unwrap()
}

async fn ours(wire: &[u8]) -> (Vec<Asked>, String) {
    let (client, server) = UnixStream::pair().unwrap();
    let (keeping, peer) = (Keeping::default(), SocketAddr::from(([127, 0, 0, 1], 0)));
    let options = Arc::new(Options::default());
    let serving =
        connection::serve(Either::Right(server), peer, keeping.clone(), options, CancellationToken::new());
    let ((), replies) = tokio::join!(serving, tell(client, wire));
    (std::mem::take(&mut *keeping.0.lock().unwrap()), replies)
}

async fn hypers(wire: &[u8]) -> Vec<Asked> {
    let (client, server) = UnixStream::pair().unwrap();
    let keeping = Keeping::default();
    let service = service_fn(|request| {
        let keeping = keeping.clone();
        async move { Ok::<_, Infallible>(keeping.keep(request).await) }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let (_ended, _replies) = tokio::join!(serving, tell(client, wire));
    std::mem::take(&mut *keeping.0.lock().unwrap())
}

fn head() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        8 => "(GET|POST|PUT|OPTIONS|HEAD|M-X) (/|/a\\?b|\\*|http://a/b|//c) HTTP/1\\.[01]",
        1 => "[A-Za-z (]{1,4} [/a-z?:#%*]{0,5} HTTP/[0-2]\\.[0-2]",
        1 => "[ -~\t]{0,20}",
    ];
    let field = prop_oneof![
        4 => "Host: a",
        2 => "(Content-Length|content-length):[ \t]{0,2}[0-9]{1,2}[ \t]{0,2}",
        2 => "Transfer-Encoding: ?[Cc]hunked",
        1 => "Transfer-Encoding: (gzip, chunked|identity|chunked, chunked)",
        1 => "Connection: (close|keep-alive|Upgrade|close, a)",
        1 => "Expect: 100-continue",
        2 => "[A-Za-z-]{1,5}: ?[!-~é ]{0,6}",
        1 => "[ -~\t]{0,10}",
    ];
    let end = prop_oneof![20 => "\r\n", 1 => "\n", 1 => "\r"];
    (line, prop::collection::vec((field, end.clone()), 0..5), end).prop_map(|(line, fields, end)| {
        let fields: String = fields.into_iter().map(|(field, end)| format!("{field}{end}")).collect();
        format!("{line}{end}{fields}\r\n")
    })
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "",
        4 => "([a-z]{0,4}[\r\n]){0,5}",
        4 => "(([1-3](;[a-z]{1,2})?\r\n[a-z]{1,3}\r\n){0,3}0\r\n([A-Z]: b\r\n)?\r\n)",
        1 => "([0-9a-f]{0,4}[\r\n;xX+ -]){0,5}",
    ]
}

proptest! {
    #[test]
    fn whatever_is_taken_is_read_as_hyper_reads_it(requests in prop::collection::vec((head(), body()), 1..4)) {
        let wire: String = requests.into_iter().map(|(head, body)| head + &body).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let both = async { tokio::join!(ours(wire.as_bytes()), hypers(wire.as_bytes())) };
        let ((ours, replies), hypers) = runtime
            .block_on(async { timeout(Duration::from_secs(20), both).await })
            .expect("it is stuck");
        // What has no one reading never gets to a handler: then ours are fewer.
        prop_assert!(ours.len() <= hypers.len(), "{wire:?}: {ours:?}, hyper: {hypers:?}");
        for (ours, hypers) in ours.iter().zip(&hypers) {
            prop_assert_eq!(&ours.0, &hypers.0, "{:?}", wire);
            prop_assert!(ours.1.is_none() || ours.1 == hypers.1, "{wire:?}: {ours:?}, hyper: {hypers:?}");
        }
        prop_assert!(replies.is_empty() || replies.starts_with("HTTP/1."), "{replies}");
    }
}

//! Requests that are passed on: what the node gets of them, and that their bodies stream.

mod connection;
mod failing;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use http::Method;

use super::*;

const HEAD_END: &[u8] = b"\r\n\r\n";

/// A body whose frames the test sends.
struct Fed {
    frames: mpsc::Receiver<io::Result<Bytes>>,
    left: Option<u64>,
}

type Feed = mpsc::Sender<io::Result<Bytes>>;

fn fed(length: Option<u64>) -> (Feed, Fed) {
    let (feed, frames) = mpsc::channel(10);
    (feed, Fed { frames, left: length })
}

impl Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = std::task::ready!(self.frames.poll_recv(cx));
        if let (Some(Ok(data)), Some(left)) = (&frame, &mut self.left) {
            *left = left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(frame.map(|frame| frame.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn post_of<B>(body: B) -> Request<B> {
    Request::post("/eth/v1/x?a=b").body(body).unwrap()
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("/").body(Empty::new()).unwrap()
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

/// All that comes until the connection is closed, however.
async fn read_rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

async fn whole(reply: StreamedReply) -> Bytes {
    reply.body.collect().await.unwrap().to_bytes()
}

fn kind(error: &CallError) -> (Fault, Delivered) {
    (error.fault, error.delivered)
}

#[tokio::test]
async fn a_small_call_goes_in_one_piece_and_its_connection_is_used_again() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        for _ in 0..3 {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await.unwrap();
            let text = std::str::from_utf8(&piece[..count]).unwrap();
            assert!(text.ends_with("content-length: 5\r\n\r\nhello"), "{text}");
            stream.write_all(OK).await.unwrap();
        }
        stream
    };
    let calls = async {
        for frames in [&["hello"][..], &["he", "", "llo"]] {
            let (feed, body) = fed(None);
            for frame in frames {
                feed.try_send(Ok(Bytes::from(*frame))).unwrap();
            }
            drop(feed);
            let reply = client.pass(post_of(body), Pass::default()).await.unwrap();
            assert_eq!((reply.status, whole(reply).await), (StatusCode::OK, Bytes::from("ok")));
            assert_eq!(client.shared.pool.len(), 1);
        }
        client.pass(post_of(Full::from("hello")), Pass::default()).await.unwrap();
    };
    during(calls, script).await;
}

#[tokio::test]
async fn the_head_goes_as_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://me:pass@{address}/own");
    let client = Client::new(&Url::parse(&url).unwrap(), Options::default()).unwrap();
    let script = async {
        let mut stream = accept(&listener).await;
        let mut heads = Vec::new();
        for _ in 0..2 {
            heads.push(read_until(&mut stream, HEAD_END).await);
            stream.write_all(OK).await.unwrap();
        }
        (stream, heads)
    };
    let calls = async {
        let request = Request::get("http://elsewhere/eth/v1/events?topics=head&topics=block")
            .header("host", "elsewhere")
            .header("accept", "text/event-stream")
            .header("x-two", "1")
            .header("x-two", "2")
            .header("content-length", "7")
            .header("transfer-encoding", "chunked")
            .body(Empty::new());
        whole(client.pass(request.unwrap(), Pass::default()).await.unwrap()).await;
        let request = Request::get("/a").header("authorization", "Bearer x").body(Empty::new());
        client.pass(request.unwrap(), Pass::default()).await.unwrap();
    };
    let ((), (_open, heads)) = tokio::join!(calls, script);
    let expected = format!(
        "GET /eth/v1/events?topics=head&topics=block HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\
         x-two: 1\r\nx-two: 2\r\nauthorization: Basic bWU6cGFzcw==\r\n\r\n"
    );
    let own = format!("GET /a HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer x\r\n\r\n");
    assert_eq!(heads, [expected, own]);
}

#[tokio::test]
async fn who_has_no_body_says_so_only_where_it_means_something() {
    for (method, length) in [
        (Method::GET, None),
        (Method::HEAD, None),
        (Method::DELETE, None),
        (Method::OPTIONS, None),
        (Method::POST, Some("content-length: 0")),
        (Method::PUT, Some("content-length: 0")),
    ] {
        let (feed, late_end) = fed(None);
        drop(feed);
        for body in [Empty::new().map_err(|never| match never {}).boxed(), late_end.boxed()] {
            let (listener, client) = node().await;
            let request = Request::builder().method(method.clone()).uri("/").body(body).unwrap();
            let script = async {
                let mut stream = accept(&listener).await;
                let head = read_until(&mut stream, HEAD_END).await;
                let told =
                    head.lines().find(|line| line.starts_with("content-") || line.starts_with("transfer-"));
                assert_eq!(told, length, "{head}");
                stream.write_all(b"HTTP/1.1 204 None\r\n\r\n").await.unwrap();
                stream
            };
            let reply = during(client.pass(request, Pass::default()), script).await.unwrap();
            assert_eq!(reply.status, 204);
        }
    }
    let (_listener, client) = node().await;
    let request = Request::connect("a:80").body(Empty::new()).unwrap();
    let error = client.pass(request, Pass::default()).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Protocol, Delivered::No));
}

#[tokio::test]
async fn a_body_goes_while_it_comes_and_the_connection_is_used_again() {
    let (listener, client) = node().await;
    for length in [Some(200_006), None] {
        let (feed, body) = fed(length);
        let call = client.pass(post_of(body), Pass::default());
        let script = async {
            let mut stream = match client.shared.pool.len() {
                0 => accept(&listener).await,
                _ => panic!("the connection of the last call was dropped"),
            };
            let head = read_until(&mut stream, HEAD_END).await;
            match length {
                Some(length) => assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}"),
                None => assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}"),
            }
            let large = "x".repeat(200_000);
            for frame in ["one", &large, "two"] {
                feed.send(Ok(Bytes::from(frame.to_owned()))).await.unwrap();
                let expected = match length {
                    Some(_) => frame.to_owned(),
                    None => format!("{:x}\r\n{frame}\r\n", frame.len()),
                };
                assert!(read_until(&mut stream, expected.as_bytes()).await == expected);
            }
            drop(feed);
            if length.is_none() {
                read_until(&mut stream, b"0\r\n\r\n").await;
            }
            stream.write_all(OK).await.unwrap();
            // Another call, on the same connection.
            read_until(&mut stream, HEAD_END).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            stream
        };
        let calls = async {
            assert_eq!(whole(call.await.unwrap()).await, "ok");
            assert_eq!(client.pass(get(), Pass::default()).await.unwrap().status, 200);
        };
        during(calls, script).await;
    }
}

/// A body that knows its end, as hyper's do, and mustn't be asked for it.
struct Ending {
    pieces: VecDeque<Bytes>,
    tells_length: bool,
}

impl Body for Ending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.pieces.pop_front().expect("asked for its end");
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.tells_length {
            true => SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum()),
            false => SizeHint::default(),
        }
    }
}

#[tokio::test]
async fn the_end_of_a_body_that_is_known_is_not_asked_for() {
    let large: Bytes = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let short = Bytes::from_static(b"short");
    for tells_length in [true, false] {
        // All of it is in hand before the first byte is sent, or not.
        for (pieces, is_in_hand) in [
            (vec![short.clone()], true),
            (vec![large.clone()], true),
            (vec![large.clone(), short.clone()], false),
            (vec![large.clone(), large.clone()], false),
        ] {
            let (listener, client) = node().await;
            let sent = pieces.concat();
            let script = async {
                let mut stream = accept(&listener).await;
                let (head, mut body) = read_request(&mut stream).await.unwrap();
                assert_eq!(head.contains("content-length: "), tells_length || is_in_hand, "{head}");
                if head.contains("chunked") {
                    for piece in &pieces {
                        read_until(&mut stream, format!("{:x}\r\n", piece.len()).as_bytes()).await;
                        let begin = body.len();
                        body.resize(begin + piece.len(), 0);
                        stream.read_exact(&mut body[begin..]).await.unwrap();
                        assert_eq!(read_until(&mut stream, b"\r\n").await, "\r\n");
                    }
                    assert_eq!(read_until(&mut stream, HEAD_END).await, "0\r\n\r\n");
                }
                stream.write_all(OK).await.unwrap();
                (stream, body)
            };
            let body = Ending { pieces: pieces.clone().into(), tells_length };
            let (reply, (_open, got)) = tokio::join!(client.pass(post_of(body), Pass::default()), script);
            assert_eq!(reply.unwrap().status, 200);
            assert!(got == sent);
        }
    }
}

/// A body of so many bytes, and how many of them were taken.
struct Counted {
    left: usize,
    taken: Arc<AtomicU64>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.left.min(1 << 20);
        self.left -= piece;
        self.taken.fetch_add(piece as u64, Ordering::Relaxed);
        Poll::Ready((piece > 0).then(|| Ok(Frame::data(vec![7; piece].into()))))
    }
}

const LARGE: usize = 100 << 20;

#[tokio::test]
async fn a_large_body_goes_whole() {
    let (listener, client) = node().await;
    let body = Counted { left: LARGE, taken: Arc::default() };
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        let mut left = LARGE + (LARGE >> 20) * "100000\r\n\r\n".len() + "0\r\n\r\n".len();
        let mut piece = vec![0; 1 << 20];
        while left > 0 {
            let read = stream.read(&mut piece).await.unwrap();
            assert_ne!(read, 0, "{left} are missing");
            left -= read;
        }
        stream.write_all(OK).await.unwrap();
        stream
    };
    let reply = during(client.pass(post_of(body), Pass::default()), script).await.unwrap();
    assert_eq!(whole(reply).await, "ok");
    assert_eq!(client.shared.pool.len(), 1);
}

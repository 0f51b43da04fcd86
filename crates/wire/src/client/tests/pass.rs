//! Requests that are passed on: their bodies stream, and whoever fails is told apart.

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
use crate::client::pass::exchange;
use crate::client::sending::Sending;

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

#[tokio::test]
async fn a_reply_before_the_body_ends_the_sending() {
    let (listener, client) = node().await;
    let (feed, body) = fed(None);
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno")
            .await
            .unwrap();
        // Nobody takes the body any more.
        feed.closed().await;
        assert_eq!(read_rest(&mut stream).await, b"");
    };
    let call = async {
        let reply = client.pass(post_of(body), Pass::default()).await.unwrap();
        assert_eq!(reply.status, 401);
        assert_eq!(whole(reply).await, "no");
        assert_eq!(client.shared.pool.len(), 0);
    };
    during(call, script).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_its_senders_fault() {
    let broken = || Err(io::Error::other("on purpose"));
    // Before anything was sent: the node isn't bothered.
    for (length, frames) in
        [(None, vec![broken()]), (Some(5), vec![Ok("he".into()), broken()]), (Some(5), vec![Ok("he".into())])]
    {
        let (listener, client) = node().await;
        drop(listener);
        let (feed, body) = fed(length);
        for frame in frames {
            feed.try_send(frame).unwrap();
        }
        drop(feed);
        let error = client.pass(post_of(body), Pass::default()).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Caller, Delivered::No));
        assert_eq!(error.to_string(), "the request's body did not come whole: it broke off");
    }
    // Afterwards: the node sees a request that isn't whole.
    for length in [None, Some(100_000)] {
        for end in [Some(broken()), None] {
            if length.is_none() && end.is_none() {
                continue;
            }
            let (listener, client) = node().await;
            let (feed, body) = fed(length);
            let script = async {
                let mut stream = accept(&listener).await;
                read_until(&mut stream, HEAD_END).await;
                feed.send(Ok("hello".into())).await.unwrap();
                read_until(&mut stream, b"hello").await;
                if let Some(end) = end {
                    feed.send(end).await.unwrap();
                }
                drop(feed);
                assert!(!read_rest(&mut stream).await.ends_with(b"0\r\n\r\n"));
            };
            let error = during(client.pass(post_of(body), Pass::default()), script).await.unwrap_err();
            assert_eq!(kind(&error), (Fault::Caller, Delivered::Maybe));
            assert_eq!(client.shared.pool.len(), 0);
        }
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_its_senders_fault() {
    // A short one is waited for before the node hears of it.
    let (listener, client) = node().await;
    let (feed, body) = fed(Some(5));
    tokio::time::pause();
    let error = client.pass(post_of(body), Pass::default()).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Caller, Delivered::No));
    assert_eq!(error.to_string(), "the request's body did not come whole: it stalled");
    tokio::time::resume();
    drop(feed);

    let (feed, body) = fed(None);
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        feed.send(Ok("hello".into())).await.unwrap();
        read_until(&mut stream, b"hello\r\n").await;
        tokio::time::pause();
        assert_eq!(read_rest(&mut stream).await, b"");
        tokio::time::resume();
    };
    let started = Instant::now();
    let error = during(client.pass(post_of(body), Pass::default()), script).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Caller, Delivered::Maybe));
    assert!(started.elapsed() >= crate::body::STALL);
}

#[tokio::test]
async fn a_body_too_large_is_refused_while_it_is_read() {
    let limits = Pass { body_limit: 100_000, ..Pass::default() };
    let (listener, client) = node().await;
    // Announced, or in hand before the first byte is sent: the node hears nothing of it.
    let (_feed, announced) = fed(Some(100_001));
    for body in [announced.boxed(), Full::from(vec![0; 100_001]).map_err(|never| match never {}).boxed()] {
        let error = client.pass(post_of(body), limits).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::CallerTooLarge, Delivered::No));
        assert_eq!(error.to_string(), "request too large");
    }
    let (feed, body) = fed(None);
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        feed.send(Ok(vec![b'x'; 100_000].into())).await.unwrap();
        // All that is allowed.
        let mut rest = vec![0; "186a0\r\n".len() + 100_000 + "\r\n".len()];
        stream.read_exact(&mut rest).await.unwrap();
        feed.send(Ok("x".into())).await.unwrap();
        assert_eq!(read_rest(&mut stream).await, b"");
    };
    let error = during(client.pass(post_of(body), limits), script).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::CallerTooLarge, Delivered::Maybe));
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
async fn a_node_that_takes_in_nothing_times_out_and_no_more_is_read_than_fits() {
    let (listener, client) = node().await;
    let taken = Arc::new(AtomicU64::new(0));
    let body = Counted { left: LARGE, taken: taken.clone() };
    let limits = Pass { write_stall: Duration::from_millis(200), ..Pass::default() };
    let error = during(client.pass(post_of(body), limits), accept(&listener)).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Timeout, Delivered::Maybe));
    assert!(error.to_string().contains("takes in nothing"), "{error}");
    // What the sockets hold, and a piece.
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < LARGE as u64 / 2, "{taken}");
}

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

#[tokio::test]
async fn a_node_that_does_not_answer_times_out_or_is_waited_for() {
    let hour = Duration::from_secs(3600);
    let (listener, client) = node().await;
    let limits = Pass { head_within: Some(hour), ..Pass::default() };
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        tokio::time::pause();
        assert_eq!(read_rest(&mut stream).await, b"");
        tokio::time::resume();
    };
    let error = during(client.pass(get(), limits), script).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Timeout, Delivered::Maybe));
    assert_eq!(error.to_string(), "timed out after 3600.0 s (waiting for the reply)");

    // An event stream.
    let limits = Pass { head_within: None, read_stall: None, ..Pass::default() };
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        for part in ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "2\r\na\n\r\n", "0\r\n\r\n"] {
            tokio::time::pause();
            tokio::time::sleep(5 * hour).await;
            tokio::time::resume();
            stream.write_all(part.as_bytes()).await.unwrap();
        }
        stream
    };
    let call = async {
        let reply = client.pass(get(), limits).await.unwrap();
        assert_eq!(whole(reply).await, "a\n");
    };
    during(call, script).await;
    assert_eq!(client.shared.pool.len(), 1);

    // Not one.
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.unwrap();
        tokio::time::pause();
        assert_eq!(read_rest(&mut stream).await, b"");
        tokio::time::resume();
    };
    let call = async {
        // The one from before would be used.
        drop(client.shared.pool.take(Instant::now()));
        let reply = client.pass(get(), Pass::default()).await.unwrap();
        reply.body.collect().await.unwrap_err()
    };
    assert_eq!(during(call, script).await.fault, Fault::Timeout);
}

#[tokio::test]
async fn a_call_that_is_dropped_or_not_read_to_its_end_costs_its_connection() {
    let (listener, client) = node().await;
    for body_begun in [false, true] {
        let (feed, body) = fed(None);
        let call = client.pass(post_of(body), Pass::default());
        let script = async {
            let mut stream = accept(&listener).await;
            read_until(&mut stream, HEAD_END).await;
            if body_begun {
                feed.send(Ok("hello".into())).await.unwrap();
                read_until(&mut stream, b"hello\r\n").await;
            }
            stream
        };
        let mut stream = tokio::select! {
            _ = call => panic!("there is no reply"),
            stream = script => stream,
        };
        assert_eq!(read_rest(&mut stream).await, b"");
        assert_eq!(client.shared.pool.len(), 0);
    }
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
        assert_eq!(read_rest(&mut stream).await, b"");
    };
    let call = async {
        let mut reply = client.pass(get(), Pass::default()).await.unwrap();
        assert_eq!(reply.body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    };
    during(call, script).await;
    assert_eq!(client.shared.pool.len(), 0);
}

#[tokio::test]
async fn nothing_of_a_body_is_lost_to_a_connection_that_was_closed_in_the_pool() {
    let (listener, client) = node().await;
    let endpoint = &client.shared.endpoint;
    let mut dead = Link::connect(endpoint).await.ok().unwrap();
    // Reset, not just closed: nothing can be written any more.
    accept(&listener).await.set_zero_linger().unwrap();
    while dead.is_reusable() {
        tokio::task::yield_now().await;
    }
    let (feed, body) = fed(None);
    feed.try_send(Ok("hello".into())).unwrap();
    let limits = Pass::default();
    let mut sending = Sending::prepare(endpoint, post_of(body), limits.body_limit).await.unwrap();
    let failed = exchange(&mut dead, &mut sending, &limits).await.err().unwrap();
    assert_eq!(kind(&failed.error), (Fault::Reset, Delivered::No));
    assert!(failed.untouched);
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, b"5\r\nhello\r\n").await;
        drop(feed);
        read_until(&mut stream, b"0\r\n\r\n").await;
        stream.write_all(OK).await.unwrap();
        stream
    };
    let again = async {
        let mut link = Link::connect(endpoint).await.ok().unwrap();
        assert_eq!(exchange(&mut link, &mut sending, &limits).await.ok().unwrap().status, 200);
    };
    during(again, script).await;
}

#[tokio::test]
async fn a_reused_connection_that_dies_under_a_request_is_not_replaced() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(OK).await.unwrap();
        read_until(&mut stream, HEAD_END).await;
        drop(stream);
        // Had it been sent again it would come first.
        let mut stream = accept(&listener).await;
        assert!(read_until(&mut stream, HEAD_END).await.starts_with("GET /third "));
        stream.write_all(OK).await.unwrap();
        stream
    };
    let calls = async {
        whole(client.pass(get(), Pass::default()).await.unwrap()).await;
        let error = client.pass(get(), Pass::default()).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Reset, Delivered::Maybe));
        let third = Request::get("/third").body(Empty::new()).unwrap();
        client.pass(third, Pass::default()).await.unwrap();
    };
    during(calls, script).await;
}

#[tokio::test]
async fn nobody_listens_or_no_http() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(b"SSH-2.0-x\r\n\r\n").await.unwrap();
        stream
    };
    let error = during(client.pass(get(), Pass::default()), script).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Protocol, Delivered::Maybe));
    drop(listener);
    let (_feed, body) = fed(None);
    let error = client.pass(post_of(body), Pass::default()).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Refused, Delivered::No));
}

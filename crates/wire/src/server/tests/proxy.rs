//! A transparent proxy as roles build it: server, [`Client::pass`], a node.

use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::*;
use crate::client::{Fault, Pass};
use crate::hop;

/// Passes everything on to one node.
#[derive(Clone)]
pub(super) struct Passing {
    client: Client,
    limits: Pass,
}

impl Handler for Passing {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response {
        let (mut parts, body) = request.into_parts();
        hop::strip(&mut parts.headers);
        let mut response = Response::default();
        match self.client.pass(Request::from_parts(parts, body), self.limits).await {
            Ok(reply) => {
                let mut headers = reply.headers();
                hop::strip(&mut headers);
                *response.status_mut() = reply.status;
                *response.headers_mut() = headers;
                *response.body_mut() = ReplyBody::streamed(reply.body);
            }
            Err(error) => {
                *response.status_mut() = match error.fault {
                    Fault::CallerTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    Fault::Caller => StatusCode::BAD_REQUEST,
                    _ => StatusCode::BAD_GATEWAY,
                };
            }
        }
        response
    }
}

/// A server with a node behind it that the test plays.
pub(super) struct Front {
    pub(super) address: SocketAddr,
    pub(super) node: TcpListener,
}

pub(super) async fn front(limits: Pass, options: Options) -> Front {
    let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", node.local_addr().unwrap());
    let client = Client::new(&Url::parse(&url).unwrap(), client::Options::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let passing = Passing { client, limits };
    tokio::spawn(serve(listener, passing, options, CancellationToken::new(), Duration::ZERO));
    Front { address, node }
}

impl Front {
    async fn client(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// A connection of the server to the node, and the head of the request that came.
    async fn accept(&self) -> (TcpStream, String) {
        let (mut node, _) = self.node.accept().await.unwrap();
        let head = read_until(&mut node, b"\r\n\r\n").await;
        (node, head)
    }
}

const EVENTS: Pass =
    Pass { head_within: None, write_stall: body::STALL, read_stall: None, body_limit: 100 << 20 };

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let byte = timeout(Duration::from_secs(30), stream.read_u8()).await;
        read.push(byte.expect("it should have come").expect("it was closed"));
    }
    String::from_utf8(read).unwrap()
}

const GET_EVENTS: &str =
    "GET /eth/v1/events?topics=head HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n";
const EVENTS_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:X}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn events_come_one_by_one() {
    let front = front(EVENTS, Options::default()).await;
    let mut client = front.client(GET_EVENTS).await;
    let (mut node, head) = front.accept().await;
    assert!(head.starts_with("GET /eth/v1/events?topics=head HTTP/1.1\r\n"), "{head}");
    node.write_all(EVENTS_HEAD.as_bytes()).await.unwrap();
    let head = read_until(&mut client, b"\r\n\r\n").await;
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    for event in [":\n\n", "event: head\ndata: {\"slot\":\"1\"}\n\n", ": keep-alive\n\n", "id: 1\n", "\n"] {
        node.write_all(chunk(event).as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut client, chunk(event).as_bytes()).await, chunk(event));
    }
    // A node that ends its stream ends the client's.
    node.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(read_until(&mut client, b"0\r\n\r\n").await, "0\r\n\r\n");
}

/// Such a reply is chunked, whatever its length says (RFC 9112 section 6.3); passed on alone the length would be believed.
#[tokio::test]
async fn a_length_beside_chunks_is_not_passed_on() {
    for length in [3, 500] {
        let front = front(EVENTS, Options::default()).await;
        let mut client = front.client("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let (mut node, _) = front.accept().await;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n");
        let body = chunk("hello") + "0\r\n\r\n";
        node.write_all((head + &body).as_bytes()).await.unwrap();
        let head = read_until(&mut client, b"\r\n\r\n").await;
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(read_until(&mut client, b"0\r\n\r\n").await, body);
    }
}

#[tokio::test]
async fn an_event_stream_may_be_silent_for_hours() {
    let front = front(EVENTS, Options::default()).await;
    let mut client = front.client(GET_EVENTS).await;
    let (mut node, _) = front.accept().await;
    node.write_all(EVENTS_HEAD.as_bytes()).await.unwrap();
    read_until(&mut client, b"\r\n\r\n").await;
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(5 * 3600)).await;
        tokio::time::resume();
        node.write_all(chunk(event).as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut client, chunk(event).as_bytes()).await, chunk(event));
    }
    // But the connection is idle once the stream has ended.
    node.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut client, b"0\r\n\r\n").await;
    tokio::time::pause();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reader_of_events_that_takes_in_nothing_is_cut() {
    let options = Options { write_timeout: Duration::from_millis(200), ..Options::default() };
    let front = front(EVENTS, options).await;
    let mut client = front.client(GET_EVENTS).await;
    let (mut node, _) = front.accept().await;
    node.write_all(EVENTS_HEAD.as_bytes()).await.unwrap();
    read_until(&mut client, b"\r\n\r\n").await;
    // More and more, until the server gives up and closes the node's connection.
    let event = chunk(&"data: x\n\n".repeat(10_000));
    let flood = async { while node.write_all(event.as_bytes()).await.is_ok() {} };
    timeout(Duration::from_secs(30), flood).await.expect("it is still taken in");
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_nodes_connection() {
    let front = front(EVENTS, Options::default()).await;
    // Waiting for the head, in the middle of its own body, and reading events.
    let half = "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nabc";
    for (request, begun) in [(GET_EVENTS, ""), (half, ""), (GET_EVENTS, EVENTS_HEAD)] {
        let mut client = front.client(request).await;
        let (mut node, _) = front.accept().await;
        if request == half {
            read_until(&mut node, b"abc").await;
        }
        if !begun.is_empty() {
            node.write_all(begun.as_bytes()).await.unwrap();
            read_until(&mut client, b"\r\n\r\n").await;
        }
        drop(client);
        let end = timeout(Duration::from_secs(30), node.read(&mut [0; 9])).await;
        assert_eq!(end.expect("still open").unwrap_or(0), 0);
    }
}

/// Bodies that aren't there, and heads that say so.
#[tokio::test]
async fn replies_come_as_they_are() {
    let gzip = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\netag: \"a\"\r\ncontent-length: 4\r\n\r\n\x1f\x08\x01\x02";
    for (method, reply, lines, without, body) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
            vec!["content-length: 1234"],
            "transfer",
            "",
        ),
        (
            "GET",
            "HTTP/1.1 204 None\r\neth-consensus-version: fulu\r\n\r\n",
            vec!["eth-consensus-version: fulu"],
            "content-length",
            "",
        ),
        ("GET", "HTTP/1.1 304 Same\r\netag: \"b\"\r\n\r\n", vec!["etag: \"b\""], "transfer", ""),
        (
            "GET",
            "HTTP/1.1 103 Early\r\na: b\r\n\r\nHTTP/1.1 206 Part\r\ncontent-length: 2\r\n\r\nok",
            vec!["content-length: 2"],
            "a: b",
            "ok",
        ),
        (
            "GET",
            gzip,
            vec!["content-encoding: gzip", "etag: \"a\"", "content-length: 4"],
            "transfer",
            "\x1f\x08\x01\x02",
        ),
        (
            "GET",
            "HTTP/1.1 503 No\r\nconnection: x-one\r\nx-one: 1\r\nx-two: 2\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n",
            vec!["x-two: 2", "content-length: 0"],
            "x-one",
            "",
        ),
    ] {
        let front = front(Pass::default(), Options::default()).await;
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip, br\r\n\r\n");
        let mut client = front.client(&request).await;
        let (mut node, head) = front.accept().await;
        assert!(head.contains("accept-encoding: gzip, br\r\n"), "{head}");
        node.write_all(reply.as_bytes()).await.unwrap();
        let head = read_until(&mut client, b"\r\n\r\n").await;
        let status = reply.rsplit("HTTP/1.1 ").next().unwrap();
        assert_eq!(head[9..12], status[..3], "{head}");
        for line in lines {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
        assert!(!head.contains(without), "{without}: {head}");
        assert_eq!(read_until(&mut client, body.as_bytes()).await, body);
        // Nothing else comes: the connection is used for another.
        client.write_all(b"BAD\r\n\r\n").await.unwrap();
        assert!(read_until(&mut client, b"\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    }
}

const LIMIT: u64 = 1 << 20;

#[tokio::test]
async fn a_body_too_large_is_refused_while_it_is_read() {
    let front = front(Pass { body_limit: LIMIT, ..Pass::default() }, Options::default()).await;
    let announced = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", LIMIT + 1);
    let mut client = front.client(&announced).await;
    assert!(read_until(&mut client, b"\r\n\r\n").await.starts_with("HTTP/1.1 413 "));

    let mut client = front.client("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let piece = chunk(&"x".repeat(LIMIT as usize / 2));
    let send = async {
        for _ in 0..3 {
            client.write_all(piece.as_bytes()).await.unwrap();
        }
        client.write_all(b"0\r\n\r\n").await.unwrap();
        read_until(&mut client, b"\r\n\r\n").await
    };
    let node = async {
        let (mut node, _) = front.accept().await;
        let mut got = Vec::new();
        let _ = node.read_to_end(&mut got).await;
        got
    };
    let (reply, got) = tokio::join!(send, node);
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
    assert!(got.len() as u64 <= LIMIT + 10_000 && !got.ends_with(b"0\r\n\r\n"), "{}", got.len());
}

#[tokio::test]
async fn who_expects_to_be_told_to_continue_is() {
    let front = front(Pass::default(), Options::default()).await;
    let mut client =
        front.client("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(read_until(&mut client, b"\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.unwrap();
    let (mut node, _) = front.accept().await;
    read_until(&mut node, b"hello").await;
    node.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Fine\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    assert!(read_until(&mut client, b"\r\n\r\n").await.starts_with("HTTP/1.1 202 "));
}

#[tokio::test]
async fn a_client_of_http2_is_served_by_a_node_of_http1() {
    let front = front(EVENTS, Options::default()).await;
    let (mut sender, _connection) = http2(front.address).await;
    let large: Bytes = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let request = Request::post("http://mainstay/eth/v2/beacon/blocks?a=b")
        .header("te", "trailers")
        .header("eth-consensus-version", "fulu")
        .body(Full::new(large.clone()));
    let call = async {
        let response = sender.send_request(request.unwrap()).await.unwrap();
        let (parts, mut body) = response.into_parts();
        assert_eq!(
            (parts.status.as_u16(), &parts.headers["x-a"]),
            (202, &"1".parse::<http::HeaderValue>().unwrap())
        );
        assert_eq!(parts.headers.get("connection"), None);
        let mut events = Vec::new();
        while let Some(frame) = body.frame().await {
            events.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        assert_eq!(events, b"one\n\ntwo\n\n");
    };
    let node = async {
        let (mut node, head) = front.accept().await;
        assert!(head.starts_with("POST /eth/v2/beacon/blocks?a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("eth-consensus-version: fulu\r\n") && !head.contains("te: "), "{head}");
        assert!(head.contains("content-length: 3000000\r\n") || head.contains("chunked"), "{head}");
        let mut got = Vec::new();
        if head.contains("chunked") {
            while !got.ends_with(b"\r\n0\r\n\r\n") {
                node.read_buf(&mut got).await.unwrap();
            }
        } else {
            got.resize(large.len(), 0);
            node.read_exact(&mut got).await.unwrap();
            assert!(got == large);
        }
        node.write_all(b"HTTP/1.1 202 Fine\r\nconnection: close\r\nx-a: 1\r\n\r\none\n\n").await.unwrap();
        node.write_all(b"two\n\n").await.unwrap();
    };
    tokio::join!(call, node);
}

#[tokio::test]
async fn large_bodies_stream_both_ways() {
    const SIZE: usize = 100 << 20;
    let front = front(Pass::default(), Options::default()).await;
    let request = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n");
    let mut client = front.client(&request).await;
    let piece: Vec<u8> = (0..1 << 20).map(|n| (n % 251) as u8).collect();
    let (mut from_client, mut to_client) = client.split();
    let send = async {
        for _ in 0..SIZE / piece.len() {
            to_client.write_all(&piece).await.unwrap();
        }
    };
    let echo = async {
        let (mut node, head) = front.accept().await;
        assert!(head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
        let mut read = vec![0; piece.len()];
        for _ in 0..SIZE / piece.len() {
            node.read_exact(&mut read).await.unwrap();
            assert!(read == piece);
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
        node.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..SIZE / piece.len() {
            node.write_all(&piece).await.unwrap();
        }
        node
    };
    let receive = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(from_client.read_u8().await.unwrap());
        }
        let mut read = vec![0; piece.len()];
        for _ in 0..SIZE / piece.len() {
            from_client.read_exact(&mut read).await.unwrap();
            assert!(read == piece);
        }
    };
    let all = async { tokio::join!(send, echo, receive) };
    timeout(Duration::from_secs(120), all).await.expect("it is stuck");
}

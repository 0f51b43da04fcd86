//! Requests that two programs could read differently: refused, and nothing of them reaches the node; or passed on in a form
//! that can be read in one way only.

use std::sync::{Mutex, PoisonError};

use tokio::time::timeout;

use super::proxy::{Front, front};
use super::*;
use crate::client::Pass;

/// All that a node has got, from whatever connection.
type Got = Arc<Mutex<Vec<u8>>>;

/// A node that answers whatever comes, and keeps it.
fn answering(node: TcpListener) -> Got {
    let got = Got::default();
    let kept = got.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = node.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut piece = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut piece).await {
                    kept.lock().unwrap().extend_from_slice(&piece[..read]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
            });
        }
    });
    got
}

async fn line() -> (SocketAddr, Got, SocketAddr) {
    let Front { address, node } = front(Pass::default(), Options::default()).await;
    let node_address = node.local_addr().unwrap();
    (address, answering(node), node_address)
}

fn taken(got: &Got) -> String {
    let bytes = std::mem::take(&mut *got.lock().unwrap_or_else(PoisonError::into_inner));
    String::from_utf8(bytes).unwrap()
}

/// What a request with such lines is answered, up to the close.
async fn asked(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let closed = timeout(Duration::from_secs(10), stream.read_to_end(&mut reply)).await;
    assert!(closed.is_ok(), "still open after {:?}: {request:?}", String::from_utf8_lossy(&reply));
    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn what_is_refused_never_reaches_the_node() {
    let (address, got, _) = line().await;
    // Behind it what would be smuggled.
    const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = |lines: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}{NEXT}");
    let long = format!("{}5", "0".repeat(100));
    let mut bad = vec![
        // Two lengths.
        post("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 4", "1\r\nZ\r\n0\r\n\r\n"),
        post("content-length: 0\r\na: b\r\nTRANSFER-ENCODING:chunked", "0\r\n\r\n"),
        post("Content-Length: 5\r\nContent-Length: 5", "hello"),
        post("Content-Length: 5\r\ncontent-length: 6", "hello"),
        post("Content-Length: 5\r\nTransfer-Encoding: identity", "hello"),
        // Lengths that are none.
        post("Content-Length: +5", "hello"),
        post("Content-Length: -5", "hello"),
        post("Content-Length: 5, 5", "hello"),
        post("Content-Length: 5 5", "hello"),
        post("Content-Length: 0x5", "hello"),
        post("Content-Length: 5;", "hello"),
        post("Content-Length: \"5\"", "hello"),
        post("Content-Length:", "hello"),
        post("Content-Length: 99999999999999999999", "hello"),
        post(&format!("Content-Length: {long}"), "hello"),
        // Encodings that hide.
        post("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        post("Transfer-Encoding: identity, chunked", "0\r\n\r\n"),
        post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-encoding: x", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"),
        post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\u{b}", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked,", "0\r\n\r\n"),
        post("Transfer-Encoding: chunk", "0\r\n\r\n"),
        post("Transfer-Encoding:", "0\r\n\r\n"),
        post("Transfer-Encoding : chunked", "0\r\n\r\n"),
        post("Transfer-Encoding\t: chunked", "0\r\n\r\n"),
        post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
        post(" Transfer-Encoding: chunked", "0\r\n\r\n"),
        post("a: b\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        post("a: b\rTransfer-Encoding: chunked", "0\r\n\r\n"),
        // Lines.
        post("a: b\r\n c", ""),
        post("a: b\r\n\tc", ""),
        post("a: b\nc: d", ""),
        post("a: b\rc: d", ""),
        post("a: b\0c", ""),
        post("a: b\u{1}", ""),
        post("a: b\u{7f}", ""),
        post("a : b", ""),
        post("a b: c", ""),
        post(": b", ""),
        post("a", ""),
        post("a\0: b", ""),
        // Hosts.
        post("Host: b", ""),
        format!("GET / HTTP/1.1\r\nX: a\r\n\r\n{NEXT}"),
        format!("GET / HTTP/1.1\r\nHost: a b\r\n\r\n{NEXT}"),
        format!("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n{NEXT}"),
        format!("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n{NEXT}"),
        format!("GET / HTTP/1.1\r\nHost: b@a\r\n\r\n{NEXT}"),
        format!("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n{NEXT}"),
    ];
    // Request lines.
    for line in [
        "GET /a b HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTP/0.9",
        "GET / http/1.1",
        "GET /",
        "GET HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET a HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\r HTTP/1.1",
        "CONNECT a:80 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "OPTIONS *a HTTP/1.1",
    ] {
        bad.push(format!("{line}\r\nHost: a\r\n\r\n{NEXT}"));
    }
    bad.push(format!("GET / HTTP/1.1\nHost: a\r\n\r\n{NEXT}"));
    bad.push(format!("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n{NEXT}"));
    bad.push(format!("GET / HTTP/1.1\r\nHost: a\r\n\n{NEXT}"));
    bad.push(format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}"));
    // Chunks. What is short is seen whole before the node hears of it.
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5 \nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\nA: b\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
    ] {
        bad.push(post("Transfer-Encoding: chunked", body));
    }
    for request in bad {
        let reply = asked(address, &request).await;
        let refused = ["HTTP/1.1 400 ", "HTTP/1.0 400 "].iter().any(|line| reply.starts_with(line));
        assert!(reply.is_empty() || refused, "{request:?}: {reply}");
        assert_eq!(reply.matches("HTTP/1.").count(), usize::from(!reply.is_empty()), "{request:?}: {reply}");
        assert_eq!(taken(&got), "", "{request:?}");
    }
}

#[tokio::test]
async fn what_is_passed_on_can_be_read_in_one_way_only() {
    let (address, got, node) = line().await;
    let close = "\r\nConnection: close";
    for (request, line, framing, body) in [
        (format!("POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tChunked {close}\r\n\r\n5;x=\"\u{e9}\"\r\nhello\r\n0\r\n\r\n"),
            "POST /a?b HTTP/1.1", "content-length: 5", "hello"),
        (format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked{close}\r\n\r\n0005 ;x\r\nhello\r\n000\r\nContent-Length: 9\r\n\r\n"),
            "POST / HTTP/1.1", "content-length: 5", "hello"),
        (format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005{close}\r\n\r\nhello"),
            "POST / HTTP/1.1", "content-length: 5", "hello"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5{close}\r\n\r\nhello"),
            "GET / HTTP/1.1", "content-length: 5", "hello"),
        // What `Connection` names is removed, and the body is framed all the same.
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close, content-length, host\r\n\r\nhello".to_owned(),
            "POST / HTTP/1.1", "content-length: 5", "hello"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, transfer-encoding\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(),
            "POST / HTTP/1.1", "content-length: 5", "hello"),
        // The target is the node's, whoever is named.
        (format!("GET http://elsewhere:1/a?b HTTP/1.1\r\nHost: a{close}\r\n\r\n"), "GET /a?b HTTP/1.1", "", ""),
        (format!("GET http://elsewhere HTTP/1.1\r\nHost: a{close}\r\n\r\n"), "GET / HTTP/1.1", "", ""),
        (format!("GET //elsewhere/a HTTP/1.1\r\nHost: a{close}\r\n\r\n"), "GET //elsewhere/a HTTP/1.1", "", ""),
        (format!("OPTIONS * HTTP/1.1\r\nHost: a{close}\r\n\r\n"), "OPTIONS * HTTP/1.1", "", ""),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "GET / HTTP/1.1", "", ""),
        (format!("\r\n\r\nGET / HTTP/1.1\r\nHost: [::1]:80{close}\r\n\r\n"), "GET / HTTP/1.1", "", ""),
        (format!("GET / HTTP/1.1\r\nHost:{close}\r\n\r\n"), "GET / HTTP/1.1", "", ""),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n".to_owned(),
            "GET / HTTP/1.1", "", ""),
    ] {
        let reply = asked(address, &request).await;
        assert!(reply.starts_with("HTTP/1.") && reply.contains(" 200 OK\r\n") && reply.ends_with("ok"), "{request:?}: {reply}");
        let framing = if framing.is_empty() { String::new() } else { format!("{framing}\r\n") };
        assert_eq!(taken(&got), format!("{line}\r\nhost: {node}\r\n{framing}\r\n{body}"), "{request:?}");
    }
}

#[tokio::test]
async fn the_next_request_on_a_connection_is_looked_at_too() {
    let (address, got, node) = line().await;
    let good = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let bad =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    // Sent without waiting for replies.
    let reply = asked(address, &format!("{good}{chunked}{good}{bad}{good}")).await;
    assert_eq!(reply.matches("HTTP/1.1 200 OK").count(), 3, "{reply}");
    assert_eq!(reply.matches("HTTP/1.1 400 ").count(), 1, "{reply}");
    let expected = format!("POST / HTTP/1.1\r\nhost: {node}\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(taken(&got), expected.repeat(3));
}

#[tokio::test]
async fn a_chunk_that_goes_bad_later_leaves_a_request_that_is_not_whole() {
    let (address, got, _) = line().await;
    let large = format!("20000\r\n{}\r\n", "x".repeat(0x20000));
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{large}+5\r\nhello\r\n0\r\n\r\n"
    );
    let reply = asked(address, &request).await;
    // The node may have answered before.
    assert!(
        reply.is_empty() || reply.starts_with("HTTP/1.1 400 ") || reply.starts_with("HTTP/1.1 200 "),
        "{reply}"
    );
    let got = taken(&got);
    assert!(!got.ends_with("0\r\n\r\n") && !got.contains("hello"), "{}", got.len());
}

/// HTTP/2 frames, written by hand: no client library would send these.
mod http2 {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// A field as a literal that is not indexed (RFC 7541 section 6.2.2).
    fn field(name: &str, value: &str) -> Vec<u8> {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    }

    /// Sends one request; what comes for it: the status, or 0 where the stream or the connection was ended.
    async fn asked(address: SocketAddr, fields: &[(&str, &str)], body: Option<&str>) -> u16 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let block = fields.iter().flat_map(|(name, value)| field(name, value)).collect::<Vec<u8>>();
        let end = if body.is_none() { 1 } else { 0 };
        let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        wire.extend(frame(4, 0, 0, &[]));
        wire.extend(frame(1, 4 | end, 1, &block));
        if let Some(body) = body {
            wire.extend(frame(0, 1, 1, body.as_bytes()));
        }
        stream.write_all(&wire).await.unwrap();
        let answer = async {
            loop {
                let mut head = [0; 9];
                if stream.read_exact(&mut head).await.is_err() {
                    return 0;
                }
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let mut payload = vec![0; length];
                stream.read_exact(&mut payload).await.unwrap();
                match head[3] {
                    1 => return status(&payload),
                    3 | 7 => return 0,
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(10), answer).await.expect("no answer")
    }

    /// The status comes first: one of the static table, or a literal.
    fn status(block: &[u8]) -> u16 {
        match block {
            [0x88, ..] => 200,
            [0x8c, ..] => 400,
            other => panic!("{other:?}"),
        }
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/a?b")];

    fn with(extra: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        [&GET[..], extra].concat()
    }

    fn instead(of: &str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        GET.into_iter().map(|(name, old)| (name, if name == of { value } else { old })).collect()
    }

    #[tokio::test]
    async fn what_is_refused_never_reaches_the_node() {
        let (address, got, _) = line().await;
        for (fields, body) in [
            (with(&[("connection", "close")]), None),
            (with(&[("transfer-encoding", "chunked")]), Some("0\r\n\r\n")),
            (with(&[("keep-alive", "1")]), None),
            (with(&[("proxy-connection", "close")]), None),
            (with(&[("upgrade", "h2c")]), None),
            (with(&[("te", "gzip")]), None),
            (with(&[("X-A", "b")]), None),
            (with(&[("x-a", "b\r\nx-b: c")]), None),
            (with(&[("x-a", "b\nc")]), None),
            (with(&[("x-a", "b\0c")]), None),
            (with(&[("x-a\r\nx-b", "c")]), None),
            (with(&[("x-a: b", "c")]), None),
            (with(&[("x a", "c")]), None),
            (with(&[("", "c")]), None),
            (with(&[("content-length", "4")]), Some("hello")),
            (with(&[("content-length", "6")]), Some("hello")),
            (with(&[("content-length", "+5")]), Some("hello")),
            (with(&[("content-length", "5"), ("content-length", "5")]), Some("hello")),
            (with(&[("content-length", "5")]), None),
            (with(&[("host", "b")]), None),
            (with(&[("host", "a"), ("host", "a")]), None),
            (with(&[(":path", "/b")]), None),
            (with(&[("x-a", "b"), (":scheme", "http")]), None),
            (instead(":path", ""), None),
            (instead(":path", "a"), None),
            (instead(":path", "*"), None),
            (instead(":path", "/a b"), None),
            (instead(":path", "/a HTTP/1.1\r\nx: y"), None),
            (instead(":path", "http://b/"), None),
            (instead(":method", "GET / HTTP/1.1\r\nx:"), None),
            (instead(":method", "CONNECT"), None),
            (instead(":authority", "a b"), None),
            (instead(":scheme", "ftp"), None),
            (GET[1..].to_vec(), None),
            (GET[..3].to_vec(), None),
        ] {
            let status = asked(address, &fields, body).await;
            assert!(matches!(status, 0 | 400), "{fields:?}: {status}");
            assert_eq!(taken(&got), "", "{fields:?}");
        }
    }

    #[tokio::test]
    async fn what_is_passed_on_can_be_read_in_one_way_only() {
        let (address, got, node) = line().await;
        let head = |framing: &str| format!("GET /a?b HTTP/1.1\r\nhost: {node}\r\n{framing}\r\n");
        for (fields, body, expected) in [
            (with(&[]), None, head("")),
            (with(&[("host", "A")]), None, head("")),
            (with(&[("te", "trailers")]), None, head("")),
            (with(&[("x-a", "b")]), Some("hello"), head("x-a: b\r\ncontent-length: 5\r\n") + "hello"),
            (with(&[("content-length", "5")]), Some("hello"), head("content-length: 5\r\n") + "hello"),
        ] {
            assert_eq!(asked(address, &fields, body).await, 200, "{fields:?}");
            assert_eq!(taken(&got), expected, "{fields:?}");
        }
    }
}

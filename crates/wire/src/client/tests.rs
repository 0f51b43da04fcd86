#![allow(clippy::unwrap_used)]

mod endpoint;
mod faults;
mod pass;
mod peer;
mod uplink;

use std::collections::HashSet;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use http::StatusCode;

use super::*;
use crate::body::STALL;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn client_with(listener: &TcpListener, options: Options) -> Client {
    let url = format!("http://{}/path?q=1", listener.local_addr().unwrap());
    Client::new(&Url::parse(&url).unwrap(), options).unwrap()
}

async fn node() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_with(&listener, Options::default());
    (listener, client)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.unwrap().0
}

/// Reads one request: its head as text and its body. `None`: the connection was closed before it.
async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    Some((head, body))
}

async fn post(client: &Client) -> Result<HttpReply, CallError> {
    client.post(Bytes::from_static(b"{}"), None, soon()).await
}

/// Calls while a node does what `script` says. The connections that it returns stay open until the call has ended.
async fn during<T, S>(call: impl Future<Output = T>, script: impl Future<Output = S>) -> T {
    // With time paused it is over at once where one of them waits in vain.
    let both = async { tokio::join!(call, script) };
    let (outcome, _open) = tokio::time::timeout(Duration::from_secs(604_800), both).await.expect("they end");
    outcome
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        for _ in 0..3 {
            read_request(&mut stream).await.unwrap();
            stream.write_all(OK).await.unwrap();
        }
        stream
    };
    let calls = async {
        for _ in 0..3 {
            let reply = post(&client).await.unwrap();
            assert_eq!((reply.status, reply.body), (StatusCode::OK, Bytes::from("ok")));
            assert_eq!(client.shared.pool.len(), 1);
        }
    };
    during(calls, script).await;
}

#[tokio::test]
async fn a_chunked_reply_is_read_and_its_connection_used_again() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        for _ in 0..2 {
            read_request(&mut stream).await.unwrap();
            let head = b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(b"1\r\nc\r\n0\r\n\r\n").await.unwrap();
        }
        stream
    };
    let calls = async {
        for _ in 0..2 {
            let reply = post(&client).await.unwrap();
            assert_eq!((reply.status.as_u16(), reply.body), (503, Bytes::from("abc")));
        }
    };
    during(calls, script).await;
}

#[tokio::test]
async fn a_reply_that_closes_is_read_to_its_end_and_not_pooled() {
    for reply in [
        &b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"[..],
        &b"HTTP/1.0 200 OK\r\n\r\nok"[..],
    ] {
        let (listener, client) = node().await;
        let script = async {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.unwrap();
            stream.write_all(reply).await.unwrap();
        };
        let reply = during(post(&client), script).await.unwrap();
        assert_eq!(reply.body, "ok");
        assert_eq!(client.shared.pool.len(), 0);
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_replaced() {
    let (listener, client) = node().await;
    for _ in 0..3 {
        let script = async {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.unwrap();
            stream.write_all(OK).await.unwrap();
        };
        assert_eq!(during(post(&client), script).await.unwrap().body, "ok");
    }
}

#[tokio::test]
async fn an_idle_connection_that_spoke_unasked_is_replaced() {
    let (listener, client) = node().await;
    let script = async {
        let mut first = accept(&listener).await;
        read_request(&mut first).await.unwrap();
        first.write_all(OK).await.unwrap();
        first.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        let mut second = accept(&listener).await;
        read_request(&mut second).await.unwrap();
        second.write_all(OK).await.unwrap();
        (first, second)
    };
    let calls = async {
        assert_eq!(post(&client).await.unwrap().status, 200);
        assert_eq!(post(&client).await.unwrap().status, 200);
    };
    during(calls, script).await;
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_not_used() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_with(&listener, Options { idle_timeout: Duration::ZERO, ..Options::default() });
    for _ in 0..2 {
        let script = async {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.unwrap();
            stream.write_all(OK).await.unwrap();
        };
        during(post(&client), script).await.unwrap();
        assert_eq!(client.shared.pool.len(), 0);
    }
}

#[tokio::test]
async fn idle_connections_are_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_with(&listener, Options { max_idle: 2, ..Options::default() });
    let script = async {
        // All requests are in before the first is answered, so each has a connection of its own.
        let mut streams = Vec::new();
        let mut peers = HashSet::new();
        for _ in 0..5 {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.unwrap();
            peers.insert(stream.peer_addr().unwrap());
            streams.push(stream);
        }
        assert_eq!(peers.len(), 5);
        for stream in &mut streams {
            stream.write_all(OK).await.unwrap();
        }
        streams
    };
    let calls = async {
        let call = || post(&client);
        let (a, b, c, d, e) = tokio::join!(call(), call(), call(), call(), call());
        for reply in [a, b, c, d, e] {
            assert_eq!(reply.unwrap().status, 200);
        }
    };
    during(calls, script).await;
    assert_eq!(client.shared.pool.len(), 2);
}

#[tokio::test]
async fn large_bodies_go_and_come_whole() {
    let (listener, client) = node().await;
    let sent: Bytes = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let script = async {
        let mut stream = accept(&listener).await;
        for _ in 0..2 {
            let (_, body) = read_request(&mut stream).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
        }
        stream
    };
    let calls = async {
        for _ in 0..2 {
            let reply = client.post(sent.clone(), None, soon()).await.unwrap();
            assert!(reply.body == sent);
            assert_eq!(client.shared.pool.len(), 1);
        }
    };
    during(calls, script).await;
}

#[tokio::test]
async fn a_body_that_came_with_its_head_is_there_at_once_and_no_other() {
    let (listener, client) = node().await;
    let (more, wanted) = tokio::sync::oneshot::channel::<()>();
    let script = async {
        let mut stream = accept(&listener).await;
        for reply in [OK, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"] {
            read_request(&mut stream).await.unwrap();
            stream.write_all(reply).await.unwrap();
        }
        read_request(&mut stream).await.unwrap();
        stream.write_all(&OK[..OK.len() - 1]).await.unwrap();
        wanted.await.unwrap();
        stream.write_all(&OK[OK.len() - 1..]).await.unwrap();
        stream
    };
    let calls = async {
        let (target, lines, body) = (http::Uri::from_static("/"), Lines::new(), Bytes::new());
        let post = Post { target: &target, lines: &lines, body: &body };
        let open = async || client.open(post, Instant::now(), soon(), STALL).await.unwrap().body;
        let mut body = open().await;
        assert_eq!(body.rest(), Some(Bytes::from("ok")));
        assert_eq!(client.shared.pool.len(), 1, "given back");
        assert_eq!(body.rest(), Some(Bytes::new()), "nothing is left");
        let mut body = open().await;
        assert_eq!(body.rest(), None, "where it ends isn't known");
        assert_eq!(crate::body::read(body, 9).await.unwrap(), "ok");
        let mut body = open().await;
        assert_eq!(body.rest(), None, "a byte is missing");
        more.send(()).unwrap();
        assert_eq!(crate::body::read(body, 9).await.unwrap(), "ok");
        assert_eq!(client.shared.pool.len(), 1);
    };
    during(calls, script).await;
}

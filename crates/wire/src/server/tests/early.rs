//! Answers that begin before their request has come whole.

use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::time::timeout;

use super::*;

/// Answers at once with the request's body as it comes, or not reading it.
#[derive(Clone)]
struct Early;

impl Handler for Early {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response {
        match request.uri().path() {
            "/echo" => Response::new(ReplyBody::streamed(request.into_body())),
            // Reads some of it with the answer, and then no more.
            "/taste" => {
                let tasted = request.into_body().into_data_stream().take(1);
                Response::new(ReplyBody::streamed(StreamBody::new(tasted.map_ok(Frame::data))))
            }
            // Read by another task than the connection's.
            "/elsewhere" => {
                let read = tokio::spawn(body::read(request.into_body(), LIMIT));
                let length = read.await.unwrap().map_or(0, |body| body.len());
                Response::new(length.to_string().into())
            }
            _ => Response::new("early".into()),
        }
    }
}

async fn connect() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Early, Options::default(), CancellationToken::new(), Duration::ZERO));
    TcpStream::connect(address).await.unwrap()
}

/// Reads up to this end.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !read.ends_with(end.as_bytes()) {
            read.push(stream.read_u8().await.unwrap());
        }
    };
    let came = timeout(Duration::from_secs(30), reading).await;
    let read = String::from_utf8(read).unwrap();
    came.unwrap_or_else(|_| panic!("no {end:?} after {read:?}"));
    read
}

#[tokio::test]
async fn a_body_is_echoed_while_it_comes() {
    let mut stream = connect().await;
    for _ in 0..2 {
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        let head = until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("connection: close"), "{head}");
        for piece in ["hello", "world"] {
            stream.write_all(format!("5\r\n{piece}\r\n").as_bytes()).await.unwrap();
            assert_eq!(until(&mut stream, &format!("5\r\n{piece}\r\n")).await, format!("5\r\n{piece}\r\n"));
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(until(&mut stream, "0\r\n\r\n").await, "0\r\n\r\n");
    }
}

/// Once the answer has begun, a word to go on would be a part of it.
#[tokio::test]
async fn who_is_answered_is_not_told_to_continue() {
    let mut stream = connect().await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let reply = until(&mut stream, "\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains("content-length: 5\r\n"), "{reply}");
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(until(&mut stream, "hello").await, "hello");
}

/// What is left of the body must not be taken for the next request, and who sends it is told.
#[tokio::test]
async fn a_body_that_nobody_reads_ends_the_connection() {
    let mut stream = connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nGET").await.unwrap();
    let reply = until(&mut stream, "early").await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains("connection: close\r\n"), "{reply}");
    stream.write_all(b" / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"");
}

/// By then the head has said that the connection is kept.
#[tokio::test]
async fn an_answer_that_leaves_some_of_the_body_ends_the_connection() {
    let mut stream = connect().await;
    stream.write_all(b"POST /taste HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\r\n").await.unwrap();
    until(&mut stream, "\r\n\r\n").await;
    stream.write_all(b"hello").await.unwrap();
    until(&mut stream, "5\r\nhello\r\n0\r\n\r\n").await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(rest).unwrap(), "");
}

#[tokio::test]
async fn a_body_that_is_here_and_that_nobody_reads_ends_nothing() {
    let mut stream = connect().await;
    for body in ["content-length: 3\r\n\r\nGET", "transfer-encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n"] {
        stream.write_all(format!("POST / HTTP/1.1\r\nhost: a\r\n{body}").as_bytes()).await.unwrap();
        let reply = until(&mut stream, "early").await;
        assert!(reply.starts_with("HTTP/1.1 200 ") && !reply.contains("connection: close"), "{reply}");
    }
}

#[tokio::test]
async fn another_task_may_read_a_body() {
    let mut stream = connect().await;
    for _ in 0..2 {
        stream.write_all(b"POST /elsewhere HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n").await.unwrap();
        for piece in [b"hello", b"world"] {
            tokio::task::yield_now().await;
            stream.write_all(piece).await.unwrap();
        }
        until(&mut stream, "\r\n\r\n10").await;
    }
}

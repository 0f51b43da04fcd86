//! Answers on their way: passed on as they come, with the node's slot held until they are through.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Bed, CALL, PATIENCE, ms};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A node that answers with `start`, and with `end` once it is told to.
async fn halting(start: &'static [u8], end: &'static [u8]) -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}?_workers=1", listener.local_addr().unwrap());
    let go_on = Arc::new(Notify::new());
    let told = go_on.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A probe connects, and says nothing.
            if stream.read(&mut [0; 4096]).await.unwrap_or(0) == 0 {
                continue;
            }
            stream.write_all(start).await.unwrap();
            told.notified().await;
            let _ = stream.write_all(end).await;
        }
    });
    (uri, go_on)
}

/// A request on a connection of its own.
async fn ask(bed: &Bed) -> TcpStream {
    let mut stream = TcpStream::connect(bed.address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", CALL.len());
    stream.write_all((head + CALL).as_bytes()).await.unwrap();
    stream
}

/// Reads until what has come ends so.
async fn read_to(stream: &mut TcpStream, end: &str) {
    let mut read = Vec::new();
    let whole = async {
        while !read.ends_with(end.as_bytes()) {
            let n = stream.read_buf(&mut read).await.unwrap();
            assert!(n > 0, "cut: {}", String::from_utf8_lossy(&read));
        }
    };
    let came = tokio::time::timeout(PATIENCE, whole).await;
    assert!(came.is_ok(), "no {end:?}: {}", String::from_utf8_lossy(&read));
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes() {
    let (uri, go_on) = halting(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        b"4\r\nlast\r\n0\r\n\r\n",
    )
    .await;
    let bed = Bed::of(&[uri], "health = \"none\"\n").await;
    bed.until("it is fit", |bed| bed.views()[0].fit).await;
    let mut first = ask(&bed).await;
    read_to(&mut first, "first\r\n").await;
    // It still works on it, and nobody else gets its only slot.
    assert_eq!(bed.in_flight(), 1);
    let _second = ask(&bed).await;
    bed.until("the second one waits", |bed| bed.waiting() == 1).await;
    go_on.notify_one();
    read_to(&mut first, "last\r\n0\r\n\r\n").await;
    bed.until("the slot has gone on", |bed| bed.waiting() == 0).await;
}

/// On the paused clock: a node that falls silent in the middle of its answer is given up after `try_timeout`, and the client can't
/// take what it got for the whole.
#[tokio::test(start_paused = true)]
async fn an_answer_that_stalls_is_broken_off() {
    let (uri, _go_on) = halting(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"").await;
    let bed = Bed::of(&[uri], "health = \"none\"\ntry_timeout = \"2s\"\n").await;
    bed.until("it is fit", |bed| bed.views()[0].fit).await;
    let began = Instant::now();
    let mut stream = ask(&bed).await;
    read_to(&mut stream, "half").await;
    // Closed or reset.
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(began.elapsed() >= ms(1900) && began.elapsed() < ms(4000), "{:?}", began.elapsed());
    bed.until("the slot is free", |bed| bed.in_flight() == 0).await;
    let broken = "mainstay_rpc_requests_total{rpc=\"rpc\",lane=\"low\",outcome=\"broken\"";
    bed.until("it is counted", |bed| bed.metric(broken) == Some(1.0)).await;
}

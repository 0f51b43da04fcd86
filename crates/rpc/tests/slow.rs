//! Clients that send as slowly as they can (slowloris) are cut, and others don't notice.
//!
//! On tokio's paused clock: all that happens is on this thread, and time goes on only when nothing else can.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Bed, CALL, Node, ms};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Sends a byte a second, and reads until it is cut. What it read, and after how long.
async fn drips(bed: &Bed, start: &'static str) -> JoinHandle<(String, Duration)> {
    let (mut read, mut write) = TcpStream::connect(bed.address).await.unwrap().into_split();
    write.write_all(start.as_bytes()).await.unwrap();
    let began = Instant::now();
    tokio::spawn(async move {
        let dripping = tokio::spawn(async move {
            loop {
                tokio::time::sleep(ms(1000)).await;
                if write.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        let mut reply = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(600), read.read_to_end(&mut reply)).await.unwrap();
        dripping.abort();
        (String::from_utf8(reply).unwrap(), began.elapsed())
    })
}

#[tokio::test(start_paused = true)]
async fn who_sends_slowly_is_cut_and_others_go_on() {
    let node = Node::new().await;
    // As many places as there are slow ones, and one.
    let bed = Bed::new(&[&node], "max_connections = 7\nprobe_interval = \"1h\"\n").await;
    let mut heads = Vec::new();
    let mut bodies = Vec::new();
    for _ in 0..2 {
        heads.push(drips(&bed, "POST / HTTP/1.1\r\nhost: a\r\nx-a: ").await);
        bodies.push(drips(&bed, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000\r\n\r\n{").await);
        bodies.push(
            drips(&bed, "POST /nodes HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000\r\n\r\n{").await,
        );
    }
    let began = Instant::now();
    let mut served = 0;
    while !heads.iter().chain(&bodies).all(JoinHandle::is_finished) {
        assert_eq!(bed.post(CALL).await.status, 200);
        served += 1;
        assert!(began.elapsed() < Duration::from_secs(60), "still there");
        tokio::time::sleep(ms(500)).await;
    }
    assert!(served >= 20 && node.count() == served, "{served}");
    for head in heads {
        let (reply, after) = head.await.unwrap();
        assert_eq!(reply, "", "it has asked for nothing yet");
        assert!(after >= Duration::from_secs(8) && after <= Duration::from_secs(15), "{after:?}");
    }
    for body in bodies {
        let (reply, after) = body.await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 408") && reply.contains("the body came too slowly"), "{reply}");
        // Half a minute, and some seconds in which it may read that.
        assert!(after >= Duration::from_secs(30) && after <= Duration::from_secs(40), "{after:?}");
    }
}

//! What a large body costs. Alone in its process: the memory is that of all of it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bed, Node, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// 7: there, such a body took 599 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_256_mib_takes_no_memory() {
    const SENT: usize = 256 << 20;
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "").await;
    let piece = vec![b'x'; 1 << 20];
    let before = resident();
    for framing in [format!("content-length: {SENT}"), "transfer-encoding: chunked".to_owned()] {
        let mut stream = TcpStream::connect(bed.address).await.unwrap();
        stream
            .write_all(format!("POST / HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let (mut read, mut write) = stream.split();
        let sending = async {
            let chunked = framing.contains("chunked");
            for _ in 0..SENT / piece.len() {
                if chunked && write.write_all(b"100000\r\n").await.is_err() {
                    return;
                }
                // It is closed on whoever doesn't stop.
                if write.write_all(&piece).await.is_err()
                    || (chunked && write.write_all(b"\r\n").await.is_err())
                {
                    return;
                }
            }
        };
        let mut start = [0; 12];
        let (read, ()) = tokio::join!(tokio::time::timeout(PATIENCE, read.read_exact(&mut start)), sending);
        read.unwrap().unwrap();
        assert_eq!(&start, b"HTTP/1.1 413");
        // The limit is 8 MiB; what is read is copied once as it grows.
        let grown = resident().saturating_sub(before);
        assert!(grown < 24 << 20, "{grown} bytes more");
    }
    assert_eq!(node.count(), 0);
}

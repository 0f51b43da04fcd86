//! With pipes in the place of sockets, in paused time.

use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

/// A pipe holds so much, in bytes.
const PIPE: usize = 1024;

struct Tunnel {
    node: DuplexStream,
    relay: DuplexStream,
    stop: CancellationToken,
    carried: JoinHandle<Carried>,
}

impl Tunnel {
    fn new() -> Self {
        let ((node, near), (relay, far)) = (duplex(PIPE), duplex(PIPE));
        let stop = CancellationToken::new();
        let token = stop.clone();
        let carried = tokio::spawn(async move { carry(near, far, &token).await });
        Self { node, relay, stop, carried }
    }
}

async fn says(stream: &mut DuplexStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn hears(stream: &mut DuplexStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, text.as_bytes());
}

async fn hears_the_end(stream: &mut DuplexStream) {
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn both_ways_and_one_side_may_end_first() {
    for node_first in [true, false] {
        let Tunnel { mut node, mut relay, carried, .. } = Tunnel::new();
        says(&mut node, "from the node").await;
        hears(&mut relay, "from the node").await;
        says(&mut relay, "from it").await;
        hears(&mut node, "from it").await;
        let (first, second) = if node_first { (&mut node, &mut relay) } else { (&mut relay, &mut node) };
        first.shutdown().await.unwrap();
        hears_the_end(second).await;
        // Half closed: the other direction goes on, for as long as it likes.
        for _ in 0..5 {
            says(second, "more").await;
            hears(first, "more").await;
            sleep(LINGERS - Duration::from_secs(1)).await;
        }
        second.shutdown().await.unwrap();
        hears_the_end(first).await;
        let carried = carried.await.unwrap();
        let side = if node_first { "the node" } else { "the relay" };
        assert_eq!(carried.end.to_string(), format!("{side} closed it"));
        let more = if node_first { (13, 7 + 20) } else { (13 + 20, 7) };
        assert_eq!((carried.to_relay, carried.from_relay), more);
    }
}

#[tokio::test(start_paused = true)]
async fn who_closes_is_not_held_by_one_that_does_not() {
    let Tunnel { mut node, mut relay, carried, .. } = Tunnel::new();
    let began = Instant::now();
    relay.shutdown().await.unwrap();
    hears_the_end(&mut node).await;
    let end = carried.await.unwrap().end;
    assert_eq!(end.to_string(), "the relay closed it, the node didn't within 30s");
    assert_eq!(began.elapsed(), LINGERS);
    hears_the_end(&mut relay).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_not_read_and_ends_it_in_time() {
    let Tunnel { mut node, relay, carried, .. } = Tunnel::new();
    let began = Instant::now();
    let mut written = 0;
    // Nobody reads on the relay's side: what fits is what the pipes and one buffer hold.
    while let Ok(taken) = timeout(Duration::from_secs(10), node.write(&[7; 512])).await {
        written += taken.unwrap();
    }
    assert!(written <= BUFFER + 2 * PIPE, "{written}");
    let carried = carried.await.unwrap();
    assert_eq!(carried.end.to_string(), "the relay took in nothing for 30s");
    assert_eq!(carried.to_relay, PIPE as u64);
    assert!((STALLED..=STALLED + GOODBYE).contains(&began.elapsed()));
    drop(relay);
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_but_takes_something_is_not_cut() {
    let Tunnel { mut node, mut relay, carried, .. } = Tunnel::new();
    let writing = tokio::spawn(async move {
        node.write_all(&[7; 4 * PIPE]).await.unwrap();
        node
    });
    let mut read = 0;
    while read < 4 * PIPE {
        sleep(STALLED - Duration::from_secs(1)).await;
        read += relay.read(&mut [0; PIPE]).await.unwrap();
    }
    drop(writing.await.unwrap());
    drop(relay);
    assert_eq!(carried.await.unwrap().to_relay, 4 * PIPE as u64);
}

#[tokio::test(start_paused = true)]
async fn both_are_closed_on_stop_and_what_was_read_is_delivered() {
    let Tunnel { mut node, mut relay, stop, carried } = Tunnel::new();
    says(&mut node, "last").await;
    hears(&mut relay, "last").await;
    stop.cancel();
    hears_the_end(&mut node).await;
    hears_the_end(&mut relay).await;
    assert_eq!(carried.await.unwrap().end.to_string(), "the tunnel stops");
}

#[tokio::test(start_paused = true)]
async fn who_goes_without_a_word_is_told_from_who_closes() {
    let Tunnel { mut node, relay, carried, .. } = Tunnel::new();
    // Not read any more: writing to it fails.
    drop(relay);
    let _ = node.write_all(b"a").await;
    hears_the_end(&mut node).await;
    drop(node);
    let end = carried.await.unwrap().end.to_string();
    assert!(end.starts_with("the relay"), "{end}");
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_holds_back_is_asked_for() {
    let ((mut node, near), (mut relay, far)) = (duplex(PIPE), duplex(PIPE));
    let carried = tokio::spawn(async move {
        // As TLS does with what its socket has no room for.
        carry(near, tokio::io::BufStream::new(far), &CancellationToken::new()).await
    });
    says(&mut node, "a ping").await;
    timeout(STALLED, hears(&mut relay, "a ping")).await.unwrap();
    drop((node, relay));
    carried.await.unwrap();
}

//! How long after a failure a beacon node's clients are told 503: what makes them go on to their next node.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Result;
use crate::bn::BeaconNode;
use crate::http::{Reader, get};
use crate::options::Options;
use crate::proxy::{Bench, Proxy, Way};

/// Longest wait for a change.
const LIMIT: Duration = Duration::from_secs(30);
/// How often a client asks.
const PAUSE: Duration = Duration::from_millis(1);

/// What becomes of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// It says that it is syncing.
    Syncs,
    /// Its process is gone: nobody listens, connections are closed.
    Dies,
}

/// The time to the first 503 through one way, in milliseconds, by trial.
pub(crate) struct Series {
    pub(crate) failure: Failure,
    pub(crate) way: Way,
    pub(crate) took: Vec<f64>,
}

/// All ways stand before the same node, so that each trial is one failure for all of them.
pub(crate) async fn measure(bench: &Bench, options: &Options, node: &mut BeaconNode) -> Result<Vec<Series>> {
    let mut proxies = Vec::new();
    for way in [Way::Beacon, Way::Haproxy].into_iter().filter(|way| bench.has(*way)) {
        proxies.push((way, bench.start(way, None).await?));
    }
    let mut all = Vec::new();
    for failure in [Failure::Syncs, Failure::Dies] {
        let mut series: Vec<Series> =
            proxies.iter().map(|(way, _)| Series { failure, way: *way, took: Vec::new() }).collect();
        for trial in 0..options.rounds {
            for (_, proxy) in &proxies {
                until(proxy.address, 200, Instant::now()).await?;
            }
            // Failures don't wait for a check's round: each trial meets another part of it.
            tokio::time::sleep(
                Duration::from_secs(1) * u32::try_from(trial)? / u32::try_from(options.rounds)?,
            )
            .await;
            match failure {
                Failure::Syncs => node.sync(true),
                Failure::Dies => node.die().await,
            }
            let began = Instant::now();
            let first_503 = |(_, proxy): &(Way, Proxy)| tokio::spawn(until(proxy.address, 503, began));
            let waits: Vec<_> = proxies.iter().map(first_503).collect();
            for (wait, series) in waits.into_iter().zip(&mut series) {
                series.took.push(wait.await??.as_secs_f64() * 1e3);
            }
            node.sync(false);
            node.rise().await?;
        }
        all.append(&mut series);
    }
    Ok(all)
}

/// Asks again and again for what has this status; the time since `began` at which it had.
async fn until(address: SocketAddr, wanted: u16, began: Instant) -> Result<Duration> {
    let mut client = None;
    while ask(address, &mut client).await != Some(wanted) {
        if began.elapsed() > LIMIT {
            return Err(format!("no {wanted} within {LIMIT:?}").into());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(began.elapsed())
}

/// The status of one request; `None` if it had no answer. A connection is kept as long as it works.
async fn ask(address: SocketAddr, client: &mut Option<(TcpStream, Reader)>) -> Option<u16> {
    let (mut stream, mut reader) = match client.take() {
        Some(kept) => kept,
        None => (TcpStream::connect(address).await.ok()?, Reader::of_any_status()),
    };
    let request = get(&address.to_string(), "/eth/v1/beacon/states/head/root");
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await.ok()?;
    let status = |head: &[u8], _: &[u8]| std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok();
    let asked = reader.next(&mut stream, false, status);
    let status = tokio::time::timeout(LIMIT, asked).await.ok()?.ok()??;
    *client = Some((stream, reader));
    status
}

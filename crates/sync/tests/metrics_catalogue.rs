//! The catalogue of the role's metrics is a golden file: `docs/metrics-sync.txt`. `UPDATE_GOLDEN=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;
#[path = "../../../tests/metrics.rs"]
mod metrics;

use bytes::Bytes;
use common::*;
use mainstay_execution::links::{Call, Watch as _};
use mainstay_sim::{Family, Fault};

/// Everything happens that is counted.
#[tokio::test]
async fn the_catalogue_is_what_the_golden_file_says() {
    let proxy = Sink::start(true).await;
    let bed = Setup::new(2).set("proxies", &proxy.url).ready().await;
    let a = bed.cl("a");
    let blocks = chain(&bed.genesis, 40);
    bed.els[1].set(Fault::Lie.on(Family::NewPayload));
    a.payload(&blocks[0]).await;
    bed.els[1].heal();
    a.call("engine_exchangeCapabilities", "[[]]").await;
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    for block in &blocks {
        a.block(block).await;
    }
    bed.els[1].heal();
    bed.followed(&[1], blocks[39].hash).await;
    // What is rare is told by hand.
    let telemetry = &bed.core.telemetry;
    telemetry.late_invalid("el1", "0x00");
    telemetry.evidence("split vote", "0x00", None);
    telemetry.dropped("copy", &Call::new("engine_newPayloadV4", Bytes::new()));
    bed.until("a replay", |bed| bed.metrics().contains("replay")).await;
    metrics::check(&bed.metrics(), "metrics-sync.txt");
}

//! The catalogue of the role's metrics is a golden file: `docs/metrics-engine.txt`. `UPDATE_GOLDEN=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../../../tests/metrics.rs"]
mod metrics;

use std::time::Duration;

use bytes::Bytes;
use mainstay_engine::Metrics;
use mainstay_execution::links::{Call, Watch as _};
use mainstay_execution::telemetry::Telemetry;
use mainstay_execution::verdict::Verdict;
use mainstay_node::{Cause, Condition};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

fn everything_happens(telemetry: &Telemetry) {
    let took = Duration::from_millis(3);
    telemetry.answered("engine_newPayloadV4", "VALID", took);
    telemetry.verdict("engine_newPayloadV4", Verdict::Valid, true);
    telemetry.vote("el1", "engine_newPayloadV4", "VALID", took);
    telemetry.condition("el1", &Condition::Fit, &Condition::Unfit(Cause::Refused));
    telemetry.head("el1", 7);
    telemetry.primary(Some("el1"), Some("el2"));
    telemetry.late_invalid("el1", "0x00");
    telemetry.replayed("el1", 2, "at the head");
    telemetry.evidence("split vote", "0x00", None);
    telemetry.dropped("copy", &Call::new("engine_newPayloadV4", Bytes::new()));
}

fn page() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    for engine in ["one", "two"] {
        everything_happens(&metrics.of(engine));
    }
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    page
}

#[test]
fn the_catalogue_is_what_the_golden_file_says() {
    metrics::check(&page(), "metrics-engine.txt");
}

#[test]
fn several_engines_share_each_metric() {
    let page = page();
    // That no metric is there twice.
    metrics::read(&page);
    assert!(page.contains(r#"mainstay_engine_votes_total{engine="one",node="el1""#), "{page}");
    assert!(page.contains(r#"mainstay_engine_votes_total{engine="two",node="el1""#), "{page}");
}

#[test]
fn a_nodes_metrics_go_with_it() {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let telemetry = metrics.of("one");
    everything_happens(&telemetry);
    telemetry.vote("el1", "engine_forkchoiceUpdatedV3", "SYNCING", Duration::ZERO);
    telemetry.vote("el2", "engine_newPayloadV4", "VALID", Duration::ZERO);
    telemetry.forget("el1");
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    assert!(!page.contains(r#"node="el1""#), "{page}");
    assert!(page.contains(r#"mainstay_engine_votes_total{engine="one",node="el2""#), "{page}");
}

//! The catalogue of the role's metrics is a golden file: `docs/metrics-beacon.txt`. `UPDATE_GOLDEN=1` writes it anew.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../../tests/metrics.rs"]
mod metrics;

use mainstay_beacon::{Beacon, Metrics};
use mainstay_sim::beacon::{BeaconServer, BeaconState};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

fn page(registry: &Registry) -> String {
    let mut page = String::new();
    encode(&mut page, registry).unwrap();
    page
}

/// The value of a sample, by how its line begins.
fn value(page: &str, start: &str) -> f64 {
    let line =
        page.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_catalogue_is_what_the_golden_file_says() {
    let node = BeaconServer::start("bn", BeaconState::default()).await.unwrap();
    let role = common::start(common::config(&[node.url(), node.url()], "")).await;
    role.until(0, "fit").await;
    role.get(0, "/eth/v1/node/version").await;
    let page = page(&role.registry);
    metrics::check(&page, "metrics-beacon.txt");
    for start in [
        r#"mainstay_beacon_guard_fit{beacon="beacon",guard="beacon-1"} 1"#,
        r#"mainstay_beacon_check_holds{beacon="beacon",guard="beacon-1",check="lag"} 1"#,
        r#"mainstay_beacon_check_seconds_count{beacon="beacon",guard="beacon-2",check="syncing"} "#,
        r#"mainstay_beacon_requests_total{beacon="beacon",guard="beacon-1",path="/eth/v1/node/version",status="200",by="node"} 1"#,
        r#"mainstay_beacon_open_streams{beacon="beacon",guard="beacon-2"} 0"#,
    ] {
        assert!(page.contains(start), "no {start} in {page}");
    }
}

/// Nothing has been checked, and no round has ended.
#[tokio::test]
async fn from_the_start_metrics_say_how_things_are_and_since_when() {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let role = Beacon::build(common::config(&["http://127.0.0.1:1".to_owned()], ""), &metrics).unwrap();
    let page = page(&registry);
    drop(role);
    let started = value(&page, "mainstay_beacon_guard_changed_timestamp_seconds{");
    assert!(started > 1_600_000_000.0, "{started}");
    assert_eq!(value(&page, "mainstay_beacon_guard_fit{"), 0.0);
    assert_eq!(value(&page, "mainstay_beacon_guard_flips_total{"), 0.0);
    for (check, holds) in [("syncing", 0.0), ("traffic", 1.0)] {
        let labels = format!("{{beacon=\"beacon\",guard=\"beacon-1\",check={check:?}}}");
        assert_eq!(value(&page, &format!("mainstay_beacon_check_holds{labels}")), holds, "{check}");
        let since = value(&page, &format!("mainstay_beacon_check_changed_timestamp_seconds{labels}"));
        assert!(since >= started, "{check}: {since}");
    }
}

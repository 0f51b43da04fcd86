//! What comes of settings.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use mainstay_rpc::classify::Retry;
use mainstay_rpc::config::{Api, Probes};
use mainstay_rpc::lanes::{Limits, Rules};
use mainstay_rpc::{Config, Lane, Ratio, retry};

fn config(text: &str) -> Result<Config, Vec<String>> {
    common::settings(&format!("[rpc]\n{text}"))
}

#[test]
fn defaults_are_prio_load_balancers() {
    let config = config("").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.node_workers, 8);
    assert_eq!(config.retry, retry::Rules::default());
    assert_eq!(config.retry.tries_max, 3);
    assert_eq!(config.request_timeout, Duration::from_secs(5));
    assert_eq!(config.retry.try_timeout, Duration::from_secs(3));
    assert_eq!(config.payload_max, 8192 * 1024);
    assert_eq!(config.queue.rules, Rules::default());
    assert_eq!(config.queue.rules.ratio, Ratio { fast_per_high: 2, drain_first: false });
    assert_eq!(config.node_idle_timeout, Duration::from_secs(90));
    assert_eq!((config.probes, config.api), (Probes::Ethereum, Api::Open));
    assert!(!config.error_test_api);
    assert!(config.nodes.is_empty() && config.redis.is_none() && config.rules.is_empty());
}

#[test]
fn everything_set() {
    let config = config(
        r#"
nodes = ["http://a?_workers=2", "http://b"]
fast_track_max = 1
high_max = 2
low_max = 3
queue_max = 4
queue_bytes = "1MiB"
low_max_wait = "500ms"
hedge_after = "1s"
health = "none"
api = "admin"
error_test_api = true
redis = "redis://:hunter2@cache:6379/1"
shared_limits = true
forward_headers = ["X-Flashbots-Signature", "x-flashbots-signature", "Accept-Encoding"]
[[rpc.rule]]
method = "eth_sendBundle,mev_*"
keys = ["k1", "k2"]
lane = "fast-track"
rate = 10
[[rpc.rule]]
path = "/sim"
header = "Authorization"
retry = "never"
rate = 5
burst = 50
"#,
    )
    .unwrap();
    assert_eq!(config.nodes[0].workers, Some(2));
    assert_eq!(config.queue.rules.limits, Limits { lanes: [1, 2, 3], items: 4, bytes: 1 << 20 });
    assert_eq!(config.queue.rules.low_max_wait, Some(Duration::from_millis(500)));
    assert_eq!(config.retry.hedge_after, Some(Duration::from_secs(1)));
    assert_eq!((config.probes, config.api), (Probes::None, Api::Admin));
    assert!(config.error_test_api);
    assert_eq!(config.forward_headers.len(), 2);
    let redis = config.redis.as_ref().unwrap();
    assert!(redis.shared_limits && !format!("{config:?}").contains("hunter2"));
    let [bundles, sim] = &config.rules[..] else { panic!("two rules") };
    assert_eq!(bundles.methods, ["eth_sendBundle", "mev_*"]);
    assert_eq!(bundles.header.as_ref().unwrap(), "x-api-key");
    assert_eq!((bundles.lane, bundles.retry), (Some(Lane::FastTrack), None));
    assert_eq!(bundles.rate.map(|rate| rate.burst.get()), Some(10));
    assert_eq!((sim.lane, sim.retry), (None, Some(Retry::Never)));
    assert_eq!(sim.rate.map(|rate| (rate.per_second.get(), rate.burst.get())), Some((5, 50)));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, wanted) in [
        (
            "nodes = [\n\"http://a\",\n\"http://u:hunter2@a?_workers=0\"]",
            "mainstay.toml:4: [rpc] nodes: _workers=0",
        ),
        (
            "nodes = [\"http://a\", \"http://a/?_workers=3\"]",
            "[rpc] nodes: item 2: http://a/?_workers=3 is listed already",
        ),
        ("redis = \"redis://:hunter2@h:99999\"", "mainstay.toml:2: [rpc] redis: a port must be a number"),
        ("request_timeout = \"0s\"", "longer than nothing"),
        ("try_timeout = \"1s\"\nhedge_after = \"1s\"", "shorter than try_timeout"),
        ("shared_limits = true", "set redis too"),
        ("retries_max = 0", "not between 1 and 100"),
        ("forward_headers = [\"Host\"]", "belongs to the connection"),
        ("forward_headers = [\"a b\"]", "no name of a header"),
        ("low_maks = 1", "did you mean `low_max`?"),
        ("[[rpc.rule]]\nmethod = \"x\"", "the rule does nothing"),
        (
            "[[rpc.rule]]\nlane = \"low\"\nburst = 3",
            "mainstay.toml:4: [[rpc.rule]] burst: says nothing without rate",
        ),
        ("[[rpc.rule]]\nlane = \"urgent\"", "mainstay.toml:3: [[rpc.rule]] lane: \"urgent\" is not one of"),
        ("[[rpc.rule]]\nlane = \"low\"\nkesy = [\"a\"]", "did you mean `keys`?"),
    ] {
        let told = config(text).unwrap_err();
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert!(told[0].contains(wanted) && !told[0].contains("hunter2"), "{text}: {told:?}");
    }
}

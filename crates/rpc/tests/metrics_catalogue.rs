//! The catalogue of the role's metrics is a golden file: `docs/metrics-rpc.txt`. `UPDATE_GOLDEN=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::sync::Arc;

use mainstay_rpc::{Metrics, Operated, Rpc};
use mainstay_store::MemoryStore;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// Of two roles, each with a node.
async fn page() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let node = common::Node::new().await;
    let mut roles = Vec::new();
    for name in ["one", "two"] {
        let config = common::config(std::slice::from_ref(&node.uri), &format!("name = {name:?}\n"));
        let role = Rpc::on(Arc::new(MemoryStore::new()), config, &metrics, None);
        let handle = role.handle();
        while !handle.snapshot().nodes.iter().any(|node| node.fit) {
            tokio::task::yield_now().await;
        }
        roles.push(role);
    }
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    page
}

#[tokio::test]
async fn the_catalogue_is_what_the_golden_file_says() {
    let page = page().await;
    let mut catalogue = String::new();
    for line in page.lines().filter(|l| l.starts_with("# HELP") || l.starts_with("# TYPE")) {
        catalogue.push_str(line);
        catalogue.push('\n');
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics-rpc.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &catalogue).unwrap();
    }
    let golden = std::fs::read_to_string(file).unwrap();
    assert_eq!(catalogue, golden, "run with UPDATE_GOLDEN=1 if the change is meant");
    for line in page.lines().filter(|l| l.starts_with("# TYPE")) {
        assert_eq!(page.lines().filter(|l| *l == line).count(), 1, "{line} twice");
    }
    for start in [
        r#"mainstay_rpc_queue_length{rpc="one",lane="fast-track"} 0"#,
        r#"mainstay_rpc_store_up{rpc="two"} 1"#,
        r#"mainstay_rpc_node_fit{rpc="one",node="127.0.0.1:"#,
        r#"mainstay_rpc_requests_total{rpc="two",lane="high",outcome="ok"} 0"#,
    ] {
        assert!(page.contains(start), "no {start} in {page}");
    }
}

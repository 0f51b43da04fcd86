//! The catalogue of the role's metrics is a golden file: `docs/metrics-rpc.txt`. `UPDATE_GOLDEN=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;
#[path = "../../../tests/metrics.rs"]
mod metrics;

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
        let fit = async {
            while !handle.snapshot().nodes.iter().any(|node| node.fit) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(common::PATIENCE, fit).await.expect("its node is fit");
        roles.push(role);
    }
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    page
}

#[tokio::test]
async fn the_catalogue_is_what_the_golden_file_says() {
    let page = page().await;
    metrics::check(&page, "metrics-rpc.txt");
    for start in [
        r#"mainstay_rpc_queue_length{rpc="one",lane="fast-track"} 0"#,
        r#"mainstay_rpc_store_up{rpc="two"} 1"#,
        r#"mainstay_rpc_node_fit{rpc="one",node="127.0.0.1:"#,
        r#"mainstay_rpc_requests_total{rpc="two",lane="high",outcome="ok"} 0"#,
    ] {
        assert!(page.contains(start), "no {start} in {page}");
    }
}

//! What several tests wait for.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod many;
pub mod server;
pub mod tls;

use std::time::Duration;

use mainstay_store::{Listed, NodeList};

/// The outcome of `future`, or a failure after so many seconds.
pub async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(seconds), future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("not within {seconds} s"),
    }
}

/// Waits until the list shows what `wanted` wants.
pub async fn shows(nodes: &NodeList, wanted: impl FnMut(&Listed) -> bool) -> Listed {
    let mut watch = nodes.watch();
    let found = tokio::time::timeout(Duration::from_secs(10), watch.wait_for(wanted)).await;
    match found {
        Ok(listed) => listed.unwrap().clone(),
        Err(_) => panic!("not within 10 s; it shows {:?}", nodes.current()),
    }
}

/// Asks again and again until the answer is yes.
pub async fn eventually(seconds: u64, what: &str, mut yes: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !yes().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(seconds), asking).await.is_err() {
        panic!("not within {seconds} s: {what}");
    }
}

/// Adds so many nodes to each list, to all at once, and waits until all of them show all.
pub async fn add_at_once(lists: &[NodeList], each: usize) {
    let mut adding = tokio::task::JoinSet::new();
    for (who, nodes) in lists.iter().cloned().enumerate() {
        adding.spawn(async move {
            for number in 0..each {
                assert!(nodes.add(&format!("http://{who}-{number}")).await.unwrap());
            }
        });
    }
    within(30, adding.join_all()).await;
    for nodes in lists {
        shows(nodes, |listed| listed.nodes.len() == lists.len() * each).await;
    }
}

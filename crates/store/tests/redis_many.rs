//! Several real Redis servers as the store: behind Sentinel, and as a Cluster.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::many::{AUTH, PASSWORD, Watched, cluster, keeper};
use common::{eventually, shows, within};
use mainstay_store::{NodeList, Reach, RedisAddress, RedisStore};

const KEY: &str = "prio-load-balancer:prio-load-balancer:nodes";

async fn list_at(address: &str) -> NodeList {
    let store = RedisStore::open(RedisAddress::parse(address).unwrap(), "prio-load-balancer:").unwrap();
    within(5, NodeList::open(Arc::new(store), |left, right| left == right)).await
}

#[tokio::test]
async fn sentinels_name_the_master_and_the_next_one() {
    let mut watched = Watched::start().await;
    let nodes = list_at(&watched.url("mymaster?db=2")).await;
    assert_eq!(nodes.current().reach, Reach::Ok);
    nodes.add("http://a").await.unwrap();
    assert_eq!(
        watched.master.cli(&[&AUTH[..], &["-n", "2", "--raw", "GET", KEY]].concat()).await,
        "[\"http://a\"]\n"
    );
    assert_eq!(watched.master.cli(&[&AUTH[..], &["WAIT", "1", "5000"]].concat()).await, "1\n");

    watched.master.kill();
    let lost = shows(&nodes, |listed| !listed.reach.is_ok()).await;
    assert_eq!(*lost.nodes, ["http://a"]);
    eventually(20, "a change on the new master", async || nodes.add("http://b").await.is_ok()).await;
    assert_eq!(*nodes.current().nodes, ["http://a", "http://b"]);
    let on_replica = watched.replica.cli(&[&AUTH[..], &["-n", "2", "--raw", "GET", KEY]].concat()).await;
    assert_eq!(on_replica, "[\"http://a\",\"http://b\"]\n");

    let unknown = list_at(&watched.url("other")).await;
    let error = unknown.add("http://c").await.unwrap_err().to_string();
    assert!(!error.contains(PASSWORD), "{error}");
}

#[tokio::test]
async fn a_cluster_by_any_of_its_nodes() {
    let mut servers = cluster().await;
    let [a, b, c] = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port));

    // Each knows only one node, and one of them a dead one besides.
    let lists = [
        list_at(&format!("redis-cluster://127.0.0.1:1,{a}")).await,
        list_at(&format!("redis-cluster://{b}")).await,
        list_at(&format!("redis-cluster://{c}")).await,
    ];
    for (number, nodes) in lists.iter().enumerate() {
        assert_eq!(nodes.current().reach, Reach::Ok);
        assert!(nodes.add(&format!("http://{number}")).await.unwrap());
    }
    for nodes in &lists {
        shows(nodes, |listed| *listed.nodes == ["http://0", "http://1", "http://2"]).await;
    }

    let keeper = keeper(&servers, KEY).await;
    assert_eq!(servers[keeper].cli(&["EXISTS", KEY]).await, "1\n");
    servers[keeper].kill();
    for nodes in &lists {
        let lost = shows(nodes, |listed| !listed.reach.is_ok()).await;
        assert_eq!(lost.nodes.len(), 3);
        assert!(nodes.add("http://refused").await.unwrap_err().unchanged());
    }
    servers[keeper].restart().await;
    for nodes in &lists {
        shows(nodes, |listed| listed.reach.is_ok()).await;
    }
    eventually(5, "a change", async || lists[0].add("http://3").await.is_ok()).await;
    for nodes in &lists {
        shows(nodes, |listed| listed.nodes.len() == 4).await;
    }
}

//! Several real Redis servers as the store: behind Sentinel, and as a Cluster.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::server::{Redis, cli};
use common::{eventually, shows, within};
use mainstay_store::{NodeList, Reach, RedisAddress, RedisStore};

const KEY: &str = "prio-load-balancer:prio-load-balancer:nodes";

async fn list_at(address: &str) -> NodeList {
    let store = RedisStore::open(RedisAddress::parse(address).unwrap(), "prio-load-balancer:").unwrap();
    within(5, NodeList::open(Arc::new(store), |left, right| left == right)).await
}

#[tokio::test]
async fn sentinels_name_the_master_and_the_next_one() {
    const PASSWORD: &str = "s3cret";
    let auth = ["--no-auth-warning", "-a", PASSWORD];
    let secured = ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"];
    let mut master = Redis::start(&secured).await;
    let port = master.port.to_string();
    let replica = Redis::start(&[&secured[..], &["--replicaof", "127.0.0.1", &port]].concat()).await;
    eventually(10, "a replica in step", async || {
        replica.cli(&[&auth[..], &["INFO", "replication"]].concat()).await.contains("master_link_status:up")
    })
    .await;
    let config = format!(
        "sentinel monitor mymaster 127.0.0.1 {port} 1\nsentinel auth-pass mymaster {PASSWORD}\n\
         sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
    );
    let sentinel =
        Redis::start_with(&[("sentinel.conf", &config)], &["DIR/sentinel.conf", "--sentinel"]).await;
    eventually(10, "a Sentinel that knows the replica", async || {
        let known = sentinel.cli(&["--raw", "SENTINEL", "REPLICAS", "mymaster"]).await;
        known.contains(&replica.port.to_string()) && known.contains("\nok\n")
    })
    .await;

    // The first Sentinel of the list is dead.
    let sentinels = format!("127.0.0.1:1,127.0.0.1:{}", sentinel.port);
    let nodes = list_at(&format!("redis-sentinel://:{PASSWORD}@{sentinels}/mymaster?db=2")).await;
    assert_eq!(nodes.current().reach, Reach::Ok);
    nodes.add("http://a").await.unwrap();
    assert_eq!(
        master.cli(&[&auth[..], &["-n", "2", "--raw", "GET", KEY]].concat()).await,
        "[\"http://a\"]\n"
    );
    assert_eq!(master.cli(&[&auth[..], &["WAIT", "1", "5000"]].concat()).await, "1\n");

    master.kill();
    let lost = shows(&nodes, |listed| !listed.reach.is_ok()).await;
    assert_eq!(*lost.nodes, ["http://a"]);
    eventually(20, "a change on the new master", async || nodes.add("http://b").await.is_ok()).await;
    assert_eq!(*nodes.current().nodes, ["http://a", "http://b"]);
    let on_replica = replica.cli(&[&auth[..], &["-n", "2", "--raw", "GET", KEY]].concat()).await;
    assert_eq!(on_replica, "[\"http://a\",\"http://b\"]\n");

    let unknown = list_at(&format!("redis-sentinel://:{PASSWORD}@{sentinels}/other")).await;
    let error = unknown.add("http://c").await.unwrap_err().to_string();
    assert!(!error.contains(PASSWORD), "{error}");
}

#[tokio::test]
async fn a_cluster_by_any_of_its_nodes() {
    let options = [
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        "cluster.conf",
        "--cluster-node-timeout",
        "1000",
        "--cluster-require-full-coverage",
        "no",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ];
    let mut servers =
        [Redis::start(&options).await, Redis::start(&options).await, Redis::start(&options).await];
    let addresses = [0, 1, 2].map(|index: usize| format!("127.0.0.1:{}", servers[index].port));
    let [a, b, c] = addresses.each_ref().map(String::as_str);
    cli(servers[0].port, &["--cluster", "create", a, b, c, "--cluster-yes"]).await;
    for server in &servers {
        eventually(10, "a cluster", async || {
            server.cli(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
        })
        .await;
    }

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

    let slot = cli(servers[0].port, &["CLUSTER", "KEYSLOT", KEY]).await.trim().parse::<u32>().unwrap();
    // Slots are dealt out in three parts of one size.
    let keeper = (slot / 5461).min(2) as usize;
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

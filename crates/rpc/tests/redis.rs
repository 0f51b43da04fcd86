//! The list of nodes in a real Redis, which is killed and started again under load.

#![allow(clippy::unwrap_used)]

mod common;
/// Real servers, as the store's own tests have them.
#[path = "../../store/tests/common/mod.rs"]
mod servers;

use common::{Act, Bed, CALL, Load, Node, failed, ms};
use mainstay_rpc::{Level, Operated};
use servers::eventually;
use servers::many::{AUTH, Watched, cluster, keeper};
use servers::server::Redis;

/// prio-load-balancer's key by its default prefix.
const KEY: &str = "prio-load-balancer:prio-load-balancer:nodes";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_goes_and_comes_back_under_load() {
    let (one, two) = (Node::new().await, Node::new().await);
    let mut redis = Redis::start(&[]).await;
    redis.cli(&["SET", KEY, &format!("[\"{}\"]", one.uri)]).await;
    let text = format!("redis = \"127.0.0.1:{}\"\n", redis.port);
    let left = Bed::build(&[], &text).await;
    let right = Bed::build(std::slice::from_ref(&two.uri), &text).await;
    // One JSON for all of them, those of the settings on top.
    let both = format!("[\"{}\",\"{}\"]\n", one.uri, two.uri);
    assert_eq!(redis.cli(&["--raw", "GET", KEY]).await, both);
    left.until("both are seen", |bed| bed.views().len() == 2 && bed.views().iter().all(|node| node.fit))
        .await;

    [&one, &two].into_iter().for_each(|node| node.act(Act::Answer(ms(3))));
    let loads = [Load::on(&left, 4), Load::on(&right, 4)];
    redis.kill();
    left.until("it is missed", |bed| bed.handle.health().0 == Level::Degraded).await;
    assert!(left.handle.remove(&one.uri).await.is_err());
    assert_eq!(left.views().len(), 2);
    for (load, bed) in loads.iter().zip([&left, &right]) {
        load.goes_on(bed, 20).await;
    }
    redis.restart().await;
    left.until("it is back", |bed| bed.handle.health().0 == Level::Well).await;
    right.until("it is back", |bed| bed.handle.health().0 == Level::Well).await;
    for load in loads {
        load.ends_well().await;
    }
    // It had lost the list, in whatever order they have it.
    eventually(10, "the list is there again", async || {
        redis.cli(&["--raw", "GET", KEY]).await.contains(&two.uri)
    })
    .await;
    assert_eq!(left.views().len(), 2);

    // What others write is the truth, an empty list too.
    redis.cli(&["SET", KEY, &format!("[\"{}\"]", two.uri)]).await;
    left.until("it follows", |bed| bed.views().len() == 1).await;
    redis.cli(&["SET", KEY, "[]"]).await;
    left.until("it follows", |bed| bed.views().is_empty()).await;
    assert_eq!(left.post(CALL).await.status, 503);
}

/// A list that is lost while Redis is there, or back before anybody missed it: no instance drops its nodes.
#[tokio::test]
async fn a_list_that_is_gone_is_put_back() {
    let node = Node::new().await;
    let redis = Redis::start(&[]).await;
    let text = format!("redis = \"127.0.0.1:{}\"\n", redis.port);
    let beds = [Bed::build(std::slice::from_ref(&node.uri), &text).await, Bed::build(&[], &text).await];
    let list = format!("[\"{}\"]\n", node.uri);
    assert_eq!(redis.cli(&["--raw", "GET", KEY]).await, list);
    for bed in &beds {
        bed.until_fit(&node, true).await;
    }
    let loads = beds.each_ref().map(|bed| Load::on(bed, 1));
    redis.cli(&["FLUSHALL"]).await;
    eventually(10, "the list", async || redis.cli(&["--raw", "GET", KEY]).await == list).await;
    for (load, bed) in loads.iter().zip(&beds) {
        load.goes_on(bed, 50).await;
    }
    for load in loads {
        load.ends_well().await;
    }
    assert!(beds.iter().all(|bed| bed.views().len() == 1));
}

/// `redis_prefix` is what keys begin with, as `REDIS_PREFIX` there.
#[tokio::test]
async fn the_key_has_the_prefix_that_is_set() {
    let node = Node::new().await;
    let redis = Redis::start(&[]).await;
    let text = format!("redis = \"redis://127.0.0.1:{}/3\"\nredis_prefix = \"ours:\"\n", redis.port);
    let _bed = Bed::build(std::slice::from_ref(&node.uri), &text).await;
    let key = redis.cli(&["-n", "3", "--raw", "KEYS", "*"]).await;
    assert_eq!(key, "ours:prio-load-balancer:nodes\n");
}

/// `shared_limits`: with Redis gone each instance keeps its share; back and empty, a node still never has too much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_outlive_redis() {
    let node = Node::workers(4).await;
    node.act(Act::Answer(ms(3)));
    let mut redis = Redis::start(&[]).await;
    let text =
        format!("redis = \"127.0.0.1:{}\"\nshared_limits = true\nrequest_timeout = \"20s\"\n", redis.port);
    let one = Bed::build(std::slice::from_ref(&node.uri), &text).await;
    let two = Bed::build(std::slice::from_ref(&node.uri), &text).await;
    let shares = |one: &Bed, two: &Bed| [one, two].map(|bed| bed.view(&node).workers);
    one.until("each has its half", |one| shares(one, &two) == [2, 2]).await;
    let loads = [Load::on(&one, 6), Load::on(&two, 6)];
    redis.kill();
    for bed in [&one, &two] {
        bed.until("it is missed", |bed| bed.handle.health().0 == Level::Degraded).await;
    }
    for (load, bed) in loads.iter().zip([&one, &two]) {
        load.goes_on(bed, 50).await;
    }
    assert_eq!(shares(&one, &two), [2, 2]);
    redis.restart().await;
    for bed in [&one, &two] {
        bed.until("it is back", |bed| bed.handle.health().0 == Level::Well).await;
    }
    for load in loads {
        load.ends_well().await;
    }
    assert!(node.most() <= 4, "{}", node.most());
    one.until("each has its half", |one| shares(one, &two) == [2, 2]).await;
}

/// `redis` takes the URL of Sentinels: when the master dies, the list is the next one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_by_url() {
    let (one, two) = (Node::new().await, Node::new().await);
    let mut watched = Watched::start().await;
    let text = format!("redis = {:?}\n", watched.url("mymaster?db=2"));
    let bed = Bed::build(std::slice::from_ref(&one.uri), &text).await;
    bed.until("it is well", |bed| bed.handle.health() == (Level::Well, vec![])).await;
    let get = [&AUTH[..], &["-n", "2", "--raw", "GET", KEY]].concat();
    assert_eq!(watched.master.cli(&get).await, format!("[\"{}\"]\n", one.uri));
    assert_eq!(watched.master.cli(&[&AUTH[..], &["WAIT", "1", "5000"]].concat()).await, "1\n");

    one.act(Act::Answer(ms(3)));
    let load = Load::on(&bed, 2);
    watched.master.kill();
    bed.until("it is missed", |bed| bed.handle.health().0 == Level::Degraded).await;
    eventually(20, "a change on the next master", async || bed.handle.add(&two.uri, false).await.is_ok())
        .await;
    assert_eq!(watched.replica.cli(&get).await, format!("[\"{}\",\"{}\"]\n", one.uri, two.uri));
    bed.until("it is well again", |bed| bed.handle.health() == (Level::Well, vec![])).await;
    load.ends_well().await;
    let shown = format!("{:?}", bed.handle.snapshot().store);
    assert!(!shown.contains(servers::many::PASSWORD), "{shown}");
}

/// `redis` takes the URL of a Cluster, of which some are known; while the part with the list is away nothing is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_by_url() {
    let (one, two) = (Node::new().await, Node::new().await);
    let mut all = cluster().await;
    let keeper = keeper(&all, KEY).await;
    let others: Vec<String> =
        (0..3).filter(|at| *at != keeper).map(|at| format!("127.0.0.1:{}", all[at].port)).collect();
    let text = format!("redis = \"redis-cluster://{}\"\n", others.join(","));
    let bed = Bed::build(std::slice::from_ref(&one.uri), &text).await;
    bed.until("it is well", |bed| bed.handle.health() == (Level::Well, vec![])).await;
    assert_eq!(all[keeper].cli(&["--raw", "GET", KEY]).await, format!("[\"{}\"]\n", one.uri));

    all[keeper].kill();
    bed.until("it is missed", |bed| bed.handle.health().0 == Level::Degraded).await;
    assert!(bed.handle.add(&two.uri, false).await.is_err());
    assert_eq!(failed(bed.load(2, 10, CALL)).await, 0);
    all[keeper].restart().await;
    eventually(20, "a change", async || bed.handle.add(&two.uri, false).await.is_ok()).await;
    assert_eq!(bed.views().len(), 2);
}

//! One real Redis server as the store: what it holds, who shares it, what happens when it is away.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::server::Redis;
use common::{add_at_once, eventually, shows, within};
use mainstay_store::{NodeList, Reach, RedisAddress, RedisStore, StoreError};

const PREFIX: &str = "prio-load-balancer:";
const KEY: &str = "prio-load-balancer:prio-load-balancer:nodes";

fn same(left: &str, right: &str) -> bool {
    left == right
}

async fn list_at(address: &str) -> NodeList {
    let store = RedisStore::open(RedisAddress::parse(address).unwrap(), PREFIX).unwrap();
    within(5, NodeList::open(Arc::new(store), same)).await
}

async fn list(redis: &Redis) -> NodeList {
    list_at(&format!("127.0.0.1:{}", redis.port)).await
}

fn why(nodes: &NodeList) -> String {
    match nodes.current().reach {
        Reach::Ok => "nothing".into(),
        Reach::Lost { why, .. } => why.to_string(),
    }
}

#[tokio::test]
async fn key_and_bytes_are_those_of_prio_load_balancer() {
    let redis = Redis::start(&[]).await;
    let nodes = list(&redis).await;
    assert_eq!(nodes.current().reach, Reach::Ok);
    assert!(nodes.add("http://a:8545").await.unwrap());
    assert!(nodes.add("http://b/?x=1&_workers=8").await.unwrap());
    assert!(!nodes.add("http://a:8545").await.unwrap());
    assert_eq!(*nodes.current().nodes, ["http://a:8545", "http://b/?x=1&_workers=8"]);
    assert_eq!(redis.cli(&["--raw", "KEYS", "*"]).await.trim_end(), KEY);
    let raw = redis.cli(&["--raw", "GET", KEY]).await;
    assert_eq!(raw, "[\"http://a:8545\",\"http://b/?x=1\\u0026_workers=8\"]\n");
    assert_eq!(redis.cli(&["TTL", KEY]).await, "-1\n");
    assert_eq!(redis.cli(&["TYPE", KEY]).await, "string\n");
    nodes.remove("http://a:8545").await.unwrap();
    nodes.remove("http://b/?x=1&_workers=8").await.unwrap();
    assert_eq!(redis.cli(&["--raw", "GET", KEY]).await, "[]\n");
}

#[tokio::test]
async fn what_prio_load_balancer_writes_is_seen() {
    let redis = Redis::start(&[]).await;
    redis.cli(&["SET", KEY, r#"["http://old?a=1\u0026b=2"]"#]).await;
    let nodes = list(&redis).await;
    assert_eq!(*nodes.current().nodes, ["http://old?a=1&b=2"]);
    redis.cli(&["SET", KEY, r#"["http://new"]"#]).await;
    shows(&nodes, |listed| *listed.nodes == ["http://new"]).await;
    redis.cli(&["SET", KEY, "null"]).await;
    shows(&nodes, |listed| listed.nodes.is_empty() && listed.reach.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_lose_no_change_and_converge() {
    let redis = Redis::start(&[]).await;
    let lists = [list(&redis).await, list(&redis).await];
    add_at_once(&lists, 50).await;
    assert_eq!(lists[0].current(), lists[1].current());
}

#[tokio::test]
async fn an_instance_is_told_of_a_change_before_it_would_look() {
    let redis = Redis::start(&[]).await;
    let [one, two] = [list(&redis).await, list(&redis).await];
    // Both listen.
    eventually(5, "two subscriptions", async || {
        redis
            .cli(&["--raw", "PUBSUB", "NUMSUB", "prio-load-balancer:mainstay:changed"])
            .await
            .ends_with("\n2\n")
    })
    .await;
    // By looking every half second alone it would take a minute.
    let told = async {
        for number in 0..120 {
            one.add(&format!("http://{number}")).await.unwrap();
            shows(&two, |listed| listed.nodes.len() == number + 1).await;
        }
    };
    within(30, told).await;
}

#[tokio::test]
async fn away_at_the_start_and_there_later() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    redis.cli(&["SET", KEY, r#"["http://kept"]"#]).await;
    redis.kill();
    let nodes = list(&redis).await;
    assert!(nodes.current().nodes.is_empty());
    assert!(why(&nodes).contains("refused"), "{}", why(&nodes));
    let error = nodes.add("http://b").await.unwrap_err();
    assert!(error.unchanged() && error.to_string().contains(&redis.port.to_string()), "{error}");
    redis.restart().await;
    shows(&nodes, |listed| *listed.nodes == ["http://kept"] && listed.reach.is_ok()).await;
    assert!(nodes.add("http://b").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_and_restarted_under_load() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let nodes = list(&redis).await;
    nodes.add("http://first").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|who| {
            let (nodes, stop) = (nodes.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut added, mut refused) = (Vec::new(), Vec::new());
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let uri = format!("http://{who}-{number}");
                    number += 1;
                    match within(5, nodes.add(&uri)).await {
                        Ok(new) => {
                            assert!(new);
                            added.push(uri);
                        }
                        Err(error) if error.unchanged() => refused.push(uri),
                        Err(_) => {}
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (added, refused)
            })
        })
        .collect();
    for _ in 0..2 {
        let before = nodes.current().nodes.len();
        shows(&nodes, |listed| listed.nodes.len() >= before + 10).await;
        redis.kill();
        let lost = shows(&nodes, |listed| !listed.reach.is_ok()).await;
        assert!(lost.nodes.len() >= before + 10, "the last list known is kept");
        redis.restart().await;
        shows(&nodes, |listed| listed.reach.is_ok()).await;
    }
    stop.store(true, Ordering::Relaxed);
    let kept = {
        let mut results = Vec::new();
        for task in load {
            results.push(within(10, task).await.unwrap());
        }
        let kept = nodes.load().await.unwrap();
        for (added, refused) in results {
            assert!(added.iter().all(|uri| kept.contains(uri)), "a change that was made is lost");
            assert!(!refused.iter().any(|uri| kept.contains(uri)), "a change that was refused is there");
        }
        kept
    };
    assert_eq!(*nodes.current().nodes, *kept);
}

#[tokio::test]
async fn what_redis_has_when_it_is_back_is_the_truth() {
    let mut redis = Redis::start(&[]).await;
    let nodes = list(&redis).await;
    nodes.add("http://a").await.unwrap();
    redis.kill();
    shows(&nodes, |listed| !listed.reach.is_ok()).await;
    assert_eq!(*nodes.current().nodes, ["http://a"]);
    // It kept nothing.
    redis.restart().await;
    shows(&nodes, |listed| listed.reach.is_ok() && listed.nodes.is_empty()).await;
}

#[tokio::test]
async fn a_restart_between_two_changes_refuses_none() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let nodes = list(&redis).await;
    nodes.add("http://a").await.unwrap();
    redis.kill();
    redis.restart().await;
    // Whether or not it was noticed meanwhile.
    eventually(2, "a change", async || nodes.add("http://b").await.is_ok()).await;
    assert_eq!(nodes.load().await.unwrap(), ["http://a", "http://b"]);
}

#[tokio::test]
async fn frozen_it_refuses_changes_in_time_and_makes_none_later() {
    let redis = Redis::start(&[]).await;
    let nodes = list(&redis).await;
    nodes.add("http://a").await.unwrap();
    redis.freeze(true);
    let error = within(10, nodes.add("http://b")).await.unwrap_err();
    assert!(error.unchanged(), "{error}");
    shows(&nodes, |listed| !listed.reach.is_ok()).await;
    assert_eq!(*nodes.current().nodes, ["http://a"]);
    redis.freeze(false);
    shows(&nodes, |listed| listed.reach.is_ok()).await;
    assert_eq!(redis.cli(&["--raw", "GET", KEY]).await, "[\"http://a\"]\n");
}

#[tokio::test]
async fn what_is_no_list_stays_where_it_is() {
    let redis = Redis::start(&[]).await;
    let nodes = list(&redis).await;
    nodes.add("http://a").await.unwrap();
    for (set, content) in
        [(["SET", KEY, "{\"no\":1}"], "GET"), (["SET", KEY, ""], "GET"), (["LPUSH", KEY, "x"], "LPOP")]
    {
        redis.cli(&["DEL", KEY]).await;
        redis.cli(&set).await;
        shows(&nodes, |listed| !listed.reach.is_ok()).await;
        let error = nodes.add("http://b").await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
        assert_eq!(redis.cli(&["--raw", content, KEY]).await.trim_end(), set[2]);
        redis.cli(&["SET", KEY, r#"["http://a"]"#]).await;
        shows(&nodes, |listed| listed.reach.is_ok()).await;
    }
}

#[tokio::test]
async fn password_user_and_database() {
    let redis = Redis::start(&[
        "--requirepass",
        "s3cr%t",
        "--user",
        "few",
        "on",
        ">f/w",
        "~prio-load-balancer:*",
        "&prio-load-balancer:*",
        "-@all",
        "+get",
        "+set",
        "+eval",
        "+publish",
        "+subscribe",
        "+select",
    ])
    .await;
    let port = redis.port;
    for (address, database) in [
        (format!("redis://:s3cr%25t@127.0.0.1:{port}/3"), "3"),
        (format!("redis://few:f%2Fw@127.0.0.1:{port}"), "0"),
    ] {
        let nodes = list_at(&address).await;
        nodes.add("http://a").await.unwrap();
        assert_eq!(nodes.current().reach, Reach::Ok);
        let raw =
            redis.cli(&["--no-auth-warning", "-a", "s3cr%t", "-n", database, "--raw", "GET", KEY]).await;
        assert_eq!(raw, "[\"http://a\"]\n");
    }
    for (address, about) in [
        (format!("127.0.0.1:{port}"), "wants a password"),
        (format!("redis://:wr0ng@127.0.0.1:{port}"), "does not accept"),
        (format!("redis://few:wr0ng@127.0.0.1:{port}"), "does not accept"),
    ] {
        let nodes = list_at(&address).await;
        let error = nodes.add("http://user:hidden@a").await.unwrap_err();
        let all = format!("{error} {error:?} {} {:?} {}", why(&nodes), nodes.current(), nodes.place());
        assert!(all.contains(about), "{all}");
        assert!(!["wr0ng", "s3cr", "few", "hidden"].iter().any(|secret| all.contains(secret)), "{all}");
    }
}

#[tokio::test]
async fn a_user_without_permissions_is_told_which_it_takes() {
    let redis = Redis::start(&["--user", "few", "on", ">pw", "~*", "-@all", "+get"]).await;
    let nodes = list_at(&format!("redis://few:pw@127.0.0.1:{}", redis.port)).await;
    assert_eq!(nodes.current().reach, Reach::Ok);
    let error = nodes.add("http://user:hidden@a").await.unwrap_err();
    assert!(error.unchanged() && error.to_string().contains("EVAL"), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn over_tls() {
    let certificates = common::tls::certificates();
    let path = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
    let redis = Redis::start(&[
        "--port",
        "0",
        "--tls-port",
        "PORT",
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        &path("ca.pem"),
        "--tls-cert-file",
        &path("server.pem"),
        "--tls-key-file",
        &path("server.key"),
        "--requirepass",
        "s3cret",
    ])
    .await;
    let nodes = list_at(&format!("rediss://:s3cret@127.0.0.1:{}/1?ca={}", redis.port, path("ca.pem"))).await;
    assert_eq!(why(&nodes), "nothing");
    nodes.add("http://a").await.unwrap();
    let other = list_at(&format!("rediss://:s3cret@localhost:{}/1?ca={}", redis.port, path("ca.pem"))).await;
    assert_eq!(*other.current().nodes, ["http://a"]);
    // The system does not know this authority.
    let stranger = list_at(&format!("rediss://:s3cret@127.0.0.1:{}/1", redis.port)).await;
    assert!(why(&stranger).contains("certificate"), "{}", why(&stranger));
    // Without TLS.
    let plain = list_at(&format!("redis://:s3cret@127.0.0.1:{}/1", redis.port)).await;
    assert!(!plain.current().reach.is_ok());
    for nodes in [stranger, plain] {
        assert!(!format!("{} {:?}", why(&nodes), nodes.add("http://b").await).contains("s3cret"));
    }
}

#[tokio::test]
async fn a_certificate_file_that_is_not_there_is_an_error() {
    let address = RedisAddress::parse("rediss://a?ca=/nowhere/ca.pem").unwrap();
    let error = RedisStore::open(address, PREFIX).err().unwrap();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

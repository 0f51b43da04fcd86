//! Guards before simulated beacon nodes: open, closed, and what becomes of requests in between.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{SOON, config, refusal, start};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mainstay_beacon::config::Execution;
use mainstay_node::{Action, Level, Operated as _};
use mainstay_sim::beacon::{BeaconHandle, BeaconServer, BeaconState};
use mainstay_sim::chain::genesis;
use mainstay_sim::{El, ElServer, Fault};
use mainstay_wire::jwt::Secret;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};

async fn node(name: &str) -> BeaconHandle {
    BeaconServer::start(name, BeaconState::default()).await.unwrap()
}

const ANY: &str = "/eth/v1/beacon/headers/head?x=y";

#[tokio::test]
async fn an_open_guard_passes_everything_on_and_says_who_served() {
    let node = node("bn").await;
    let role = start(config(&[node.url()], "")).await;
    role.until(0, "fit").await;
    let request = Request::put("/any/path?a=b")
        .header("x-mine", "1")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("accept", "application/octet-stream;q=1,application/json;q=0.9")
        .body(Bytes::from_static(b"\x00\xff"))
        .unwrap();
    let reply = role.ask(0, request).await.unwrap();
    assert_eq!(
        (reply.status, &reply.headers()["x-mainstay-node"]),
        (StatusCode::OK, &"beacon-1".parse().unwrap())
    );
    let [received] = node.requests_to("/any/path").try_into().unwrap();
    assert_eq!((received.method.as_str(), received.path.as_str()), ("PUT", "/any/path?a=b"));
    assert_eq!(received.body.unwrap(), &b"\x00\xff"[..]);
    assert_eq!(received.headers["x-mine"], "1");
    assert_eq!(received.headers["accept"], "application/octet-stream;q=1,application/json;q=0.9");
    assert!(!received.headers.contains_key("x-hop"));
    assert_eq!(role.handle.health().0, Level::Well);
}

#[tokio::test]
async fn each_failing_check_closes_the_guard_and_healing_opens_it() {
    let node = node("bn").await;
    let role = start(config(&[node.url()], "min_peers = [5]\nattnets = \"0\"")).await;
    node.with(|state| (state.peers, state.attnets) = (5, "0x0100000000000000".to_owned()));
    role.until(0, "fit").await;
    type Change = fn(&mut BeaconState);
    let changes: [(Change, Change, &str); 5] = [
        (|s| s.is_syncing = true, |s| s.is_syncing = false, "syncing: is_syncing: true"),
        (|s| s.is_optimistic = true, |s| s.is_optimistic = false, "is_optimistic: true"),
        (|s| s.el_offline = Some(true), |s| s.el_offline = None, "el_offline: true"),
        (|s| s.peers = 4, |s| s.peers = 5, "peers: 4 peers, at least 5"),
        (
            |s| s.attnets = "0x0200000000000000".to_owned(),
            |s| s.attnets = "0x0100000000000000".to_owned(),
            "subnets: 0 of 1 subnets, lacks 0",
        ),
    ];
    for (fail, heal, told) in changes {
        node.with(fail);
        role.until(0, "unfit").await;
        let asked = node.count("/eth/v1/beacon/headers");
        let message = refusal(&role.get(0, ANY).await);
        assert!(message.contains(told), "{told}: {message}");
        assert_eq!(node.count("/eth/v1/beacon/headers"), asked, "it reached an unfit node");
        assert_eq!(role.handle.health().0, Level::Down);
        node.with(heal);
        role.until(0, "fit").await;
        assert_eq!(role.get(0, ANY).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn every_way_of_not_answering_a_check_closes_the_guard() {
    let node = node("bn").await;
    let role = start(config(&[node.url()], "timeout = \"300ms\"")).await;
    role.until(0, "fit").await;
    for (fault, told) in [
        (Fault::HttpError(500, String::new()), "HTTP 500 of /eth/v1/node/syncing"),
        (Fault::Hang, "no answer within"),
        (Fault::Reset, "connection reset"),
    ] {
        node.set(fault.at("/eth/v1/node/syncing"));
        role.until(0, "unfit").await;
        let message = refusal(&role.get(0, ANY).await);
        assert!(message.contains(told), "{told}: {message}");
        node.heal();
        role.until(0, "fit").await;
    }
    node.set(Fault::HttpError(206, String::new()).at("/eth/v1/node/health"));
    role.until(0, "unfit").await;
    assert!(refusal(&role.get(0, ANY).await).contains("health: HTTP 206"));
}

/// Rounds are an hour apart: only traffic can tell.
#[tokio::test]
async fn a_node_that_dies_is_out_with_one_failed_request() {
    let node = node("bn").await;
    let role = start(config(&[node.url()], "")).await;
    role.until(0, "fit").await;
    let slow = start(config(&[node.url()], "[[beacon.tune]]\ncheck = \"syncing\"\ninterval = \"1h\"\n[[beacon.tune]]\ncheck = \"health\"\ninterval = \"1h\"\n[[beacon.tune]]\ncheck = \"chain\"\ninterval = \"1h\"")).await;
    slow.until(0, "fit").await;
    node.set(Fault::Down);
    let message = refusal(&slow.get(0, ANY).await);
    assert!(message.contains("traffic: connection re"), "{message}");
    role.until(0, "unfit").await;
    node.heal();
    role.until(0, "fit").await;
}

#[tokio::test]
async fn a_request_that_waits_for_a_frozen_node_waits_no_longer_than_the_checks() {
    let node = node("bn").await;
    let role = start(config(&[node.url()], "timeout = \"300ms\"")).await;
    role.until(0, "fit").await;
    node.set(Fault::Hang);
    let message = refusal(&timeout(SOON, role.get(0, ANY)).await.unwrap());
    assert!(message.contains("no answer within"), "{message}");
}

#[tokio::test]
async fn event_streams_pass_as_they_come_and_end_when_the_guard_closes() {
    let node = node("bn").await;
    let role = start(config(&[node.url()], "min_peers = [1]")).await;
    node.with(|state| state.peers = 1);
    role.until(0, "fit").await;
    let mut stream = role.open(0, "/eth/v1/events?topics=head").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    node.wait_for_streams(1, SOON).await.unwrap();
    node.comment("still here");
    let mut next =
        async || timeout(SOON, stream.body.frame()).await.unwrap().map(|f| f.unwrap().into_data().unwrap());
    assert!(String::from_utf8_lossy(&next().await.unwrap()).contains("still here"));
    assert_eq!(role.handle.snapshot().nodes[0].open_streams, 1);
    node.with(|state| state.peers = 0);
    while next().await.is_some() {}
    role.until(0, "unfit").await;
    node.wait_for_streams(0, SOON).await.unwrap();
    assert!(refusal(&role.get(0, "/eth/v1/events?topics=head").await).contains("peers"));
}

#[tokio::test]
async fn a_guard_whose_head_lags_behind_the_others_closes_and_the_last_stays_if_asked_to() {
    let (one, two) = (node("one").await, node("two").await);
    for node in [&one, &two] {
        node.with(|state| (state.genesis_time, state.head_slot) = (1_600_000_000, 100));
    }
    let role = start(config(&[one.url(), two.url()], "keep_last = true")).await;
    role.until(0, "fit").await;
    role.until(1, "fit").await;
    two.with(|state| state.head_slot = 103);
    role.until(0, "unfit").await;
    assert!(refusal(&role.get(0, ANY).await).contains("lag: head 100, 3 slots behind"));
    // The other dies: better a late head than none.
    two.set(Fault::Down);
    role.until(1, "unfit").await;
    role.until(0, "fit").await;
    two.heal();
    role.until(1, "fit").await;
    role.until(0, "unfit").await;
    two.with(|state| state.is_syncing = true);
    role.until(1, "unfit").await;
    role.until(0, "fit").await;
}

#[tokio::test]
async fn a_node_of_another_chain_is_out() {
    let (one, two) = (node("one").await, node("two").await);
    two.with(|state| state.genesis_root = BeaconState::default().root(7));
    let role = start(config(&[one.url(), two.url()], "")).await;
    role.until(0, "fit").await;
    role.until(1, "unfit").await;
    assert!(refusal(&role.get(1, ANY).await).contains("chain: genesis"));
}

#[tokio::test]
async fn the_operator_drains_a_guard_and_haproxy_hears_of_it() {
    let node = node("bn").await;
    let role = start(config(&[node.url()], "agent_check = [\"127.0.0.1:0\"]")).await;
    role.until(0, "fit").await;
    let agent = role.agents[0];
    let says = async || {
        let mut said = String::new();
        let mut stream = tokio::net::TcpStream::connect(agent).await.unwrap();
        timeout(SOON, stream.read_to_string(&mut said)).await.unwrap().unwrap();
        said
    };
    assert_eq!(says().await, "up\n");
    let act = |action| role.handle.act(action);
    act(Action::Drain { node: "beacon-1".to_owned() }).await.unwrap();
    assert_eq!(says().await, "drain\n");
    assert!(refusal(&role.get(0, ANY).await).contains("operator: drained"));
    act(Action::Uncordon { node: "beacon-1".to_owned() }).await.unwrap();
    assert_eq!(says().await, "ready up\n");
    assert_eq!(role.get(0, ANY).await.status, StatusCode::OK);
    node.with(|state| state.is_syncing = true);
    role.until(0, "unfit").await;
    let down = says().await;
    assert!(
        down.starts_with("ready down #") && down.contains("is_syncing: true") && down.ends_with('\n'),
        "{down}"
    );
    assert!(act(Action::Drain { node: "x".to_owned() }).await.is_err());
}

#[tokio::test]
async fn a_new_network_begins_behind_a_guard_and_an_empty_execution_node_of_an_old_one_does_not() {
    let node = node("bn").await;
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    let (el, _) = ElServer::start(El::new("el", genesis(1, 0)), secret.clone()).await.unwrap();
    let guarded = |genesis_time: u64| {
        node.with(|state| state.genesis_time = genesis_time);
        let mut config = config(&[node.url()], "");
        let url = el.url().parse().unwrap();
        config.guards[0].execution_node = Some(Execution { url, secret: Some(secret.clone()) });
        start(config)
    };
    // In 2096.
    guarded(4_000_000_000).await.until(0, "fit").await;
    let old = guarded(1_606_824_023).await;
    let give_up = Instant::now() + SOON;
    // Unfit it is from the start, while nothing is known.
    while !refusal(&old.get(0, ANY).await).contains("execution: block 0 is") {
        assert!(Instant::now() < give_up, "{:#?}", old.handle.snapshot());
    }
}

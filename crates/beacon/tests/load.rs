//! A guard under load: a thousand event streams are open while 128 connections send requests, and all of them end when it closes.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use common::{SOON, config, start};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mainstay_beacon::handle::GuardView;
use mainstay_node::Operated as _;
use mainstay_sim::beacon::{BeaconServer, BeaconState};
use mainstay_wire::client::StreamedReply;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, timeout};

const STREAMS: usize = 1000;
const CONNECTIONS: usize = 128;
const EVENTS: u64 = 5;
/// Each connection asks so often while all is well.
const REQUESTS: usize = 20;

/// A stream has two ends before the guard and two behind it, all in this process.
fn room_for_files() {
    let wanted = 4 * (STREAMS + CONNECTIONS) as u64 + 500;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |most| most.min(wanted)));
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    }
}

/// The slots of a stream's head events, until it ends.
async fn heads(mut stream: StreamedReply) -> Vec<u64> {
    let mut text = Vec::new();
    while let Some(frame) = timeout(SOON, stream.body.frame()).await.expect("it ends") {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let slot = |data: &str| serde_json::from_str::<serde_json::Value>(data).unwrap()["slot"].clone();
    data.map(|data| slot(data).as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_streams_and_128_connections_at_once() {
    room_for_files();
    let node = BeaconServer::start("bn", BeaconState::default()).await.unwrap();
    // Checks that have to wait for a processor aren't what this is about.
    let role = start(config(&[node.url()], "min_peers = [1]\ntimeout = \"20s\"")).await;
    role.until(0, "fit").await;

    // One after the other: a client waits two seconds for its connection, and all are accepted by this process.
    let mut reading = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let stream = role.open(0, "/eth/v1/events?topics=head").await;
        assert_eq!(stream.status, StatusCode::OK);
        reading.spawn(heads(stream));
    }
    node.wait_for_streams(STREAMS, SOON).await.unwrap();
    let view = |role: &common::Running| -> GuardView { role.handle.snapshot().nodes[0].clone() };
    assert_eq!(view(&role).open_streams, STREAMS as i64);

    let (closed, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, closed, served) = (role.client(0), closed.clone(), served.clone());
        asking.spawn(async move {
            let ask = async || {
                let request = Request::get("/eth/v1/beacon/headers/head").body(Bytes::new()).unwrap();
                client.send(request, Instant::now() + SOON).await.unwrap().status
            };
            for _ in 0..REQUESTS {
                assert_eq!(ask().await, StatusCode::OK);
            }
            served.fetch_add(1, Ordering::SeqCst);
            // Until the guard closes nobody is refused, and afterwards everybody.
            loop {
                let was_closed = closed.load(Ordering::SeqCst);
                match ask().await {
                    StatusCode::OK => assert!(!was_closed, "served by a closed guard"),
                    StatusCode::SERVICE_UNAVAILABLE => return,
                    other => panic!("{other}"),
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for slot in 1..=EVENTS {
        node.head(slot);
    }
    // All go on while it closes.
    common::soon(|| (served.load(Ordering::SeqCst) == CONNECTIONS).then_some(())).await;
    node.with(|state| state.peers = 0);
    role.until(0, "unfit").await;
    closed.store(true, Ordering::SeqCst);

    while let Some(heads) = reading.join_next().await {
        assert_eq!(heads.unwrap(), (1..=EVENTS).collect::<Vec<u64>>());
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    node.wait_for_streams(0, SOON).await.unwrap();
    common::soon(|| (view(&role).open_streams == 0).then_some(())).await;
}

//! Requests that wait: order, bounds, deadlines. Numbers are those of prio-load-balancer's list of defects.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{Act, Bed, CALL, Node, PATIENCE, header, ms, text};
use http::{Method, Request};
use mainstay_rpc::Operated;
use tokio::time::Instant;

const HIGH: (&str, &str) = ("X-High-Priority", "true");
const FAST: (&str, &str) = ("X-Fast-Track", "true");

/// A node with one worker, which one request has.
async fn busy(text: &str) -> (Node, Bed) {
    let node = Node::workers(1).await;
    let bed = Bed::new(&[&node], text).await;
    node.act(Act::Gate);
    bed.start(&[], CALL);
    bed.until("the node is busy", |_| node.in_flight() == 1).await;
    (node, bed)
}

/// 17: what comes later and is more urgent goes first, whatever was taken up before.
#[tokio::test]
async fn the_urgent_go_first() {
    let (node, bed) = busy("").await;
    let mut all = Vec::new();
    for (n, headers) in [&[][..], &[], &[HIGH], &[HIGH], &[FAST], &[FAST], &[FAST]].into_iter().enumerate() {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"eth_call"}}"#);
        all.push(bed.start(headers, &body));
        bed.until("it waits", |bed| bed.waiting() == n + 1).await;
    }
    node.open(8);
    for request in all {
        assert_eq!(request.await.unwrap().status, 200);
    }
    let ids: Vec<u64> = node.got()[1..]
        .iter()
        .map(|got| serde_json::from_slice::<serde_json::Value>(&got.body).unwrap()["id"].as_u64().unwrap())
        .collect();
    // Two fast-track for each high, then low.
    assert_eq!(ids, [4, 5, 2, 6, 3, 0, 1]);
}

/// Rules by path and by API key go before the headers: who is to be low can't make itself urgent.
#[tokio::test]
async fn a_rule_goes_before_the_headers() {
    let rules =
        "[[rpc.rule]]\nkeys = \"cheap\"\nlane = \"low\"\n[[rpc.rule]]\npath = \"/sim\"\nlane = \"high\"\n";
    let (node, bed) = busy(rules).await;
    let key = ("x-api-key", "cheap");
    let cheap = bed.start(&[FAST, key], CALL);
    bed.until("one waits", |bed| bed.waiting() == 1).await;
    let client = bed.client.clone();
    let sim = Request::post("/sim").body(CALL.into()).unwrap();
    let sim = tokio::spawn(async move { client.send(sim, Instant::now() + PATIENCE).await.unwrap() });
    bed.until("two wait", |bed| bed.waiting() == 2).await;
    let other = bed.start(&[FAST, ("x-api-key", "dear")], CALL);
    bed.until("three wait", |bed| bed.waiting() == 3).await;
    let lanes: Vec<(&str, usize)> =
        bed.handle.snapshot().lanes.iter().map(|view| (view.lane, view.waiting)).collect();
    assert_eq!(lanes, [("fast-track", 1), ("high", 1), ("low", 1)]);
    node.open(4);
    for request in [cheap, sim, other] {
        assert_eq!(request.await.unwrap().status, 200);
    }
}

/// 6, 16: a lane's limit is its own, and there is one for all.
#[tokio::test]
async fn a_full_lane_refuses_its_own_alone() {
    let (node, bed) = busy("low_max = 1\nqueue_max = 3\n").await;
    let low = bed.start(&[], CALL);
    bed.until("one waits", |bed| bed.waiting() == 1).await;
    let reply = bed.post(CALL).await;
    assert_eq!(reply.status, 503);
    assert!(text(&reply).contains(r#""message":"queue full""#), "{}", text(&reply));
    assert!(text(&reply).contains(r#""id":7"#));
    assert_eq!(header(&reply, "retry-after").as_deref(), Some("1"));
    let others = [bed.start(&[HIGH], CALL), bed.start(&[FAST], CALL)];
    bed.until("both wait", |bed| bed.waiting() == 3).await;
    assert_eq!(bed.post_with(&[FAST], CALL).await.status, 503, "all together are full");
    node.open(4);
    for request in others.into_iter().chain([low]) {
        assert_eq!(request.await.unwrap().status, 200);
    }
}

/// 8: a deadline that passes in the queue is answered then, not when somebody looks: the node never gives its slot back.
#[tokio::test]
async fn a_deadline_in_the_queue_is_kept() {
    let (node, bed) = busy("request_timeout = \"300ms\"\ntry_timeout = \"250ms\"\nretries_max = 1\n").await;
    let reply = bed.start(&[], CALL).await.unwrap();
    assert_eq!(reply.status, 504);
    // Nothing was free in time, or the node was but had no time left.
    let said = text(&reply);
    assert!(
        said.contains("request timeout hit before processing") || said.contains("node timeout"),
        "{said}"
    );
    bed.until("nobody waits", |bed| bed.waiting() == 0).await;
    drop(node);
}

/// 8: with no node to be had the answer comes at the deadline too.
#[tokio::test]
async fn requests_wait_for_a_node_until_their_deadline() {
    let mut node = Node::new().await;
    let bed = Bed::new(&[&node], "request_timeout = \"1s\"\n").await;
    node.kill().await;
    bed.until_fit(&node, false).await;
    let reply = bed.post(CALL).await;
    assert_eq!(reply.status, 504);
    assert!(text(&reply).contains("request timeout hit before processing"));
    let request = bed.start(&[], CALL);
    bed.until("it waits", |bed| bed.waiting() == 1).await;
    node.revive().await;
    assert_eq!(request.await.unwrap().status, 200, "it is back in time");
    let node = Node::new().await;
    let refusing = Bed::new(&[&node], "refuse_when_unfit = true\nhealth = \"none\"\n").await;
    refusing.handle.drain(&node.uri).unwrap();
    assert_eq!(refusing.post(CALL).await.status, 503);
}

/// 4: a retry keeps its place, also in a queue that is full.
#[tokio::test]
async fn a_retry_is_not_refused_by_a_full_queue() {
    let (one, two) = (Node::workers(1).await, Node::workers(1).await);
    let bed = Bed::new(&[&one, &two], "low_max = 1\n").await;
    one.act(Act::GateReply(503, "".into()));
    two.act(Act::Gate);
    let mut all = vec![bed.start(&[], CALL), bed.start(&[], CALL)];
    bed.until("both are busy", |_| one.in_flight() + two.in_flight() == 2).await;
    all.push(bed.start(&[], CALL));
    bed.until("the queue is full", |bed| bed.waiting() == 1).await;
    // What fails now has to wait for the other node, and meets a full queue. The one that waits gets its slot.
    one.act(Act::Gate);
    one.open(1);
    bed.until("the next one is there", |_| one.count() == 2).await;
    assert_eq!(bed.waiting(), 1);
    two.open(2);
    one.open(1);
    for request in all {
        assert_eq!(request.await.unwrap().status, 200);
    }
    assert_eq!((one.count(), two.count()), (2, 2));
}

/// 8: low requests aren't starved, if that is wanted.
#[tokio::test]
async fn a_low_request_that_has_waited_long_goes_next() {
    let (node, bed) =
        busy("low_max_wait = \"1ms\"\nrequest_timeout = \"20s\"\ntry_timeout = \"10s\"\n").await;
    let low = bed.start(&[], r#"{"jsonrpc":"2.0","id":"low","method":"eth_call"}"#);
    bed.until("it waits", |bed| bed.waiting() == 1).await;
    let waits = Instant::now();
    let high: Vec<_> = (0..6).map(|_| bed.start(&[HIGH], CALL)).collect();
    bed.until("all wait", |bed| bed.waiting() == 7).await;
    bed.until("it has waited long", |_| waits.elapsed() > ms(1)).await;
    node.open(8);
    assert_eq!(low.await.unwrap().status, 200);
    for request in high {
        assert_eq!(request.await.unwrap().status, 200);
    }
    let place = node.got().iter().position(|got| got.body.windows(5).any(|part| part == b"\"low\""));
    assert_eq!(place, Some(1));
}

/// 5: nobody waits for ever for nodes that are gone.
#[tokio::test]
async fn when_the_last_node_goes_those_who_wait_are_told() {
    let (node, bed) = busy("").await;
    let waiting = bed.start(&[], CALL);
    bed.until("it waits", |bed| bed.waiting() == 1).await;
    bed.handle.remove(&node.uri).await.unwrap();
    let reply = waiting.await.unwrap();
    assert_eq!(reply.status, 503);
    assert!(text(&reply).contains("no nodes available"));
    assert_eq!(bed.post(CALL).await.status, 503);
}

/// 11: what is asked while others change it is right.
#[tokio::test]
async fn the_queue_is_shown_while_it_moves() {
    let node = Node::workers(4).await;
    let bed = Bed::new(&[&node], "").await;
    let load = bed.load(16, 40, CALL);
    for _ in 0..200 {
        let shown = bed.handle.snapshot();
        assert!(
            shown.nodes[0].in_flight <= 4 && shown.lanes.iter().map(|lane| lane.waiting).sum::<usize>() <= 16
        );
        assert!(bed.metric("mainstay_rpc_queue_length{rpc=\"rpc\",lane=\"low\"").unwrap() <= 16.0);
        tokio::task::yield_now().await;
    }
    assert_eq!(common::failed(load).await, 0);
    assert_eq!(bed.metric("mainstay_rpc_queue_length{rpc=\"rpc\",lane=\"low\""), Some(0.0));
}

/// What a node that was removed still works on says nothing of the one that took its place.
#[tokio::test]
async fn a_late_failure_is_not_the_failure_of_who_came_after() {
    let named = |node: &Node| format!(r#"{{"uri":"{}"}}"#, node.uri);
    let (node, other) = (Node::workers(8).await, Node::new().await);
    let bed = Bed::new(&[&node, &other], "health = \"none\"\nretries_max = 1\n").await;
    // Whichever node gets one, this one gets some.
    node.act(Act::GateReply(502, Bytes::new()));
    other.act(Act::Gate);
    let calls: Vec<_> = (0..8).map(|_| bed.start(&[], CALL)).collect();
    bed.until("it works", |_| node.in_flight() >= 3).await;
    for method in [Method::DELETE, Method::POST] {
        assert_eq!(bed.ask(method, "/nodes", &named(&node)).await.status, 200);
    }
    node.act(Act::Answer(ms(0)));
    other.open(9);
    bed.until_fit(&node, true).await;
    node.open(9);
    for call in calls {
        call.await.unwrap();
    }
    // It is the only one left, so it alone can answer.
    assert_eq!(bed.ask(Method::DELETE, "/nodes", &named(&other)).await.status, 200);
    assert_eq!(bed.post(CALL).await.status, 200);
}

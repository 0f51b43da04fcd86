//! The list of nodes. Numbers are those of prio-load-balancer's list of defects.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Act, Bed, CALL, Node, PATIENCE, failed, ms, text};
use http::Method;
use mainstay_rpc::{Level, Metrics, Operated, Rpc};
use mainstay_store::{BoxFuture, MemoryStore, Name, NodeList, Seen, Store, StoreError, Swap};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn uri(uri: &str) -> String {
    format!(r#"{{"uri":"{uri}"}}"#)
}

/// A store in which changes wait until they are let through.
struct Slow {
    store: MemoryStore,
    asked: Notify,
    gate: Semaphore,
}

impl Store for Slow {
    fn read<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.store.read(name)
    }

    fn swap<'a>(
        &'a self,
        name: &'a Name,
        expected: Option<&'a Bytes>,
        value: Bytes,
    ) -> BoxFuture<'a, Result<Swap, StoreError>> {
        Box::pin(async move {
            self.asked.notify_one();
            self.gate.acquire().await.unwrap().forget();
            self.store.swap(name, expected, value).await
        })
    }

    fn watch(&self, name: &Name) -> watch::Receiver<Seen> {
        self.store.watch(name)
    }

    fn place(&self) -> &'static str {
        "slow"
    }
}

/// Whoever comes while the settings' nodes are still being put on the list isn't told that there are none.
#[tokio::test(start_paused = true)]
async fn nobody_is_served_before_the_nodes_are_there() {
    let node = Node::new().await;
    let (asked, gate) = (Notify::new(), Semaphore::new(0));
    let store = Arc::new(Slow { store: MemoryStore::new(), asked, gate });
    let config = common::config(std::slice::from_ref(&node.uri), "");
    let rpc = Rpc::on(store.clone(), config, &Metrics::new(&mut Registry::default()), None);
    store.asked.notified().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = common::client(listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let served = tokio::spawn(rpc.serve(listener, stop.clone(), PATIENCE));
    let call = client.send(common::with(&[], CALL), Instant::now() + PATIENCE);
    let mut call = std::pin::pin!(call);
    let early = tokio::time::timeout(ms(1000), &mut call).await;
    assert!(early.is_err(), "{early:?}");
    store.gate.add_permits(9);
    assert_eq!(call.await.unwrap().status, 200);
    stop.cancel();
    served.await.unwrap();
}

/// 3: a dead node on the list, or in the settings, stops nothing.
#[tokio::test]
async fn a_dead_node_at_the_start_is_unfit_and_comes_back() {
    let (mut dead, alive) = (Node::new().await, Node::new().await);
    dead.kill().await;
    let store = Arc::new(MemoryStore::new());
    let list = NodeList::open(store.clone(), |one, other| one == other).await;
    list.add(&dead.uri).await.unwrap();
    let bed = Bed::on(store, std::slice::from_ref(&alive.uri), "").await;
    bed.until_fit(&alive, true).await;
    let shown = text(&bed.get("/nodes").await);
    assert_eq!(shown, format!("[\"{}\",\"{}\"]\n", dead.uri, alive.uri), "those on the list come first");
    assert_eq!(failed(bed.load(2, 10, CALL)).await, 0);
    let (level, reasons) = bed.handle.health();
    assert_eq!(level, Level::Degraded);
    assert!(reasons[0].contains("connection refused"), "{reasons:?}");
    dead.revive().await;
    bed.until_fit(&dead, true).await;
    assert_eq!(bed.handle.health(), (Level::Well, vec![]));
}

#[tokio::test]
async fn nodes_come_and_go_under_load() {
    let nodes = [Node::workers(2).await, Node::workers(2).await];
    nodes.iter().for_each(|node| node.act(Act::Answer(ms(1))));
    let bed = Bed::new(&[&nodes[0]], "").await;
    let load = bed.load(8, 150, CALL);
    for _ in 0..5 {
        assert_eq!(bed.ask(Method::POST, "/nodes", &uri(&nodes[1].uri)).await.status, 200);
        let before = nodes[1].count();
        bed.until("it is used", |_| nodes[1].count() > before || load.is_empty()).await;
        assert_eq!(bed.ask(Method::DELETE, "/nodes", &uri(&nodes[1].uri)).await.status, 200);
    }
    assert_eq!(failed(load).await, 0);
    assert!(nodes.iter().all(|node| node.most() <= 2), "{:?}", nodes.each_ref().map(Node::most));
}

#[tokio::test]
async fn a_drained_node_finishes_what_it_has() {
    let (one, two) = (Node::workers(1).await, Node::workers(1).await);
    let bed = Bed::new(&[&one, &two], "").await;
    one.act(Act::Gate);
    two.act(Act::Gate);
    let requests = [bed.start(&[], CALL), bed.start(&[], CALL)];
    bed.until("both work", |_| one.in_flight() + two.in_flight() == 2).await;
    bed.handle.drain(&one.address.to_string()).unwrap();
    assert!(bed.view(&one).draining);
    one.open(1);
    two.open(1);
    for request in requests {
        assert_eq!(request.await.unwrap().status, 200);
    }
    two.open(5);
    assert_eq!(failed(bed.load(2, 2, CALL)).await, 0);
    assert_eq!(one.count(), 1);
    bed.handle.undrain(&one.address.to_string()).unwrap();
    one.open(9);
    two.open(9);
    assert_eq!(failed(bed.load(2, 4, CALL)).await, 0);
    assert!(one.count() > 1);
}

#[tokio::test]
async fn what_the_api_refuses_and_why() {
    let (node, mut gone) = (Node::new().await, Node::new().await);
    gone.kill().await;
    let bed = Bed::new(&[&node], "").await;
    for (body, status, part) in [
        ("", 400, "EOF"),
        ("no", 400, "expected"),
        ("[]", 400, "no JSON object"),
        (r#"{"uri":7}"#, 400, "uri is no text"),
        (r#"{"uri":""}"#, 400, "AddNode failed: is empty"),
        (r#"{"uri":"foo"}"#, 400, "AddNode failed: not a URL"),
        (r#"{"uri":"ws://x"}"#, 400, "not http or https"),
        (r#"{"uri":"http://x?_workers=0"}"#, 400, "_workers=0"), // 5
        (&uri(&gone.uri), 400, "healthcheck failed: connection refused"),
        (&uri(&node.uri), 200, ""),
        (&uri(&format!("{}/", node.uri)), 200, ""),
        (&uri(&format!("{}/?_workers=3", node.uri)), 200, ""),
        (r#"{"URI":"foo"} trailing"#, 400, "not a URL"),
    ] {
        let reply = bed.ask(Method::POST, "/nodes", body).await;
        assert_eq!(reply.status, status, "{body}: {}", text(&reply));
        assert!(text(&reply).contains(part), "{body}: {}", text(&reply));
    }
    assert_eq!(bed.views().len(), 1, "one endpoint is one node");
    let reply = bed.ask(Method::DELETE, "/nodes", &uri(&gone.uri)).await;
    assert_eq!((reply.status.as_u16(), text(&reply).as_str()), (404, "node not found\n"));
    let forced = format!(r#"{{"uri":"{}","force":true}}"#, gone.uri);
    assert_eq!(bed.ask(Method::POST, "/nodes", &forced).await.status, 200);
    assert!(!bed.view(&gone).fit);
    assert_eq!(bed.ask(Method::DELETE, "/nodes", &uri(&format!("{}/", gone.uri))).await.status, 200);
    assert_eq!(bed.views().len(), 1);
}

/// 12: whoever asks for the list doesn't wait for a node that is being added.
#[tokio::test]
async fn the_list_is_shown_while_a_node_is_checked() {
    let (node, hung) = (Node::new().await, Node::new().await);
    hung.probes(Some(Act::Gate));
    let bed = Bed::new(&[&node], "").await;
    let handle = bed.handle.clone();
    let uri = hung.uri.clone();
    let adding = tokio::spawn(async move { handle.add(&uri, false).await });
    assert_eq!(text(&bed.get("/nodes").await), format!("[\"{}\"]\n", node.uri));
    assert_eq!(bed.post(CALL).await.status, 200);
    assert!(!adding.is_finished());
    hung.probes(None);
    hung.open(1);
    adding.await.unwrap().unwrap();
    assert_eq!(bed.views().len(), 2);
}

#[tokio::test]
async fn instances_with_one_list_agree() {
    let (one, two) = (Node::new().await, Node::new().await);
    let store = Arc::new(MemoryStore::new());
    let left = Bed::on(store.clone(), std::slice::from_ref(&one.uri), "").await;
    let right = Bed::on(store, &[], "").await;
    right.until_fit(&one, true).await;
    right.handle.add(&two.uri, false).await.unwrap();
    left.until("it is there", |bed| bed.views().len() == 2).await;
    left.handle.remove(&one.uri).await.unwrap();
    right.until("it is gone", |bed| bed.views().len() == 1).await;
    assert_eq!(failed(right.load(1, 5, CALL)).await, 0);
    assert_eq!((one.count(), two.count()), (0, 5));
}

#[tokio::test]
async fn the_settings_size_of_a_node_is_the_right_one() {
    let node = Node::workers(5).await;
    let store = Arc::new(MemoryStore::new());
    let list = NodeList::open(store.clone(), |one, other| one == other).await;
    list.add(&format!("http://{}?_workers=2", node.address)).await.unwrap();
    let bed = Bed::on(store, std::slice::from_ref(&node.uri), "").await;
    assert_eq!(bed.views().len(), 1);
    assert_eq!(bed.view(&node).workers, 5);
    bed.until_fit(&node, true).await;
    // Changed by another instance: the same node, with what is known of it.
    list.edit(|nodes| {
        nodes[0] = nodes[0].replace("_workers=5", "_workers=7");
        true
    })
    .await
    .unwrap();
    bed.until("it has grown", |bed| bed.view(&node).workers == 7).await;
    assert!(bed.view(&node).fit);
}

/// What the list shows can be sent back to take the node out, also where that isn't all of its URI.
#[tokio::test]
async fn a_node_is_taken_out_by_what_the_list_shows_of_it() {
    let node = Node::new().await;
    let (one, other) =
        (node.uri.replace("http://", "http://me:one@"), node.uri.replace("http://", "http://me:two@"));
    let bed = Bed::of(&[one, other.clone(), format!("{}/v3/0123456789abcdef0123", node.uri)], "").await;
    let shown = node.uri.replace("http://", "http://***@");
    assert_eq!(
        text(&bed.get("/nodes").await),
        format!("[\"{shown}\",\"{shown}\",\"{}/v3/***\"]\n", node.uri)
    );
    let status = async |what: &str| bed.ask(Method::DELETE, "/nodes", &uri(what)).await.status.as_u16();
    assert_eq!(status(&shown).await, 404, "it could be either");
    assert_eq!(status(&other).await, 200);
    assert_eq!(status(&shown).await, 200);
    assert_eq!(status(&format!("{}/v3/***", node.uri)).await, 200);
    assert!(bed.views().is_empty());
}

/// A node that was removed while it worked leaves no label behind, whatever becomes of its call.
#[tokio::test]
async fn a_removed_node_leaves_the_metrics() {
    let (mut going, other) = (Node::new().await, Node::new().await);
    let bed = Bed::new(&[&going, &other], "").await;
    [&going, &other].into_iter().for_each(|node| node.act(Act::Gate));
    let requests = [bed.start(&[], CALL), bed.start(&[], CALL)];
    bed.until("both work", |_| going.in_flight() + other.in_flight() == 2).await;
    bed.handle.remove(&going.uri).await.unwrap();
    going.kill().await;
    other.open(2);
    for request in requests {
        assert_eq!(request.await.unwrap().status, 200);
    }
    let label = format!("node=\"{}\"", going.address);
    assert!(!bed.page().contains(&label), "{}", bed.page());
}

/// prio-load-balancer knows a node by its text: written another way, it would have it twice on a list that both share.
#[tokio::test]
async fn nodes_are_stored_as_they_were_written() {
    let written = ["http://localhost:1?_workers=8", "http://localhost:2/", "http://localhost:3"];
    let store = Arc::new(MemoryStore::new());
    let list = NodeList::open(store.clone(), |one, other| one == other).await;
    list.add("http://localhost:2").await.unwrap();
    let _bed = Bed::on(store, &written.map(str::to_owned), "").await;
    assert_eq!(list.load().await.unwrap(), ["http://localhost:2", written[0], written[2]]);
}

#[tokio::test]
async fn the_api_can_be_bound_to_the_admin_listener_alone() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "api = \"admin\"\n").await;
    assert_eq!(bed.get("/nodes").await.status, 404);
}

#[tokio::test]
async fn probes_as_configured() {
    for (health, text) in [("net_version", "net_version"), ("none", "none")] {
        let mut node = Node::new().await;
        // Whatever a node answers that isn't Ethereum's.
        node.probes(Some(Act::Reply(200, vec![], "hello".into())));
        let bed = Bed::new(&[&node], &format!("health = \"{text}\"\n")).await;
        node.kill().await;
        let request = bed.start(&[], CALL);
        bed.until_fit(&node, false).await;
        node.revive().await;
        bed.until_fit(&node, true).await;
        assert_eq!(request.await.unwrap().status, 200, "{health}");
    }
    let node = Node::new().await;
    node.probes(Some(Act::Reply(200, vec![], r#"{"jsonrpc":"2.0","id":1,"result":true}"#.into())));
    let bed = Bed::of(std::slice::from_ref(&node.uri), "").await;
    bed.until("it syncs", |bed| bed.view(&node).condition == "syncing").await;
    assert!(!bed.view(&node).fit);
    assert_eq!(bed.handle.health().0, Level::Down);
}

/// `health = "ethereum"`: who is behind the best, or on another chain than most, gets nothing.
#[tokio::test]
async fn who_lags_or_is_on_another_chain_gets_nothing() {
    let [well, late, elsewhere] = [Node::new().await, Node::new().await, Node::new().await];
    late.is_at(13, 1);
    elsewhere.is_at(16, 5);
    let uris = [&well, &late, &elsewhere].map(|node| node.uri.clone());
    let bed = Bed::of(&uris, "").await;
    bed.until("both are found out", |bed| {
        bed.view(&well).fit
            && bed.view(&late).condition == "lagging"
            && bed.view(&elsewhere).condition == "misconfigured"
    })
    .await;
    assert_eq!(failed(bed.load(2, 10, CALL)).await, 0);
    assert_eq!([&well, &late, &elsewhere].map(Node::count), [20, 0, 0]);
    assert_eq!(bed.handle.health().0, Level::Degraded);
    // Two behind is within max_lag.
    well.is_at(18, 1);
    late.is_at(18, 1);
    bed.until_fit(&late, true).await;
}

/// A store that can't be reached: what is known is served, nothing is changed.
#[tokio::test]
async fn without_the_store_nodes_are_served_and_changes_refused() {
    let (node, other) = (Node::new().await, Node::new().await);
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redis = format!("redis = \"{}\"\n", free.local_addr().unwrap());
    drop(free);
    let bed = Bed::build(std::slice::from_ref(&node.uri), &redis).await;
    bed.until_fit(&node, true).await;
    assert_eq!(failed(bed.load(2, 5, CALL)).await, 0);
    let (level, reasons) = bed.handle.health();
    assert_eq!(level, Level::Degraded);
    assert!(reasons[0].contains("the list of nodes can't be reached"), "{reasons:?}");
    for (method, body) in [(Method::POST, uri(&other.uri)), (Method::DELETE, uri(&node.uri))] {
        assert_eq!(bed.ask(method, "/nodes", &body).await.status, 503);
    }
    assert_eq!(text(&bed.get("/nodes").await), format!("[\"{}\"]\n", node.uri));
    assert_eq!(bed.metric("mainstay_rpc_store_up"), Some(0.0));
}

/// The instances together give a node no more than it has.
#[tokio::test]
async fn instances_share_a_nodes_slots() {
    let node = Node::workers(4).await;
    node.act(Act::Answer(ms(1)));
    let store = Arc::new(MemoryStore::new());
    let text = "redis = \"127.0.0.1:1\"\nshared_limits = true\nrequest_timeout = \"20s\"\n";
    let one = Bed::on(store.clone(), std::slice::from_ref(&node.uri), text).await;
    let mut two = Bed::on(store, std::slice::from_ref(&node.uri), text).await;
    let workers = |bed: &Bed| bed.views()[0].workers;
    // Before they have agreed nobody uses any; what is sent meanwhile waits.
    let loads = [one.load(8, 40, CALL), two.load(8, 40, CALL)];
    for load in loads {
        assert_eq!(failed(load).await, 0);
    }
    one.until("all are shared out", |one| workers(one) == 2 && workers(&two) == 2).await;
    assert!(node.most() <= 4, "{}", node.most());
    // Who goes leaves its part to the others.
    two.stop.cancel();
    tokio::time::timeout(PATIENCE, &mut two.served).await.unwrap().unwrap();
    one.until("all are one's", |one| workers(one) == 4).await;
}

#[tokio::test]
async fn the_list_outlives_the_process() {
    let (one, two) = (Node::new().await, Node::new().await);
    let dir = tempfile::tempdir().unwrap();
    let text = format!("state_dir = {:?}\n", dir.path());
    let bed = Bed::build(std::slice::from_ref(&one.uri), &text).await;
    bed.handle.add(&two.uri, false).await.unwrap();
    drop(bed);
    let bed = Bed::build(&[], &text).await;
    assert_eq!(common::text(&bed.get("/nodes").await), format!("[\"{}\",\"{}\"]\n", one.uri, two.uri));
}

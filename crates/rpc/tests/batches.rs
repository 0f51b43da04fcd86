//! Batches: one request, or one for each of their calls (`split_batches`).

#![allow(clippy::unwrap_used)]

mod common;

use common::{Act, Bed, CALL, Node, ms, text};
use mainstay_rpc::Operated;
use serde_json::{Value, json};

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn a_batch_is_one_request_or_split_and_put_in_order() {
    let node = Node::new().await;
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"eth_a"},{"jsonrpc":"2.0","method":"eth_n"},7,{"jsonrpc":"2.0","id":3,"method":"eth_b"}]"#;
    let whole = Bed::new(&[&node], "").await;
    assert_eq!(whole.post(batch).await.status, 200);
    assert_eq!(node.got().last().unwrap().body, batch);
    let split = Bed::new(&[&node], "split_batches = true\n").await;
    node.act(Act::Answer(ms(1)));
    let reply = split.post_with(&[("accept-encoding", "gzip")], batch).await;
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    let compressed = node
        .got()
        .iter()
        .filter(|got| got.headers.get("accept-encoding").is_some_and(|coding| coding != "identity"))
        .count();
    assert_eq!(compressed, 0, "answers that are put together must be readable");
    let ids: Vec<&Value> = reply.as_array().unwrap().iter().map(|part| &part["id"]).collect();
    assert_eq!(ids, [&json!(1), &Value::Null, &json!(3)]);
    assert_eq!(reply[1]["error"]["code"], -32600);
    assert_eq!(node.count(), 4);
    // A part that no node answers is an error of its own.
    node.act(Act::Reply(500, vec![("content-type", "application/json")], "oops".into()));
    let reply: Value = serde_json::from_slice(&split.post(batch).await.body).unwrap();
    assert_eq!(reply[0]["error"]["message"], "proxying request failed: HTTP 500 without a JSON-RPC answer");
}

/// Each call has its own lane, and the answers the order of the batch.
#[tokio::test]
async fn the_calls_of_a_batch_wait_in_their_own_lanes() {
    let node = Node::workers(1).await;
    let text = "split_batches = true\n[[rpc.rule]]\nmethod = \"eth_urgent\"\nlane = \"fast-track\"\n";
    let bed = Bed::new(&[&node], text).await;
    node.act(Act::Gate);
    let first = bed.start(&[], CALL);
    bed.until("the node is busy", |_| node.in_flight() == 1).await;
    let batch =
        r#"[{"jsonrpc":"2.0","id":1,"method":"eth_late"},{"jsonrpc":"2.0","id":2,"method":"eth_urgent"}]"#;
    let batch = bed.start(&[], batch);
    bed.until("both wait", |bed| bed.waiting() == 2).await;
    let waiting = |lane: &str| {
        bed.handle.snapshot().lanes.iter().find(|view| view.lane == lane).map(|view| view.waiting)
    };
    assert_eq!((waiting("fast-track"), waiting("low")), (Some(1), Some(1)));
    node.open(3);
    assert_eq!(first.await.unwrap().status, 200);
    let reply = parsed(&batch.await.unwrap().body);
    assert_eq!((&reply[0]["id"], &reply[1]["id"]), (&json!(1), &json!(2)));
    let methods: Vec<Value> = node.got()[1..].iter().map(|got| parsed(&got.body)["method"].clone()).collect();
    assert_eq!(methods, ["eth_urgent", "eth_late"]);
}

/// A lane that is full refuses those calls for which it has no room, and the others are answered.
#[tokio::test]
async fn a_batch_may_be_let_in_in_part() {
    let node = Node::workers(1).await;
    let bed = Bed::new(&[&node], "split_batches = true\nlow_max = 1\n").await;
    node.act(Act::Gate);
    let calls: Vec<String> =
        (0..3).map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_call"}}"#)).collect();
    let batch = bed.start(&[], &format!("[{}]", calls.join(",")));
    bed.until("one works, one waits", |bed| node.in_flight() == 1 && bed.waiting() == 1).await;
    node.open(2);
    let reply = batch.await.unwrap();
    assert_eq!(reply.status, 200);
    let reply = parsed(&reply.body);
    assert_eq!((&reply[0]["result"], &reply[1]["result"]), (&json!("ok"), &json!("ok")));
    assert_eq!((&reply[2]["id"], &reply[2]["error"]["message"]), (&json!(2), &json!("queue full")));
}

/// Nothing is due for notifications, which are sent all the same.
#[tokio::test]
async fn a_batch_of_notifications_has_no_answer() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "split_batches = true\n").await;
    let notice = r#"{"jsonrpc":"2.0","method":"eth_n"}"#;
    let reply = bed.post(&format!("[{notice},{notice}]")).await;
    assert_eq!((reply.status.as_u16(), text(&reply).as_str()), (200, ""));
    assert_eq!(node.count(), 2);
}

/// What is no batch goes on as it is, an empty one too.
#[tokio::test]
async fn what_is_no_batch_is_not_split() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "split_batches = true\n").await;
    for body in ["[]", "[{", "[1,2", " {\"id\":[1]}", "text"] {
        bed.post(body).await;
        assert_eq!(node.got().last().unwrap().body, body);
    }
}

/// With its client a batch goes whole: what waits and what nodes work on.
#[tokio::test]
async fn a_client_that_goes_away_takes_all_calls_with_it() {
    let node = Node::workers(1).await;
    let bed = Bed::new(&[&node], "split_batches = true\n").await;
    node.act(Act::Hang);
    let batch = bed.start(&[], &format!("[{CALL},{CALL},{CALL}]"));
    bed.until("one works, two wait", |bed| node.in_flight() == 1 && bed.waiting() == 2).await;
    batch.abort();
    bed.until("all are gone", |bed| node.in_flight() + bed.waiting() == 0 && bed.in_flight() == 0).await;
    assert_eq!(node.count(), 1);
    let gone = "mainstay_rpc_requests_total{rpc=\"rpc\",lane=\"low\",outcome=\"gone\"";
    bed.until("each is counted", |bed| bed.metric(gone) == Some(3.0)).await;
}

/// A node that dies under a batch costs no call of it.
#[tokio::test]
async fn calls_of_a_batch_are_tried_again_on_their_own() {
    let (mut dying, well) = (Node::workers(4).await, Node::workers(4).await);
    let bed = Bed::new(&[&dying, &well], "split_batches = true\n").await;
    dying.act(Act::Gate);
    well.act(Act::Answer(ms(1)));
    let batch = bed.start(&[], &format!("[{}]", [CALL; 6].join(",")));
    bed.until("both have some", |_| dying.in_flight() > 0 && well.count() > 0).await;
    dying.kill().await;
    let reply = parsed(&batch.await.unwrap().body);
    let answered = reply.as_array().unwrap().iter().filter(|part| part["result"] == "ok").count();
    assert_eq!(answered, 6, "{reply}");
}

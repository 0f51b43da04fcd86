//! What sync-proxy's users send, and what they get.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use http::{Method, StatusCode};
use mainstay_sim::request;
use serde_json::{Value, json};
use tokio::time::Instant;

#[tokio::test]
async fn get_of_any_path_is_200_and_empty() {
    let bed = Setup::new(1).start().await;
    let mut probe = bed.cl("probe");
    probe.secret = None;
    for (method, path) in [(Method::GET, "/"), (Method::GET, "/any/path?x=1"), (Method::HEAD, "/health")] {
        let request = probe.request(method.clone(), path, "");
        let reply = probe.client.send(request, Instant::now() + PATIENCE).await.unwrap();
        assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0), "{method} {path}");
    }
    assert_eq!(bed.leader(), None, "who asks for its health is no consensus client");
}

#[tokio::test]
async fn put_is_a_post_whatever_the_path() {
    let bed = Setup::new(1).ready().await;
    let a = bed.cl("a");
    let block = next(&bed.genesis);
    let request = a.request(Method::PUT, "/some/where?x=1", request::new_payload(1, 4, &block));
    let reply = a.client.send(request, Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(header(&reply, "content-type").as_deref(), Some("application/json"));
    let told: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(told["result"]["status"], "VALID");
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order_and_brings_payload_and_head() {
    let bed = Setup::new(2).ready().await;
    let block = next(&bed.genesis);
    let body = |cl: &Cl| {
        let payload = String::from_utf8(request::new_payload(7, 4, &block).to_vec()).unwrap();
        let head = String::from_utf8(cl.head_body(block.hash, None).to_vec()).unwrap();
        format!(r#"[{payload},{head},{{"jsonrpc":"2.0","id":9,"method":"eth_chainId"}},7]"#)
    };
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    bed.leads(&a).await;
    // Two consensus clients send the same at once.
    let (first, second) = tokio::join!(a.json(body(&a)), b.json(body(&b)));
    for told in [&first, &second] {
        assert_eq!((&told[0]["id"], &told[0]["result"]["status"]), (&json!(7), &json!("VALID")), "{told}");
        assert_eq!((&told[2]["id"], &told[2]["result"]), (&json!(9), &json!("0x539")), "{told}");
        assert_eq!(code(&told[3]), -32600, "{told}");
    }
    assert_eq!(status(&first[1]["result"]), "VALID", "the leader's own head comes after its payload");
    bed.followed(&[0, 1], block.hash).await;
    assert_eq!((bed.sent(0, &block), bed.sent(1, &block)), (1, 1));
}

#[tokio::test]
async fn what_is_no_call_gets_a_json_rpc_error() {
    let bed = Setup::new(1).ready().await;
    let a = bed.cl("a");
    for (body, expected) in [
        ("", -32700),
        ("{", -32700),
        ("null", -32600),
        ("7", -32600),
        ("{}", -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600),
    ] {
        let reply = a.post(body).await;
        let told: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("{body}: {e}"));
        assert_eq!((reply.status, code(&told)), (StatusCode::BAD_REQUEST, expected), "{body}: {told}");
    }
}

#[tokio::test]
async fn parameters_that_cant_be_read_get_the_els_own_error_or_ours() {
    let bed = Setup::new(1).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    bed.leads(&a).await;
    for params in ["[]", "[{}]", "{}", r#"[{"headBlockHash":"0x12"},null]"#] {
        for cl in [&a, &b] {
            assert_eq!(code(&cl.call("engine_forkchoiceUpdatedV3", params).await), -32602, "{params}");
            assert_eq!(code(&cl.call("engine_newPayloadV4", params).await), -32602, "{params}");
        }
    }
}

//! §3: which node a call goes to, by family and never by version; failover; and that the consensus client has its answer in
//! time.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_sim::request;
use mainstay_sim::{ElHandle, Family, Fault};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// How many calls of a method a node got.
fn count(el: &ElHandle, method: &str) -> usize {
    el.calls().iter().filter(|c| c.method == method).count()
}

/// Probes once, at the start: from then on only traffic shows what a node is like.
fn unprobed(n: usize) -> Setup {
    Setup::new(n).set("probe_interval", "60s")
}

/// B17: a fork needs no release.
#[tokio::test]
async fn versions_that_do_not_exist_yet_work() {
    let mut bed = Setup::new(3).ready().await;
    let block = bed.chain.grow();
    let body = |text: &[u8], from: &str, to: &str| String::from_utf8_lossy(text).replacen(from, to, 1);
    let payload = body(&request::new_payload(1, 4, &block), "newPayloadV4", "newPayloadV99");
    assert_eq!(status(&result(bed.json(payload).await)), "VALID");
    let state = request::Forkchoice::head(block.hash);
    let attributes = bed.chain.next_attributes();
    let head = request::forkchoice_updated(2, 3, state, Some(&attributes));
    let told = result(bed.json(body(&head, "UpdatedV3", "UpdatedV99")).await);
    assert_eq!(status(&told), "VALID");
    let id = told["payloadId"].as_str().unwrap();
    let built = result(bed.call("engine_getPayloadV99", &format!("[\"{id}\"]")).await);
    assert_eq!(built["executionPayload"]["parentHash"], block.hash.to_string());
    let bodies =
        result(bed.call("engine_getPayloadBodiesByHashV99", &format!("[[\"{}\"]]", block.hash)).await);
    assert_eq!(bodies.as_array().unwrap().len(), 1);
    for el in &bed.els {
        el.wait_until(PATIENCE, |el| el.head().hash == block.hash).await.unwrap();
        assert_eq!((count(el, "engine_newPayloadV99"), count(el, "engine_forkchoiceUpdatedV99")), (1, 1));
    }
}

#[tokio::test]
async fn everything_else_goes_to_the_primary_as_it_came() {
    let bed = Setup::new(2).ready().await;
    for method in [
        "eth_getBlockByNumber",
        "engine_somethingNewV1",
        "net_version",
        "engine_exchangeTransitionConfigurationV1",
        "engine_getInclusionListV1",
    ] {
        let body =
            format!(r#"{{ "id":"k", "params":["latest",false],"jsonrpc":"2.0",  "method":"{method}"}}"#);
        bed.json(body.clone()).await;
        let call = bed.els[0].calls().into_iter().rfind(|c| c.method == method).unwrap();
        assert_eq!(call.raw, body.as_bytes(), "byte for byte");
        assert_eq!(count(&bed.els[1], method), 0, "{method}");
    }
}

/// B12: no failures until the next health check.
#[tokio::test]
async fn when_the_primary_fails_the_next_node_answers() {
    for fault in [
        Fault::Down,
        Fault::HttpError(503, "sorry".into()),
        Fault::HttpError(200, "not JSON".into()),
        Fault::HttpError(401, "signature is invalid".into()),
        Fault::Garbage,
        Fault::Truncate,
        Fault::Hang,
    ] {
        let bed = unprobed(2).set("timeout", "1s").ready().await;
        bed.els[0].set(fault.clone());
        for method in ["eth_chainId", "engine_exchangeTransitionConfigurationV1", "engine_getInclusionListV1"]
        {
            let reply = bed.call(method, "[{}]").await;
            assert!(reply.get("result").is_some(), "{fault}: {reply}");
        }
        // An unknown engine method too.
        assert_eq!(code(&bed.call("engine_unheardOfV1", "[]").await), -32601, "{fault}");
    }
}

#[tokio::test]
async fn a_json_rpc_error_is_an_answer() {
    let bed = unprobed(2).ready().await;
    bed.els[0].set(Fault::RpcError(-32000).on(Family::Eth));
    for el in &bed.els {
        el.clear_calls();
    }
    let reply = bed.json(request::call(8, "eth_call", "[]")).await;
    assert_eq!(reply, json!({"jsonrpc":"2.0","id":8,"error":{"code":-32000,"message":"Server error"}}));
    assert_eq!(count(&bed.els[1], "eth_call"), 0);
    assert_eq!(bed.view("el1").condition, "fit", "and says nothing of health");
}

/// B16: the node's own error is what the consensus client sees.
#[tokio::test]
async fn errors_of_nodes_come_through() {
    let bed = unprobed(1).ready().await;
    for error in [-38002, -38003, -38004, -38005, -32602] {
        bed.els[0].set(Fault::RpcError(error));
        for method in [
            "engine_newPayloadV4",
            "engine_forkchoiceUpdatedV3",
            "engine_getBlobsV1",
            "engine_getPayloadBodiesByHashV1",
            "engine_exchangeCapabilities",
            "engine_getClientVersionV1",
        ] {
            let reply = bed.call(method, "[[]]").await;
            assert_eq!(code(&reply), error, "{method}");
        }
    }
}

#[tokio::test]
async fn a_transaction_is_not_sent_twice_once_it_may_have_been_delivered() {
    for fault in [Fault::Truncate, Fault::Hang, Fault::HttpError(502, "?".into()), Fault::Garbage] {
        for method in ["eth_sendRawTransaction", "eth_sendTransaction", "eth_sendBundle", "eth_cancelBundle"]
        {
            let bed = unprobed(2).set("timeout", "800ms").ready().await;
            bed.els[0].set(fault.clone());
            let reply = bed.call(method, "[\"0x02f8\"]").await;
            assert_eq!(code(&reply), -32000, "{fault}");
            assert!(reply["error"]["message"].as_str().unwrap().contains("may have been delivered"));
            assert_eq!((count(&bed.els[0], method), count(&bed.els[1], method)), (1, 0), "{fault}");
        }
    }
}

/// A node that reads the request and resets the connection.
#[tokio::test]
async fn a_transaction_that_was_read_before_a_reset_is_not_sent_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let bed = unprobed(1).node(format!("{url}#name=resets")).start().await;
    // Its probe fails, so it is asked only when the other one refuses.
    let resets = tokio::spawn(async move {
        let mut transactions = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 4096];
            let n = stream.read(&mut seen).await.unwrap();
            transactions += usize::from(String::from_utf8_lossy(&seen[..n]).contains("sendRaw"));
            stream.set_zero_linger().unwrap();
            if transactions > 0 {
                return transactions;
            }
        }
    });
    bed.condition("resets", "unfit").await;
    bed.els[0].set(Fault::Down);
    let reply = bed.call("eth_sendRawTransaction", "[\"0x02f8\"]").await;
    assert!(reply["error"]["message"].as_str().unwrap().contains("may have been delivered"), "{reply}");
    assert_eq!(resets.await.unwrap(), 1);
}

#[tokio::test]
async fn a_transaction_that_was_refused_is_sent_to_the_next_node() {
    for fault in [Fault::Down, Fault::HttpError(401, "signature is invalid".into())] {
        let bed = unprobed(2).ready().await;
        bed.els[0].set(fault.clone());
        let reply = bed.call("eth_sendRawTransaction", "[\"0x02f8\"]").await;
        assert!(reply["result"].is_string(), "{fault}: {reply}");
        assert_eq!(count(&bed.els[1], "eth_sendRawTransaction"), 1);
    }
}

/// B13: nothing hangs with its node.
#[tokio::test]
async fn every_method_is_answered_in_time_when_the_primary_hangs() {
    let bed = unprobed(2).set("timeout", "7500ms").ready().await;
    bed.els[0].set(Fault::Hang);
    let calls = [
        ("engine_getBlobsV1", "[[\"0x01\"]]"),
        ("engine_getBlobsV2", "[[\"0x01\"]]"),
        ("engine_getBlobsV3", "[[\"0x01\"]]"),
        ("engine_getClientVersionV1", "[{}]"),
        ("engine_exchangeCapabilities", "[[]]"),
        ("engine_exchangeTransitionConfigurationV1", "[{}]"),
        ("engine_getInclusionListV1", "[\"0x01\"]"),
        ("engine_getPayloadV5", "[\"0x01\"]"),
    ];
    for (method, reply, took) in bed.all(&calls).await {
        assert!(took < ms(1000), "{method} took {took:?}");
        let reply: Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(reply.get("result").is_some() || code(&reply) == -38001, "{method}: {reply}");
    }
}

#[tokio::test]
async fn every_method_is_answered_in_time_when_all_hang() {
    let bed = unprobed(2).set("timeout", "1500ms").ready().await;
    for el in &bed.els {
        el.set(Fault::Hang);
    }
    let within_a_second = [
        ("engine_getBlobsV1", "[[]]"),
        ("engine_getClientVersionV1", "[{}]"),
        ("engine_exchangeCapabilities", "[[]]"),
        ("engine_exchangeTransitionConfigurationV1", "[{}]"),
        ("engine_getInclusionListV1", "[[]]"),
    ];
    let within_the_timeout = [
        ("engine_getPayloadBodiesByHashV1", "[[]]"),
        ("engine_newPayloadV4", "[{}]"),
        ("engine_forkchoiceUpdatedV3", "[{}]"),
        ("eth_chainId", "[]"),
    ];
    let (soon, later) = tokio::join!(bed.all(&within_a_second), bed.all(&within_the_timeout));
    for (replies, most) in [(soon, ms(1000)), (later, ms(2200))] {
        for (method, reply, took) in replies {
            assert!(took < most, "{method} took {took:?}");
            let reply: Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(reply["id"].is_u64(), "{method}");
        }
    }
}

#[tokio::test]
async fn a_nodes_own_timeout_lowers_its_deadline() {
    let mut bed = unprobed(2).suffix(1, "#timeout=200").set("straggler_wait", "timeout").ready().await;
    bed.els[1].set(Fault::Hang);
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "VALID");
    assert!(took >= ms(200) && took < ms(1500), "{took:?}");
    assert_eq!(bed.round("engine_newPayload").await.votes[1].1, "timeout");
}

/// B18: what a node says outside JSON-RPC stays there.
#[tokio::test]
async fn http_errors_of_nodes_are_never_relayed_as_200() {
    let mut bed = unprobed(2).ready().await;
    let block = bed.chain.grow();
    bed.new_payload(&block).await;
    for el in &bed.els {
        el.set(Fault::HttpError(503, "secret backend text".into()));
    }
    for method in [
        "eth_chainId",
        "engine_exchangeCapabilities",
        "engine_getBlobsV1",
        "engine_getBlobsV2",
        "engine_getPayloadBodiesByHashV1",
        "engine_getClientVersionV1",
        "engine_newPayloadV4",
    ] {
        let reply = bed.post(request::call(6, method, "[[]]")).await;
        assert_eq!(reply.status, 503, "{method}");
        assert_eq!(header(&reply, "content-type").as_deref(), Some("application/json"));
        let text = String::from_utf8_lossy(&reply.body);
        assert!(!text.contains("secret backend"), "{method}: {text}");
        let reply: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((code(&reply), &reply["id"]), (-32000, &6.into()), "{method}");
    }
}

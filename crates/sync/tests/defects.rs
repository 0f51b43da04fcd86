//! One test for each defect of sync-proxy, by its number in the facts.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use http::StatusCode;
use mainstay_node::Operated;
use mainstay_sim::{Family, Fault, request};
use mainstay_wire::client::{Client, Options};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The owner is patient with ELs, beyond what a test waits.
fn patient(n: usize) -> Setup {
    Setup::new(n).set("request_timeout", "60s").set("timeout", "60s").set("straggler_wait", "60s")
}

#[tokio::test]
async fn defect_1_one_hung_el_blocks_no_reply() {
    for hung in [0, 1] {
        let bed = patient(2).ready().await;
        let (a, b) = (bed.cl("a"), bed.cl("b"));
        bed.els[hung].set(Fault::Hang);
        let blocks = chain(&bed.genesis, 20);
        for block in &blocks {
            a.block(block).await;
            b.block(block).await;
        }
        bed.followed(&[1 - hung], blocks[19].hash).await;
        bed.els[hung].heal();
        bed.followed(&[hung], blocks[19].hash).await;
    }
}

#[tokio::test]
async fn defect_2_abandoned_calls_leave_no_connection() {
    let (sink, proxy) = (Sink::start(true).await, Sink::start(true).await);
    let bed = Setup::new(1)
        .node(format!("{}#name=hung", sink.url))
        .set("timeout", "500ms")
        .set("proxies", &proxy.url)
        .set("proxy_request_timeout", "500ms")
        .start()
        .await;
    bed.condition("el1", "fit").await;
    let a = bed.cl("a");
    let mut calls = tokio::task::JoinSet::new();
    for (i, block) in chain(&bed.genesis, 60).into_iter().enumerate() {
        let client = Client::new(&bed.url, Options::default()).unwrap();
        let body = match i % 3 {
            0 => request::new_payload(1, 4, &block),
            1 => a.head_body(block.hash, None),
            _ => request::call(1, "engine_exchangeCapabilities", "[[]]"),
        };
        let request = a.request(http::Method::POST, "/", body);
        calls.spawn(async move {
            // Answered or not, its connection ends with it.
            let _ = client.send(request, Instant::now() + ms(20)).await;
        });
    }
    calls.join_all().await;
    proxy.until("the proxy is reached", |proxy| !proxy.bodies().is_empty()).await;
    // Probes go on, one at a time, and calls have ended with their timeout.
    sink.until("no connection is left", |sink| sink.open() <= 2).await;
    proxy.until("none to the proxy either", |proxy| proxy.open() <= 1).await;
}

#[tokio::test]
async fn defect_3_the_slowest_el_delays_no_reply() {
    let bed = patient(2).ready().await;
    let a = bed.cl("a");
    bed.els[1].set(Fault::Lag(PATIENCE * 2).on(Family::NewPayload));
    for block in chain(&bed.genesis, 3) {
        a.block(&block).await;
    }
}

#[tokio::test]
async fn defect_4_a_time_in_the_future_pins_nobody() {
    let bed = Setup::new(1).pass_through().ready().await;
    let (a, forger) = (bed.cl("a"), bed.cl("forger"));
    bed.leads(&a).await;
    let mut at = bed.genesis.clone();
    for after in [u64::MAX, 10 * PAST, PAST + 600] {
        forger.payload(&child(&at, after, b"future")).await;
        at = next(&at);
        a.block(&at).await;
        bed.followed(&[0], at.hash).await;
        assert_eq!(bed.leader(), Some(bed.shown(&a)));
    }
}

#[tokio::test]
async fn defect_5_who_doesnt_lead_gets_json_rpc_and_no_empty_body() {
    let bed = Setup::new(1).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    a.block(&next(&bed.genesis)).await;
    for body in [b.head_body(next(&bed.genesis).hash, None), request::call(1, "eth_syncing", "[]")] {
        let reply = b.post(body).await;
        assert_eq!(header(&reply, "content-type").as_deref(), Some("application/json"));
        let told: Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(!told["result"].is_null(), "{told}");
    }
}

#[tokio::test]
async fn defect_6_a_refused_token_or_an_http_error_is_no_answer() {
    for (fault, own_secret) in [(None, true), (Some(Fault::HttpError(503, "x".into())), false)] {
        let setup = Setup::new(2);
        // Its secret isn't the one that mainstay has for it.
        let setup = if own_secret { setup.own_secret(0) } else { setup };
        let bed = setup.start().await;
        if own_secret {
            std::fs::write(bed.dir.path().join("el0.hex"), "99".repeat(32)).unwrap();
        }
        bed.condition("el2", "fit").await;
        if let Some(fault) = fault {
            bed.els[0].set(fault);
        } else {
            bed.els[0].set(Fault::HttpError(401, "invalid token".into()));
        }
        let a = bed.cl("a");
        for block in chain(&bed.genesis, 3) {
            a.block(&block).await;
            assert_eq!(result(a.call("eth_chainId", "[]").await), "0x539");
        }
    }
}

#[tokio::test]
async fn defect_7_copies_to_proxies_share_a_connection() {
    let proxy = Sink::start(false).await;
    let bed = Setup::new(1).set("proxies", &proxy.url).ready().await;
    let a = bed.cl("a");
    for (i, block) in chain(&bed.genesis, 30).iter().enumerate() {
        a.block(block).await;
        proxy.until("the copies", |proxy| proxy.bodies().len() == 2 * (i + 1)).await;
    }
    assert!(proxy.connections() <= 2, "{}", proxy.connections());
}

#[tokio::test]
async fn defect_8_calls_to_els_share_connections() {
    let sink = Sink::start(false).await;
    let bed = Setup::new(0).node(sink.url.clone()).ready().await;
    let before = sink.connections();
    let a = bed.cl("a");
    for _ in 0..20 {
        let calls: Vec<_> = (0..16).map(|_| a.call("eth_chainId", "[]")).collect();
        for told in futures_all(calls).await {
            assert_eq!(told["result"], "0x1");
        }
    }
    assert!(sink.connections() - before <= 20, "{} for 320 calls", sink.connections() - before);
}

async fn futures_all<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = calls.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (call, done) in calls.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = call.as_mut().poll(cx) {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn defect_9_ipv6_peers_are_told_apart() {
    let bed = Setup::new(1).pass_through().ready().await;
    let block = next(&bed.genesis);
    for address in ["2001:db8::1", "[2001:db8::2]:4711", "2001:db8::3"] {
        let mut cl = bed.cl(address);
        cl.forwarded = Some(address.to_owned());
        cl.block(&block).await;
    }
    for address in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
        assert_eq!(bed.client(address).map(|client| client.state), Some("well"), "{address}");
    }
}

#[tokio::test]
async fn defect_10_an_id_may_be_anything_that_json_rpc_allows() {
    let bed = Setup::new(1).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let block = next(&bed.genesis);
    let payload = String::from_utf8(request::new_payload(1, 4, &block).to_vec()).unwrap();
    let head = String::from_utf8(
        request::forkchoice_updated(1, 3, request::Forkchoice::head(block.hash), None).to_vec(),
    )
    .unwrap();
    for id in [r#""a string""#, r#""""#, "-7", "18446744073709551616", "null"] {
        let other = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#.to_owned();
        for body in [&payload, &head, &other] {
            for cl in [&a, &b] {
                let told = cl.json(body.replacen("\"id\":1", &format!("\"id\":{id}"), 1)).await;
                let id: Value = serde_json::from_str(id).unwrap();
                assert_eq!(told["id"], id, "{told}");
                assert!(told.get("result").is_some(), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn defect_11_a_payload_goes_on_as_it_came_whatever_it_holds() {
    let bed = Setup::new(1).ready().await;
    let a = bed.cl("a");
    let block = next(&bed.genesis);
    let text = String::from_utf8(request::new_payload(1, 4, &block).to_vec()).unwrap();
    // Not what any decoder knows.
    let text = text.replacen(
        "\"transactions\":",
        "\"fromTheFuture\":{\"a\":[1,2.50,\"\\u0041\"]} , \"transactions\" : ",
        1,
    );
    a.post(text.clone()).await;
    let sent = bed.els[0].calls_of(Family::NewPayload).pop().unwrap();
    assert_eq!(String::from_utf8_lossy(&sent.raw), text);
}

#[tokio::test]
async fn defect_12_forwarded_addresses_count_from_trusted_proxies_only() {
    let bed = Setup::new(1).pass_through().set("trusted_proxies", "10.0.0.0/8").ready().await;
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        let mut cl = bed.cl(address);
        cl.forwarded = Some(address.to_owned());
        cl.call("eth_chainId", "[]").await;
        assert!(bed.client(address).is_none(), "{:#?}", bed.handle.snapshot());
    }
    assert_eq!(bed.leader().as_deref(), Some("127.0.0.1"));
}

#[tokio::test]
async fn defect_12_bodies_are_bounded_and_a_stop_ends() {
    let bed = Setup::new(1).set("max_body", "2KiB").ready().await;
    let a = bed.cl("a");
    let reply = a.post(request::call(1, "eth_chainId", &format!("[\"{}\"]", "x".repeat(4096)))).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(a.json(request::call(1, "eth_chainId", "[]")).await["result"], json!("0x539"));
    assert!(bed.metrics().contains("mainstay_sync_"));
    bed.stop.cancel();
    let deadline = Instant::now() + PATIENCE;
    while Client::new(&bed.url, Options::default())
        .unwrap()
        .send(a.request(http::Method::GET, "/", ""), Instant::now() + ms(500))
        .await
        .is_ok()
    {
        assert!(Instant::now() < deadline, "it still listens");
        tokio::time::sleep(ms(5)).await;
    }
}

//! What consensus clients are told: the leader, and all others.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use http::StatusCode;
use mainstay_sim::request;
use mainstay_sim::{Family, Fault};
use serde_json::{Value, json};

#[tokio::test]
async fn the_first_el_with_something_to_say_answers_in_its_own_words() {
    let own = r#""result":{"status":"VALID","latestValidHash":null,"validationError":"own words","more":7}"#;
    let url = scripted(|_| {
        r#""result":{"status":"VALID","latestValidHash":null,"validationError":"own words","more":7}"#.into()
    })
    .await;
    let bed = Setup::new(1).node(url).ready().await;
    bed.els[0].set(Fault::Syncing.on(Family::NewPayload));
    let a = bed.cl("a");
    let block = next(&bed.genesis);
    let told = a.payload(&block).await;
    assert!(own.contains(&format!(r#""validationError":{}"#, told["validationError"])), "{told}");
    assert_eq!(told["more"], 7, "{told}");
}

#[tokio::test]
async fn by_majority_all_vote() {
    let bed = Setup::new(3).set("answer", "majority").ready().await;
    bed.els[0].set(Fault::Lie.on(Family::NewPayload));
    let a = bed.cl("a");
    let block = next(&bed.genesis);
    assert_eq!(a.payload(&block).await["status"], "SYNCING", "an INVALID stands against it");
    let bed = Setup::new(3).ready().await;
    bed.els[0].set(Fault::Lie.on(Family::NewPayload));
    for el in &bed.els[1..] {
        el.set(Fault::Lag(ms(300)).on(Family::NewPayload));
    }
    let a = bed.cl("a");
    assert_eq!(a.payload(&block_of(&bed)).await["status"], "INVALID", "the first has said so");
}

fn block_of(bed: &Bed) -> mainstay_sim::chain::Block {
    next(&bed.genesis)
}

#[tokio::test]
async fn mirror_mode_answers_at_once_and_empty_and_does_it_all_the_same() {
    let bed = Setup::new(2).config(|config| config.mirror_mode = true).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    for el in &bed.els {
        el.set(Fault::Hang.on(Family::NewPayload));
    }
    let blocks = chain(&bed.genesis, 3);
    for (i, block) in blocks.iter().enumerate() {
        for body in [request::new_payload(1, 4, block), a.head_body(block.hash, None)] {
            let reply = a.post(body.clone()).await;
            assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
            assert_eq!(b.post(body).await.body.len(), 0);
        }
        if i == 0 {
            for el in &bed.els {
                el.heal();
            }
        }
    }
    bed.followed(&[0, 1], blocks[2].hash).await;
}

#[tokio::test]
async fn others_wait_two_seconds_for_the_verdict_and_the_leader_for_as_long_as_it_takes() {
    let bed = Setup::new(2).set("request_timeout", "60s").set("timeout", "60s").ready().await;
    let (a, b, forger) = (bed.cl("a"), bed.cl("b"), bed.cl("forger"));
    for el in &bed.els {
        el.set(Fault::Hang.on(Family::NewPayload));
    }
    let block = next(&bed.genesis);
    let leaders = a.payload(&block);
    tokio::pin!(leaders);
    let others = async {
        bed.els[0].wait_for_calls(Family::NewPayload, 1, PATIENCE).await.unwrap();
        let copy = forged(&block);
        tokio::join!(b.payload(&block), forger.payload(&copy))
    };
    tokio::select! {
        told = &mut leaders => panic!("the leader was told {told} first"),
        (told, copys) = others => {
            assert_eq!(told["status"], "SYNCING");
            assert_eq!(copys["status"], "INVALID", "its hash was checked");
        }
    }
    for el in &bed.els {
        el.heal();
    }
    assert_eq!(leaders.await["status"], "VALID");
    assert_eq!(b.payload(&block).await["status"], "VALID", "known by now");
    assert_eq!(bed.sent(0, &block), 1);
}

#[tokio::test]
async fn verdicts_that_are_known_are_told_without_asking() {
    let bed = Setup::new(1).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let block = next(&bed.genesis);
    a.block(&block).await;
    let bad = child(&block, 1, b"bad");
    assert_eq!(a.payload(&bad).await["status"], "INVALID");
    let asked = bed.els[0].count(Family::NewPayload) + bed.els[0].count(Family::ForkchoiceUpdated);
    let told = b.payload(&block).await;
    assert_eq!(
        (&told["status"], &told["latestValidHash"]),
        (&json!("VALID"), &json!(block.hash.to_string()))
    );
    assert_eq!(b.payload(&bad).await["status"], "INVALID");
    let unknown = next(&next(&block));
    for (head, word) in [(&block, "VALID"), (&bad, "INVALID"), (&unknown, "SYNCING")] {
        let attributes = mainstay_sim::chain::Attributes::of_slot(1, seconds());
        let told = b.build_on(head.hash, &attributes).await;
        assert_eq!((status(&told), &told["payloadId"]), (word, &Value::Null), "{told}");
    }
    assert_eq!(bed.els[0].count(Family::NewPayload) + bed.els[0].count(Family::ForkchoiceUpdated), asked);
}

#[tokio::test]
async fn who_doesnt_lead_is_answered_by_a_fit_el() {
    let bed = Setup::new(2).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    bed.leads(&a).await;
    bed.els[0].set(Fault::Down);
    bed.condition("el1", "unfit").await;
    assert_eq!(result(b.call("eth_chainId", "[]").await), "0x539");
    assert_eq!(result(b.call("eth_syncing", "[]").await), false);
    let capabilities = result(b.call("engine_exchangeCapabilities", "[[]]").await);
    assert!(capabilities.as_array().unwrap().contains(&json!("engine_newPayloadV4")), "{capabilities}");
    let version = r#"[{"code":"LS","name":"x","version":"1","commit":"0x00000000"}]"#;
    let versions = result(b.call("engine_getClientVersionV1", version).await);
    assert_eq!(versions[0]["name"], "mainstay-sim");
}

#[tokio::test]
async fn nobody_ever_gets_an_empty_body() {
    for faults in [vec![], vec![Fault::Down], vec![Fault::HttpError(500, String::new())], vec![Fault::Empty]]
    {
        let bed = Setup::new(1).set("request_timeout", "300ms").ready().await;
        for fault in &faults {
            bed.els[0].set(fault.clone());
        }
        let block = next(&bed.genesis);
        for name in ["a", "b"] {
            let cl = bed.cl(name);
            let bodies = [
                request::new_payload(1, 4, &block),
                cl.head_body(block.hash, None),
                request::call(3, "engine_getPayloadV4", "[\"0x0000000000000001\"]"),
                request::call(4, "engine_exchangeCapabilities", "[[]]"),
                request::call(5, "engine_getBlobsV1", "[[]]"),
                request::call(6, "engine_somethingV9", "[]"),
                request::call(7, "eth_chainId", "[]"),
                request::call(8, "eth_syncing", "[]"),
            ];
            for body in bodies {
                let reply = cl.post(body.clone()).await;
                let told: Value =
                    serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("{e}: {body:?}"));
                assert!(told.get("result").is_some() != told.get("error").is_some(), "{faults:?} {told}");
            }
        }
    }
}

//! One test for each defect of ExecutionBackup (B1 to B24) that no other file's tests cover, and for what happens to whole
//! fleets.
//!
//! Elsewhere: B1, B2, B8, B19, B21 in `building.rs`; B3, B6, B7 in `verdict.rs`; B9, B11, B15, B17 in `protocol.rs`; B10 in
//! `dropin.rs`; B12, B13, B16, B18 in `routing.rs`; B20 in `reading.rs`; B23 in `health.rs`; B24 in `feeds.rs`.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_sim::{Family, Fault};
use serde_json::{Value, json};

/// B4: a tie is no matter of luck.
#[tokio::test]
async fn ties_come_out_the_same_every_time() {
    for (faults, told) in [
        ([Fault::Say("VALID"), Fault::Say("INVALID")], "SYNCING"),
        ([Fault::Say("INVALID"), Fault::Say("SYNCING")], "SYNCING"),
    ] {
        let mut bed = Setup::new(2).ready().await;
        for (el, fault) in bed.els.iter().zip(faults) {
            el.set(fault.on(Family::NewPayload));
        }
        for _ in 0..30 {
            let block = bed.chain.grow();
            assert_eq!(bed.new_payload(&block).await["status"], told);
        }
    }
}

/// B5: with most nodes dead one of them is not the majority, where the owner says how many it takes.
#[tokio::test]
async fn one_survivor_does_not_condemn_a_block_alone_with_min_votes() {
    let mut bed = Setup::new(3).set("min_votes", "2").ready().await;
    for el in &bed.els[..2] {
        el.set(Fault::Down);
    }
    bed.els[2].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
}

/// B14: nothing locks up, whatever is asked while nodes come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_locks_up_while_nodes_come_and_go() {
    let mut bed = Setup::new(3).set("probe_interval", "5ms").set("straggler_wait", "20ms").ready().await;
    for round in 0..25 {
        let el = &bed.els[round % 3];
        el.set(match round % 4 {
            0 => Fault::Down,
            1 => Fault::Syncing,
            2 => Fault::HttpError(500, "x".into()),
            _ => Fault::Lag(ms(5)),
        });
        let block = bed.chain.grow();
        let attributes = bed.chain.next_attributes();
        tokio::join!(
            bed.get("/recheck", None),
            bed.get("/metrics", None),
            bed.new_payload(&block),
            bed.build_on(block.hash, &attributes),
            bed.all(&[
                ("engine_getBlobsV1", "[[]]"),
                ("engine_getPayloadV1", "[\"0x00\"]"),
                ("eth_chainId", "[]")
            ]),
        );
        bed.els[round % 3].heal();
    }
    bed.until("all fit again", |bed| bed.views().iter().all(|n| n.fit)).await;
    // Who missed payloads is led back.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let block = bed.chain.grow();
        let told = bed.new_payload(&block).await;
        bed.forkchoice(block.hash).await;
        if told["status"] == "VALID" && bed.views().iter().all(|n| n.votes) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{told} {:#?}", bed.views());
        tokio::time::sleep(ms(20)).await;
    }
}

/// B16: `"error":null` beside a result is no error.
#[tokio::test]
async fn a_null_error_beside_a_result_is_a_vote() {
    let url = scripted(|method| {
        let status = r#"{"status":"INVALID","latestValidHash":null,"validationError":"so it is"}"#;
        match method {
            "engine_forkchoiceUpdatedV3" => {
                format!(r#""error":null,"result":{{"payloadStatus":{status},"payloadId":null}}"#)
            }
            _ => format!(r#""error":null,"result":{status}"#),
        }
    })
    .await;
    let mut bed = Setup::new(0).node(url).ready().await;
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["validationError"], "so it is");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "INVALID");
}

/// B16: neither result nor error, both, or a result of another shape: an abstention, which silences nobody.
#[tokio::test]
async fn replies_of_another_shape_are_abstentions() {
    let odd: [fn(&str) -> String; 5] = [
        |_| r#""x":1"#.into(),
        |_| r#""result":{"status":"VALID"},"error":{"code":-1,"message":"x"}"#.into(),
        |_| r#""result":"VALID""#.into(),
        |_| r#""result":{"status":"GREAT","latestValidHash":null}"#.into(),
        |_| r#""result":[]"#.into(),
    ];
    for answer in odd {
        let url = scripted(answer).await;
        let mut bed = Setup::new(1).node(url).ready().await;
        bed.els[0].set(Fault::Lie.on(Family::NewPayload));
        let block = bed.chain.grow();
        assert_eq!(bed.new_payload(&block).await["status"], "INVALID", "the only vote");
        assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
    }
}

/// B22: what is hashed are requests and blobs too, and a mismatch is said in JSON.
#[tokio::test]
async fn the_block_hash_covers_requests_and_blob_hashes() {
    let bed = Setup::new(1).ready().await;
    bed.els[0].set(Fault::Down);
    let changed = |name: &str, change: fn(&mut Value)| {
        let mut call: Value = serde_json::from_slice(&recorded(name)).unwrap();
        change(&mut call["params"]);
        call.to_string()
    };
    for (name, change) in [
        ("new_payload_v5_amsterdam_requests", (|p| p[3] = json!([])) as fn(&mut Value)),
        ("new_payload_v4_osaka", |p| p[3] = json!(["0x0011"])),
        ("new_payload_v4_osaka", |p| p[2] = json!(format!("0x{}", "00".repeat(32)))),
        ("new_payload_v4_osaka_blobs", |p| p[1] = json!([])),
        ("new_payload_v3_cancun", |p| p[0]["blockHash"] = json!(format!("0x{}", "11".repeat(32)))),
    ] {
        let told = result(bed.json(changed(name, change)).await);
        assert_eq!((&told["status"], &told["latestValidHash"]), (&json!("INVALID"), &Value::Null), "{name}");
        assert!(told["validationError"].is_string());
        let same = result(bed.json(changed(name, |_| {})).await);
        assert_eq!(same["status"], "SYNCING", "{name}");
    }
}

/// B27: a large payload goes through as it is, and is not slow.
#[tokio::test]
async fn a_large_payload_reaches_every_node_byte_for_byte() {
    let mut bed = Setup::new(3).ready().await;
    let recipe = mainstay_sim::chain::Recipe { padding: 1_500_000, ..Default::default() };
    let block = bed.chain.grow_with(&recipe);
    let body = mainstay_sim::request::new_payload(1, 4, &block);
    assert_eq!(status(&result(bed.json(body.clone()).await)), "VALID");
    for el in &bed.els {
        el.wait_for_calls(Family::NewPayload, 1, PATIENCE).await.unwrap();
        assert_eq!(el.calls_of(Family::NewPayload)[0].raw, body);
    }
}

#[tokio::test]
async fn a_whole_fleet_that_restarts_serves_again_at_once() {
    let mut bed = Setup::new(3).ready().await;
    bed.advance().await;
    for el in &bed.els {
        el.set(Fault::Down);
    }
    let block = bed.chain.grow();
    // Nobody votes, and the toy chain's hashes are not Ethereum's.
    assert_eq!(bed.new_payload(&block).await["status"], "INVALID");
    bed.until("all unfit", |bed| bed.views().iter().all(|n| n.condition == "unfit")).await;
    for el in &bed.els {
        el.heal();
    }
    assert_eq!(bed.new_payload(&block).await["status"], "VALID", "no probe is waited for");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
    bed.until("all vote", |bed| bed.views().iter().all(|n| n.votes)).await;
}

#[tokio::test]
async fn a_single_node_is_enough() {
    let mut bed = Setup::new(1).ready().await;
    for _ in 0..3 {
        bed.advance().await;
    }
    bed.els[0].set(Fault::Down);
    assert_eq!(status(&bed.forkchoice(bed.chain.tip().hash).await), "SYNCING");
    bed.els[0].heal();
    bed.advance().await;
    bed.els[0].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "INVALID", "the vote is its");
}

/// A process that is stopped and goes on: it works off what it had, and is led to the head.
#[tokio::test]
async fn a_frozen_node_costs_nothing_and_is_led_back() {
    let mut bed = Setup::new(3).set("timeout", "300ms").set("straggler_wait", "30ms").ready().await;
    bed.advance().await;
    bed.els[2].set(Fault::Hang);
    for _ in 0..12 {
        bed.advance().await;
    }
    bed.condition("el3", "unfit").await;
    assert!(bed.view("el3").reason.contains("timed out"));
    for _ in 0..3 {
        let (_, took) = timed(bed.advance()).await;
        assert!(took < ms(300), "{took:?}");
    }
    bed.els[2].heal();
    let tip = bed.chain.tip().clone();
    bed.els[2].wait_until(PATIENCE, |el| el.head().hash == tip.hash).await.unwrap();
    bed.until("el3 votes", |bed| bed.view("el3").votes).await;
    bed.advance().await;
}

/// A node that can't vote is no reason to leave out the only one that can.
#[tokio::test]
async fn a_voter_that_hung_is_asked_again_where_only_nodes_without_a_vote_are_fit() {
    let setup = Setup::new(2).suffix(1, "#do-not-use").set("timeout", "300ms").set("probe_interval", "60s");
    let mut bed = setup.ready().await;
    bed.advance().await;
    // Its probes fail, and nobody tells mainstay that it is back.
    bed.els[0].set(Fault::Hang.on(Family::Eth));
    bed.handle.recheck().await;
    bed.condition("el1", "unfit").await;
    bed.advance().await;
}

/// What makes a voter is what it answers.
#[tokio::test]
async fn a_node_thought_to_be_syncing_votes_if_it_answers_in_time() {
    let mut bed = Setup::new(2).before(1, |el| el.set(Fault::Syncing.on(Family::Eth))).start().await;
    bed.condition("el1", "fit").await;
    bed.condition("el2", "syncing").await;
    bed.els[0].set(Fault::Lag(ms(200)));
    bed.els[1].add(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING", "its INVALID was in before the answer");
    // It takes that back.
    bed.els[0].heal();
    bed.els[1].set(Fault::Syncing.on(Family::Eth));
    bed.new_payload(&block).await;
    while bed.round("engine_newPayload").await.votes[1].1 != "VALID" {}
    // It isn't waited for.
    bed.els[1].add(Fault::Lag(ms(500)).on(Family::NewPayload));
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "VALID");
    assert!(took < ms(450), "{took:?}");
}

/// A block that one node rejects: the chain goes on over another one.
#[tokio::test]
async fn duty_goes_on_once_the_dissenter_is_cordoned() {
    let mut bed = Setup::new(3).ready().await;
    bed.advance().await;
    bed.els[1].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
    bed.handle.cordon("el2").unwrap();
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
    bed.advance().await;
    // And once it heals: its next answers are as the others'.
    bed.els[1].heal();
    bed.handle.uncordon("el2").unwrap();
    bed.advance().await;
    assert!(bed.views().iter().all(|n| n.votes));
}

//! §5, building: one payload id for the consensus client, each node's own behind it, the best payload.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_sim::chain::Block;
use mainstay_sim::request;
use mainstay_sim::{Family, Fault};
use serde_json::Value;

/// Three nodes that build with these values and each name their builds in their own way.
fn builders(values: &[u128]) -> Setup {
    let mut setup = Setup::new(values.len());
    for (i, value) in values.iter().enumerate() {
        setup = setup.el(i, |el| {
            el.block_value = *value;
            el.payload_id_salt = i as u64;
        });
    }
    setup
}

/// Starts a build on a fresh block; its id.
async fn begin(bed: &mut Bed) -> (Block, String) {
    let block = bed.advance().await;
    let told = bed.build_on(block.hash, &bed.chain.next_attributes()).await;
    assert_eq!(status(&told), "VALID");
    (block, told["payloadId"].as_str().unwrap().to_owned())
}

async fn get(bed: &Bed, version: u8, id: &str) -> Value {
    bed.json(request::get_payload(bed.next_id(), version, id)).await
}

/// Who built it, by its extra data.
fn builder(payload: &Value) -> String {
    let payload = if payload["executionPayload"].is_null() { payload } else { &payload["executionPayload"] };
    let hex = payload["extraData"].as_str().unwrap_or_else(|| panic!("no payload: {payload}"));
    String::from_utf8(mainstay_sim::chain::unhex(hex).unwrap()).unwrap()
}

#[tokio::test]
async fn the_id_is_the_same_on_every_instance_and_for_a_repeated_call() {
    let (mut one, mut two) = (builders(&[1, 2]).ready().await, builders(&[3]).ready().await);
    let (block, id) = begin(&mut one).await;
    assert_eq!(begin(&mut two).await.1, id);
    assert_eq!((id.len(), id.starts_with("0x")), (18, true));
    let again = one.build_on(block.hash, &one.chain.next_attributes()).await;
    assert_eq!(again["payloadId"], id);
    let mut others = one.chain.next_attributes();
    others.timestamp += 12;
    assert_ne!(one.build_on(block.hash, &others).await["payloadId"], id);
}

/// Finding 3: clients name one build differently, so each is asked for what it named.
#[tokio::test]
async fn each_node_is_asked_for_the_id_that_it_gave() {
    let mut bed = builders(&[100, 101, 1]).ready().await;
    let (block, id) = begin(&mut bed).await;
    let built = result(get(&bed, 5, &id).await);
    assert_eq!(builder(&built), "el2");
    assert_eq!(built["executionPayload"]["parentHash"], block.hash.to_string());
    let mut ids = Vec::new();
    for el in &bed.els {
        let asked = el.calls_of(Family::GetPayload);
        assert_eq!(asked.len(), 1);
        let params: Vec<String> = serde_json::from_slice(asked[0].params.as_ref().unwrap()).unwrap();
        assert_ne!(params[0], id);
        ids.push(params[0].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

/// B8: a retry gets its payload.
#[tokio::test]
async fn asked_again_it_answers_again() {
    let mut bed = builders(&[1, 2]).ready().await;
    let (_, id) = begin(&mut bed).await;
    let first = result(get(&bed, 5, &id).await);
    assert_eq!(result(get(&bed, 5, &id).await), first);
}

/// B8 and the spec: the code for it is −38001.
#[tokio::test]
async fn an_unknown_id_is_unknown_payload() {
    let bed = Setup::new(2).ready().await;
    let reply = bed.json(request::get_payload(9, 5, "0x0102030405060708")).await;
    assert_eq!((code(&reply), &reply["id"]), (-38001, &9.into()));
    // A node that has forgotten it says so itself.
    let mut bed = builders(&[1]).ready().await;
    let (_, id) = begin(&mut bed).await;
    bed.els[0].set(Fault::RpcError(-38001));
    assert_eq!(code(&get(&bed, 5, &id).await), -38001);
}

/// B1: the current fork's getPayload works, like each version before it and after.
#[tokio::test]
async fn every_version_works() {
    let mut bed = builders(&[1, 2]).ready().await;
    let (block, id) = begin(&mut bed).await;
    for version in 1..=7 {
        let built = result(get(&bed, version, &id).await);
        // V1 has no value: the first node's.
        assert_eq!(builder(&built), if version == 1 { "el1" } else { "el2" }, "V{version}");
        assert_eq!(built.get("executionPayload").is_none(), version == 1);
    }
    assert_eq!(bed.chain.tip().hash, block.hash);
}

/// B2: one node without an id is no problem.
#[tokio::test]
async fn a_null_id_of_one_node_is_no_problem() {
    let mut bed = builders(&[9, 2, 3]).ready().await;
    bed.els[0].set(Fault::NullPayloadId);
    let (_, id) = begin(&mut bed).await;
    assert_eq!(builder(&result(get(&bed, 5, &id).await)), "el3");
    assert_eq!(bed.els[0].count(Family::GetPayload), 0);
    // Of all nodes: then there is none.
    for el in &bed.els {
        el.set(Fault::NullPayloadId);
    }
    let block = bed.advance().await;
    let told = bed.build_on(block.hash, &bed.chain.next_attributes()).await;
    assert_eq!((status(&told), &told["payloadId"]), ("VALID", &Value::Null));
}

/// B19: an id stands inside the result, and never beside INVALID or SYNCING.
#[tokio::test]
async fn invalid_and_syncing_have_no_id() {
    for (fault, word) in [(Fault::Lie, "INVALID"), (Fault::LieSyncing, "SYNCING")] {
        let mut bed = builders(&[1, 2, 3]).ready().await;
        let block = bed.advance().await;
        for el in &bed.els[..2] {
            el.set(fault.clone().on(Family::ForkchoiceUpdated));
        }
        let body = request::forkchoice_updated(
            1,
            3,
            request::Forkchoice::head(block.hash),
            Some(&bed.chain.next_attributes()),
        );
        let reply = bed.json(body).await;
        assert_eq!(status(&reply["result"]), word);
        assert_eq!(reply["result"]["payloadId"], Value::Null);
        assert!(
            reply["result"].as_object().unwrap().contains_key("payloadId")
                && reply.get("payloadId").is_none()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_builder_that_hangs_costs_the_wait_and_not_the_payload() {
    let mut bed = builders(&[9, 2, 3]).set("getpayload_wait", "300ms").ready().await;
    let (_, id) = begin(&mut bed).await;
    bed.els[0].set(Fault::Hang.on(Family::GetPayload));
    let (built, took) = timed(get(&bed, 5, &id)).await;
    assert_eq!(builder(&result(built)), "el3");
    assert!(took >= ms(300) && took < ms(900), "{took:?}");
    // All answered: nobody is waited for.
    bed.els[0].heal();
    let (built, took) = timed(get(&bed, 5, &id)).await;
    assert_eq!(builder(&result(built)), "el1");
    assert!(took < ms(290), "{took:?}");
}

/// A slot without a block is dearer than a late one.
#[tokio::test(start_paused = true)]
async fn where_nobody_is_quick_enough_the_first_to_come_is_taken_while_the_consensus_client_waits() {
    let mut bed = builders(&[9, 2]).set("getpayload_wait", "100ms").ready().await;
    let (_, id) = begin(&mut bed).await;
    bed.els[0].set(Fault::Hang.on(Family::GetPayload));
    bed.els[1].set(Fault::Lag(ms(300)).on(Family::GetPayload));
    let (built, took) = timed(get(&bed, 5, &id)).await;
    assert_eq!(builder(&result(built)), "el2");
    assert!(took >= ms(300) && took < ms(850), "{took:?}");
}

#[tokio::test]
async fn a_builder_that_fails_leaves_it_to_the_others() {
    let mut bed = builders(&[9, 8, 7]).ready().await;
    let (_, id) = begin(&mut bed).await;
    bed.els[0].set(Fault::HttpError(500, "x".into()).on(Family::GetPayload));
    bed.els[1].set(Fault::RpcError(-38001).on(Family::GetPayload));
    assert_eq!(builder(&result(get(&bed, 5, &id).await)), "el3");
    bed.els[2].set(Fault::Down);
    assert_eq!(code(&get(&bed, 5, &id).await), -38001, "the error of who answered");
    bed.els[1].set(Fault::Garbage.on(Family::GetPayload));
    let reply = bed.post(request::get_payload(1, 5, &id)).await;
    assert_eq!(reply.status, 503);
}

#[tokio::test]
async fn ties_go_by_the_nodes_order_and_values_are_numbers() {
    let mut bed = builders(&[5, 5, 5]).ready().await;
    let (_, id) = begin(&mut bed).await;
    assert_eq!(builder(&result(get(&bed, 5, &id).await)), "el1");
    let mut bed = builders(&[0xff, 0x100, 0x2f]).ready().await;
    let (_, id) = begin(&mut bed).await;
    assert_eq!(builder(&result(get(&bed, 5, &id).await)), "el2");
}

#[tokio::test]
async fn a_backups_payload_is_used_only_if_there_is_no_other() {
    let mut bed = builders(&[1, 1000]).suffix(1, "#tier=backup").ready().await;
    let (_, id) = begin(&mut bed).await;
    assert_eq!(builder(&result(get(&bed, 5, &id).await)), "el1");
    bed.els[0].set(Fault::Down);
    assert_eq!(builder(&result(get(&bed, 5, &id).await)), "el2");
}

#[tokio::test]
async fn nodes_that_are_not_in_use_build_nothing_that_is_used() {
    let mut bed = builders(&[1, 1000, 900]).suffix(1, "#do-not-use").ready().await;
    let (_, id) = begin(&mut bed).await;
    bed.handle.cordon("el3").unwrap();
    assert_eq!(builder(&result(get(&bed, 5, &id).await)), "el1");
}

/// An id is only told where somebody can be asked for it.
#[tokio::test]
async fn an_id_of_a_node_that_is_not_in_use_is_none() {
    let mut bed = builders(&[1, 2]).suffix(1, "#do-not-use").ready().await;
    bed.els[0].set(Fault::NullPayloadId);
    bed.els[0].add(Fault::Lag(ms(100)));
    let block = bed.advance().await;
    let told = bed.build_on(block.hash, &bed.chain.next_attributes()).await;
    assert_eq!((status(&told), &told["payloadId"]), ("VALID", &Value::Null));
}

/// B21: nothing of a payload is lost or moved.
#[tokio::test]
async fn the_nodes_bytes_are_handed_on_verbatim() {
    let mut bed = builders(&[1]).ready().await;
    let (_, id) = begin(&mut bed).await;
    let odd = r#"{"zz":[1, 2.50, {"a":null}],"blockValue":"0x5","shouldOverrideBuilder":true, "executionPayload":{"b":1,"a":2},"fromTheFuture":"é"}"#;
    bed.els[0].with(|el| el.can("engine_getPayloadV5", odd));
    let reply = bed.post(request::get_payload(1, 5, &id)).await;
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(text.contains(&format!("\"result\":{odd}")), "{text}");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"engine_getPayloadV5","params":[]}"#;
    assert_eq!(code(&bed.json(call).await), -32602);
}

#[tokio::test]
async fn a_late_id_of_a_slow_node_still_counts() {
    let mut bed = builders(&[1, 2, 1000]).set("straggler_wait", "0s").ready().await;
    let block = bed.advance().await;
    bed.els[2].wait_until(PATIENCE, |el| el.head().hash == block.hash).await.unwrap();
    bed.els[2].set(Fault::Lag(ms(200)).on(Family::ForkchoiceUpdated));
    let told = bed.build_on(block.hash, &bed.chain.next_attributes()).await;
    let id = told["payloadId"].as_str().unwrap().to_owned();
    while bed.round("engine_forkchoiceUpdated").await.votes[2].2.is_none_or(|at| at < ms(200)) {}
    assert_eq!(builder(&result(get(&bed, 5, &id).await)), "el3");
}

/// Found by the simulation: the quick nodes' VALID without an id cost the slot its block.
#[tokio::test]
async fn an_id_is_waited_for_where_the_quick_nodes_gave_none() {
    // Of a node that votes, and of one that votes only if it is in time.
    for slow in [None, Some(Fault::Syncing.on(Family::Eth))] {
        let mut setup = builders(&[1, 2, 3]).set("straggler_wait", "0s");
        let condition = if slow.is_some() { "syncing" } else { "fit" };
        if let Some(fault) = slow {
            setup = setup.before(2, |el| el.set(fault));
        }
        let mut bed = setup.start().await;
        bed.condition("el3", condition).await;
        let block = bed.advance().await;
        for el in &bed.els[..2] {
            el.set(Fault::NullPayloadId);
        }
        bed.els[2].add(Fault::Lag(ms(150)).on(Family::ForkchoiceUpdated));
        let told = bed.build_on(block.hash, &bed.chain.next_attributes()).await;
        assert_eq!(status(&told), "VALID");
        let id = told["payloadId"].as_str().unwrap_or_else(|| panic!("el3 is {condition}: {told}"));
        assert_eq!(builder(&result(get(&bed, 5, id).await)), "el3");
        assert_eq!(bed.view("el3").condition, condition);
    }
}

#[tokio::test]
async fn an_id_is_waited_for_half_a_second_at_most() {
    let mut bed = builders(&[1, 2, 3]).set("straggler_wait", "0s").ready().await;
    let block = bed.advance().await;
    for el in &bed.els[..2] {
        el.set(Fault::NullPayloadId);
    }
    bed.els[2].set(Fault::Hang.on(Family::ForkchoiceUpdated));
    let (told, took) = timed(bed.build_on(block.hash, &bed.chain.next_attributes())).await;
    assert_eq!((status(&told), &told["payloadId"]), ("VALID", &Value::Null));
    // Far from the timeout of 3 s.
    assert!(took >= ms(500) && took < ms(2000), "{took:?}");
    // Where no build was asked for nobody is waited for.
    let (told, took) = timed(bed.forkchoice(block.hash)).await;
    assert_eq!(status(&told), "VALID");
    assert!(took < ms(450), "{took:?}");
}

/// Lets time pass for everything at once, as a machine does that was asleep.
async fn pass(time: std::time::Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn an_id_is_forgotten_after_two_epochs() {
    let mut bed = builders(&[1]).ready().await;
    let (block, id) = begin(&mut bed).await;
    pass(ms(700_000)).await;
    result(get(&bed, 5, &id).await);
    pass(ms(100_000)).await;
    bed.els[0].clear_calls();
    assert_eq!(code(&get(&bed, 5, &id).await), -38001);
    assert_eq!(bed.els[0].count(Family::GetPayload), 0, "the node would know it still");
    // Asked for again it is there again.
    assert_eq!(bed.build_on(block.hash, &bed.chain.next_attributes()).await["payloadId"], id);
    result(get(&bed, 5, &id).await);
}

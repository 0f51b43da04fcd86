//! Builds: kept from the execution clients, or for the leader alone.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_sim::Family;
use mainstay_sim::chain::Attributes;
use serde_json::Value;

#[tokio::test]
async fn attributes_are_taken_out_and_no_payload_is_known() {
    let bed = Setup::new(2).ready().await;
    let a = bed.cl("a");
    let block = next(&bed.genesis);
    a.block(&block).await;
    let told = a.build_on(block.hash, &Attributes::of_slot(2, seconds())).await;
    assert_eq!((status(&told), &told["payloadId"]), ("VALID", &Value::Null));
    for el in &bed.els {
        el.wait_for_calls(Family::ForkchoiceUpdated, 2, PATIENCE).await.unwrap();
        for call in el.calls_of(Family::ForkchoiceUpdated) {
            let call: Value = serde_json::from_slice(&call.raw).unwrap();
            assert_eq!(call["params"][1], Value::Null);
        }
    }
    assert_eq!(code(&a.call("engine_getPayloadV4", "[\"0x0000000000000001\"]").await), -38001);
    assert_eq!(bed.els[0].count(Family::GetPayload), 0);
}

#[tokio::test]
async fn where_building_is_allowed_only_the_leader_builds() {
    let bed = Setup::new(2).set("allow_building", "true").ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let block = next(&bed.genesis);
    a.block(&block).await;
    b.block(&block).await;
    let attributes = Attributes::of_slot(2, seconds());
    let told = b.build_on(block.hash, &attributes).await;
    assert_eq!((status(&told), &told["payloadId"]), ("VALID", &Value::Null));
    let told = a.build_on(block.hash, &attributes).await;
    let id = told["payloadId"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    let params = format!("[\"{id}\"]");
    assert_eq!(code(&b.call("engine_getPayloadV4", &params).await), -38001);
    let built = result(a.call("engine_getPayloadV4", &params).await);
    assert_eq!(built["executionPayload"]["parentHash"], block.hash.to_string());
}

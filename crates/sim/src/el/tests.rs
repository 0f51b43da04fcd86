#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::{
    chain::{Chain, Recipe},
    request::{self, Forkchoice},
};

/// Gives a request's body to a client and reads the answer: the result, or the error's code.
fn ask(el: &mut El, body: &Bytes, faults: &[Fault]) -> Result<Value, i64> {
    let [method, params] = envelope::fields(body, ["method", "params"]).unwrap();
    let method = envelope::string(&method.unwrap()).unwrap();
    match el.answer(&method, params.as_ref(), faults) {
        Answer::Result(json) => Ok(serde_json::from_slice(&json).unwrap()),
        Answer::Error { code, .. } => Err(code),
    }
}

fn call(el: &mut El, method: &str, params: Value) -> Result<Value, i64> {
    ask(el, &request::call(1, method, &params.to_string()), &[])
}

fn pay(el: &mut El, block: &Block, faults: &[Fault]) -> Value {
    ask(el, &request::new_payload(1, 4, block), faults).unwrap()
}

fn choose(el: &mut El, head: Hash, faults: &[Fault]) -> Value {
    let body = request::forkchoice_updated(1, 3, Forkchoice::head(head), None);
    ask(el, &body, faults).unwrap()
}

fn start() -> (Chain, El) {
    let chain = Chain::new(1);
    let el = El::new("el1", chain.tip().clone());
    (chain, el)
}

#[test]
fn payloads_are_valid_in_order_and_syncing_out_of_order() {
    let (mut chain, mut el) = start();
    let (first, second) = (chain.grow(), chain.grow());
    assert_eq!(pay(&mut el, &second, &[])["status"], "SYNCING");
    assert_eq!(choose(&mut el, second.hash, &[])["payloadStatus"]["status"], "SYNCING");
    assert_eq!(pay(&mut el, &first, &[])["status"], "VALID");
    let valid = pay(&mut el, &second, &[]);
    assert_eq!(
        valid,
        json!({"status":"VALID","latestValidHash":second.hash.to_string(),"validationError":null})
    );
    let chosen = choose(&mut el, second.hash, &[]);
    assert_eq!(chosen["payloadStatus"]["latestValidHash"], second.hash.to_string());
    assert!(chosen["payloadId"].is_null());
    assert_eq!(el.head().number, 2);
}

#[test]
fn a_bad_block_and_all_after_it_are_invalid() {
    let (mut chain, mut el) = start();
    let good = chain.grow();
    let (bad, child) = (chain.grow_bad(), chain.grow());
    pay(&mut el, &good, &[]);
    for block in [&bad, &child, &bad] {
        let said = pay(&mut el, block, &[]);
        assert_eq!(said["status"], "INVALID");
        assert_eq!(said["latestValidHash"], good.hash.to_string());
        assert!(said["validationError"].is_string());
    }
    assert_eq!(choose(&mut el, child.hash, &[])["payloadStatus"]["status"], "INVALID");
    assert_eq!(el.head().number, 0);
    assert!(el.knows(good.hash) && !el.knows(bad.hash));
}

#[test]
fn one_client_can_reject_what_others_take() {
    let (mut chain, mut el) = start();
    let block = chain.grow();
    el.reject(block.hash);
    assert_eq!(pay(&mut el, &block, &[])["status"], "INVALID");
}

#[test]
fn a_wrong_hash_is_noticed_where_hashes_are_checked() {
    let (mut chain, mut el) = start();
    let good = chain.grow();
    let mut forged = chain.grow();
    let text = String::from_utf8(forged.payload.to_vec()).unwrap();
    forged.payload = Bytes::from(text.replace("\"gasUsed\":\"0x0\"", "\"gasUsed\":\"0x1\""));
    el.config_mut().verify_hash = true;
    assert_eq!(pay(&mut el, &good, &[])["status"], "VALID");
    let said = pay(&mut el, &forged, &[]);
    assert_eq!((&said["status"], &said["latestValidHash"]), (&json!("INVALID"), &Value::Null));
    let first = ask(&mut el, &request::new_payload(1, 1, &forged), &[]).unwrap();
    assert_eq!(first["status"], "INVALID_BLOCK_HASH");
}

#[test]
fn faults_bend_the_status() {
    let (mut chain, mut el) = start();
    let block = chain.grow();
    assert_eq!(pay(&mut el, &block, &[Fault::Syncing])["status"], "SYNCING");
    assert!(!el.knows(block.hash), "a syncing client imports nothing");
    let lie = pay(&mut el, &block, &[Fault::Lie]);
    assert_eq!(
        (&lie["status"], &lie["latestValidHash"]),
        (&json!("INVALID"), &json!(block.parent.to_string()))
    );
    assert!(el.knows(block.hash), "a liar knows better");
    assert_eq!(pay(&mut el, &block, &[Fault::LieSyncing])["status"], "SYNCING");
    assert_eq!(pay(&mut el, &block, &[Fault::Say("ACCEPTED")])["status"], "ACCEPTED");
    assert_eq!(pay(&mut el, &block, &[Fault::Indexing])["status"], "VALID");
    let bad = chain.grow_bad();
    assert_eq!(pay(&mut el, &bad, &[Fault::Lie])["status"], "INVALID");
    assert_eq!(pay(&mut el, &bad, &[Fault::LieValid])["status"], "VALID");
    assert_eq!(choose(&mut el, block.hash, &[Fault::StaleHead])["payloadStatus"]["status"], "VALID");
    assert_eq!(el.head().number, 0);
    let body = request::call(1, "eth_chainId", "[]");
    assert_eq!(ask(&mut el, &body, &[Fault::WrongChain(5)]), Ok(json!("0x5")));
    assert_eq!(ask(&mut el, &body, &[Fault::RpcError(-38005)]), Err(-38005));
}

#[test]
fn a_forkchoice_with_unknown_safe_block_is_refused() {
    let (chain, mut el) = start();
    let state = Forkchoice { head: chain.tip().hash, safe: Hash([9; 32]), finalized: Hash::ZERO };
    let body = request::forkchoice_updated(1, 3, state, None);
    assert_eq!(ask(&mut el, &body, &[]), Err(-38002));
    let attributes = crate::chain::Attributes::of_slot(1, 0);
    let state = Forkchoice::head(chain.tip().hash);
    let body = request::forkchoice_updated(1, 3, state, Some(&attributes));
    assert_eq!(ask(&mut el, &body, &[]), Err(-38003));
}

#[test]
fn a_payload_is_built_and_got_in_every_version() {
    let (chain, mut el) = start();
    el.config_mut().block_value = 258;
    el.config_mut().requests = vec!["0x0001".to_owned()];
    let attributes = chain.next_attributes();
    let state = Forkchoice::head(chain.tip().hash);
    let body = request::forkchoice_updated(1, 3, state, Some(&attributes));
    assert!(ask(&mut el, &body, &[Fault::NullPayloadId]).unwrap()["payloadId"].is_null());
    assert!(ask(&mut el, &body, &[Fault::Lie]).unwrap()["payloadId"].is_null());
    let id = ask(&mut el, &body, &[]).unwrap()["payloadId"].as_str().unwrap().to_owned();
    assert!(id.starts_with("0x03") && id.len() == 18);
    let mut get = |version| ask(&mut el, &request::get_payload(1, version, &id), &[]).unwrap();
    assert_eq!(get(1)["blockNumber"], "0x1");
    assert_eq!(get(2).as_object().unwrap().len(), 2);
    assert_eq!(get(3).as_object().unwrap().len(), 4);
    let envelope = get(5);
    assert_eq!(envelope, get(4));
    assert_eq!(envelope["blockValue"], "0x102");
    assert_eq!(envelope["executionRequests"], json!(["0x0001"]));
    assert_eq!(envelope["shouldOverrideBuilder"], false);
    assert_eq!(envelope["executionPayload"]["timestamp"], "0xc");
    assert_eq!(call(&mut el, "engine_getPayloadV5", json!(["0x0300000000000000"])), Err(-38001));

    let mut other = El::new("el2", chain.tip().clone());
    let same = ask(&mut other, &body, &[]).unwrap()["payloadId"].as_str().unwrap().to_owned();
    assert_eq!(same, id, "same salt, same id");
    other.config_mut().payload_id_salt = 1;
    assert_ne!(ask(&mut other, &body, &[]).unwrap()["payloadId"], id);
}

#[test]
fn a_built_payload_is_valid_where_hashes_are_checked() {
    let (chain, mut el) = start();
    el.config_mut().verify_hash = true;
    let recipe = Recipe { padding: 3000, requests: vec!["0x01".to_owned()], ..Recipe::default() };
    let block = crate::chain::build(chain.tip(), &chain.next_attributes(), &recipe);
    assert_eq!(pay(&mut el, &block, &[])["status"], "VALID");
}

#[test]
fn blobs_are_merged_or_all_or_nothing() {
    let (_, mut el) = start();
    el.put_blob("0x01AA", Blob::toy("a"));
    let both = json!([["0x01aa", "0x01bb"]]);
    let first = call(&mut el, "engine_getBlobsV1", both.clone()).unwrap();
    assert_eq!(first, json!([{"blob":"0x61","proof":"0x61"}, null]));
    assert_eq!(call(&mut el, "engine_getBlobsV2", both.clone()), Ok(Value::Null));
    assert!(call(&mut el, "engine_getBlobsV3", both.clone()).unwrap()[0]["proofs"].is_array());
    el.put_blob("0x01bb", Blob::toy("b"));
    assert_eq!(call(&mut el, "engine_getBlobsV2", both).unwrap().as_array().unwrap().len(), 2);
    let many = json!([vec!["0x01"; 129]]);
    assert_eq!(call(&mut el, "engine_getBlobsV1", many), Err(-38004));
}

#[test]
fn bodies_are_found_by_hash_and_range() {
    let (mut chain, mut el) = start();
    for block in chain.grow_by(3) {
        assert!(el.follow(&block));
    }
    let hash = chain.tip().hash.to_string();
    let found = call(&mut el, "engine_getPayloadBodiesByHashV1", json!([[hash, Hash::ZERO.to_string()]]));
    assert_eq!(found, Ok(json!([{"transactions":[],"withdrawals":[]}, null])));
    let range = call(&mut el, "engine_getPayloadBodiesByRangeV1", json!(["0x2", "0x8"])).unwrap();
    assert_eq!(range.as_array().unwrap().len(), 2, "nothing beyond the head");
    let beyond = call(&mut el, "engine_getPayloadBodiesByRangeV1", json!(["0x9", "0x1"]));
    assert_eq!(beyond, Ok(json!([])));
    assert_eq!(call(&mut el, "engine_getPayloadBodiesByRangeV1", json!(["0x0", "0x1"])), Err(-32602));
    assert_eq!(call(&mut el, "engine_getPayloadBodiesByRangeV1", json!(["0x1", "0x401"])), Err(-38004));
}

#[test]
fn it_says_who_and_where_it_is() {
    let (mut chain, mut el) = start();
    let block = chain.grow();
    el.follow(&block);
    let genesis = chain.blocks()[0].hash.to_string();
    for (method, params, result) in [
        ("eth_chainId", json!([]), json!("0x539")),
        ("net_version", json!([]), json!("1337")),
        ("eth_blockNumber", json!([]), json!("0x1")),
        ("eth_syncing", json!([]), json!(false)),
        ("engine_getInclusionListV1", json!([genesis]), json!([])),
        ("engine_exchangeTransitionConfigurationV1", json!([{"a":1}]), json!({"a":1})),
    ] {
        assert_eq!(call(&mut el, method, params), Ok(result), "{method}");
    }
    let version = call(&mut el, "engine_getClientVersionV1", json!([{}])).unwrap();
    assert_eq!(version[0]["name"], "mainstay-sim");
    let capabilities = call(&mut el, "engine_exchangeCapabilities", json!([[]])).unwrap();
    assert!(capabilities.as_array().unwrap().contains(&json!("engine_newPayloadV4")));
    assert!(call(&mut el, "web3_clientVersion", json!([])).unwrap().is_string());
    assert_eq!(call(&mut el, "eth_nothing", json!([])), Err(-32601));
    assert_eq!(call(&mut el, "engine_nothingV1", json!([])), Err(-32601));
    assert_eq!(call(&mut el, "engine_newPayloadV4", json!([])), Err(-32602));
    el.can("eth_nothing", "[1]");
    assert_eq!(call(&mut el, "eth_nothing", json!([])), Ok(json!([1])));
}

#[test]
fn blocks_are_found_by_tag_number_and_hash() {
    let (mut chain, mut el) = start();
    let block = chain.grow();
    el.follow(&block);
    let hash = block.hash.to_string();
    for (method, argument, number) in [
        ("eth_getBlockByNumber", "latest", json!("0x1")),
        ("eth_getBlockByNumber", "earliest", json!("0x0")),
        ("eth_getBlockByNumber", "0x1", json!("0x1")),
        ("eth_getBlockByHash", hash.as_str(), json!("0x1")),
    ] {
        let found = call(&mut el, method, json!([argument, false])).unwrap();
        assert_eq!(found["number"], number, "{argument}");
    }
    assert_eq!(call(&mut el, "eth_getBlockByNumber", json!(["0x7", false])), Ok(Value::Null));
    assert_eq!(call(&mut el, "eth_getBlockByNumber", json!(["finalized", false])), Ok(Value::Null));
}

#[test]
fn syncing_and_indexing_show_in_eth_syncing_only_as_they_do_in_geth() {
    let (_, mut el) = start();
    let body = request::call(1, "eth_syncing", "[]");
    let syncing = ask(&mut el, &body, &[Fault::Syncing]).unwrap();
    assert_eq!((&syncing["currentBlock"], &syncing["highestBlock"]), (&json!("0x0"), &json!("0x40")));
    let indexing = ask(&mut el, &body, &[Fault::Indexing]).unwrap();
    assert_eq!(indexing["currentBlock"], indexing["highestBlock"]);
    assert_eq!(indexing["txIndexRemainingBlocks"], "0x3");
}

#[test]
fn the_inclusion_list_verdict_is_shown_where_there_is_one() {
    let (mut chain, mut el) = start();
    el.config_mut().inclusion_list_satisfied = Some(false);
    let block = chain.grow();
    assert_eq!(pay(&mut el, &block, &[])["inclusionListSatisfied"], false);
}

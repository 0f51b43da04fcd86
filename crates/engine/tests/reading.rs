//! §5, reading: blobs, bodies, client versions and capabilities put together from several nodes.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_sim::el::Blob;
use mainstay_sim::{Family, Fault};
use serde_json::{Value, json};

/// The texts of the blobs in an answer, with null for what is missing.
fn blobs(answer: &Value) -> Vec<Option<String>> {
    let text = |v: &Value| String::from_utf8(mainstay_sim::chain::unhex(v["blob"].as_str()?).unwrap()).ok();
    answer.as_array().unwrap_or_else(|| panic!("{answer}")).iter().map(text).collect()
}

fn put(bed: &Bed, el: usize, names: &[&str]) {
    for name in names {
        bed.els[el].with(|el| el.put_blob(&format!("0x01{name}"), Blob::toy(name)));
    }
}

const ABC: &str = r#"[["0x01aa","0x01bb","0x01cc"]]"#;

#[tokio::test]
async fn blobs_are_merged_position_by_position() {
    let bed = Setup::new(3).ready().await;
    put(&bed, 0, &["aa"]);
    put(&bed, 1, &["cc"]);
    for method in ["engine_getBlobsV1", "engine_getBlobsV3", "engine_getBlobsV9"] {
        let answer = result(bed.call(method, ABC).await);
        assert_eq!(blobs(&answer), [Some("aa".into()), None, Some("cc".into())], "{method}");
    }
    put(&bed, 2, &["aa", "bb", "cc"]);
    let answer = result(bed.call("engine_getBlobsV1", ABC).await);
    assert_eq!(blobs(&answer), ["aa", "bb", "cc"].map(|b| Some(b.to_owned())));
}

#[tokio::test]
async fn of_blobs_v2_the_first_complete_answer_and_null_only_if_none() {
    let bed = Setup::new(3).ready().await;
    put(&bed, 0, &["aa", "bb"]);
    put(&bed, 1, &["cc"]);
    let reply = bed.call("engine_getBlobsV2", ABC).await;
    assert_eq!(reply.get("result"), Some(&Value::Null), "halves make no whole: {reply}");
    put(&bed, 2, &["aa", "bb", "cc"]);
    let answer = result(bed.call("engine_getBlobsV2", ABC).await);
    assert_eq!(blobs(&answer).len(), 3);
    // Complete is enough: a hung node is not waited for.
    bed.els[0].set(Fault::Hang);
    let (answer, took) = timed(bed.call("engine_getBlobsV2", ABC)).await;
    assert_eq!(blobs(&result(answer)).len(), 3);
    assert!(took < ms(800), "{took:?}");
}

#[tokio::test]
async fn blobs_that_are_all_there_wait_for_nobody() {
    let bed = Setup::new(2).ready().await;
    put(&bed, 1, &["aa", "bb", "cc"]);
    bed.els[0].set(Fault::Hang);
    let (answer, took) = timed(bed.call("engine_getBlobsV1", ABC)).await;
    assert_eq!(blobs(&result(answer)).into_iter().flatten().count(), 3);
    assert!(took < ms(800), "{took:?}");
    // What is missing may be with the hung one: it is waited for, inside the second.
    bed.els[1].with(|el| el.clear_blobs());
    put(&bed, 1, &["aa"]);
    let (answer, took) = timed(bed.call("engine_getBlobsV1", ABC)).await;
    assert_eq!(blobs(&result(answer)).into_iter().flatten().count(), 1);
    assert!(took < ms(1000), "{took:?}");
}

#[tokio::test]
async fn an_error_of_one_node_does_not_hide_the_blobs_of_another() {
    let bed = Setup::new(2).ready().await;
    bed.els[0].set(Fault::RpcError(-38005).on(Family::GetBlobs));
    put(&bed, 1, &["aa"]);
    for method in ["engine_getBlobsV1", "engine_getBlobsV3"] {
        assert_eq!(blobs(&result(bed.call(method, ABC).await))[0].as_deref(), Some("aa"));
    }
    assert_eq!(blobs(&result(bed.call("engine_getBlobsV2", r#"[["0x01aa"]]"#).await)).len(), 1);
}

#[tokio::test]
async fn bodies_that_the_primary_lacks_come_from_another_node() {
    let mut bed = Setup::new(3).ready().await;
    for _ in 0..3 {
        bed.advance().await;
    }
    let hashes: Vec<String> = bed.chain.blocks().iter().map(|b| b.hash.to_string()).collect();
    bed.els[0].with(|el| {
        el.can("engine_getPayloadBodiesByHashV1", r#"[null,{"transactions":["0xa"],"withdrawals":[]},null]"#)
    });
    let params = json!([&hashes[1..4]]).to_string();
    let answer = result(bed.call("engine_getPayloadBodiesByHashV1", &params).await);
    assert_eq!(answer.as_array().unwrap().len(), 3);
    assert!(answer.as_array().unwrap().iter().all(Value::is_object), "{answer}");
    assert_eq!(answer[1]["transactions"], json!(["0xa"]), "what the primary has is its own");
    assert_eq!(bed.els[2].count(Family::GetPayloadBodies), 0, "nobody is asked in vain");
    // What nobody has stays null.
    let params = json!([[hashes[1], format!("0x{}", "77".repeat(32))]]).to_string();
    let answer = result(bed.call("engine_getPayloadBodiesByHashV2", &params).await);
    assert!(answer[0].is_object() && answer[1].is_null());
}

#[tokio::test]
async fn bodies_by_range_come_whole_from_the_primary_or_the_next() {
    let mut bed = Setup::new(2).set("probe_interval", "60s").ready().await;
    for _ in 0..4 {
        bed.advance().await;
    }
    for fault in [None, Some(Fault::Down)] {
        if let Some(fault) = fault {
            bed.els[0].set(fault);
        }
        let answer = result(bed.call("engine_getPayloadBodiesByRangeV1", r#"["0x1","0x3"]"#).await);
        assert_eq!(answer.as_array().unwrap().iter().filter(|b| b.is_object()).count(), 3);
    }
}

/// B20: a multiplexer MUST return one flat array.
#[tokio::test]
async fn client_versions_are_one_flat_array() {
    let setup =
        (0..3).fold(Setup::new(3), |s, i| s.el(i, |el| el.client.code = ["GE", "RH", "EJ"][i].into()));
    let bed = setup.ready().await;
    let answer = result(bed.call("engine_getClientVersionV1", r#"[{"code":"LS"}]"#).await);
    let codes: Vec<&str> = answer.as_array().unwrap().iter().map(|v| v["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["GE", "RH", "EJ"]);
    // One that doesn't know the method is left out.
    bed.els[1].set(Fault::RpcError(-32601).on(Family::OtherEngine));
    let answer = result(bed.call("engine_getClientVersionV1", r#"[{"code":"LS"}]"#).await);
    assert_eq!(answer.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn capabilities_are_those_of_all_fit_voters_and_never_the_method_itself() {
    let with = |s: Setup, i: usize, list: &[&str]| {
        let list = list.iter().map(|m| (*m).to_owned()).collect();
        s.el(i, |el| el.capabilities = list)
    };
    let lists = |s: Setup| {
        let s = with(s, 0, &["engine_newPayloadV5", "engine_exchangeCapabilities", "engine_newPayloadV4"]);
        let s = with(s, 1, &["engine_newPayloadV4", "engine_exchangeCapabilities"]);
        with(s, 2, &["engine_other"])
    };
    let bed = lists(Setup::new(3).suffix(2, "#do-not-use")).ready().await;
    let ask = r#"[["engine_newPayloadV4"]]"#;
    let answer = result(bed.call("engine_exchangeCapabilities", ask).await);
    assert_eq!(answer, json!(["engine_newPayloadV4"]));
    let bed = lists(Setup::new(3).set("capabilities", "primary")).ready().await;
    let answer = result(bed.call("engine_exchangeCapabilities", ask).await);
    assert_eq!(answer, json!(["engine_newPayloadV5", "engine_newPayloadV4"]));
}

#[tokio::test]
async fn a_node_that_is_down_promises_nothing_and_blocks_nothing() {
    let bed = Setup::new(2).ready().await;
    bed.els[1].set(Fault::Down);
    let answer = result(bed.call("engine_exchangeCapabilities", "[[]]").await);
    assert!(answer.as_array().unwrap().len() > 10);
    assert_eq!(result(bed.call("engine_getClientVersionV1", "[{}]").await).as_array().unwrap().len(), 1);
}

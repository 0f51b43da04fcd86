//! Real payloads match, changed ones never do, garbage never panics.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Check, check};

/// Captured from go-ethereum 1.17 behind a Lodestar (Capella) and a simulated consensus client (the rest).
const REAL: &[(&str, &str)] = &[
    ("capella", include_str!("../../tests/data/new_payload_v2_capella.json")),
    ("capella, empty", include_str!("../../tests/data/new_payload_v2_capella_empty.json")),
    ("cancun", include_str!("../../tests/data/new_payload_v3_cancun.json")),
    ("osaka", include_str!("../../tests/data/new_payload_v4_osaka.json")),
    ("osaka, blobs", include_str!("../../tests/data/new_payload_v4_osaka_blobs.json")),
    ("amsterdam, requests", include_str!("../../tests/data/new_payload_v5_amsterdam_requests.json")),
];

fn params_of(call: &str) -> Value {
    serde_json::from_str::<Value>(call).unwrap()["params"].clone()
}

fn judge(params: &Value) -> Check {
    check(&Bytes::from(serde_json::to_vec(params).unwrap()))
}

/// Changes the last digit of a hex string; `0x` becomes `0x00`.
fn flipped(text: &str) -> String {
    let (head, last) = text.split_at(text.len() - 1);
    match last {
        "x" => format!("{text}00"),
        "1" => format!("{head}2"),
        _ => format!("{head}1"),
    }
}

/// All versions of `value` in which one string is another, or one list is longer or shorter by one element.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => vec![json!(flipped(text))],
        Value::Array(items) => {
            let mut all = inner_changes(items.iter().enumerate(), |at, changed| {
                let mut items = items.clone();
                items[at] = changed;
                Value::Array(items)
            });
            if let Some(last) = items.last() {
                let mut longer = items.clone();
                longer.push(last.clone());
                all.push(Value::Array(longer));
                all.push(Value::Array(items[1..].to_vec()));
            }
            all
        }
        Value::Object(fields) => inner_changes(fields.iter(), |name: &String, changed| {
            let mut fields = fields.clone();
            fields.insert(name.clone(), changed);
            Value::Object(fields)
        }),
        _ => vec![],
    }
}

fn inner_changes<'a, K: Copy>(
    inner: impl Iterator<Item = (K, &'a Value)>,
    put_back: impl Fn(K, Value) -> Value,
) -> Vec<Value> {
    inner
        .flat_map(|(key, value)| changes(value).into_iter().map(move |changed| (key, changed)))
        .map(|(key, changed)| put_back(key, changed))
        .collect()
}

#[test]
fn real_payloads_match() {
    for (name, call) in REAL {
        assert_eq!(judge(&params_of(call)), Check::Match, "{name}");
    }
}

#[test]
fn a_payload_with_any_value_changed_does_not_match() {
    for (name, call) in REAL {
        let params = params_of(call);
        // A longer list of parameters is judged by tests of its own.
        let mut all = changes(&params);
        let count = params.as_array().unwrap().len();
        all.retain(|changed| changed.as_array().unwrap().len() <= count);
        assert!(all.len() >= 14, "{name}: {} changes", all.len());
        for changed in all {
            assert_ne!(judge(&changed), Check::Match, "{name}: {changed}");
        }
    }
}

#[test]
fn a_payload_that_lacks_a_field_does_not_match() {
    for (name, call) in REAL {
        let params = params_of(call);
        for field in params[0].as_object().unwrap().keys() {
            let mut lacking = params.clone();
            lacking[0].as_object_mut().unwrap().remove(field);
            assert_ne!(judge(&lacking), Check::Match, "{name} without {field}");
        }
        for count in 0..params.as_array().unwrap().len() {
            let lacking = json!(params.as_array().unwrap()[..count]);
            assert_ne!(judge(&lacking), Check::Match, "{name} with {count} parameters");
        }
    }
}

#[test]
fn a_mismatch_names_both_hashes() {
    let mut params = params_of(REAL[0].1);
    let right = params[0]["blockHash"].as_str().unwrap().to_owned();
    let wrong = flipped(&right);
    params[0]["blockHash"] = json!(wrong);
    assert_eq!(judge(&params), Check::Mismatch { expected: right, got: wrong });
}

#[test]
fn blob_hashes_that_are_not_those_of_the_transactions_are_a_mismatch() {
    let mut params = params_of(REAL[4].1);
    params[1] = json!([]);
    let Check::Mismatch { expected, got } = judge(&params) else {
        panic!("no mismatch");
    };
    assert!(expected.contains("0x01"), "{expected}");
    assert_eq!(got, "blob versioned hashes []");
}

#[test]
fn an_inclusion_list_is_no_part_of_the_hash() {
    let mut params = params_of(REAL[5].1);
    params.as_array_mut().unwrap().push(json!(["0x00"]));
    assert_eq!(judge(&params), Check::Match);
    let mut too_early = params_of(REAL[3].1);
    too_early.as_array_mut().unwrap().push(json!(["0x00"]));
    assert!(matches!(judge(&too_early), Check::Unknown(_)));
}

#[test]
fn what_a_future_fork_adds_is_unknown() {
    let params = params_of(REAL[3].1);
    let mut with_field = params.clone();
    with_field[0]["proofOfSomething"] = json!("0x00");
    assert!(matches!(judge(&with_field), Check::Unknown(_)));

    let mut with_parameters = params.clone();
    for _ in params.as_array().unwrap().len()..6 {
        with_parameters.as_array_mut().unwrap().push(json!([]));
    }
    assert!(matches!(judge(&with_parameters), Check::Unknown(_)));

    let mut with_null = params;
    with_null[0]["withdrawals"] = Value::Null;
    assert!(matches!(judge(&with_null), Check::Unknown(_)));
}

#[test]
fn a_field_that_comes_twice_is_unknown() {
    let params = params_of(REAL[0].1).to_string();
    let twice = params.replacen("\"gasUsed\"", "\"gasUsed\":\"0x0\",\"gasUsed\"", 1);
    assert!(matches!(check(&Bytes::from(twice)), Check::Unknown(_)));
}

#[test]
fn a_block_before_shanghai_may_have_null_withdrawals() {
    let mut params = params_of(REAL[1].1);
    params[0].as_object_mut().unwrap().remove("withdrawals");
    let Check::Mismatch { expected, .. } = judge(&params) else {
        panic!("no mismatch");
    };
    params[0]["blockHash"] = json!(expected);
    assert_eq!(judge(&params), Check::Match);
    params[0]["withdrawals"] = Value::Null;
    assert_eq!(judge(&params), Check::Match);
}

#[test]
fn garbage_is_unknown() {
    for garbage in [
        "",
        "[",
        "[]",
        "null",
        "{}",
        "[null]",
        "[[]]",
        "[{}]",
        "[{},{},{},{}]",
        "\u{0}",
        "[1,2,3]",
        "[\"\\ud800\"]",
    ] {
        let judged = check(&Bytes::from(garbage));
        assert!(matches!(judged, Check::Unknown(_)), "{garbage:?} is {judged:?}");
    }
    assert!(matches!(check(&Bytes::from(vec![b'['; 100_000])), Check::Unknown(_)));
}

#[test]
fn malformed_hex_is_unknown() {
    for (field, value) in [
        ("gasUsed", "0x"),
        ("gasUsed", "0x00"),
        ("gasUsed", "0"),
        ("gasUsed", "0x+1"),
        ("gasUsed", "0x10000000000000000"),
        ("gasUsed", "0x1_0"),
        ("stateRoot", "0x00"),
        ("extraData", "0x0"),
        ("extraData", "0x0x"),
        ("extraData", "0xgg"),
        ("feeRecipient", "0xé0000000000000000000000000000000000000"),
    ] {
        let mut params = params_of(REAL[0].1);
        params[0][field] = json!(value);
        let judged = judge(&params);
        assert!(matches!(judged, Check::Unknown(_)), "{field} {value} is {judged:?}");
    }
}

#[test]
fn odd_transactions_do_not_panic() {
    for transactions in
        [json!(["0x"]), json!(["0x03"]), json!(["0x03c0"]), json!(["0xc0", "0x00"]), json!(vec!["0x01"; 300])]
    {
        let mut params = params_of(REAL[4].1);
        params[0]["transactions"] = transactions;
        let computed = match judge(&params) {
            Check::Mismatch { expected, .. } => expected,
            other => {
                assert!(matches!(other, Check::Unknown(_)), "{other:?}");
                continue;
            }
        };
        // With the right hash the blob transactions are looked into.
        params[0]["blockHash"] = json!(computed);
        assert_ne!(judge(&params), Check::Match);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&Bytes::from(bytes));
    }

    #[test]
    fn no_changed_byte_panics_or_changes_what_is_said(which in 0..REAL.len(), at: prop::sample::Index, byte: u8) {
        let original = params_of(REAL[which].1);
        let mut bytes = serde_json::to_vec(&original).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if check(&Bytes::from(bytes.clone())) == Check::Match {
            // Only white space or the case of a hex digit may differ.
            let changed: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(changed.to_string().to_lowercase(), original.to_string().to_lowercase());
        }
    }

    #[test]
    fn no_blob_transaction_panics(fields in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut transaction = vec![3];
        transaction.extend(fields);
        let _ = super::transactions::versioned_hashes(&[transaction]);
    }
}

//! Any bytes as a JSON-RPC body: nothing panics, what is read is a slice of the input, and where `serde_json` reads a
//! body whole, it reads the same.
#![no_main]

use std::collections::HashSet;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mainstay_wire::envelope::{
    Call, MAX_ELEMENTS, Message, Outcome, PARSE_ERROR, elements, fields, first_element, is_null, parse_reply,
    parse_request, raw_error_body, result_body, string,
};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let value = serde_json::from_slice::<Value>(&body);
    request(&body, &value);
    reply(&body, value.as_ref().ok());
    scans(&body, value.as_ref().ok());
});

fn request(body: &Bytes, value: &serde_json::Result<Value>) {
    let message = parse_request(body);
    match (&message, value) {
        (Err(error), Ok(_)) => assert_ne!(error.code, PARSE_ERROR, "serde_json reads it"),
        (Ok(Message::Single(call)), value) => {
            if let Err(why) = value {
                assert!(may_differ(why), "a request that serde_json refuses: {why}");
            }
            judged(body, call.as_ref().ok(), value.as_ref().ok());
        }
        (Ok(Message::Batch(calls)), value) => {
            if let Err(why) = value {
                assert!(may_differ(why), "a batch that serde_json refuses: {why}");
            }
            let values = value.as_ref().ok().map(|value| value.as_array().expect("a batch is an array"));
            assert!(values.is_none_or(|values| values.len() == calls.len()));
            for (i, call) in calls.iter().enumerate() {
                judged(body, call.as_ref().ok(), values.map(|values| &values[i]));
            }
        }
        (Err(_), Err(_)) => {}
    }
}

fn judged(body: &Bytes, call: Option<&Call>, value: Option<&Value>) {
    let Some(call) = call else { return };
    within(body, &call.raw);
    let members = [("id", &call.id), ("params", &call.params)];
    for (_, part) in members {
        if let Some(part) = part {
            within(body, part);
        }
    }
    let Some(value) = value else { return };
    assert_eq!(value["method"].as_str(), Some(call.method.as_str()));
    same(Some(&call.raw), Some(value));
    for (name, part) in members {
        same(part.as_ref(), value.get(name));
    }
}

fn reply(body: &Bytes, value: Option<&Value>) {
    let Ok(reply) = parse_reply(body) else { return };
    within(body, &reply.raw);
    if let Some(id) = &reply.id {
        within(body, id);
    }
    let written = match &reply.outcome {
        Outcome::Result(result) => {
            within(body, result);
            result_body(reply.id.as_deref(), result)
        }
        Outcome::Error { code, raw } => {
            within(body, raw);
            if unique_keys(raw)
                && let Some(value) = value
            {
                assert_eq!(value["error"]["code"].as_i64(), Some(*code));
            }
            raw_error_body(reply.id.as_deref(), raw)
        }
    };
    if let Some(value) = value {
        same(Some(&reply.raw), Some(value));
        same(reply.id.as_ref(), value.get("id"));
        match &reply.outcome {
            Outcome::Result(result) => same(Some(result), value.get("result")),
            Outcome::Error { raw, .. } => same(Some(raw), value.get("error")),
        }
    }
    let again = parse_reply(&written).expect("what is written is read");
    assert_eq!(again.outcome, reply.outcome);
    assert_eq!(again.id, Some(reply.id.unwrap_or(Bytes::from_static(b"null"))));
}

fn scans(body: &Bytes, value: Option<&Value>) {
    let found = fields(body, ["method", "id", "params"]);
    for part in found.iter().flatten().flatten() {
        within(body, part);
    }
    let [] = fields(body, []).unwrap_or([]);
    let split = elements(body);
    for element in split.iter().flatten() {
        within(body, element);
    }
    let first = first_element(body);
    if let Some(first) = &first {
        within(body, first);
    }
    let text = string(body);

    let Some(value) = value else {
        assert_eq!(text, None);
        return;
    };
    assert_eq!(text.as_deref(), value.as_str());
    assert!(!value.is_null() || is_null(body));
    match value {
        Value::Object(members) => {
            let found = found.expect("an object");
            if unique_keys(body) {
                for (part, name) in found.iter().zip(["method", "id", "params"]) {
                    same(part.as_ref(), members.get(name));
                }
            }
        }
        Value::Array(values) => {
            same(first.as_ref(), values.first());
            match split {
                Some(split) => {
                    assert_eq!(split.len(), values.len());
                    split.iter().zip(values).for_each(|(part, value)| same(Some(part), Some(value)));
                }
                None => assert!(values.len() > MAX_ELEMENTS),
            }
        }
        _ => assert!(found.is_none() && split.is_none() && first.is_none()),
    }
}

/// `part` is a slice of `body`, not a copy.
fn within(body: &Bytes, part: &Bytes) {
    let (all, part) = (body.as_ptr_range(), part.as_ptr_range());
    assert!(all.start <= part.start && part.end <= all.end, "not a slice of the input");
}

fn same(part: Option<&Bytes>, value: Option<&Value>) {
    let read = part.map(|part| serde_json::from_slice::<Value>(part).expect("part of what serde_json reads"));
    assert_eq!(read.as_ref(), value);
}

/// Well-formed JSON that `Value` can't hold: a scan need not mind.
fn may_differ(why: &serde_json::Error) -> bool {
    let why = why.to_string();
    [
        "recursion limit exceeded",
        "number out of range",
        "lone leading surrogate",
        "unexpected end of hex escape",
    ]
    .iter()
    .any(|known| why.starts_with(known))
}

/// Of duplicates `fields` takes the first and `Value` the last.
fn unique_keys(object: &[u8]) -> bool {
    struct Unique;
    impl<'a> Visitor<'a> for Unique {
        type Value = bool;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut seen = HashSet::new();
            let mut unique = true;
            while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
                unique &= seen.insert(key);
            }
            Ok(unique)
        }
    }
    serde_json::Deserializer::from_slice(object).deserialize_map(Unique).unwrap_or(false)
}

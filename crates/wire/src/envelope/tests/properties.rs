use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Any JSON value, a few levels deep.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // serde_json reads other fractions inexactly, which is of no concern here.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Any id as it may be written, number of any size or string with escapes.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,60})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,5})?",
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "\"(\\\\u[0-9a-f]{4}|[a-z ]|\\\\n){0,20}\"",
    ]
}

fn parsed(value: &Bytes) -> Value {
    serde_json::from_slice(value).unwrap()
}

/// Text that is nearly a request.
fn near_json() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "\n",
        "null",
        "1",
        "-",
        "\"method\"",
        "\"id\"",
        "\"Id\"",
        "\"params\"",
        "\"result\"",
        "\"error\"",
        "\"code\"",
        "\"m\"",
        "\\u0000",
        "\u{e9}",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_id_comes_back_byte_for_byte(id in id(), result in json()) {
        let call = single(&format!(r#"{{"id":{id},"method":"m"}}"#)).unwrap();
        let written = call.id.unwrap();
        prop_assert_eq!(text(&written), id.as_str());
        let reply = parse_reply(&result_body(Some(&written), result.to_string().as_bytes())).unwrap();
        prop_assert_eq!(reply.id.unwrap(), written);
        prop_assert_eq!(reply.outcome, Outcome::Result(bytes(&result.to_string())));
    }

    #[test]
    fn a_call_is_read_as_serde_json_reads_it(method in any::<String>(), params in json(), pretty in any::<bool>()) {
        prop_assume!(params.is_array() || params.is_object() || params.is_null());
        let value = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let call = single(&body).unwrap();
        prop_assert_eq!(call.method, method);
        prop_assert_eq!(parsed(&call.params.unwrap()), params);
        prop_assert_eq!(parsed(&call.raw), value);
    }

    #[test]
    fn fields_are_what_serde_json_finds(
        members in prop::collection::btree_map("[a-c\\PC]{0,3}", json(), 0..8),
        missing in "[a-c]{0,3}",
        pick in any::<prop::sample::Index>(),
    ) {
        let object = Value::Object(members.clone().into_iter().collect());
        let body = bytes(&object.to_string());
        let names: Vec<&String> = members.keys().collect();
        let present = if names.is_empty() { &missing } else { names[pick.index(names.len())] };
        for name in [present, &missing] {
            let [found] = fields(&body, [name.as_str()]).unwrap();
            prop_assert_eq!(found.as_ref().map(parsed), members.get(name).cloned());
        }
    }

    #[test]
    fn elements_are_what_serde_json_finds(values in prop::collection::vec(json(), 0..8)) {
        let body = bytes(&Value::from(values.clone()).to_string());
        let split = elements(&body).unwrap();
        prop_assert_eq!(split.iter().map(parsed).collect::<Vec<_>>(), values);
        prop_assert_eq!(first_element(&body), split.first().cloned());
    }

    #[test]
    fn what_serde_json_refuses_is_refused(body in near_json()) {
        let value = serde_json::from_str::<Value>(&body);
        let message = parse_request(&bytes(&body));
        if value.is_err() {
            // A lone surrogate is well-formed JSON to a scan and an error to `Value`.
            prop_assert!(matches!(&message, Err(_) | Ok(Message::Single(Err(_)))) || body.contains("\\u"));
        } else {
            prop_assert!(!matches!(&message, Err(error) if error.code == PARSE_ERROR));
        }
    }

    #[test]
    fn garbage_never_panics(body in prop::collection::vec(any::<u8>(), 0..64), near in near_json()) {
        for body in [Bytes::from(body), bytes(&near)] {
            let _ = parse_request(&body);
            let _ = parse_reply(&body);
            let _ = elements(&body);
            let _ = first_element(&body);
            let _ = fields(&body, ["method", "id"]);
            let _ = fields(&body, []);
            let _ = string(&body);
        }
    }
}

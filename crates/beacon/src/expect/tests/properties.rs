//! Whatever the expression and the body: no panic, an end, and one short line of text.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<u16>().prop_map(|number| json!(number.to_string())),
        any::<u32>().prop_map(|number| json!(format!("{number:#x}"))),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-c]|data|.{0,3}", inner, 0..5).prop_map(Value::from_iter),
        ]
    })
}

/// Texts that are expressions for the most part.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("body".to_owned()),
        Just("body.data".to_owned()),
        Just("status".to_owned()),
        Just("now".to_owned()),
        Just("headers".to_owned()),
        Just("x".to_owned()),
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        "'[a-c0-9x.]{0,4}'",
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let operators = prop::sample::select(vec![
            "==", "!=", "<", "<=", ">", ">=", "&&", "||", "+", "-", "*", "/", "%", "in",
        ]);
        let functions = prop::sample::select(vec![
            "hex",
            "int",
            "uint",
            "double",
            "string",
            "bool",
            "type",
            "size",
            "math.abs",
            "!",
            "-",
            "math.ceil",
        ]);
        let members = prop::sample::select(vec![
            "size()",
            "trim()",
            "lowerAscii()",
            "hasValue()",
            "value()",
            "a",
            "data",
            "?b",
            "split(',')",
            "substring(1)",
            "contains('a')",
            "matches('a+')",
            "orValue(1)",
        ]);
        let macros = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            (inner.clone(), operators, inner.clone()).prop_map(|(l, op, r)| format!("({l} {op} {r})")),
            (functions, inner.clone()).prop_map(|(function, of)| format!("{function}({of})")),
            (inner.clone(), members).prop_map(|(of, member)| format!("{of}.{member}")),
            (inner.clone(), macros, inner.clone()).prop_map(|(of, name, is)| format!("{of}.{name}(x, {is})")),
            (inner.clone(), inner.clone()).prop_map(|(of, index)| format!("{of}[{index}]")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(c, l, r)| format!("({c} ? {l} : {r})")),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            (inner.clone(), inner).prop_map(|(key, value)| format!("{{{key}: {value}}}")),
        ]
    })
}

fn check(text: &str, body: &Value) -> Result<(), TestCaseError> {
    match Expectation::compile(text) {
        Ok(expectation) => {
            let judged = expectation.judge(&seen(200, body.clone()));
            prop_assert!(!judged.saw.is_empty() && judged.saw.chars().count() <= MAX_SAW, "{}", judged.saw);
            prop_assert!(!judged.saw.chars().any(char::is_control), "{:?}", judged.saw);
            // CEL gives no errors for what isn't looked at, so nothing but the work's end can be found out here.
            prop_assert!(!judged.saw.contains("can't be evaluated"), "{text}: {}", judged.saw);
            prop_assert_eq!(expectation.judge(&seen(200, body.clone())), judged);
        }
        Err(why) => {
            let line = text.split('\n').nth(why.line - 1);
            let in_line = |line: &str| why.column <= line.chars().count() + 1;
            prop_assert!(line.is_some_and(in_line), "{text:?}: {why}");
            prop_assert!(!why.message.is_empty());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_expression_over_any_body(text in expression(), body in body()) {
        check(&text, &body)?;
        check(&format!("{text} == {text}"), &body)?;
        check(&format!("[body, status].exists(x, {text} != null)"), &body)?;
    }

    #[test]
    fn any_text(text in ".{0,60}", body in body()) {
        check(&text, &body)?;
    }

    #[test]
    fn any_signs(text in "[a-zé0-9 .,'\"=<>&|!?:()\\[\\]{}+*/%\n@-]{0,60}") {
        check(&text, &json!({}))?;
    }

    #[test]
    fn text_and_numbers_are_never_compared(number in any::<i64>(), op in prop::sample::select(vec!["==", "!=", "<", ">="])) {
        for expression in [format!("body.a {op} {number}"), format!("{number} {op} body.a")] {
            let judged = judge(&expression, 200, json!({"a": number.to_string()}));
            prop_assert!(!judged.met && judged.saw.contains("write int(body.a)"), "{}", judged.saw);
        }
    }

    #[test]
    fn numbers_as_text_are_read(number in any::<i64>()) {
        let body = json!({"a": number.to_string(), "h": format!("{:#x}", number.unsigned_abs() >> 1)});
        met(&format!("int(body.a) == {number} && hex(body.h) == {}", number.unsigned_abs() >> 1), &body);
    }
}

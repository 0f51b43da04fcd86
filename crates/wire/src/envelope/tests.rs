#![allow(clippy::unwrap_used)]

mod properties;

use bytes::Bytes;

use super::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn single(text: &str) -> Result<Call, BadCall> {
    match parse_request(&bytes(text)).unwrap() {
        Message::Single(call) => call,
        Message::Batch(_) => panic!("a batch: {text}"),
    }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_call_is_split_without_copying() {
    let body = bytes(
        " {\"jsonrpc\":\"2.0\", \"id\" : 67 ,\"method\":\"eth_chainId\",\"params\": [ 1, {\"a\":\"}\"} ] } \n",
    );
    let Message::Single(Ok(call)) = parse_request(&body).unwrap() else { panic!() };
    assert_eq!(call.method, "eth_chainId");
    assert_eq!(text(&call.id.unwrap()), "67");
    let params = call.params.unwrap();
    assert_eq!(text(&params), "[ 1, {\"a\":\"}\"} ]");
    assert_eq!(text(&call.raw), text(&body).trim());
    assert!(body.as_ptr_range().contains(&params.as_ptr()), "params were copied");
    assert!(body.as_ptr_range().contains(&call.raw.as_ptr()), "the call was copied");
}

#[test]
fn a_call_that_is_kept_keeps_nothing_of_a_larger_body() {
    for call in [
        r#"{"jsonrpc":"2.0","id":"a","method":"m","params":[1,{"x":2}]}"#,
        r#"{"method":"m","params":{}}"#,
        r#"{"id":7,"method":"\u006d"}"#,
    ] {
        let body = bytes(&format!("[ {call} ,{call}, 1]"));
        let Ok(Message::Batch(calls)) = parse_request(&body) else { panic!("{call}") };
        let kept = calls[0].clone().unwrap().kept(&body);
        assert_eq!(&kept, calls[0].as_ref().unwrap());
        drop(calls);
        assert!(body.is_unique(), "{call}");
    }
}

#[test]
fn ids_are_kept_byte_for_byte() {
    let ids = [
        "0",
        "-1",
        "1.50",
        "1e400",
        "123456789012345678901234567890",
        "null",
        "\"\"",
        "\"a\\u0062\"",
        "\"\u{e9}\"",
    ];
    for id in ids {
        let call = single(&format!(r#"{{"id": {id} ,"method":"m"}}"#)).unwrap();
        assert_eq!(text(&call.id.unwrap()), id);
    }
    assert_eq!(single(r#"{"method":"m"}"#).unwrap().id, None);
}

#[test]
fn what_is_tolerated() {
    for body in [
        r#"{"method":"m"}"#,
        r#"{"method":"m","params":null}"#,
        r#"{"method":"m","params":{}}"#,
        r#"{"method":"m","extra":1,"Extra":2}"#,
        r#"{"m\u0065thod":"\u006d"}"#,
        "\t\r\n{\"method\":\"m\"}",
        r#"{"jsonrpc":"\u0032.0","method":"m"}"#,
    ] {
        assert_eq!(single(body).unwrap().method, "m", "{body}");
    }
}

#[test]
fn what_is_no_request() {
    // body, the id of the answer
    for (body, id) in [
        ("1", None),
        ("\"x\"", None),
        ("null", None),
        (r#"{}"#, None),
        (r#"{"id":1}"#, Some("1")),
        (r#"{"id":1,"method":1}"#, Some("1")),
        (r#"{"id":1,"method":null}"#, Some("1")),
        (r#"{"id":1,"method":"\ud800"}"#, Some("1")),
        (r#"{"id":1,"method":"m","params":1}"#, Some("1")),
        (r#"{"id":1,"method":"m","params":"p"}"#, Some("1")),
        (r#"{"id":1,"method":"m","params":true}"#, Some("1")),
        (r#"{"id":1,"method":"m","jsonrpc":"1.0"}"#, Some("1")),
        (r#"{"id":1,"method":"m","jsonrpc":2.0}"#, Some("1")),
        (r#"{"id":1,"method":"m","jsonrpc":null}"#, Some("1")),
        (r#"{"id":true,"method":"m"}"#, None),
        (r#"{"id":[1],"method":"m"}"#, None),
        (r#"{"id":{},"method":"m"}"#, None),
    ] {
        let bad = single(body).unwrap_err();
        assert_eq!(bad.error.code, INVALID_REQUEST, "{body}");
        assert_eq!(bad.id.as_ref().map(text), id, "{body}");
    }
}

#[test]
fn keys_that_parsers_disagree_about_are_refused() {
    for (body, id) in [
        (r#"{"id":1,"method":"a","method":"b"}"#, Some("1")),
        (r#"{"id":1,"method":"a","m\u0065thod":"b"}"#, Some("1")),
        (r#"{"id":1,"method":"a","Method":"b"}"#, Some("1")),
        (r#"{"id":1,"Method":"a"}"#, Some("1")),
        (r#"{"id":1,"method":"a","PARAMS":[]}"#, Some("1")),
        ("{\"id\":1,\"method\":\"a\",\"param\u{17f}\":[]}", Some("1")),
        (r#"{"method":"a","ID":1}"#, None),
        (r#"{"id":1,"method":"a","id":2}"#, None),
        (r#"{"id":1,"method":"a","x":1,"x":1}"#, Some("1")),
        (r#"{"x":1,"x":1,"id":1,"method":"a"}"#, Some("1")),
        (r#"{"id":null,"method":"a","id":null}"#, None),
    ] {
        let bad = single(body).unwrap_err();
        assert_eq!(bad.error.code, INVALID_REQUEST, "{body}");
        assert_eq!(bad.id.as_ref().map(text), id, "{body}");
    }
    let many: String = (0..1000).map(|n| format!("\"k{n}\":0,")).collect();
    assert!(single(&format!(r#"{{{many}"method":"m"}}"#)).is_err());
}

#[test]
fn what_is_no_json() {
    for body in [
        "",
        " ",
        "{",
        "{\"method\":\"m\"",
        "{\"method\":\"m\",}",
        "{\"method\":\"m\"} x",
        "{\"method\":\"m\"}{}",
        "{\"method\":\"m\",\"method\":\"n\"",
        "{'method':1}",
        "{\"params\":[1,2}}",
        "{\"id\":01}",
        "nul",
        "[1,]",
        "[",
        "\u{feff}{\"method\":\"m\"}",
        "{\"method\":\"a\nb\"}",
    ] {
        assert_eq!(parse_request(&bytes(body)).unwrap_err().code, PARSE_ERROR, "{body:?}");
    }
    let not_utf8 = Bytes::from_static(b"{\"method\":\"m\",\"params\":[\"\xff\"]}");
    assert_eq!(parse_request(&not_utf8).unwrap_err().code, PARSE_ERROR);
}

#[test]
fn the_calls_of_a_batch_are_judged_alone() {
    let body = bytes(r#" [ {"id":1,"method":"a"} , 7, {"id":2}, [] ,{"id":"x","method":"b","params":[2]}] "#);
    let Message::Batch(calls) = parse_request(&body).unwrap() else { panic!() };
    assert_eq!(calls.len(), 5);
    assert_eq!(calls[0].as_ref().unwrap().method, "a");
    assert_eq!(text(&calls[0].as_ref().unwrap().raw), r#"{"id":1,"method":"a"}"#);
    assert_eq!(calls[1].as_ref().unwrap_err().id, None);
    assert_eq!(calls[2].as_ref().unwrap_err().id, Some(bytes("2")));
    assert!(calls[3].is_err());
    assert_eq!(calls[4].as_ref().unwrap().params, Some(bytes("[2]")));
}

#[test]
fn a_batch_is_bounded() {
    let batch = |n: usize| bytes(&format!("[{}]", vec![r#"{"method":"m"}"#; n].join(",")));
    assert_eq!(parse_request(&batch(0)).unwrap_err().code, INVALID_REQUEST);
    let Message::Batch(calls) = parse_request(&batch(MAX_BATCH)).unwrap() else { panic!() };
    assert_eq!(calls.len(), MAX_BATCH);
    assert_eq!(parse_request(&batch(MAX_BATCH + 1)).unwrap_err().code, INVALID_REQUEST);
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let depth = 1_000_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(single(&format!(r#"{{"method":"m","params":{deep}}}"#)).is_ok());
    assert!(single(&format!(r#"{{"method":"m","other":{deep}}}"#)).is_ok());
    assert!(matches!(parse_request(&bytes(&deep)), Ok(Message::Batch(_))));
    assert!(parse_request(&bytes(&"[".repeat(depth))).is_err());
    assert!(parse_request(&bytes(&"{\"a\":".repeat(depth))).is_err());
    assert_eq!(elements(&bytes(&deep)).unwrap().len(), 1);
    assert!(fields(&bytes(&format!(r#"{{"a":{deep},"b":1}}"#)), ["b"]).is_some());
}

#[test]
fn replies() {
    let outcome = |body: &str| parse_reply(&bytes(body)).map(|reply| reply.outcome);
    let result = |raw: &str| Ok(Outcome::Result(bytes(raw)));
    let error = |code, raw: &str| Ok(Outcome::Error { code, raw: bytes(raw) });
    assert_eq!(outcome(r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#), result("\"0x1\""));
    assert_eq!(outcome(r#"{"id":1,"result":null}"#), result("null"));
    assert_eq!(outcome(r#"{"id":1,"error":null,"result":{"a":1}}"#), result("{\"a\":1}"));
    assert_eq!(outcome(r#"{"id":1,"error":null,"result":null}"#), result("null"));
    let refused = r#"{"code":-38005,"message":"Unsupported fork"}"#;
    assert_eq!(outcome(&format!(r#"{{"id":1,"error":{refused}}}"#)), error(-38005, refused));
    assert_eq!(outcome(&format!(r#"{{"id":1,"result":null,"error":{refused}}}"#)), error(-38005, refused));
}

#[test]
fn a_reply_keeps_its_id_and_bytes() {
    let reply = parse_reply(&bytes(" {\"id\": \"a\\u0062\" ,\"result\":1}\n")).unwrap();
    assert_eq!(text(&reply.id.unwrap()), "\"a\\u0062\"");
    assert_eq!(text(&reply.raw), "{\"id\": \"a\\u0062\" ,\"result\":1}");
}

#[test]
fn unreadable_replies() {
    for body in [
        "",
        "[]",
        "502 Bad Gateway",
        r#"[{"id":1,"result":1}]"#,
        r#"{"id":1}"#,
        r#"{"id":1,"error":null}"#,
        r#"{"id":1,"result":1,"error":{"code":1}}"#,
        r#"{"id":1,"error":"no"}"#,
        r#"{"id":1,"error":{"message":"no code"}}"#,
        r#"{"id":1,"error":{"code":"1"}}"#,
        r#"{"id":1,"error":{"code":1.5}}"#,
        r#"{"id":1,"result":1,"result":2}"#,
        r#"{"id":1,"result":1,"Result":2}"#,
        r#"{"id":1,"result":1}}"#,
    ] {
        assert!(parse_reply(&bytes(body)).is_err(), "{body}");
    }
    let error = parse_reply(&bytes("secret")).unwrap_err().to_string();
    assert!(!error.contains("secret"));
}

#[test]
fn bodies_are_put_together_around_raw_bytes() {
    assert_eq!(result_body(Some(b"1e5"), b"{ }"), r#"{"jsonrpc":"2.0","id":1e5,"result":{ }}"#);
    assert_eq!(
        error_body(None, -32700, "a \"b\"\n"),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"a \"b\"\n"}}"#
    );
    assert_eq!(raw_error_body(Some(b"\"x\""), b"{}"), r#"{"jsonrpc":"2.0","id":"x","error":{}}"#);
}

#[test]
fn fields_stop_when_all_are_found() {
    let cut_off = bytes(r#"{"a":1,"b\u0062":"x","c":[1, 2] , garbage"#);
    assert_eq!(fields(&cut_off, ["c", "bb"]), Some([Some(bytes("[1, 2]")), Some(bytes("\"x\""))]));
    assert_eq!(fields(&cut_off, ["a", "d"]), None);
    let whole = bytes(r#"{"a":1,"A":2,"a":3}"#);
    assert_eq!(fields(&whole, ["a", "d"]), Some([Some(bytes("1")), None]));
    assert_eq!(fields(&bytes("[1]"), ["a"]), None);
    assert_eq!(fields(&bytes(r#"{"b":1} x"#), ["a"]), None);
}

#[test]
fn arrays_are_split() {
    assert_eq!(elements(&bytes(" [1, \"]\" ,{} ] ")), Some(vec![bytes("1"), bytes("\"]\""), bytes("{}")]));
    assert_eq!(elements(&bytes("[]")), Some(vec![]));
    for no_array in ["", "{}", "[1", "[1]]", "[1,]", "\"[]\""] {
        assert_eq!(elements(&bytes(no_array)), None, "{no_array}");
    }
    assert_eq!(elements(&bytes(&format!("[{}1]", "1,".repeat(MAX_ELEMENTS)))), None);
    assert_eq!(first_element(&bytes("[ {\"a\":[]} , garbage")), Some(bytes("{\"a\":[]}")));
    assert_eq!(first_element(&bytes("[]")), None);
    assert_eq!(first_element(&bytes("{}")), None);
    assert_eq!(first_element(&bytes("[tru")), None);
}

#[test]
fn strings_and_nulls() {
    assert_eq!(string(&bytes("\"a\\u00e9\"")), Some("a\u{e9}".to_owned()));
    assert_eq!(string(&bytes("1")), None);
    assert!(is_null(b" null"));
    assert!(!is_null(b"\"null\""));
}

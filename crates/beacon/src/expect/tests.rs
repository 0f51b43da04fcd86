#![allow(clippy::unwrap_used)]
use std::time::Duration;

use serde_json::json;

use super::*;

mod properties;

pub(super) fn seen(status: i64, body: serde_json::Value) -> Seen {
    Seen {
        status,
        headers: [("content-type", "application/json"), ("x-node", "a\r\nb")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        body,
        now: UNIX_EPOCH + Duration::from_millis(1_795_231_030_500),
        guard: Facts {
            name: "beacon-1".into(),
            beacon_node: "127.0.0.1:5052".into(),
            execution_node: None,
            min_peers: 64,
            listen: "127.0.0.1:5062".into(),
            attnets: Some(vec![0, 40]),
        },
    }
}

fn captured(name: &str) -> serde_json::Value {
    let path = format!("{}/tests/bodies/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn judge(expression: &str, status: i64, body: serde_json::Value) -> Judged {
    Expectation::compile(expression)
        .unwrap_or_else(|why| panic!("{expression}: {why}"))
        .judge(&seen(status, body))
}

fn met(expression: &str, body: &serde_json::Value) {
    let judged = judge(expression, 200, body.clone());
    assert!(judged.met, "{expression}: {}", judged.saw);
}

fn unmet(expression: &str, status: i64, body: serde_json::Value, saw: &str) {
    let judged = judge(expression, status, body);
    assert_eq!((judged.met, judged.saw.as_str()), (false, saw), "{expression}");
}

#[test]
fn what_a_beacon_node_really_says() {
    let genesis = captured("genesis");
    met("now - int(body.data.genesis_time) >= 0 && now - int(body.data.genesis_time) < 60", &genesis);
    met("body.data.genesis_fork_version == '0x03000001'", &genesis);
    met(r#"body.data.genesis_validators_root.matches("^0x[0-9a-f]{64}$")"#, &genesis);
    let spec = captured("spec");
    met("body.data.PRESET_BASE == 'minimal' && int(body.data.SECONDS_PER_SLOT) > 0", &spec);
    met("uint(body.data.TERMINAL_BLOCK_HASH_ACTIVATION_EPOCH) == 18446744073709551615u", &spec);
    met("body.data.?GLOAS_FORK_EPOCH.orValue('none') == 'none'", &spec);
    met("!has(body.data.GLOAS_FORK_EPOCH)", &spec);
    let validators = captured("validators");
    met("size(body.data) == 8 && body.data.all(v, v.status.startsWith('active_'))", &validators);
    met("body.data.exists(v, int(v.index) == 3 && !v.validator.slashed)", &validators);
    met("body.data.filter(v, int(v.balance) >= 32000000000).size() == 8", &validators);
    met("body.data.map(v, int(v.index)) == [0, 1, 2, 3, 4, 5, 6, 7]", &validators);
    met("body.data.exists_one(v, v.index == '5')", &validators);
    let duties = captured("proposer_duties");
    met("!body.execution_optimistic && body.data[0].slot == '0'", &duties);
    met("body['data'][1]['validator_index'] in ['4', '5']", &duties);
    met("int(body.data.source.epoch) <= int(body.data.target.epoch)", &captured("attestation_data"));
    met("body.version == 'capella' && body.data.body.attestations.size() >= 0", &captured("block"));
}

#[test]
fn the_language() {
    let body = json!({
        "a": 1, "b": "2", "c": [1, 2, 3], "d": {"e": null, "f-g": true}, "h": 1.5, "i": 18_446_744_073_709_551_615_u64,
        "j": "a,b , c", "k": -3, "l": [],
    });
    for expression in [
        "true",
        "status == 200",
        "status in [200, 206]",
        "status >= 200 && status < 300",
        "status != 500 || body.missing",
        "body.missing == 1 || status == 200",
        "status == 200 ? body.a == 1 : false",
        "headers['content-type'] == 'application/json'",
        "headers.?missing.orValue('x') == 'x'",
        "!('missing' in headers)",
        "headers['x-node'].contains('b')",
        "now == 1795231030",
        "guard.name == 'beacon-1' && guard.beacon_node.endsWith(':5052') && guard.min_peers == 64",
        "guard.listen == '127.0.0.1:5062' && guard.attnets.all(n, n in [0, 1, 40]) && size(guard.attnets) == 2",
        "guard.execution_node == null",
        "body.a == 1 && body.a == 1.0 && body.a < 2u",
        "body.h > 1 && math.abs(body.k) == 3 && math.round(body.h) == 2.0",
        "body.i == 18446744073709551615u",
        "int(body.b) + body.a == 3 && double(body.b) == 2.0 && uint(body.b) == 2u",
        "body.c[1] == 2 && body.c.all(x, x > 0) && 3 in body.c",
        "body.c.map(x, x * 2) == [2, 4, 6] && body.c.filter(x, x > 1).size() == 2",
        "body.c + [4] == [1, 2, 3, 4]",
        "body.d.e == null && has(body.d.e) && !has(body.d.x)",
        "body.d['f-g'] && body.d[?'x'].orValue(true)",
        "body.j.split(',')[1].trim() == 'b' && body.j.substring(0, 1) == 'a'",
        "body.j.upperAscii().startsWith('A') && size(body.j) == 7",
        "body.j.matches('^a,') && matches(body.j, 'c$')",
        "string(body.a) == '1' && bool('true')",
        "type(body.c) == list && type(body.a) == int",
        "hex('0x1f') == 31 && hex('ff') == 255 && hex('0x0') == 0",
        "hex('0x7fffffffffffffff') == 9223372036854775807",
        "size(body) == 9 && body.l == []",
        "body.?d.?e.hasValue()",
        "{'x': body.a}.x == 1",
        "body.c.map(x, body.c.map(y, x * y)) == [[1, 2, 3], [2, 4, 6], [3, 6, 9]]",
        "body.a == 1 // why",
        "\n  status == 200\n  && body.a == 1\n",
    ] {
        met(expression, &body);
    }
    met("body == null", &serde_json::Value::Null);
    met("body == 'no JSON' && body.contains('JSON')", &json!("no JSON"));
}

#[test]
fn what_was_seen_is_told_in_short() {
    let body = json!({"data": {"peers": 3, "head_slot": "17", "list": [1, 2], "gone": null}, "x": {"y": 1}});
    for (expression, saw) in [
        ("status == 200", "status = 500"),
        ("body.data.peers >= 64", "status = 500, body.data.peers = 3"),
        ("int(body.data.head_slot) > 20", "status = 500, body.data.head_slot = \"17\""),
        ("size(body.data.list) > 4", "status = 500, body.data.list = 2 items"),
        ("body.data.gone != null", "status = 500, body.data.gone = null"),
        ("has(body.data.missing)", "status = 500"),
        (
            "size(body.x) == 2 && body.data.peers == 1",
            "status = 500, body.x = 1 entries, body.data.peers = 3",
        ),
        ("body.data.peers == 4 && body.data.peers == 4", "status = 500, body.data.peers = 3"),
        ("body.data.list.exists(i, i > 2)", "status = 500, body.data.list = 2 items"),
        ("body.data.peers >= guard.min_peers", "status = 500, body.data.peers = 3, guard.min_peers = 64"),
        ("guard.beacon_node == ''", "status = 500"),
        ("now < 5", "status = 500, now = 1795231030"),
        ("headers['x-node'] == ''", "status = 500, headers[\"x-node\"] = \"ab\""),
    ] {
        unmet(expression, 500, body.clone(), saw);
    }
    let long = "é".repeat(500);
    let body =
        json!({"a": long, "b": long, "c": long, "d": long, "e": long, "url": "http://me:hunter2@relay/x"});
    let told = judge("body.a == body.b && body.c == body.d && body.e == ''", 200, body.clone()).saw;
    assert!(told.chars().count() == MAX_SAW && told.ends_with('…'), "{told}");
    unmet("body.url == ''", 200, body, "status = 200, body.url = \"http://<set>@relay/x\"");
}

#[test]
fn what_goes_wrong_while_it_is_judged_is_told() {
    let body = json!({
        "data": {"head_slot": "17", "hash": "0x1f", "half": "1.5", "name": "geth", "list": [{"x": 1}, {}], "nothing": null},
    });
    let slot = "body.data.head_slot = \"17\"";
    for (expression, why, also) in [
        ("body.data.peers > 1", "body.data.peers: no such key", ""),
        ("body.data.peers.connected > 1", "body.data.peers: no such key", ""),
        ("body.data.nothing.x > 1", "body.data.nothing is null", ""),
        ("body.data.name.x > 1", "body.data.name is text", ""),
        ("body.data.list[7].x > 1", "body.data.list[7]: there are 2 items", ""),
        ("body.data.list.all(i, i.x == 1)", "i.x: no such key", ", body.data.list = 2 items"),
        ("body.data.list[1.5] == 1", "a place in a list is a whole number", ""),
        ("body.data.list[1e300] == 1", "a place in a list is a whole number", ""),
        ("headers['etag'] == ''", "headers.etag: no such key", ""),
        (
            "body.data.head_slot > 3",
            "body.data.head_slot is text (\"17\"), write int(body.data.head_slot)",
            slot,
        ),
        (
            "body.data.head_slot != 3",
            "body.data.head_slot is text (\"17\"), write int(body.data.head_slot)",
            slot,
        ),
        (
            "3 == body.data.head_slot",
            "body.data.head_slot is text (\"17\"), write int(body.data.head_slot)",
            slot,
        ),
        ("body.data.hash == 31", "body.data.hash is text (\"0x1f\"), write hex(body.data.hash)", ""),
        ("body.data.half < 2", "body.data.half is text (\"1.5\"), write double(body.data.half)", ""),
        ("body.data.name < 2", "body.data.name is text (\"geth\"), not a number", ""),
        ("body.data.list.map(i, '17').exists(s, s > 3)", "s is text (\"17\"), write int(s)", ""),
        ("body.data.list < 2", "a list can't be compared with a number", ""),
        ("int(body.data.name) == 1", "int()", ""),
        ("hex(body.data.name) == 1", "hex(\"geth\"): is no hexadecimal number of 63 bits", ""),
        ("hex('0x8000000000000000') == 1", "is no hexadecimal number of 63 bits", ""),
        ("body.data.name", "the expression gives text, not true or false", "body.data.name = \"geth\""),
        ("body.data.?peers", "the expression gives a value that may be missing, not true or false", ""),
        ("body.data && true", "&& can't be used on an object and true or false", ""),
        ("!body.data.name", "! can't be used on text", ""),
        ("body.data.name + 1 == body", "+ can't be used on text and a number", ""),
        ("body.data.list.matches('x')", "matches() is for text, not for a list", ""),
        ("size(body.data.nothing) == 0", "size can't be used on null", ""),
        ("1 / (status - 200) == 1", "division by zero", ""),
        ("{body.data.list: 1} == {}", "a list can't be a key of a map", ""),
        ("9223372036854775807 + status == 1", "a number is out of range", ""),
        ("body.data.name.all(x, x == 1)", "a list or an object is wanted, not text", ""),
        ("body.data.?peers.value() == 1", "", ""),
    ] {
        let judged = judge(expression, 200, body.clone());
        assert!(!judged.met, "{expression}");
        assert!(judged.saw.contains(why), "{expression}: {} hasn't {why}", judged.saw);
        assert!(
            judged.saw.contains("status = 200") && judged.saw.contains(also),
            "{expression}: {}",
            judged.saw
        );
    }
    for (body, why) in
        [(json!("<html>"), "body is text"), (json!(null), "body is null"), (json!(7), "body is a number")]
    {
        let judged = judge("body.data.x == 1", 200, body);
        assert!(!judged.met && judged.saw.starts_with(why), "{}", judged.saw);
    }
}

#[test]
fn what_can_be_known_beforehand_is_refused_with_its_place() {
    for (expression, told) in [
        ("", "column 1: a value is missing at the end"),
        ("status ==", "column 10: a value is missing at the end"),
        ("status == 200 &", "column 15: unexpected single '&', expected '&&'"),
        ("(status == 200", "column 15: expected ')'"),
        ("status = 200", "column 8: two values are compared with =="),
        ("status == 200 and true", "column 15: \"and\" is written &&"),
        ("status == 200 or true", "column 15: \"or\" is written ||"),
        ("status == 'abc", "column 11: unterminated string literal"),
        ("status == 200 body", "column 15: 'body' is not expected here"),
        ("'äöü' == 'ä' && @", "column 17: unexpected character"),
        ("status == 200\n  && @", "line 2, column 6: unexpected character"),
        ("stauts == 200", "column 1: there is no stauts, there are status, headers, body, now, guard"),
        ("status == 200 && bdoy.x", "column 18: there is no bdoy"),
        ("body.x == 'x' && x", "column 18: there is no x"),
        ("body.all(x, x > y)", "column 17: there is no y"),
        ("body.all(x, x > 0) && x > 0", "column 10: there is no x"),
        ("status == 200\n  && (bdoy.x\n == 1)", "line 2, column 7: there is no bdoy"),
        (
            "guard.min_pers > 1",
            "column 7: guard has no min_pers, it has name, beacon_node, execution_node, min_peers, listen, attnets",
        ),
        (
            "headers['Content-Type'] == ''",
            "column 9: names of headers are in lower case: headers[\"content-type\"]",
        ),
        ("foo(body)", "column 1: there is no function foo, there are hex, int, "),
        ("body.x.replace('a', 'b') == ''", "column 8: there is no function replace"),
        ("math.greatest(1, 2) == 2", "column 6: there is no function math.greatest"),
        ("int(1, 2) == 1", "column 1: int is written like int(x)"),
        ("body.int() == 1", "column 6: int is written like int(x)"),
        ("contains(body, 'x')", "column 1: contains is written like x.contains(y)"),
        ("size() == 1", "column 1: size is written like size(x) or x.size()"),
        ("body.all(x > 3)", "column 6: all is written like list.all(x, x > 0)"),
        ("has(body)", "column 5: invalid argument to has() macro"),
        ("Foo{a: 1} == 1", "column 1: there are no messages of type Foo"),
        ("1", "column 1: it gives int, not true or false"),
        ("'x'", "column 1: it gives string, not true or false"),
        ("[true]", "column 1: it gives a list, not true or false"),
        ("status", "column 1: status is int, not true or false: compare it with something"),
        ("status == 200 && status", "column 1: status is int"),
        ("true && size(body)", "column 14: it gives int"),
        ("!now", "column 2: now is int"),
        ("body.x ? guard.name : true", "column 10: guard.name is string"),
        ("hex(body.x)", "column 5: it gives int"),
        ("body.x + 1", "column 1: it gives int"),
        ("body.map(x, x)", "column 1: it gives a list"),
        ("status == '200'", "column 1: text is compared with a number"),
        ("headers['x'] > 3", "column 1: text is compared with a number"),
        ("body.x.matches(body.y)", "column 8: the pattern of matches has to be written here, in quotes"),
        ("body.x.matches('(a')", "column 8: the pattern can't be used: unclosed group"),
        (
            "body.x.matches('(a{1000}){1000}')",
            "column 8: the pattern can't be used: Compiled regex exceeds size limit",
        ),
    ] {
        let refused = Expectation::compile(expression).unwrap_err().to_string();
        assert!(refused.starts_with(told), "{expression}: {refused}");
    }
}

#[test]
fn an_expression_has_bounds() {
    let long = format!("status == 200 || '{}' == ''", "x".repeat(MAX_TEXT));
    let refused = Expectation::compile(&long).unwrap_err().to_string();
    assert!(refused.contains("at most 4096 bytes"), "{refused}");
    // On a stack no larger than a thread of the runtime has.
    let deep = [
        format!("body{} == 1", ".a".repeat(2000)),
        format!("status{} == 1", " + status".repeat(400)),
        format!("body{} == 1", "[0]".repeat(1300)),
        format!("body{} == 1", ".a.size()".repeat(400)),
        format!("{}true{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}true", "true ? true : ".repeat(290)),
        format!("{}1{} == 1", "[".repeat(90), "]".repeat(90)),
        format!("{}1{} == 1", "[".repeat(2000), "]".repeat(2000)),
        format!("{}x{}", "body.all(x, ".repeat(90), ")".repeat(90)),
    ];
    for text in deep {
        match Expectation::compile(&text) {
            Err(why) => assert!(why.message.contains("deep"), "{text}: {why}"),
            Ok(expectation) => drop(expectation.judge(&seen(200, json!({})))),
        }
    }
}

#[test]
fn the_deepest_expressions_need_no_more_stack_than_a_thread_has() {
    let levels = |open: &str, middle: &str, close: &str| {
        let count = (1..).take_while(|count| {
            let text = format!("{}{middle}{} == 1", open.repeat(*count), close.repeat(*count));
            Expectation::compile(&text).is_ok()
        });
        let count = count.last().unwrap();
        format!("{}{middle}{} == 1", open.repeat(count), close.repeat(count))
    };
    for text in [
        levels("[body].map(x, ", "body", ")[0]"),
        levels("(1 + ", "status", ")"),
        levels("[", "status", "][0]"),
        levels("{'a': ", "status", "}.a"),
        levels("int(", "status", ")"),
        levels("(true ? ", "status", " : 1)"),
    ] {
        let expectation = Expectation::compile(&text).unwrap();
        let judge = move || expectation.judge(&seen(1, json!(1)));
        // Half of what threads of the runtime have.
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(judge).unwrap();
        assert!(!thread.join().unwrap().saw.is_empty());
    }
}

#[test]
fn work_is_bounded() {
    let many: Vec<u64> = (0..200_000).collect();
    let long = "x".repeat(1 << 20);
    let four = "[1, 2, 3, 4].all(x, ";
    let expressions = [
        "body.many.all(x, body.many.all(y, x + y >= 0))".to_owned(),
        "body.many.all(x, body.many == body.many)".to_owned(),
        "body.many.map(x, body.many).size() == 1".to_owned(),
        "body.many.all(x, size(body.many) > 0)".to_owned(),
        "body.many.all(x, x in body.many)".to_owned(),
        "body.many.all(x, body.?many.hasValue())".to_owned(),
        "body.many.all(x, body.long.contains('y') || true)".to_owned(),
        "body.many.all(x, body.long.matches('(x+x+)+y') || true)".to_owned(),
        "body.many.all(x, [body.long, body.long] != [])".to_owned(),
        "body.many.all(x, {'a': body.many} != {})".to_owned(),
        format!("[body.many].map(x, {}x{}) == []", "[x + x].map(x, ".repeat(8), ")".repeat(8)),
        format!("{}true{}", four.repeat(15), ")".repeat(15)),
        format!("body.many.map(x, body.long + body.long){} == []", ".map(x, x + x)".repeat(10)),
    ];
    for expression in expressions {
        let judged = judge(&expression, 200, json!({"many": many, "long": long}));
        assert!(!judged.met, "{expression}");
        assert!(judged.saw.starts_with("the expression is too much work"), "{expression}: {}", judged.saw);
    }
    met("body.all(x, x >= 0) && body.filter(x, x % 2 == 0).size() == 100000", &json!(many));
}

//! Any bytes as the answer to a check of an operator's own: whatever comes, the expressions of these checks come to the same verdict
//! twice and say what was seen in one short line, and what they can't work out isn't met. The first byte says which one, the second the status.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use mainstay_beacon::expect::{Expectation, Facts, MAX_SAW, Seen};
use serde_json::Value;

static EXPECTATIONS: LazyLock<Vec<Expectation>> = LazyLock::new(|| {
    let texts = [
        "status >= 200 && status < 300",
        "has(body.result) && !has(body.error)",
        "int(body.data.current_justified.epoch) - int(body.data.finalized.epoch) <= 2",
        "hex(body.result) >= 8",
        "!body.data.version.matches('^Lighthouse/v7[.]0[.]')",
        "int(body.split('\\n')[1].trim().split('%')[0]) < 95",
        "body.data.all(v, v.status.startsWith('active_') && int(v.balance) > 31000000000)",
        "size(body.data.filter(p, p.state == 'connected')) >= guard.min_peers",
        "body.data.map(x, x.y).exists(y, y == 3)",
        "body.data.?x.orValue(0) < now && body.?y.hasValue()",
        "type(body) == map ? size(body) < 9 : body in [1, 'a', null, 2.5]",
        "body[0].substring(1, 3) + body[1].lowerAscii() == 'abc' && headers['x'] == body[2]",
        "math.abs(double(body.a)) < 0.5 || uint(body.b) * 2u > 7u || -body.c / body.d % 3 == 1",
    ];
    texts.iter().map(|text| Expectation::compile(text).expect("it is in order")).collect()
});

fuzz_target!(|input: &[u8]| {
    let [which, status, body @ ..] = input else { return };
    let expectation = &EXPECTATIONS[usize::from(*which) % EXPECTATIONS.len()];
    let text = String::from_utf8_lossy(body).trim_end().to_owned();
    let seen = Seen {
        status: i64::from(*status) * 2,
        headers: BTreeMap::from([("x".to_owned(), text.clone())]),
        body: serde_json::from_slice(body).unwrap_or(Value::String(text)),
        now: UNIX_EPOCH + Duration::from_secs(1_795_231_030),
        guard: Facts { min_peers: 2, ..Facts::default() },
    };
    let judged = expectation.judge(&seen);
    let saw = &judged.saw;
    assert!(!saw.is_empty() && saw.chars().count() <= MAX_SAW && !saw.contains(char::is_control), "{saw:?}");
    assert_eq!(expectation.judge(&seen), judged);
});

//! What is said to etcd, in the JSON of its gateway: keys and values in base64, 64-bit numbers as strings. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mainstay_antelope::{Id, Name, Slot};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::claims::{Bid, Published, Uses};
use crate::siblings::User;

/// What is written down that a bid has to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) holder: Option<Id>,
    pub(super) parent_claimed: bool,
    pub(super) latest: Option<Published>,
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What it asked for was so, and what it wanted is written.
    Done,
    /// It wasn't, and nothing is; what there is.
    Found(Found),
}

/// Numbers and slots as etcd can compare them: eight digits, so that their order is that of texts.
fn digits(number: u32) -> String {
    format!("{number:08x}")
}

fn number(text: &[u8]) -> Option<u32> {
    let bytes =
        Some(text).filter(|text| text.len() == 8).and_then(|text| const_hex::decode_to_array(text).ok());
    bytes.map(u32::from_be_bytes)
}

/// The keys of a bid.
pub(super) struct Keys {
    claim: String,
    parent: String,
    own: String,
    number: String,
    slot: String,
}

/// Those of what a producer has published last: number and slot.
fn last(prefix: &str, chain: Id, producer: Name) -> [String; 2] {
    ["number", "slot"].map(|what| format!("/{prefix}/{chain}/last/{producer}/{what}"))
}

impl Keys {
    pub(super) fn of(prefix: &str, bid: &Bid) -> Self {
        let (chain, producer) = (bid.key.chain, bid.key.producer);
        let [number, slot] = last(prefix, chain, producer);
        Self {
            claim: format!("/{prefix}/{chain}/claim/{producer}/{}", digits(bid.key.slot.0)),
            parent: format!("/{prefix}/{chain}/id/{}", bid.previous),
            own: format!("/{prefix}/{chain}/id/{}", bid.id),
            number,
            slot,
        }
    }

    fn looks(&self) -> Value {
        json!([range(&self.claim), range(&self.parent), range(&self.number), range(&self.slot)])
    }

    /// Looks, and changes nothing.
    pub(super) fn look(&self) -> Bytes {
        body(&json!({ "compare": [], "success": self.looks() }))
    }

    /// Claims, if the slot is free, the parent public, and nothing at or above it published. `first`: this producer has published nothing at all; etcd
    /// can't compare with the value of a key that isn't there.
    pub(super) fn take(&self, bid: &Bid, lease: &str, first: bool) -> Bytes {
        let (number, slot) = (digits(bid.id.block_num()), digits(bid.key.slot.0));
        let mut compare = vec![absent(&self.claim)];
        if first {
            compare.extend([absent(&self.number), absent(&self.slot)]);
        } else {
            compare.extend([below(&self.number, &number), below(&self.slot, &slot)]);
        }
        if !bid.parent_public {
            compare.push(created(&self.parent, "GREATER"));
        }
        let success = [
            put(&self.claim, &bid.id.to_string(), Some(lease)),
            put(&self.own, "", Some(lease)),
            put(&self.number, &number, None),
            put(&self.slot, &slot, None),
        ];
        body(&json!({ "compare": compare, "success": success, "failure": self.looks() }))
    }
}

/// What a producer has published last, as [`read_latest`] reads it.
pub(super) fn latest(prefix: &str, chain: Id, producer: Name) -> Bytes {
    let looks = last(prefix, chain, producer).map(|key| range(&key));
    body(&json!({ "compare": [], "success": looks }))
}

/// The keys of what is used.
pub(super) fn used(prefix: &str, uses: &Uses) -> Vec<String> {
    let key = |(producer, what): &(Name, String)| format!("/{prefix}/{}/outer/{producer}/{what}", uses.chain);
    uses.what.iter().map(key).collect()
}

/// Reads keys, for [`read_users`].
pub(super) fn look_up(keys: &[String]) -> Bytes {
    let looks: Vec<Value> = keys.iter().map(|key| range(key)).collect();
    body(&json!({ "compare": [], "success": looks }))
}

/// Writes the same to all keys.
pub(super) fn write(keys: &[&String], value: &str, lease: &str) -> Bytes {
    let puts: Vec<Value> = keys.iter().map(|key| put(key, value, Some(lease))).collect();
    body(&json!({ "compare": [], "success": puts }))
}

/// A key that isn't there, looked for by all members.
pub(super) fn probe(prefix: &str) -> Bytes {
    body(&json!({ "key": STANDARD.encode(format!("/{prefix}/probe")) }))
}

/// For so many seconds.
pub(super) fn lease(seconds: u64) -> Bytes {
    body(&json!({ "TTL": seconds.to_string() }))
}

pub(super) fn authenticate(name: &str, password: &str) -> Bytes {
    body(&json!({ "name": name, "password": password }))
}

fn body(of: &Value) -> Bytes {
    Bytes::from(of.to_string())
}

fn range(key: &str) -> Value {
    json!({ "request_range": { "key": STANDARD.encode(key) } })
}

fn put(key: &str, value: &str, lease: Option<&str>) -> Value {
    let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
    json!({ "request_put": { "key": key, "value": value, "lease": lease.unwrap_or("0") } })
}

fn created(key: &str, result: &str) -> Value {
    json!({ "key": STANDARD.encode(key), "target": "CREATE", "result": result, "create_revision": "0" })
}

fn absent(key: &str) -> Value {
    created(key, "EQUAL")
}

fn below(key: &str, value: &str) -> Value {
    let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
    json!({ "key": key, "target": "VALUE", "result": "LESS", "value": value })
}

#[derive(Deserialize)]
struct Txn {
    // What is false, empty or 0 is left out.
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    response_range: Option<Range>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<Kv>,
}

#[derive(Deserialize)]
struct Kv {
    #[serde(default)]
    value: String,
}

impl Txn {
    /// What each range found.
    fn values(self) -> Option<Vec<Option<Vec<u8>>>> {
        let ranges: Option<Vec<Range>> = self.responses.into_iter().map(|it| it.response_range).collect();
        let value = |range: Range| match range.kvs.into_iter().next() {
            Some(kv) => STANDARD.decode(kv.value).ok().map(Some),
            None => Some(None),
        };
        ranges?.into_iter().map(value).collect()
    }

    /// What so many did.
    fn exactly<const N: usize>(self) -> Option<[Option<Vec<u8>>; N]> {
        self.values()?.try_into().ok()
    }
}

/// The answer to [`Keys::take`] (`taking`) or [`Keys::look`]; `None` if it is none.
pub(super) fn read(answer: &[u8], taking: bool) -> Option<Outcome> {
    let txn: Txn = serde_json::from_slice(answer).ok()?;
    if taking && txn.succeeded {
        return Some(Outcome::Done);
    }
    let [holder, parent, number, slot] = txn.exactly()?;
    let holder = match holder {
        Some(text) => Some(Id(const_hex::decode_to_array(text).ok()?)),
        None => None,
    };
    Some(Outcome::Found(Found { holder, parent_claimed: parent.is_some(), latest: both(number, slot)? }))
}

/// The answer to [`latest`]; `None` if it is none.
pub(super) fn read_latest(answer: &[u8]) -> Option<Option<Published>> {
    let txn: Txn = serde_json::from_slice(answer).ok()?;
    let [number, slot] = txn.exactly()?;
    both(number, slot)
}

/// The answer to [`look_up`] of so many keys; `None` if it is none.
pub(super) fn read_users(answer: &[u8], keys: usize) -> Option<Vec<Option<User>>> {
    let txn: Txn = serde_json::from_slice(answer).ok()?;
    let values = txn.values().filter(|values| values.len() == keys)?;
    let user = |text: Vec<u8>| User::read(&String::from_utf8_lossy(&text));
    Some(values.into_iter().map(|text| text.and_then(user)).collect())
}

fn both(of_number: Option<Vec<u8>>, of_slot: Option<Vec<u8>>) -> Option<Option<Published>> {
    match (of_number, of_slot) {
        (None, None) => Some(None),
        (Some(of_number), Some(of_slot)) => {
            Some(Some(Published { number: number(&of_number)?, slot: Slot(number(&of_slot)?) }))
        }
        _ => None,
    }
}

/// The id of a lease that was granted.
pub(super) fn read_lease(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Granted {
        #[serde(rename = "ID")]
        id: String,
    }
    serde_json::from_slice(answer).ok().map(|Granted { id }| id)
}

/// The token that [`authenticate`] gives.
pub(super) fn read_token(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Authenticated {
        token: String,
    }
    serde_json::from_slice(answer).ok().map(|Authenticated { token }| token)
}

/// Code (of gRPC) and text of an error; `None`: it isn't one of etcd.
pub(super) fn read_error(answer: &[u8]) -> Option<(u32, String)> {
    #[derive(Deserialize)]
    struct Error {
        code: u32,
        #[serde(default)]
        message: String,
    }
    serde_json::from_slice(answer).ok().map(|Error { code, message }| (code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_in_the_order_of_numbers() {
        let numbers = [0, 1, 9, 10, 255, 256, 1_000_000, u32::MAX - 1, u32::MAX];
        for pair in numbers.windows(2) {
            assert!(digits(pair[0]) < digits(pair[1]), "{pair:?}");
        }
        for it in numbers {
            assert_eq!(number(digits(it).as_bytes()), Some(it));
        }
        for text in ["", "1", "+0000001", "0000001g", "000000001"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn answers_are_read_and_others_are_not() {
        let value = |text: &str| STANDARD.encode(text);
        let ranges = |values: [Option<&str>; 4]| {
            let one = |text: Option<&str>| match text {
                Some(text) => {
                    json!({ "response_range": { "kvs": [{ "value": value(text) }], "count": "1" } })
                }
                None => json!({ "response_range": { "header": {} } }),
            };
            json!({ "header": {}, "responses": values.map(one) }).to_string()
        };
        let id = Id([7; 32]);
        let found =
            |holder, parent_claimed, latest| Some(Outcome::Found(Found { holder, parent_claimed, latest }));
        let latest = Published { number: 256, slot: Slot(16) };
        let all = ranges([Some(&id.to_string()), Some(""), Some("00000100"), Some("00000010")]);
        assert_eq!(read(all.as_bytes(), true), found(Some(id), true, Some(latest)));
        assert_eq!(read(ranges([None; 4]).as_bytes(), true), found(None, false, None));
        assert_eq!(
            read(br#"{"succeeded":true,"responses":[{"response_put":{}}]}"#, true),
            Some(Outcome::Done)
        );
        for odd in [
            ranges([Some("no id"), None, None, None]),
            ranges([None, None, Some("00000100"), None]),
            ranges([None, None, Some("x"), Some("00000010")]),
            "{}".to_owned(),
            r#"{"succeeded":true,"responses":[{"response_put":{}}]}"#.to_owned(),
            "nothing".to_owned(),
        ] {
            assert_eq!(read(odd.as_bytes(), false), None, "{odd}");
        }
    }
}

//! Frames that real nodes and other encoders made.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use mainstay_antelope::{Frame, Splitter};
use serde_json::Value;

pub fn nodeos() -> Vec<Value> {
    list(include_str!("../vectors/frames_nodeos.json"))
}

/// All frames with a description of what is in them.
pub fn described() -> Vec<Value> {
    let mut all = nodeos();
    all.extend(list(include_str!("../vectors/frames_wharfkit.json")));
    all.extend(list(include_str!("../vectors/frames_selfmade.json")));
    all
}

pub fn bad() -> Vec<Value> {
    list(include_str!("../vectors/frames_bad.json"))
}

pub fn primitives() -> Value {
    serde_json::from_str(include_str!("../vectors/primitives.json")).unwrap()
}

/// A recorded connection, in the order of time.
pub fn stream() -> Vec<Value> {
    include_str!("../vectors/stream_sync.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Every whole frame that there is.
pub fn every_frame() -> Vec<Vec<u8>> {
    described().iter().chain(&stream()).map(hex_of).collect()
}

fn list(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

pub fn hex_of(entry: &Value) -> Vec<u8> {
    const_hex::decode(entry["hex"].as_str().unwrap()).unwrap()
}

/// The one frame that these bytes are.
pub fn frame(bytes: &[u8]) -> Frame {
    let mut splitter = Splitter::default();
    splitter.push(bytes);
    let frame = splitter.split().unwrap().unwrap();
    assert_eq!(splitter.pending(), 0);
    frame
}

pub fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap()
}

//! JSON-RPC request bodies as a consensus client sends them.

use bytes::Bytes;

use crate::chain::{Attributes, Block, Hash, Unhashed};

/// Any call; `params` is a JSON array.
pub fn call(id: u64, method: &str, params: &str) -> Bytes {
    Bytes::from(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}"))
}

/// `engine_newPayloadV{version}`: one parameter until V2, three in V3, four from V4 on.
pub fn new_payload(id: u64, version: u8, block: &Block) -> Bytes {
    let payload = String::from_utf8_lossy(&block.payload);
    let beside = Beside {
        versioned_hashes: &[],
        parent_beacon_root: block.parent_beacon_root,
        requests: &requests_json(&block.requests),
    };
    call(id, &format!("engine_newPayloadV{version}"), &new_payload_params(version, &payload, &beside))
}

impl Unhashed<'_> {
    /// As the parameters of `engine_newPayloadV{version}`, for a rule that hashes what such a call carries.
    pub fn new_payload_params(&self, version: u8) -> String {
        let beside = Beside {
            versioned_hashes: &[],
            parent_beacon_root: self.parent_beacon_root,
            requests: &requests_json(self.requests),
        };
        new_payload_params(version, &String::from_utf8_lossy(self.payload), &beside)
    }
}

/// What `engine_newPayload` carries beside the payload.
pub(crate) struct Beside<'a> {
    pub(crate) versioned_hashes: &'a [Hash],
    pub(crate) parent_beacon_root: Hash,
    /// A JSON array.
    pub(crate) requests: &'a str,
}

pub(crate) fn new_payload_params(version: u8, payload: &str, beside: &Beside<'_>) -> String {
    if version < 3 {
        return format!("[{payload}]");
    }
    let hashes: Vec<String> = beside.versioned_hashes.iter().map(|hash| format!("\"{hash}\"")).collect();
    let (hashes, root, requests) = (hashes.join(","), beside.parent_beacon_root, beside.requests);
    if version == 3 {
        format!("[{payload},[{hashes}],\"{root}\"]")
    } else {
        format!("[{payload},[{hashes}],\"{root}\",{requests}]")
    }
}

pub(crate) fn requests_json(requests: &[String]) -> String {
    let quoted: Vec<String> = requests.iter().map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", quoted.join(","))
}

/// Which blocks a consensus client holds for head, safe and finalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forkchoice {
    /// The head.
    pub head: Hash,
    /// The safe block, or zero.
    pub safe: Hash,
    /// The finalized block, or zero.
    pub finalized: Hash,
}

impl Forkchoice {
    /// A head whose safe and finalized blocks are not known yet.
    pub fn head(head: Hash) -> Forkchoice {
        Forkchoice { head, safe: Hash::ZERO, finalized: Hash::ZERO }
    }
}

/// `engine_forkchoiceUpdatedV{version}`.
pub fn forkchoice_updated(id: u64, version: u8, state: Forkchoice, attributes: Option<&Attributes>) -> Bytes {
    let attributes = attributes.map_or_else(|| "null".to_owned(), Attributes::json);
    call(
        id,
        &format!("engine_forkchoiceUpdatedV{version}"),
        &format!(
            "[{{\"headBlockHash\":\"{}\",\"safeBlockHash\":\"{}\",\"finalizedBlockHash\":\"{}\"}},{attributes}]",
            state.head, state.safe, state.finalized
        ),
    )
}

/// `engine_getPayloadV{version}`.
pub fn get_payload(id: u64, version: u8, payload_id: &str) -> Bytes {
    call(id, &format!("engine_getPayloadV{version}"), &format!("[\"{payload_id}\"]"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::chain::Chain;

    fn params(body: &Bytes) -> Vec<serde_json::Value> {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(value["jsonrpc"], "2.0");
        assert_eq!(value["id"], 4);
        value["params"].as_array().unwrap().clone()
    }

    #[test]
    fn bodies_have_the_parameters_of_their_version() {
        let mut chain = Chain::new(1);
        let block = chain.grow();
        assert_eq!(params(&new_payload(4, 2, &block)).len(), 1);
        assert_eq!(params(&new_payload(4, 3, &block)).len(), 3);
        assert_eq!(params(&new_payload(4, 4, &block)).len(), 4);
        let state = Forkchoice::head(block.hash);
        let plain = params(&forkchoice_updated(4, 3, state, None));
        assert_eq!(plain[0]["headBlockHash"], block.hash.to_string());
        assert!(plain[1].is_null());
        let attributes = chain.next_attributes();
        let asking = params(&forkchoice_updated(4, 3, state, Some(&attributes)));
        assert_eq!(asking[1]["timestamp"], "0x18");
        assert_eq!(params(&get_payload(4, 5, "0x01"))[0], "0x01");
    }
}

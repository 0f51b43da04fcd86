//! Payloads that a client builds, and bodies of those it knows.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use mainstay_wire::envelope;

use super::{Answer, El, import::hash_value};
use crate::{
    chain::{Attributes, Block, Hash, Recipe, build, hex, quantity},
    request::requests_json,
};

/// Payloads being built: the last few, as in a real client.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    built: HashMap<String, Block>,
    order: VecDeque<String>,
}

const MOST_PAYLOADS: usize = 16;
const MOST_BODIES: u64 = 1024;

impl El {
    /// Starts a payload on a known head; `None` where the attributes don't follow it.
    pub(super) fn begin_payload(&mut self, head: Hash, attributes: &Attributes) -> Option<String> {
        let parent = self.store.get(head)?;
        if attributes.timestamp <= parent.timestamp {
            return None;
        }
        let digest =
            Hash::of(&[&head.0, attributes.json().as_bytes(), &self.config.payload_id_salt.to_be_bytes()]);
        // As geth does it: the first byte is the version of the attributes.
        let mut id = [0; 8];
        id.copy_from_slice(&digest.0[..8]);
        id[0] = 3;
        let id = hex(&id);
        if !self.payloads.built.contains_key(&id) {
            let recipe = Recipe {
                extra_data: self.config.extra_data.clone(),
                padding: self.config.padding,
                requests: self.config.requests.clone(),
                hashing: self.config.hashing.clone(),
            };
            let block = build(parent, attributes, &recipe);
            self.payloads.built.insert(id.clone(), block);
            self.payloads.order.push_back(id.clone());
            if self.payloads.order.len() > MOST_PAYLOADS
                && let Some(oldest) = self.payloads.order.pop_front()
            {
                self.payloads.built.remove(&oldest);
            }
        }
        Some(id)
    }

    pub(super) fn get_payload(&self, method: &str, arguments: &[Bytes]) -> Answer {
        let Some(id) = arguments.first().and_then(envelope::string) else {
            return Answer::bad_params("argument 0 is not a payloadId");
        };
        let Some(block) = self.payloads.built.get(&id) else {
            return Answer::error(-38001, "Unknown payload");
        };
        let payload = String::from_utf8_lossy(&block.payload);
        let version = version_of(method, "engine_getPayloadV");
        if version == 1 {
            return Answer::Result(block.payload.clone());
        }
        let mut text =
            format!("{{\"executionPayload\":{payload},\"blockValue\":\"{:#x}\"", self.config.block_value);
        if version >= 3 {
            text.push_str(&format!(
                ",\"blobsBundle\":{{\"commitments\":[],\"proofs\":[],\"blobs\":[]}},\"shouldOverrideBuilder\":{}",
                self.config.should_override_builder
            ));
        }
        if version >= 4 {
            let requests = requests_json(&block.requests);
            text.push_str(&format!(",\"executionRequests\":{requests}"));
        }
        text.push('}');
        Answer::json(text)
    }

    pub(super) fn get_bodies(&self, method: &str, arguments: &[Bytes]) -> Answer {
        if method.starts_with("engine_getPayloadBodiesByHash") {
            self.bodies_by_hash(arguments)
        } else if method.starts_with("engine_getPayloadBodiesByRange") {
            self.bodies_by_range(arguments)
        } else {
            super::unknown_method(method)
        }
    }

    fn bodies_by_hash(&self, arguments: &[Bytes]) -> Answer {
        let Some(hashes) = arguments.first().and_then(envelope::elements) else {
            return Answer::bad_params("argument 0 is not a list of hashes");
        };
        if hashes.len() as u64 > MOST_BODIES {
            return Answer::error(-38004, "Too large request");
        }
        let bodies: Vec<String> = hashes
            .iter()
            .map(|hash| hash_value(hash).and_then(|hash| self.store.get(hash)))
            .map(body)
            .collect();
        Answer::json(format!("[{}]", bodies.join(",")))
    }

    fn bodies_by_range(&self, arguments: &[Bytes]) -> Answer {
        let number = |at: usize| quantity(&envelope::string(arguments.get(at)?)?);
        let (Some(start), Some(count)) = (number(0), number(1)) else {
            return Answer::bad_params("start and count are quantities");
        };
        if start == 0 || count == 0 {
            return Answer::bad_params("start and count are 1 or more");
        }
        if count > MOST_BODIES {
            return Answer::error(-38004, "Too large request");
        }
        // Nothing beyond the head, not even nulls.
        let last = self.head().number.min(start.saturating_add(count - 1));
        let mut found: HashMap<u64, &Block> = HashMap::new();
        let line = self.store.line(self.head().hash);
        for block in line.take_while(|block| block.number >= start) {
            found.insert(block.number, block);
        }
        let bodies: Vec<String> = (start..=last).map(|number| body(found.get(&number).copied())).collect();
        Answer::json(format!("[{}]", bodies.join(",")))
    }
}

/// `ExecutionPayloadBodyV1`, or null.
fn body(block: Option<&Block>) -> String {
    let fields = block.and_then(|block| envelope::fields(&block.payload, ["transactions", "withdrawals"]));
    let Some([Some(transactions), Some(withdrawals)]) = fields else {
        return "null".to_owned();
    };
    format!(
        "{{\"transactions\":{},\"withdrawals\":{}}}",
        String::from_utf8_lossy(&transactions),
        String::from_utf8_lossy(&withdrawals)
    )
}

/// The number at the end of a method's name; 1 where there is none.
pub(super) fn version_of(method: &str, stem: &str) -> u32 {
    method.strip_prefix(stem).and_then(|digits| digits.parse().ok()).unwrap_or(1)
}

//! `engine_newPayload` and `engine_forkchoiceUpdated`.

use bytes::Bytes;
use mainstay_wire::envelope;

use super::{Answer, El, Worth};
use crate::{
    chain::{Attributes, BAD_MARK, Block, Hash, Unhashed, quantity, unhex},
    fault::Fault,
};

/// What a client makes of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Valid,
    Syncing,
    /// With the hash of its nearest valid ancestor, where that is known, and why.
    Invalid(Option<Hash>, &'static str),
    /// Its hash is not the hash of what it holds.
    WrongHash,
}

/// A status as it goes out, after the faults have had their say.
struct Status {
    name: &'static str,
    latest_valid: Option<Hash>,
    error: Option<&'static str>,
}

impl Status {
    fn plain(name: &'static str) -> Status {
        Status { name, latest_valid: None, error: None }
    }

    fn valid(hash: Hash) -> Status {
        Status { latest_valid: Some(hash), ..Status::plain("VALID") }
    }

    /// Turns an honest status into what a node with these faults says. `parent` is what a liar
    /// calls the latest valid hash.
    fn bent(self, faults: &[Fault], block: Hash, parent: Option<Hash>) -> Status {
        faults.iter().fold(self, |honest, fault| match fault {
            Fault::Lie if honest.name == "VALID" => {
                Status { name: "INVALID", latest_valid: parent, error: Some("simulated lie") }
            }
            Fault::LieSyncing if honest.name == "VALID" => Status::plain("SYNCING"),
            Fault::LieValid => Status::valid(block),
            Fault::Say("VALID") => Status::valid(block),
            Fault::Say(name) => Status::plain(name),
            _ => honest,
        })
    }

    fn json(&self, inclusion_list_satisfied: Option<bool>) -> String {
        let latest_valid = self.latest_valid.map_or_else(|| "null".to_owned(), |hash| format!("\"{hash}\""));
        let error = self.error.map_or_else(|| "null".to_owned(), |why| format!("\"{why}\""));
        let satisfied = inclusion_list_satisfied
            .map(|yes| format!(",\"inclusionListSatisfied\":{yes}"))
            .unwrap_or_default();
        format!(
            "{{\"status\":\"{}\",\"latestValidHash\":{latest_valid},\"validationError\":{error}{satisfied}}}",
            self.name
        )
    }
}

impl El {
    pub(super) fn new_payload(&mut self, method: &str, arguments: &[Bytes], faults: &[Fault]) -> Answer {
        let Some(block) = arguments.first().and_then(|payload| read_block(payload, arguments)) else {
            return Answer::bad_params("argument 0 is not an execution payload");
        };
        let (hash, parent) = (block.hash, block.parent);
        let judgement =
            if faults.contains(&Fault::Syncing) { Judgement::Syncing } else { self.judge_block(block) };
        let honest = match judgement {
            Judgement::Valid => Status::valid(hash),
            Judgement::Syncing => Status::plain("SYNCING"),
            Judgement::Invalid(latest_valid, why) => {
                Status { name: "INVALID", latest_valid, error: Some(why) }
            }
            // V1 still has a status of its own for it.
            Judgement::WrongHash => Status {
                name: if method.ends_with("V1") { "INVALID_BLOCK_HASH" } else { "INVALID" },
                latest_valid: None,
                error: Some("blockhash mismatch"),
            },
        };
        let status = honest.bent(faults, hash, Some(parent));
        Answer::json(status.json(self.config.inclusion_list_satisfied))
    }

    /// Judges a block and keeps it where its parent is known.
    pub(super) fn judge_block(&mut self, block: Block) -> Judgement {
        const KNOWN: &str = "invalid block or descendant of one";
        match self.store.worth(block.hash) {
            Some(Worth::Valid) => return Judgement::Valid,
            Some(Worth::Invalid { latest_valid }) => {
                return Judgement::Invalid(Some(latest_valid), KNOWN);
            }
            None => {}
        }
        let Some(parent) = self.store.get(block.parent) else {
            return Judgement::Syncing;
        };
        let in_line = block.number == parent.number + 1 && block.timestamp > parent.timestamp;
        if self.config.verify_hash && self.hash_of(&block) != Some(block.hash) {
            return Judgement::WrongHash;
        }
        let fault = match self.store.worth(block.parent) {
            Some(Worth::Invalid { latest_valid }) => Some((latest_valid, KNOWN)),
            _ if !in_line => Some((block.parent, "number or timestamp does not follow the parent")),
            _ if is_marked_bad(&block) => Some((block.parent, "marked bad")),
            _ if self.rejected.contains(&block.hash) => Some((block.parent, "rejected by this client")),
            _ => None,
        };
        let keep = [self.head, self.safe, self.finalized, block.parent];
        match fault {
            Some((latest_valid, why)) => {
                self.store.add(block, Worth::Invalid { latest_valid }, &keep);
                Judgement::Invalid(Some(latest_valid), why)
            }
            None => {
                self.store.add(block, Worth::Valid, &keep);
                Judgement::Valid
            }
        }
    }

    fn hash_of(&self, block: &Block) -> Option<Hash> {
        let text = std::str::from_utf8(&block.payload).ok()?;
        let unhashed = text.replacen(&block.hash.to_string(), &Hash::ZERO.to_string(), 1);
        Some(self.config.hashing.hash(&Unhashed {
            payload: unhashed.as_bytes(),
            parent_beacon_root: block.parent_beacon_root,
            requests: &block.requests,
        }))
    }

    pub(super) fn forkchoice_updated(&mut self, arguments: &[Bytes], faults: &[Fault]) -> Answer {
        let Some([Some(head), safe, finalized]) = arguments.first().and_then(|state| {
            envelope::fields(state, ["headBlockHash", "safeBlockHash", "finalizedBlockHash"])
        }) else {
            return Answer::bad_params("argument 0 is not a forkchoice state");
        };
        let Some(head) = hash_value(&head) else {
            return Answer::bad_params("headBlockHash is not a hash");
        };
        let safe = safe.as_ref().and_then(hash_value).unwrap_or_default();
        let finalized = finalized.as_ref().and_then(hash_value).unwrap_or_default();
        let attributes = match arguments.get(1).filter(|json| !envelope::is_null(json)) {
            None => None,
            Some(json) => match Attributes::parse(json) {
                Some(attributes) => Some(attributes),
                None => return Answer::bad_params("argument 1 is not payload attributes"),
            },
        };
        let worth = if faults.contains(&Fault::Syncing) { None } else { self.store.worth(head) };
        let honest = match worth {
            None => Status::plain("SYNCING"),
            Some(Worth::Invalid { latest_valid }) => {
                Status { name: "INVALID", latest_valid: Some(latest_valid), error: Some("head is invalid") }
            }
            Some(Worth::Valid) => Status::valid(head),
        };
        let mut payload_id = None;
        if honest.name == "VALID" {
            let known = |hash: Hash| hash == Hash::ZERO || self.store.get(hash).is_some();
            if !known(safe) || !known(finalized) {
                return Answer::error(-38002, "Invalid forkchoice state");
            }
            if !faults.contains(&Fault::StaleHead) {
                (self.head, self.safe, self.finalized) = (head, safe, finalized);
            }
            if let Some(attributes) = attributes {
                match self.begin_payload(head, &attributes) {
                    Some(id) => payload_id = Some(id),
                    None => return Answer::error(-38003, "Invalid payload attributes"),
                }
            }
        }
        let parent = self.store.get(head).map(|block| block.parent);
        let status = honest.bent(faults, head, parent);
        if status.name != "VALID" || faults.contains(&Fault::NullPayloadId) {
            payload_id = None;
        }
        let payload_id = payload_id.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""));
        Answer::json(format!("{{\"payloadStatus\":{},\"payloadId\":{payload_id}}}", status.json(None)))
    }
}

fn is_marked_bad(block: &Block) -> bool {
    let [extra] = envelope::fields(&block.payload, ["extraData"]).unwrap_or_default();
    let extra = extra.as_ref().and_then(envelope::string);
    extra.and_then(|text| unhex(&text)).is_some_and(|bytes| bytes.starts_with(BAD_MARK))
}

pub(super) fn hash_value(json: &Bytes) -> Option<Hash> {
    Hash::parse(&envelope::string(json)?)
}

/// Reads what is needed of a payload and of the parameters beside it.
fn read_block(payload: &Bytes, arguments: &[Bytes]) -> Option<Block> {
    let [parent, number, timestamp, hash] =
        envelope::fields(payload, ["parentHash", "blockNumber", "timestamp", "blockHash"])?;
    let requests = arguments.get(3).and_then(envelope::elements);
    Some(Block {
        number: quantity(&envelope::string(&number?)?)?,
        hash: hash_value(&hash?)?,
        parent: hash_value(&parent?)?,
        timestamp: quantity(&envelope::string(&timestamp?)?)?,
        payload: payload.clone(),
        parent_beacon_root: arguments.get(2).and_then(hash_value).unwrap_or_default(),
        requests: requests.unwrap_or_default().iter().filter_map(envelope::string).collect(),
    })
}

//! One simulated execution client as a pure state machine: a method and its parameters in, an
//! answer out. What is wrong with it comes as an argument; sockets and time are the server's.

mod blobs;
mod eth;
mod import;
mod payloads;
mod store;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use bytes::Bytes;
use mainstay_wire::envelope;

pub use self::blobs::Blob;
use self::{
    payloads::Payloads,
    store::{Store, Worth},
};
use crate::{
    chain::{Block, Hash, Hashing},
    fault::{Family, Fault},
};

/// Who a client says it is: `ClientVersionV1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientVersion {
    /// Two letters, such as `GE`.
    pub code: String,
    /// Such as `go-ethereum`.
    pub name: String,
    /// Such as `1.17.8-stable`.
    pub version: String,
    /// Four bytes as `0x…`.
    pub commit: String,
}

/// What makes one simulated client different from another.
#[derive(Clone, Debug)]
pub struct ElConfig {
    /// Its name in this test or on this terminal.
    pub name: String,
    /// The block it starts from.
    pub genesis: Block,
    /// `eth_chainId`.
    pub chain_id: u64,
    /// `engine_getClientVersionV1`.
    pub client: ClientVersion,
    /// `engine_exchangeCapabilities`.
    pub capabilities: Vec<String>,
    /// `blockValue` of the payloads it builds, in wei.
    pub block_value: u128,
    /// `shouldOverrideBuilder` of the payloads it builds.
    pub should_override_builder: bool,
    /// The extra data of the payloads it builds (at most 32 bytes). Clients with the same extra
    /// data, padding and requests build the same block from the same attributes.
    pub extra_data: Vec<u8>,
    /// Transactions of about so many characters in the payloads it builds.
    pub padding: usize,
    /// `executionRequests` (hex) of the payloads it builds.
    pub requests: Vec<String>,
    /// Clients with the same salt give the same payloadId for the same head and attributes.
    pub payload_id_salt: u64,
    /// How the blocks that it builds get their hashes.
    pub hashing: Hashing,
    /// Whether it computes the hash of each new payload and says INVALID where it is wrong.
    pub verify_hash: bool,
    /// The answer of `engine_getInclusionListV1`: transactions as hex.
    pub inclusion_list: Vec<String>,
    /// `inclusionListSatisfied` of its payload statuses; absent where `None`.
    pub inclusion_list_satisfied: Option<bool>,
    /// It keeps at most so many blocks …
    pub most_blocks: usize,
    /// … and so many bytes of payloads.
    pub most_bytes: usize,
}

/// What a client of today offers.
const CAPABILITIES: [&str; 20] = [
    "engine_exchangeTransitionConfigurationV1",
    "engine_forkchoiceUpdatedV1",
    "engine_forkchoiceUpdatedV2",
    "engine_forkchoiceUpdatedV3",
    "engine_getBlobsV1",
    "engine_getBlobsV2",
    "engine_getBlobsV3",
    "engine_getClientVersionV1",
    "engine_getPayloadBodiesByHashV1",
    "engine_getPayloadBodiesByRangeV1",
    "engine_getPayloadV1",
    "engine_getPayloadV2",
    "engine_getPayloadV3",
    "engine_getPayloadV4",
    "engine_getPayloadV5",
    "engine_newPayloadV1",
    "engine_newPayloadV2",
    "engine_newPayloadV3",
    "engine_newPayloadV4",
    "engine_newPayloadV5",
];

impl ElConfig {
    /// A client that is in no way special, on chain 1337.
    pub fn new(name: &str, genesis: Block) -> ElConfig {
        ElConfig {
            name: name.to_owned(),
            genesis,
            chain_id: 1337,
            client: ClientVersion {
                code: "SM".to_owned(),
                name: "mainstay-sim".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                commit: "0x00000000".to_owned(),
            },
            capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
            block_value: 0,
            should_override_builder: false,
            extra_data: b"mainstay-sim".to_vec(),
            padding: 0,
            requests: Vec::new(),
            payload_id_salt: 0,
            hashing: Hashing::Sha256,
            verify_hash: false,
            inclusion_list: Vec::new(),
            inclusion_list_satisfied: None,
            most_blocks: 1024,
            most_bytes: 64 << 20,
        }
    }
}

/// What a call gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The `result`, as JSON.
    Result(Bytes),
    /// The `error`.
    Error {
        /// Its code.
        code: i64,
        /// Its message.
        message: Cow<'static, str>,
    },
}

impl Answer {
    fn json(text: impl Into<String>) -> Answer {
        Answer::Result(Bytes::from(text.into()))
    }

    fn error(code: i64, message: impl Into<Cow<'static, str>>) -> Answer {
        Answer::Error { code, message: message.into() }
    }

    fn bad_params(what: &str) -> Answer {
        Answer::error(-32602, format!("invalid params: {what}"))
    }
}

/// A simulated execution client.
#[derive(Debug)]
pub struct El {
    config: ElConfig,
    store: Store,
    payloads: Payloads,
    head: Hash,
    safe: Hash,
    finalized: Hash,
    rejected: HashSet<Hash>,
    blobs: HashMap<String, Blob>,
    canned: HashMap<String, Bytes>,
}

impl El {
    /// A client that is in no way special and knows only `genesis`.
    pub fn new(name: &str, genesis: Block) -> El {
        El::with(ElConfig::new(name, genesis))
    }

    /// A client of its own kind.
    pub fn with(config: ElConfig) -> El {
        let mut store = Store::new(config.most_blocks, config.most_bytes);
        let head = config.genesis.hash;
        store.add(config.genesis.clone(), Worth::Valid, &[]);
        El {
            config,
            store,
            payloads: Payloads::default(),
            head,
            safe: Hash::ZERO,
            finalized: Hash::ZERO,
            rejected: HashSet::new(),
            blobs: HashMap::new(),
            canned: HashMap::new(),
        }
    }

    /// What it is, changeable at any time.
    pub fn config_mut(&mut self) -> &mut ElConfig {
        &mut self.config
    }

    /// What it is.
    pub fn config(&self) -> &ElConfig {
        &self.config
    }

    /// Its head.
    pub fn head(&self) -> &Block {
        // The head is never dropped from the store; genesis stands in for type's sake.
        self.store.get(self.head).unwrap_or(&self.config.genesis)
    }

    /// The safe block that it was told, or zero.
    pub fn safe(&self) -> Hash {
        self.safe
    }

    /// The finalized block that it was told, or zero.
    pub fn finalized(&self) -> Hash {
        self.finalized
    }

    /// Whether it has imported this block and holds it for valid.
    pub fn knows(&self, hash: Hash) -> bool {
        self.store.worth(hash) == Some(Worth::Valid)
    }

    /// How many blocks it keeps.
    pub fn blocks(&self) -> usize {
        self.store.len()
    }

    /// Makes this client alone call a block INVALID that it has not seen yet.
    pub fn reject(&mut self, hash: Hash) {
        self.rejected.insert(hash);
    }

    /// Imports a block as if it had come from a peer; `false` where its parent is unknown or it
    /// is invalid. The head stays.
    pub fn import(&mut self, block: &Block) -> bool {
        self.judge_block(block.clone()) == import::Judgement::Valid
    }

    /// Imports a block and makes it the head, as a client's own sync does.
    pub fn follow(&mut self, block: &Block) -> bool {
        let valid = self.import(block);
        if valid {
            self.head = block.hash;
        }
        valid
    }

    /// Puts a blob into the pool under its versioned hash.
    pub fn put_blob(&mut self, versioned_hash: &str, blob: Blob) {
        self.blobs.insert(versioned_hash.to_lowercase(), blob);
    }

    /// Empties the blob pool.
    pub fn clear_blobs(&mut self) {
        self.blobs.clear();
    }

    /// From now on `method` gets this result (JSON), whatever its parameters.
    pub fn can(&mut self, method: &str, result: &str) {
        let result = Bytes::from(result.to_owned());
        self.canned.insert(method.to_owned(), result);
    }

    /// Answers one call as a client with these faults does. Faults of the transport (`Down`,
    /// `Hang`, `Lag`, `HttpError`, `Garbage`, `Truncate`, `SlowBody`, `Reset`, `Empty`, `Text`, `ContentType`, `Huge`) are not looked at.
    pub fn answer(&mut self, method: &str, params: Option<&Bytes>, faults: &[Fault]) -> Answer {
        let error = faults.iter().find_map(|fault| match fault {
            Fault::RpcError(code) => Some(*code),
            _ => None,
        });
        if let Some(code) = error {
            return Answer::error(code, rpc_message(code));
        }
        if let Some(result) = self.canned.get(method) {
            return Answer::Result(result.clone());
        }
        let arguments = params.and_then(envelope::elements).unwrap_or_default();
        match Family::of(method) {
            Family::NewPayload => self.new_payload(method, &arguments, faults),
            Family::ForkchoiceUpdated => self.forkchoice_updated(&arguments, faults),
            Family::GetPayload => self.get_payload(method, &arguments),
            Family::GetPayloadBodies => self.get_bodies(method, &arguments),
            Family::GetBlobs => self.get_blobs(method, &arguments),
            Family::OtherEngine => self.other_engine(method, &arguments),
            Family::Eth => self.eth(method, &arguments, faults),
        }
    }

    fn other_engine(&self, method: &str, arguments: &[Bytes]) -> Answer {
        match method {
            "engine_exchangeCapabilities" => Answer::json(strings(&self.config.capabilities)),
            "engine_getClientVersionV1" => {
                let client = &self.config.client;
                Answer::json(format!(
                    "[{{\"code\":{:?},\"name\":{:?},\"version\":{:?},\"commit\":{:?}}}]",
                    client.code, client.name, client.version, client.commit
                ))
            }
            "engine_exchangeTransitionConfigurationV1" => match arguments.first() {
                Some(theirs) => Answer::Result(theirs.clone()),
                None => Answer::bad_params("missing value for required argument 0"),
            },
            "engine_getInclusionListV1" => Answer::json(strings(&self.config.inclusion_list)),
            _ => unknown_method(method),
        }
    }
}

fn strings(list: &[String]) -> String {
    // Names and hex only, so no character needs an escape.
    crate::request::requests_json(list)
}

fn unknown_method(method: &str) -> Answer {
    let message = format!("the method {method} does not exist/is not available");
    Answer::error(-32601, message)
}

/// The message that goes with a code in the Engine API's specification.
fn rpc_message(code: i64) -> &'static str {
    match code {
        -32700 => "Parse error",
        -32600 => "Invalid Request",
        -32601 => "Method not found",
        -32602 => "Invalid params",
        -32603 => "Internal error",
        -32000 => "Server error",
        -38001 => "Unknown payload",
        -38002 => "Invalid forkchoice state",
        -38003 => "Invalid payload attributes",
        -38004 => "Too large request",
        -38005 => "Unsupported fork",
        -38006 => "Too deep reorg",
        _ => "simulated error",
    }
}

#[cfg(test)]
mod tests;

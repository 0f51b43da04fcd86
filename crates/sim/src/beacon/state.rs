//! What a simulated beacon node says of itself and of its chain. Pure: a request in, an answer out.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    chain::Hash,
    host::{JSON, whole},
};

/// A fork, as `/eth/v1/beacon/states/head/fork` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The version before it, `0x` and 8 digits.
    pub previous_version: String,
    /// Its own version.
    pub current_version: String,
    /// Its first epoch.
    pub epoch: u64,
}

/// What a beacon node says; all of it may be changed at any time.
#[derive(Clone, Debug)]
pub struct BeaconState {
    /// `/eth/v1/node/version`
    pub version: String,
    /// The slot of its head, in `/eth/v1/node/syncing`, `/eth/v1/beacon/headers/head` and head events.
    pub head_slot: u64,
    /// `/eth/v1/node/syncing`; `/eth/v1/node/health` is 206 then.
    pub is_syncing: bool,
    /// `/eth/v1/node/syncing`, in slots.
    pub sync_distance: u64,
    /// `/eth/v1/node/syncing` and all that tells `execution_optimistic`.
    pub is_optimistic: bool,
    /// `/eth/v1/node/syncing`; with `None` it isn't mentioned, as Lodestar 1.5.1 doesn't.
    pub el_offline: Option<bool>,
    /// Peers that are connected.
    pub peers: u64,
    /// The attestation subnets of `/eth/v1/node/identity`, 8 bytes as `0x…`.
    pub attnets: String,
    /// `genesis_validators_root`
    pub genesis_root: Hash,
    /// Seconds since 1970.
    pub genesis_time: u64,
    /// The fork that holds.
    pub fork: Fork,
    /// `SECONDS_PER_SLOT`
    pub seconds_per_slot: u64,
    /// `SLOTS_PER_EPOCH`
    pub slots_per_epoch: u64,
    /// `Eth-Consensus-Version` of its blocks.
    pub consensus_version: &'static str,
    /// How many bytes of SSZ `/eth/v2/beacon/blocks/{id}` gives.
    pub block_bytes: usize,
}

impl Default for BeaconState {
    /// A synced node with 70 peers, of the main chain's timing.
    fn default() -> BeaconState {
        BeaconState {
            version: format!("Sim/v{}/beacon", env!("CARGO_PKG_VERSION")),
            head_slot: 100,
            is_syncing: false,
            sync_distance: 0,
            is_optimistic: false,
            el_offline: Some(false),
            peers: 70,
            attnets: "0xffffffffffffffff".to_owned(),
            genesis_root: Hash::of(&[b"genesis validators"]),
            genesis_time: 1_606_824_023,
            fork: Fork {
                previous_version: "0x05000000".to_owned(),
                current_version: "0x06000000".to_owned(),
                epoch: 3,
            },
            seconds_per_slot: 12,
            slots_per_epoch: 32,
            consensus_version: "fulu",
            block_bytes: 64 << 10,
        }
    }
}

/// A request, once its body is in.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body_bytes: usize,
}

impl BeaconState {
    /// The root of the block of `slot`.
    pub fn root(&self, slot: u64) -> Hash {
        Hash::of(&[b"beacon block", &self.genesis_root.0, &slot.to_be_bytes()])
    }

    /// The SSZ that stands for a block: `block_bytes` of it, the same for the same length.
    pub fn block(&self) -> Bytes {
        let mut block = Vec::with_capacity(self.block_bytes + 32);
        let mut part = 0_u64;
        while block.len() < self.block_bytes {
            block.extend(Hash::of(&[b"ssz", &part.to_be_bytes()]).0);
            part += 1;
        }
        block.truncate(self.block_bytes);
        Bytes::from(block)
    }

    /// The data of a head event for the head.
    pub(super) fn head_event(&self) -> Value {
        let epoch_transition = self.head_slot.is_multiple_of(self.slots_per_epoch);
        json!({
            "slot": self.head_slot.to_string(),
            "block": self.root(self.head_slot).to_string(),
            "state": Hash::of(&[b"state", &self.head_slot.to_be_bytes()]).to_string(),
            "epoch_transition": epoch_transition,
            "previous_duty_dependent_root": self.root(0).to_string(),
            "current_duty_dependent_root": self.root(0).to_string(),
            "execution_optimistic": self.is_optimistic,
        })
    }

    pub(super) fn answer(&self, asked: &Asked<'_>) -> Response<Bytes> {
        let wants = |method| asked.method == method;
        match asked.path {
            "/eth/v1/node/health" if wants(Method::GET) => self.health(asked.query),
            "/eth/v2/beacon/blocks" | "/eth/v1/beacon/pool/attestations" if wants(Method::POST) => {
                whole(StatusCode::OK, JSON, Bytes::new())
            }
            path if wants(Method::GET) => match path.strip_prefix("/eth/v2/beacon/blocks/") {
                Some(_) => self.block_reply(asked.headers),
                None => self.data(path).map_or_else(|| echo(asked), |data| json_reply(&data)),
            },
            _ => echo(asked),
        }
    }

    fn data(&self, path: &str) -> Option<Value> {
        let fork = &self.fork;
        let shown_fork = json!({
            "previous_version": fork.previous_version,
            "current_version": fork.current_version,
            "epoch": fork.epoch.to_string(),
        });
        let data = match path {
            "/eth/v1/node/syncing" => self.syncing(),
            "/eth/v1/node/peer_count" => json!({
                "disconnected": "0",
                "connecting": "0",
                "connected": self.peers.to_string(),
                "disconnecting": "0",
            }),
            "/eth/v1/node/identity" => json!({
                "peer_id": "16Uiu2HAmSimulated",
                "enr": "enr:-simulated",
                "p2p_addresses": [],
                "discovery_addresses": [],
                "metadata": { "seq_number": "1", "attnets": self.attnets, "syncnets": "0x00" },
            }),
            "/eth/v1/node/version" => json!({ "version": self.version }),
            "/eth/v1/node/peers" => {
                let peers: Vec<Value> = (0..self.peers).map(peer).collect();
                return Some(json!({ "data": peers, "meta": { "count": self.peers } }));
            }
            "/eth/v1/beacon/genesis" => json!({
                "genesis_time": self.genesis_time.to_string(),
                "genesis_validators_root": self.genesis_root.to_string(),
                "genesis_fork_version": "0x00000000",
            }),
            "/eth/v1/config/spec" => json!({
                "CONFIG_NAME": "sim",
                "PRESET_BASE": "mainnet",
                "SECONDS_PER_SLOT": self.seconds_per_slot.to_string(),
                "SLOTS_PER_EPOCH": self.slots_per_epoch.to_string(),
            }),
            "/eth/v1/config/fork_schedule" => json!([
                { "previous_version": "0x00000000", "current_version": "0x00000000", "epoch": "0" },
                shown_fork,
            ]),
            "/eth/v1/beacon/states/head/fork" => return Some(self.of_chain(&shown_fork)),
            "/eth/v1/beacon/headers/head" => return Some(self.of_chain(&self.header())),
            _ => return None,
        };
        Some(json!({ "data": data }))
    }

    fn of_chain(&self, data: &Value) -> Value {
        json!({ "execution_optimistic": self.is_optimistic, "finalized": false, "data": data })
    }

    fn syncing(&self) -> Value {
        let mut said = json!({
            "head_slot": self.head_slot.to_string(),
            "sync_distance": self.sync_distance.to_string(),
            "is_syncing": self.is_syncing,
            "is_optimistic": self.is_optimistic,
        });
        if let Some(offline) = self.el_offline {
            said["el_offline"] = offline.into();
        }
        said
    }

    fn header(&self) -> Value {
        let hash = |what: &[u8]| Hash::of(&[what, &self.head_slot.to_be_bytes()]).to_string();
        json!({
            "root": self.root(self.head_slot).to_string(),
            "canonical": true,
            "header": {
                "message": {
                    "slot": self.head_slot.to_string(),
                    "proposer_index": "0",
                    "parent_root": self.root(self.head_slot.saturating_sub(1)).to_string(),
                    "state_root": hash(b"state"),
                    "body_root": hash(b"body"),
                },
                "signature": format!("0x{}", "00".repeat(96)),
            },
        })
    }

    /// By the specification: 206 while syncing, unless the query wants another status.
    fn health(&self, query: &str) -> Response<Bytes> {
        let wanted = query.split('&').find_map(|pair| pair.strip_prefix("syncing_status="));
        let wanted = wanted.and_then(|status| status.parse().ok()).and_then(|s| StatusCode::from_u16(s).ok());
        let mut reply = Response::new(Bytes::new());
        if self.is_syncing || self.is_optimistic || self.el_offline == Some(true) {
            *reply.status_mut() = wanted.unwrap_or(StatusCode::PARTIAL_CONTENT);
        }
        reply
    }

    fn block_reply(&self, headers: &HeaderMap) -> Response<Bytes> {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let block = self.block();
        let mut reply = if accept.contains(SSZ) {
            whole(StatusCode::OK, SSZ, block)
        } else {
            let mut hex = String::with_capacity(2 + block.len() * 2);
            hex.push_str("0x");
            for byte in &block {
                // Writing to a text never fails.
                let _ = write!(hex, "{byte:02x}");
            }
            let mut shown = self.of_chain(&json!({ "ssz": hex }));
            shown["version"] = self.consensus_version.into();
            json_reply(&shown)
        };
        let version = HeaderValue::from_static(self.consensus_version);
        reply.headers_mut().insert("eth-consensus-version", version);
        reply
    }
}

const SSZ: &str = "application/octet-stream";

pub(super) fn json_reply(value: &Value) -> Response<Bytes> {
    whole(StatusCode::OK, JSON, value.to_string())
}

/// The Beacon API's error.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response<Bytes> {
    whole(status, JSON, json!({ "code": status.as_u16(), "message": message }).to_string())
}

fn peer(number: u64) -> Value {
    json!({
        "peer_id": format!("16Uiu2HAmPeer{number}"),
        "enr": null,
        "last_seen_p2p_address": "/ip4/127.0.0.1/tcp/9000",
        "state": "connected",
        "direction": "outbound",
    })
}

/// What came in, for whoever wants to know what was passed on.
fn echo(asked: &Asked<'_>) -> Response<Bytes> {
    let headers: Vec<Value> = asked
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json_reply(&json!({
        "method": asked.method.as_str(),
        "path": asked.path,
        "query": asked.query,
        "headers": headers,
        "body_bytes": asked.body_bytes,
    }))
}

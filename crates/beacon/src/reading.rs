//! What the answers to a check's questions say. Pure: bytes in, facts or a finding out.
//!
//! | answer of | read by |
//! |---|---|
//! | `/eth/v1/node/syncing` | [`Syncing`] |
//! | `/eth/v1/node/peer_count` | [`peer_count`] |
//! | `/eth/v1/node/identity` | [`attnets`] |
//! | `/eth/v1/beacon/genesis`, `/eth/v1/config/spec` | [`chain`] |
//! | `/eth/v1/beacon/states/head/fork` | [`fork`] |
//! | `eth_syncing`, `eth_getBlockByNumber` | [`execution`] |
//!
//! Beacon API: `apis/node/*`, `apis/beacon/genesis.yaml`, `apis/config/spec.yaml` of ethereum/beacon-APIs. Numbers are decimal strings there;
//! bare numbers are taken too.

mod execution;
mod subnets;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::finding::Finding;
use crate::fleet::{Chain, Fork};

pub use execution::{Execution, execution};
pub use subnets::{Subnets, attnets};

/// The answer has no such shape.
pub const UNREADABLE: &str = "unreadable answer";

/// How far a beacon node says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Syncing {
    /// Slot of its head.
    pub head_slot: u64,
    /// Slots that it is behind.
    pub sync_distance: u64,
    /// It says that it syncs.
    pub is_syncing: bool,
    /// It follows blocks that its execution client hasn't checked.
    pub is_optimistic: bool,
    /// Its execution client can't be reached. Nodes of before 2023 don't say.
    pub el_offline: bool,
}

/// How far behind a node may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRules {
    /// Slots; `None`: not looked at.
    pub max_distance: Option<u64>,
    /// Whether a head that its execution client hasn't checked will do.
    pub optimistic: bool,
}

impl Syncing {
    /// Reads the answer.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Said {
            #[serde(deserialize_with = "number")]
            head_slot: u64,
            #[serde(deserialize_with = "number")]
            sync_distance: u64,
            is_syncing: bool,
            #[serde(default)]
            is_optimistic: bool,
            #[serde(default)]
            el_offline: bool,
        }
        let Said { head_slot, sync_distance, is_syncing, is_optimistic, el_offline } = data(body)?;
        Some(Self { head_slot, sync_distance, is_syncing, is_optimistic, el_offline })
    }

    /// Judges it. `clock` is the slot that it is now, where that is known: a node that has just started says that it is in sync, at slot
    /// 0.
    #[must_use]
    pub fn judge(&self, rules: SyncRules, clock: Option<u64>) -> Finding {
        if self.is_syncing {
            return Finding::hard(format!(
                "is_syncing: true, sync_distance: {}, head_slot: {}",
                self.sync_distance, self.head_slot
            ));
        }
        if self.el_offline {
            return Finding::hard("el_offline: true");
        }
        if self.is_optimistic && !rules.optimistic {
            return Finding::hard("is_optimistic: true");
        }
        let by_clock = clock.map_or(0, |clock| clock.saturating_sub(self.head_slot));
        let distance = self.sync_distance.max(by_clock);
        match rules.max_distance {
            Some(max) if distance > max => Finding::soft(format!(
                "head_slot: {}, {distance} slots behind, at most {max}",
                self.head_slot
            )),
            _ => Finding::good(format!("in sync, head_slot: {}", self.head_slot)),
        }
    }
}

/// How many peers a node is connected to.
#[must_use]
pub fn peer_count(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(deserialize_with = "number")]
        connected: u64,
    }
    data::<Said>(body).map(|said| said.connected)
}

/// Judges a number of peers.
#[must_use]
pub fn enough_peers(connected: u64, min: u64) -> Finding {
    let saw = format!("{connected} peers, at least {min}");
    if connected >= min { Finding::good(saw) } else { Finding::soft(saw) }
}

/// The chain of a node, from its genesis and its spec.
#[must_use]
pub fn chain(genesis: &[u8], spec: &[u8]) -> Option<Chain> {
    #[derive(Deserialize)]
    struct Genesis {
        genesis_validators_root: String,
        genesis_fork_version: String,
        #[serde(deserialize_with = "number")]
        genesis_time: u64,
    }
    // Of both names nodes have one or the other, or both.
    #[derive(Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    struct Spec {
        #[serde(default, deserialize_with = "some_number")]
        seconds_per_slot: Option<u64>,
        #[serde(default, deserialize_with = "some_number")]
        slot_duration_ms: Option<u64>,
        #[serde(deserialize_with = "number")]
        slots_per_epoch: u64,
    }
    let genesis: Genesis = data(genesis)?;
    let spec: Spec = data(spec)?;
    let slot_millis = spec.slot_duration_ms.or(spec.seconds_per_slot.and_then(|s| s.checked_mul(1000)))?;
    if slot_millis == 0 || spec.slots_per_epoch == 0 {
        return None;
    }
    Some(Chain {
        genesis: (hex(&genesis.genesis_validators_root)?, hex(&genesis.genesis_fork_version)?),
        genesis_time: genesis.genesis_time,
        slot_millis,
        slots_per_epoch: spec.slots_per_epoch,
    })
}

/// The fork of a node's head, whose slot is `head`.
#[must_use]
pub fn fork(body: &[u8], head: u64, chain: &Chain) -> Option<Fork> {
    #[derive(Deserialize)]
    struct Said {
        current_version: String,
        #[serde(deserialize_with = "number")]
        epoch: u64,
    }
    let said: Said = data(body)?;
    Some(Fork {
        version: hex(&said.current_version)?,
        epoch: said.epoch,
        head_epoch: head / chain.slots_per_epoch,
    })
}

/// Up to 32 bytes in hex, in lower case. It is shown and logged, so nothing else will do.
fn hex(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x")?;
    let is_hex = (1..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| text.to_ascii_lowercase())
}

/// The member `data` of an answer. Both are objects: serde would read a list too, by the order of fields.
fn data<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let is_object = |json: &[u8]| json.trim_ascii_start().starts_with(b"{");
    let answer: Answer<'a> = is_object(body).then(|| serde_json::from_slice(body).ok())??;
    is_object(answer.data.get().as_bytes()).then(|| serde_json::from_str(answer.data.get()).ok())?
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Bare(u64),
}

fn number<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    match Number::deserialize(value)? {
        Number::Bare(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

fn some_number<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    number(value).map(Some)
}

#[cfg(test)]
mod tests;

//! Whose attestations are on the chain.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::lodestar::{Lodestar, SLOTS_PER_EPOCH, VALIDATORS};
use crate::rpc::{get, number, text};
use crate::{Failure, Result};

/// What the chain has of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The epoch.
    pub epoch: u64,
    /// Slots that have a block.
    pub blocks: u64,
    /// Validators whose attestation for this epoch was included.
    pub included: u64,
    /// Slots whose committee is not wholly included.
    pub lost: Vec<u64>,
}

impl Attested {
    /// How many validators' attestations are missing.
    pub fn missing(&self) -> u64 {
        VALIDATORS - self.included
    }
}

impl fmt::Display for Attested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attested { epoch, blocks, included, .. } = self;
        write!(
            f,
            "epoch {epoch}: {blocks} of {SLOTS_PER_EPOCH} blocks, {included} of {VALIDATORS} attestations"
        )?;
        if self.lost.is_empty() { Ok(()) } else { write!(f, " (lost of slots {:?})", self.lost) }
    }
}

/// Looks up what the chain of `node` has of `epoch`; waits until the slot after the epoch is over, in which the last of its
/// attestations is due. Called later it finds late ones too: they are taken for an epoch after their slot.
///
/// # Errors
/// If the node does not answer.
pub async fn of_epoch(node: &Lodestar, epoch: u64) -> Result<Attested> {
    let first = epoch * SLOTS_PER_EPOCH;
    let slots = first..first + SLOTS_PER_EPOCH;
    tokio::time::sleep(node.time_to(slots.end + 1)).await;
    let mut blocks = 0;
    let mut voters = BTreeSet::new();
    let last = (slots.end + SLOTS_PER_EPOCH).min(node.now());
    for slot in first..last {
        let Some(block) = get(&format!("{}/eth/v2/beacon/blocks/{slot}", node.api())).await? else {
            continue;
        };
        blocks += u64::from(slots.contains(&slot));
        for attestation in list(&block, "/data/message/body/attestations")? {
            let of = number(attestation, "/data/slot")?;
            let committee = number(attestation, "/data/index")?;
            if slots.contains(&of) {
                let places = places(&text(attestation, "/aggregation_bits")?)?;
                voters.extend(places.into_iter().map(|place| (of, committee, place)));
            }
        }
    }
    // With as many validators as slots each slot's committee is one validator.
    let lost = slots.filter(|slot| !voters.iter().any(|(of, ..)| of == slot)).collect();
    Ok(Attested { epoch, blocks, included: voters.len() as u64, lost })
}

fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a Vec<Value>> {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.ok_or_else(|| Failure::new(format!("no list at {pointer}")))
}

/// The places that are set in an SSZ bit list (`0x…`), whose last bit set tells its length.
fn places(bits: &str) -> Result<Vec<usize>> {
    let digits = bits.trim_start_matches("0x");
    let mut places = Vec::new();
    for (byte, at) in (0..digits.len()).step_by(2).enumerate() {
        let value = digits.get(at..at + 2).map(|pair| u8::from_str_radix(pair, 16));
        let value = value.ok_or_else(|| Failure::new(format!("{bits} is not whole bytes")))??;
        places.extend((0..8).filter(|bit| value >> bit & 1 == 1).map(|bit| byte * 8 + bit));
    }
    places.pop().ok_or_else(|| Failure::new(format!("{bits} has no length")))?;
    Ok(places)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bit_list_ends_with_a_bit_that_is_none() {
        for (bits, wanted) in [
            ("0x03", vec![0]),
            ("0x02", vec![]),
            ("0x0d", vec![0, 2]),
            ("0xff01", vec![0, 1, 2, 3, 4, 5, 6, 7]),
        ] {
            assert_eq!(places(bits).unwrap(), wanted, "{bits}");
        }
        assert!(places("0x00").is_err() && places("0x0").is_err());
    }
}

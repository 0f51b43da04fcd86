//! Attestation subnets that a node is subscribed to for long.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::data;
use crate::finding::Finding;

/// Attestation subnets (`ATTESTATION_SUBNET_COUNT` of the consensus specs).
const COUNT: u64 = 64;

/// A set of attestation subnets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subnets(u64);

impl Subnets {
    /// All 64.
    pub const ALL: Self = Self(u64::MAX);

    /// Their numbers, the smallest first.
    pub fn numbers(self) -> impl Iterator<Item = u64> {
        (0..COUNT).filter(move |subnet| self.0 >> subnet & 1 == 1)
    }

    /// Whether `self` has all of `wanted`; else which one lacks first, and how many do.
    #[must_use]
    pub fn judge(self, wanted: Self) -> Finding {
        let lacking = wanted.0 & !self.0;
        let has = format!("{} of {} subnets", (wanted.0 & self.0).count_ones(), wanted.0.count_ones());
        if lacking == 0 {
            Finding::good(has)
        } else {
            Finding::soft(format!("{has}, lacks {}", Self(lacking)))
        }
    }
}

/// `all`, or numbers and ranges: `0-31,40,63`.
impl FromStr for Subnets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        let mut set = 0;
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (one(from)?, one(to)?);
            if from > to {
                return Err(format!("{part} runs backwards"));
            }
            for subnet in from..=to {
                set |= 1_u64 << subnet;
            }
        }
        Ok(Self(set))
    }
}

fn one(text: &str) -> Result<u64, String> {
    match text.trim().parse::<u64>() {
        Ok(subnet) if subnet < COUNT => Ok(subnet),
        _ => Err(format!(
            "\"{}\" is no subnet: \"all\", or numbers from 0 to 63 and ranges, 0-31,40",
            text.trim()
        )),
    }
}

impl fmt::Display for Subnets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut from = 0;
        let mut first = true;
        while from < COUNT {
            if self.0 >> from & 1 == 0 {
                from += 1;
                continue;
            }
            let mut to = from;
            while to + 1 < COUNT && self.0 >> (to + 1) & 1 == 1 {
                to += 1;
            }
            let comma = if first { "" } else { "," };
            if from == to {
                write!(f, "{comma}{from}")?
            } else {
                write!(f, "{comma}{from}-{to}")?
            }
            first = false;
            from = to + 1;
        }
        Ok(())
    }
}

impl fmt::Debug for Subnets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subnets({self})")
    }
}

/// The long-lived subnets of a node, from `/eth/v1/node/identity`: an SSZ bit vector, the lowest bit of the first byte is subnet 0.
#[must_use]
pub fn attnets(body: &[u8]) -> Option<Subnets> {
    #[derive(Deserialize)]
    struct Identity {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        attnets: String,
    }
    let identity: Identity = data(body)?;
    let hex = identity.metadata.attnets;
    let hex = hex.strip_prefix("0x").filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok().map(|bits| Subnets(bits.swap_bytes()))
}

//! The `relay` role: failover of Antelope block producers, without touching nodeos.
//!
//! All nodes of a producer produce, with one key, and have the relay as their only peer. Everything comes in; of the producer's blocks one a
//! slot goes out. Which one is decided without a chain: by what the outer side has shown to be public, and by who claims the slot
//! first.
//!
//! * [`egress`]: the decision, pure. It is in two halves around the one thing that takes time, the claim.
//! * [`claims`]: who has which slot; what relays share.
//! * [`filter`]: what passes on a leg, which way; what is no block of ours mostly does.
//! * [`replay`]: a recorded round through the decision.
//! * [`tunnel`]: beside a node on another machine, for it knows no TLS.
//!
//! The rules as an operator reads them are in the README.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod claims;
pub mod egress;
pub mod filter;
#[cfg(test)]
#[path = "../tests/common/greeting.rs"]
mod greeting;
mod highest;
mod once;
pub mod replay;
pub mod tunnel;
mod verdict;
pub mod votes;

pub use verdict::{Pass, Suppress, Verdict};

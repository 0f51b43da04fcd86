//! The `relay` role: failover of Antelope block producers, without touching nodeos.
//!
//! All nodes of a producer produce, with one key, and have the relay as their only peer. Everything comes in; of the producer's blocks one a
//! slot goes out. Which one is decided without a chain: by what the outer side has shown to be public, and by who claims the slot
//! first.
//!
//! * [`egress`]: the decision, pure. It is in two halves around the one thing that takes time, the claim.
//! * [`claims`]: who has which slot; what relays share.
//! * [`filter`]: what passes on a leg, which way; what is no block of ours mostly does.
//! * [`fanout`]: what one leg's node is told of what another leg's outer peer says.
//! * [`balance`]: which leg is to go to another outer peer, and when that has been fit for long enough.
//! * [`lag`]: which outer peers stand still while others go on.
//! * [`rounds`]: who filled our rounds, and which slots nobody did.
//! * [`inner::admission`], [`inner::crowd`], [`inner::keys`]: who may connect, how many at once, what they have to show.
//! * [`nodeos`]: what settings of nodes a relay needs.
//! * [`outers`]: which outer peer a leg gets.
//! * [`replay`]: a recorded round through the decision.
//! * [`siblings`]: whether another relay uses one of our outer peers.
//! * [`tunnel`]: beside a node on another machine, for it knows no TLS.
//!
//! Shells: [`inner`] accepts, `leg` connects and passes on ([`peer`]: who is at the inner end), `core` carries out what the decisions say (`kin`: what other relays are told, `spread`: other legs, `moves`: which leg is to be moved), [`role`] listens and puts it
//! together, [`handle`] shows it, `audit` writes down what was decided.
//!
//! The rules as an operator reads them are in the README.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod audit;
#[cfg(test)]
#[path = "../../../tests/authority.rs"]
mod authority;
pub mod balance;
pub mod claims;
mod clock;
pub mod config;
mod core;
pub mod egress;
pub mod fanout;
pub mod filter;
#[cfg(test)]
mod frames;
#[cfg(test)]
#[path = "../tests/common/greeting.rs"]
mod greeting;
pub mod handle;
mod highest;
pub mod inner;
mod kin;
pub mod lag;
mod leg;
mod moves;
pub mod nodeos;
mod once;
pub mod outers;
pub mod peer;
pub mod replay;
pub mod role;
pub mod rounds;
pub mod siblings;
mod spread;
mod state;
mod stream;
pub mod telemetry;
pub mod tunnel;
mod verdict;
pub mod votes;

pub use clock::{Wall, wall};
pub use config::{Config, SECTION};
pub use handle::{Handle, Snapshot};
pub use peer::Peer;
pub use role::Relay;
pub use telemetry::Metrics;
pub use verdict::{Pass, Suppress, Verdict};

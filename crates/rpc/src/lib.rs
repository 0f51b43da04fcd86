//! The `rpc` role: many JSON-RPC clients to many nodes, urgent work first.
//!
//! Decisions (pure): [`lane`] (whose turn it is), [`lanes`] (who waits), [`pool`] (which node), [`dispatch`] (both together),
//! [`classify`] (what a request is), [`nature`] and [`retry`] (what is tried again), [`limits`] (rates), [`upstream`] (a node's
//! URI). [`config`] has the settings. Shell: [`queue`] over [`shared`], the dispatch under its lock.

pub mod call;
pub mod classify;
mod clock;
pub mod config;
pub mod dispatch;
mod glob;
#[cfg(test)]
mod interleavings;
pub mod lane;
pub mod lanes;
pub mod limits;
mod lock;
pub mod nature;
pub mod pool;
pub mod queue;
mod retried;
pub mod retry;
mod ring;
pub mod shared;
mod slots;
pub mod upstream;

pub use call::{Call, Tried};
pub use classify::{Class, Request, Rule, classify};
pub use config::{Config, SECTION};
pub use dispatch::{Dispatch, Event, Options, Refusal, Submitted};
pub use lane::{Lane, Ratio};
pub use lanes::{Full, Key, Limits, Rules};
pub use nature::{Methods, Nature};
pub use pool::{NodeId, NodeLoad, Pool};
pub use queue::{Entered, Place, Queue, Slot, Ticket, Unserved};
pub use shared::Shared;
pub use upstream::Upstream;

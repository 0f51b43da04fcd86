//! The `rpc` role: many JSON-RPC clients to many nodes, urgent work first.
//!
//! Decisions (pure): [`lane`] (whose turn it is), [`lanes`] (who waits), [`pool`] (which node), [`dispatch`] (both together),
//! [`classify`] (what a request is), [`nature`] and [`retry`] (what is tried again), [`limits`] (rates), [`upstream`] (a node's
//! URI). [`config`] has the settings. Shell: [`queue`] over [`shared`], the dispatch under its lock.

mod account;
mod api;
mod batch;
pub mod call;
pub mod classify;
mod clock;
pub mod config;
mod core;
pub mod dispatch;
pub mod explain;
mod gauges;
mod glob;
pub mod handle;
mod held;
mod intake;
#[cfg(test)]
mod interleavings;
mod job;
pub mod keys;
pub mod lane;
pub mod lanes;
pub mod limits;
mod lock;
mod members;
pub mod nature;
mod node;
mod own_headers;
pub mod pool;
mod probe;
mod proxy;
pub mod queue;
mod reply;
mod retried;
pub mod retry;
mod ring;
pub mod role;
mod service;
pub mod shared;
mod slots;
mod spans;
pub mod telemetry;
mod tries;
pub mod upstream;

pub use call::{Call, Tried};
pub use classify::{Class, Request, Rule, classify};
pub use config::{Config, SECTION};
pub use core::Verify;
pub use dispatch::{Dispatch, Event, Options, Refusal, Submitted};
pub use handle::{Handle, LaneView, NodeView, Snapshot, StoreView};
pub use lane::{Lane, Ratio};
pub use lanes::{Full, Key, Limits, Rules};
pub use mainstay_node::{Level, Operated, Refused};
pub use nature::{Methods, Nature};
pub use pool::{NodeId, NodeLoad, Pool};
pub use queue::{Entered, Place, Queue, Slot, Ticket, Unserved};
pub use role::Rpc;
pub use shared::Shared;
pub use telemetry::Metrics;
pub use upstream::Upstream;

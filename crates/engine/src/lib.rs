//! The `engine` role: one consensus client (CL) drives many execution clients (EL) over the Engine API.
//!
//! Every EL gets every call, the answer is what they agree on, and no EL's failure is felt. See the folder's README for
//! the rules and for where a thing lives.
//!
//! Decisions (pure): [`verdict`], [`ballot`], [`standing`], [`memory`], [`latency`], [`blocks`], [`payloads`], [`queue`],
//! [`merge`], [`method`], [`status`], [`block_hash`]. Shells: [`service`] receives, [`round`], [`reads`] and [`forward`] carry
//! out, [`feed`], [`probe`] and [`mirror`] are the tasks, [`core`] is what they share.

pub mod ballot;
pub mod block_hash;
pub mod blocks;
mod clock;
pub mod config;
pub mod core;
pub mod dropin;
pub mod engine;
pub mod evidence;
mod exposition;
pub mod feed;
pub mod forward;
pub mod handle;
pub mod latency;
pub mod memory;
pub mod merge;
pub mod method;
pub mod mirror;
pub mod node;
pub mod payloads;
pub mod probe;
pub mod queue;
pub mod reads;
pub mod records;
pub mod reply;
pub mod round;
pub mod service;
pub mod standing;
pub mod status;
pub mod telemetry;
pub mod verdict;

pub use config::{Config, SECTION};
pub use engine::Engine;
pub use handle::{Handle, NodeView, Snapshot};
pub use mainstay_node::{Level, Operated, Refused};
pub use round::Round;
pub use telemetry::Metrics;

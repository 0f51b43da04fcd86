//! Execution clients (EL) driven together over the Engine API, for the roles that do so: each gets every call in order, what they
//! answer is voted on or put together, and who missed something is led to the head again.
//!
//! Decisions (pure): [`verdict`], [`ballot`], [`explain`], [`standing`], [`memory`], [`latency`], [`blocks`], [`payloads`], [`queue`],
//! [`merge`], [`method`], [`status`], [`block_hash`]. Shells: [`calls`] takes bodies and calls apart, [`round`], [`reads`] and
//! [`forward`] carry out, [`feed`], [`probe`], [`mirror`] and [`links`] are the tasks, [`core`] is what they share.

pub mod ballot;
pub mod block_hash;
pub mod blocks;
pub mod calls;
pub mod clock;
pub mod config;
pub mod core;
pub mod evidence;
pub mod explain;
pub mod feed;
pub mod forward;
pub mod forwards;
pub mod handle;
pub mod http;
pub mod keys;
pub mod lately;
pub mod latency;
pub mod links;
pub mod memory;
pub mod merge;
pub mod method;
pub mod node;
pub mod payloads;
pub mod probe;
pub mod queue;
pub mod reads;
pub mod records;
pub mod reload;
pub mod reply;
pub mod round;
pub mod spans;
pub mod standing;
pub mod status;
pub mod telemetry;
pub mod unvoted;
pub mod verdict;

pub use config::Config;
pub use core::Core;
pub use handle::{Handle, NodeView};
pub use node::Node;
pub use round::Round;

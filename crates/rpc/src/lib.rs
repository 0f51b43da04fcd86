//! The `rpc` role: many JSON-RPC clients to many nodes, urgent work first.
//!
//! Decisions (pure): [`lane`], [`lanes`], [`pool`], [`dispatch`]. Shell: [`queue`], which threads share.

mod arena;
pub mod call;
mod clock;
mod deadlines;
pub mod dispatch;
pub mod lane;
pub mod lanes;
mod lock;
pub mod pool;
pub mod queue;
pub mod shared;
mod slots;

pub use call::{Call, Tried};
pub use dispatch::{Dispatch, Event, Options, Refusal, Submitted};
pub use lane::{Lane, Ratio};
pub use lanes::{Full, Key, Limits, Rules};
pub use pool::{NodeId, NodeLoad, Pool};
pub use queue::{Entered, Place, Queue, Slot, Ticket, Unserved};
pub use shared::Shared;

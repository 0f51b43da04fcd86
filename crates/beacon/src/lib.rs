//! The `beacon` role: a guard before every beacon node, that passes everything on while the node is fit for duty, and says 503 to
//! everything while it isn't, so that validator clients move on in time.
//!
//! Decisions (pure): [`reading`] (what an answer says), [`check`] (one question over time), [`guard`] (all of a node's checks
//! together), [`fleet`] (what guards mean for one another), [`expect`] (what an operator's own check expects). [`config`] has the settings.
//! Shell: `rounds` asks, [`own`] asks what operators want to know, `core` opens and closes `gate`s, `proxy` has the life of a request.

mod agent;
pub mod check;
mod clock;
pub mod config;
mod core;
pub mod expect;
pub mod explain;
pub mod finding;
pub mod fleet;
mod gate;
pub mod guard;
pub mod handle;
pub mod own;
mod pattern;
mod proxy;
pub mod reading;
mod refusal;
pub mod role;
mod rounds;
mod service;
mod spans;
mod stream;
pub mod telemetry;
#[cfg(test)]
mod testing;

pub use config::{Builtin, Config, SECTION};
pub use finding::{Finding, Verdict};
pub use handle::{CheckView, FlipView, GuardView, Handle, Snapshot};
pub use role::{Beacon, Listeners};
pub use telemetry::Metrics;

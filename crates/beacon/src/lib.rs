//! The `beacon` role: a guard before every beacon node, that passes everything on while the node is fit for duty, and says 503 to
//! everything while it isn't, so that validator clients move on in time.
//!
//! Decisions (pure): [`reading`] (what an answer says), [`check`] (one question over time), [`guard`] (all of a node's checks
//! together), [`fleet`] (what guards mean for one another).

pub mod check;
pub mod config;
pub mod expect;
pub mod finding;
pub mod fleet;
pub mod guard;
pub mod own;
pub mod reading;

pub use config::{Builtin, Config, SECTION};
pub use finding::{Finding, Verdict};

//! An upstream node: how it is written in a config ([`spec`]), how fit it is ([`health`]), what an execution client's answers to a
//! probe say ([`eth`]) and which of several nodes is the primary ([`choice`]).
//!
//! Everything here is a decision: synchronous functions of state, event and time. Sockets and clocks stay with the roles.

pub mod choice;
pub mod eth;
pub mod health;
pub mod spec;

pub use choice::{Candidate, Primary};
pub use health::{Cause, Condition, Health, Probe, Rules, Seen};
pub use spec::{NodeSpec, SpecError, Tier};

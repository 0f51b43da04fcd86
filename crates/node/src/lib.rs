//! An upstream node: how it is written in a config ([`spec`]), how fit it is ([`health`]) and which of several
//! is the primary ([`choice`]); and what roles with nodes tell their operators ([`role`]).
//!
//! Everything here is a decision: synchronous functions of state, event and time. Sockets and clocks stay with the roles.

pub mod choice;
pub mod health;
pub mod role;
pub mod spec;

pub use choice::{Candidate, Primary};
pub use health::{Cause, Condition, Health, Probe, Rules, Seen};
pub use role::{Level, Refused};
pub use spec::{NodeSpec, SpecError, Tier};

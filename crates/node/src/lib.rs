//! An upstream node: how it is written in a config ([`spec`]), how fit it is ([`health`]), which of several
//! is the primary ([`choice`]), and what an operator sees and does of a role's nodes ([`role`], a form without content).
//!
//! Everything else here is a decision: synchronous functions of state, event and time. Sockets and clocks stay with the roles.

pub mod choice;
pub mod health;
pub mod role;
pub mod spec;

pub use choice::{Candidate, Primary};
pub use health::{Cause, Condition, Health, Probe, Rules, Seen};
pub use role::{Action, Level, Operated, Refused};
pub use spec::{NodeSpec, SpecError, Tier};

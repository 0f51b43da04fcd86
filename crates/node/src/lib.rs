//! An upstream node: how it is written in a config ([`spec`]), how fit it is ([`health`]), what an execution client's answers to a
//! probe say ([`eth`]), which of several nodes is the primary ([`choice`]), the form in which an operator sees and changes a
//! role's nodes ([`role`]), and what other settings change of them ([`reload`]).
//!
//! Everything else here is a decision: synchronous functions of state, event and time. Sockets and clocks stay with the roles.

pub mod choice;
pub mod eth;
pub mod health;
pub mod reload;
pub mod role;
pub mod spec;

pub use choice::{Candidate, Primary};
pub use health::{Cause, Condition, Health, Probe, Rules, Seen};
pub use mainstay_attest::Kind;
pub use mainstay_attest::uri::AttestedUri;
pub use reload::{NodeChange, Prepared, node_change};
pub use role::{Action, Figure, Level, Operated, Refused};
pub use spec::{NodeSpec, SpecError, Tier};

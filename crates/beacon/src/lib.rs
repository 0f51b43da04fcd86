//! The `beacon` role: a guard before every beacon node, that passes everything on while the node is fit for duty, and says 503 to
//! everything while it isn't, so that validator clients move on in time.

pub mod finding;

pub use finding::{Finding, Verdict};

//! Whether a node runs what it is to run: evidence of SGX, SEV-SNP and TDX.
//!
//! Pure: evidence in, [`Attested`] or [`Refusal`] out. Time, trust roots, collateral and policy are arguments; there is no socket, clock or
//! environment in here. What can't be verified is refused, whatever the reason.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod azure;
mod checks;
pub mod measurements;
pub mod sev;
pub mod tpm;
mod verdict;

pub use checks::Session;
pub use verdict::{Attested, Kind, Measured, Refusal, Steps};

//! Whether a node runs what it is to run: evidence of SGX, SEV-SNP and TDX.
//!
//! Pure: evidence in, [`Attested`] or [`Refusal`] out. Time, trust roots, collateral and policy are arguments; there is no socket, clock or
//! environment in here. What can't be verified is refused, whatever the reason.
//!
//! [`uri`] says what a node is to prove, [`sgx`] verifies an enclave behind Gramine's RA-TLS against Intel's [`collateral`].
//! [`atls`] reads what a server shows over Constellation's aTLS: documents of SEV-SNP ([`azure`], from [`sev`] reports to [`tpm`] quotes and
//! [`measurements`]) and of [`tdx`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod atls;
pub mod azure;
mod checks;
pub mod collateral;
#[cfg(fuzzing)]
pub mod fuzzed;
mod gramine;
mod intel;
pub mod measurements;
mod pem;
pub mod results;
pub mod sev;
pub mod sgx;
pub mod tdx;
pub mod tpm;
pub mod uri;
mod verdict;
pub mod when;

pub use checks::Session;
pub use pem::{certificate, public_key};
pub use uri::{BadUri, Expectation};
pub use verdict::{Attested, Kind, Measured, Refusal, Steps};

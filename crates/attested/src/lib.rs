//! Connections to nodes that prove what they run: `https://SGX_…@host` by RA-TLS, `https://SEV_…@host` and `https://TDX_…@host` by aTLS.
//!
//! A thin shell. What is expected and whether evidence holds is `mainstay-attest`'s; that nothing is sent before, and that the peer holds the
//! key which was attested, is `mainstay-wire`'s. [`Attester`] brings them together: for each connection it draws a nonce, takes what the server
//! shows with what is at hand of collateral, roots and policies ([`Ground`]) to be verified, and reports what came of it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attester;
mod ground;
mod keeper;
mod settings;
mod telemetry;
mod trial;
mod verify;

pub use attester::Attester;
pub use ground::{Fetched, Ground, Judged, Missing, Trust};
pub use keeper::{Clock, Keeper, Known};
pub use settings::{Config, SECTION, VARIABLES};
pub use verify::{Terms, verify};

//! The clock of this crate's shells.

use std::time::Instant;

/// The time by the runtime's clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

//! The clocks of this crate's shells.

use std::time::{Instant, SystemTime};

/// The time by the runtime's clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time of day.
#[allow(clippy::disallowed_methods, reason = "the one place of this crate that reads the time of day")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

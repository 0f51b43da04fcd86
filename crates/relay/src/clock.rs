//! The clocks of this crate's shells.

use std::time::{Instant, SystemTime};

use crate::filter::Now;

/// Where the time of day comes from: the system, or a simulation.
pub type Wall = fn() -> SystemTime;

/// The system's time of day.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place of this crate that reads the time of day")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// The time by the runtime's clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Both.
pub(crate) fn both(wall: Wall) -> Now {
    Now { clock: wall(), instant: now() }
}

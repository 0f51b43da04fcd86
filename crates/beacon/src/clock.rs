//! The clocks of this crate's shells.

use std::time::{Duration, Instant, SystemTime};

/// The time by the runtime's clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time of day.
#[allow(clippy::disallowed_methods, reason = "the one place of this crate that reads the time of day")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The time of day as time since 1970.
pub(crate) fn unix() -> Duration {
    wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The time of day that it was at an instant.
pub(crate) fn wall_at(at: Instant) -> SystemTime {
    let wall = wall();
    wall.checked_sub(now().saturating_duration_since(at)).unwrap_or(wall)
}

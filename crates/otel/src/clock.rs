//! The time of day.

use std::time::SystemTime;

/// What goes into spans and points.
#[allow(clippy::disallowed_methods, reason = "spans and points are told in the time of day")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

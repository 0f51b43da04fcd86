//! The wall clock, for tokens and records. Everything else goes by `tokio::time`, which tests can pause.

use std::time::SystemTime;

/// The time of day.
#[allow(clippy::disallowed_methods)] // the one place where a shell reads it
pub fn wall() -> SystemTime {
    SystemTime::now()
}

//! The wall clock, which only tokens need; everything else goes by tokio's time, so that tests can pause it.

use std::time::SystemTime;

/// Now.
#[allow(clippy::disallowed_methods, reason = "the shells of both sides of a token read the clock here")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

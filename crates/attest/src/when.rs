//! Dates as evidence and people write them: RFC 3339 in UTC, to the second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serializer;
use x509_cert::der::DateTime;

/// Reads `2026-11-21T22:00:00Z`; nothing if it is anything else, or before 1970.
#[must_use]
pub fn read(text: &str) -> Option<SystemTime> {
    let date: DateTime = text.parse().ok()?;
    UNIX_EPOCH.checked_add(date.unix_duration())
}

/// Writes it so; what is outside of the years 1970 to 9999 as that end.
#[must_use]
pub fn written(time: SystemTime) -> String {
    let since = Duration::from_secs(seconds(time).unwrap_or_default());
    DateTime::from_unix_duration(since).unwrap_or(DateTime::INFINITY).to_string()
}

/// Whole seconds since 1970; nothing before that.
pub(crate) fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_back() {
        for text in ["1970-01-01T00:00:00Z", "2026-11-21T22:00:59Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(written(read(text).unwrap()), text);
        }
        assert_eq!(written(UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00Z");
        assert_eq!(written(UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in
            ["", "2026-11-21", "2026-11-21T22:00:59+01:00", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

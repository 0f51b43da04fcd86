//! Names of records, ordered by time.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

/// The name of a record and of its file: `20261121T031706.123Z-0001-9f3a`. The text's order is the order of time (UTC,
/// milliseconds), then of making within the process; the last part keeps processes that share a directory apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// A new name for something that happened at `time`, in milliseconds since the Unix epoch.
    pub fn new(time: u64) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        static PROCESS: LazyLock<u16> =
            LazyLock::new(|| RandomState::new().hash_one(std::process::id()) as u16);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed) & 0xffff;
        let [year, month, day, hour, minute, second, milli] = civil(time);
        Self(format!(
            "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{milli:03}Z-{serial:04x}-{:04x}",
            *PROCESS
        ))
    }

    /// Reads a name; none if it isn't one, so that no text given on a command line leads out of the directory.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == PATTERN.len()
            && bytes.iter().zip(PATTERN).all(|(&byte, &wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'f' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                literal => byte == literal,
            });
        shaped.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `0` stands for a digit, `f` for a hexadecimal one.
const PATTERN: &[u8] = b"00000000T000000.000Z-ffff-ffff";

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the id of a record")
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

/// `2026-11-21 03:17:06.123 UTC`
pub(super) fn readable(time: u64) -> String {
    let [year, month, day, hour, minute, second, milli] = civil(time);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milli:03} UTC")
}

/// Year, month, day, hour, minute, second and millisecond (UTC) of milliseconds since the Unix epoch. Times beyond the
/// year 9999 are taken as its last one, so that names keep their length.
fn civil(time: u64) -> [u64; 7] {
    const LAST: u64 = 253_402_300_799_999;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let time = time.min(LAST);
    let (days, millis) = (time / 86_400_000, time % 86_400_000);

    // Days are counted from 1 March of the year 0, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);

    [year, month, day, millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60, millis % 1_000]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Id, readable};

    #[test]
    fn times_are_those_of_the_calendar() {
        for (time, text) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00.000 UTC"),
            (1_795_231_026_068, "2026-11-21 03:17:06.068 UTC"),
            (4_107_542_399_999, "2100-02-28 23:59:59.999 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000 UTC"),
            (u64::MAX, "9999-12-31 23:59:59.999 UTC"),
        ] {
            assert_eq!(readable(time), text);
        }
    }

    #[test]
    fn names_are_ordered_by_time() {
        let later = Id::new(1_795_231_026_069);
        let earlier = Id::new(1_795_231_026_068);
        assert!(earlier < later);
        assert_eq!(Id::parse(earlier.as_str()), Some(earlier));
    }

    #[test]
    fn nothing_else_is_a_name() {
        for text in [
            "",
            "..",
            "../../etc/passwd",
            "20261121T031706.123Z-0001-9f3a/",
            "20261121T031706.123Z-0001-9F3A",
        ] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }
}

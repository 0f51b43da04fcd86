//! Durations and sizes as people write them.

use std::time::Duration;

/// The longest duration accepted: a year. Longer ones are slips of the hand, and adding one to a
/// clock must never overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `250ms`, `7.5s`, `2m`, `1h` (also `us`). A number without a unit is an error that shows the right form.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let wrong =
        || format!("\"{text}\" is not a duration, write for example \"250ms\", \"7.5s\", \"2m\" or \"1h\"");
    if !is_decimal(number) {
        return Err(wrong());
    }
    let amount: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit.trim_start() {
        "us" => amount / 1e6,
        "ms" => amount / 1e3,
        "s" => amount,
        "m" => amount * 60.0,
        "h" => amount * 3600.0,
        "" => return Err(format!("{text} has no unit, write \"{text}ms\" or \"{text}s\"")),
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("\"{text}\" is longer than a year"))
}

/// Writes a duration so that [`parse_duration`] reads the same one (to the microsecond).
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    if !micros.is_multiple_of(1_000) {
        format!("{micros}us")
    } else if !micros.is_multiple_of(1_000_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{}s", micros / 1_000_000)
    }
}

/// Reads `64MiB`, `1.5GiB`, `500kB` or a plain number of bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let wrong =
        || format!("\"{text}\" is not a size, write for example \"64MiB\", \"500kB\" or a number of bytes");
    let scale: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(wrong);
    }
    if !is_decimal(number) || scale == 1 {
        return Err(wrong());
    }
    let amount: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = amount * scale as f64;
    if bytes > u64::MAX as f64 / 2.0 {
        return Err(wrong());
    }
    Ok(bytes as u64)
}

/// Digits with at most one point between them.
fn is_decimal(number: &str) -> bool {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, micros) in [
            ("250ms", 250_000),
            ("7.5s", 7_500_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("0s", 0),
            (" 10 s ", 10_000_000),
            ("15us", 15),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_told_the_right_form() {
        assert_eq!(parse_duration("7500").unwrap_err(), "7500 has no unit, write \"7500ms\" or \"7500s\"");
        for wrong in ["", "s", "1.s", ".5s", "1..5s", "-1s", "1d", "1e3s", "5S"] {
            let told = parse_duration(wrong).unwrap_err();
            assert!(told.contains("for example \"250ms\""), "{wrong}: {told}");
        }
        assert!(parse_duration("99999h").unwrap_err().contains("longer than a year"));
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("500kB", 500_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "MiB", "1.5", "-1", "1TiBB", "99999999999999999999"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in 0u64..1_000_000_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn nothing_makes_them_panic(text in ".{0,24}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}

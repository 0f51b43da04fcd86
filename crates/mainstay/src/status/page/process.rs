//! The process itself: since when it runs, and what came of its settings being read anew.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use mainstay_attest::when;
use serde_json::Value;

use super::{items, span, text};

/// Draws it, if the answer has it: a mainstay before this one told nothing of itself.
pub(super) fn draw(page: &mut String, process: &Value) {
    let (Some(started), Some(up)) = (process["started_at_ms"].as_u64(), process["up_seconds"].as_u64())
    else {
        return;
    };
    let (version, phase) = (text(process, "version"), text(process, "phase"));
    let _ = writeln!(page, "mainstay {version}, {phase}, up for {}, since {}", span(up), written(started));
    let reload = &process["reload"];
    let Some(at) = reload["at_ms"].as_u64() else {
        page.push_str("settings as they were read at the start\n");
        return;
    };
    // By the clock of the machine that it runs on.
    let ago = started.saturating_add(up.saturating_mul(1000)).saturating_sub(at) / 1000;
    let when = format!("{} ago, at {}, by {}", span(ago), written(at), text(reload, "by"));
    let _ = match (text(reload, "outcome"), items(reload, "changes").len()) {
        ("applied", 0) => writeln!(page, "settings reloaded {when}: nothing differed"),
        ("applied", 1) => writeln!(page, "settings reloaded {when}: 1 change"),
        ("applied", changes) => writeln!(page, "settings reloaded {when}: {changes} changes"),
        _ => writeln!(page, "RELOAD REFUSED {when}, the settings before hold:"),
    };
    for problem in items(reload, "problems") {
        let _ = writeln!(page, "      {}", problem.as_str().unwrap_or(""));
    }
}

fn written(at_ms: u64) -> String {
    when::written(UNIX_EPOCH + Duration::from_millis(at_ms))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn since_when_it_runs_and_what_became_of_its_settings() {
        let drawn = |reload: Value| {
            let mut page = String::new();
            let process = json!({
                "version": "0.1.0", "phase": "serving", "started_at_ms": 1_795_330_800_250_u64, "up_seconds": 7325, "reload": reload,
            });
            draw(&mut page, &process);
            page
        };
        let up = "mainstay 0.1.0, serving, up for 2h2m, since 2026-11-22T07:00:00Z\n";
        let reload = |outcome: &str, changes: usize, problems: &[&str]| {
            drawn(json!({
                "at_ms": 1_795_338_000_250_u64, "by": "SIGHUP", "outcome": outcome, "changes": vec![json!({}); changes], "problems": problems,
            }))
        };
        assert_eq!(drawn(Value::Null), format!("{up}settings as they were read at the start\n"));
        let when = "2m5s ago, at 2026-11-22T09:00:00Z, by SIGHUP";
        for (changes, told) in [(0, "nothing differed"), (1, "1 change"), (2, "2 changes")] {
            assert_eq!(reload("applied", changes, &[]), format!("{up}settings reloaded {when}: {told}\n"));
        }
        for outcome in ["wrong", "not_now"] {
            let told = reload(outcome, 1, &["m.toml:3: a", "m.toml:4: b"]);
            let refused = format!("RELOAD REFUSED {when}, the settings before hold:");
            assert_eq!(told, format!("{up}{refused}\n      m.toml:3: a\n      m.toml:4: b\n"));
        }
        let mut page = String::new();
        draw(&mut page, &Value::Null);
        assert_eq!(page, "", "a mainstay that doesn't tell");
    }
}

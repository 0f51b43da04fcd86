//! What a watch shows, as lines. Pure.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use serde_json::Value;

use super::page::{span, text};
use super::seen::News;

/// Changes under the page.
const CHANGES: usize = 10;

/// What there is to draw.
pub(super) struct View<'a> {
    pub(super) address: &'a dyn Display,
    /// The time of day in UTC.
    pub(super) clock: &'a str,
    /// The roles as text, if there was ever an answer.
    pub(super) page: Option<&'a str>,
    /// As the API lists them.
    pub(super) changes: &'a [Value],
    /// For how long nobody has answered, and why.
    pub(super) lost: Option<(Duration, &'a str)>,
    /// After how long somebody answered again.
    pub(super) back: Option<Duration>,
}

/// At most `rows` lines of at most `columns` characters.
pub(super) fn draw(view: &View<'_>, columns: usize, rows: usize) -> Vec<String> {
    let View { address, clock, .. } = view;
    let mut lines = vec![format!("mainstay at {address}  {clock} UTC  Ctrl-C ends")];
    if let Some((since, why)) = view.lost {
        lines.push(match view.page {
            Some(_) => format!("NO ANSWER for {}, this is what was: {why}", span(since.as_secs())),
            None => format!("NO ANSWER yet: {why}, is mainstay running with --admin-listen {address}?"),
        });
    }
    if let Some(after) = view.back {
        lines.push(format!("answers again, after {}", span(after.as_secs())));
    }
    lines.push(String::new());
    lines.extend(view.page.unwrap_or_default().lines().map(str::to_owned));
    let missing = lines.len().saturating_sub(rows);
    if missing > 0 {
        lines.truncate(rows.saturating_sub(1));
        let s = if missing == 0 { "" } else { "s" };
        lines.push(format!("… {} line{s} more than this window has room for", missing + 1));
    } else {
        // An empty line, a title, and as many as there is room for.
        let room = rows.saturating_sub(lines.len() + 2).min(CHANGES);
        let latest = view.changes.iter().rev().take(room);
        let latest: Vec<String> = latest.map(|one| format!("  {}", change(one))).collect();
        if !latest.is_empty() {
            lines.extend([String::new(), "last changes, the latest first:".to_owned()]);
            lines.extend(latest);
        }
    }
    lines.truncate(rows);
    lines.iter().map(|line| fitted(line, columns)).collect()
}

/// A change for a reader of lines; `page` is how it is since.
pub(super) fn block(at: &str, address: &dyn Display, page: Option<&str>, news: &News) -> String {
    let mut block = format!("{at} {address}");
    let (page, changes) = match news {
        News::First => (page, &[][..]),
        News::Changed(changes) => (page, changes.as_slice()),
        News::Lost(why) => {
            let _ = write!(block, " NO ANSWER: {why}");
            (None, &[][..])
        }
        News::Back { after, changes } => {
            let _ = write!(block, " answers again, after {}", span(after.as_secs()));
            (page, changes.as_slice())
        }
    };
    block.push('\n');
    for one in changes {
        let _ = writeln!(block, "  {}", change(one));
    }
    block.push_str(page.unwrap_or_default());
    block.push('\n');
    block.retain(|c| c == '\n' || !c.is_control());
    block
}

/// `06:04:16 engine engine el2: fit → unfit (connection refused)`.
fn change(change: &Value) -> String {
    let day = change["at_ms"].as_u64().unwrap_or_default() / 1000 % 86400;
    let (hour, minute, second) = (day / 3600, day / 60 % 60, day % 60);
    let mut line =
        format!("{hour:02}:{minute:02}:{second:02} {} {}", text(change, "role"), text(change, "name"));
    let (of, before, now, why) =
        (text(change, "of"), text(change, "before"), text(change, "now"), text(change, "why"));
    if !of.is_empty() {
        let _ = write!(line, " {of}");
    }
    let arrow = if before.is_empty() { "" } else { " → " };
    let _ = write!(line, ": {before}{arrow}{now}");
    if !why.is_empty() {
        let _ = write!(line, " ({why})");
    }
    line
}

/// Without what could steer the terminal, and cut where it ends.
fn fitted(line: &str, columns: usize) -> String {
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= columns {
        return line;
    }
    let mut cut: String = line.chars().take(columns.saturating_sub(1)).collect();
    if columns > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const PAGE: &str = "engine engine: well\n  NAME  STATE\n  el1   fit\n";

    fn view<'a>(page: Option<&'a str>, changes: &'a [Value]) -> View<'a> {
        let address = &"127.0.0.1:7700";
        View { address, clock: "06:04:16", page, changes, lost: None, back: None }
    }

    fn changes() -> Vec<Value> {
        let change = |at: u64, of: &str, before: &str, now: &str, why: &str| json!({"at_ms": at, "role": "engine", "name": "engine", "of": of, "before": before, "now": now, "why": why});
        vec![
            change(1_800_000_000_000, "el1", "fit", "unfit", "connection \u{1b}[31mrefused"),
            change(1_800_000_061_000, "", "well", "degraded", "el1 is unfit"),
            change(1_800_000_062_000, "el2", "", "drain", "127.0.0.1"),
        ]
    }

    #[test]
    fn a_screen() {
        let drawn = draw(&view(Some(PAGE), &changes()), 80, 24);
        assert_eq!(
            drawn,
            [
                "mainstay at 127.0.0.1:7700  06:04:16 UTC  Ctrl-C ends",
                "",
                "engine engine: well",
                "  NAME  STATE",
                "  el1   fit",
                "",
                "last changes, the latest first:",
                "  08:01:02 engine engine el2: drain (127.0.0.1)",
                "  08:01:01 engine engine: well → degraded (el1 is unfit)",
                "  08:00:00 engine engine el1: fit → unfit (connection [31mrefused)",
            ]
        );
    }

    #[test]
    fn whoever_is_away_is_told_of_above_what_was_seen_last() {
        let lost = Some((Duration::from_secs(75), "connection refused"));
        let drawn = draw(&View { lost, ..view(Some(PAGE), &[]) }, 80, 24);
        assert_eq!(drawn[1], "NO ANSWER for 1m15s, this is what was: connection refused");
        assert_eq!(drawn[3], "engine engine: well");
        let drawn = draw(&View { lost, ..view(None, &[]) }, 120, 24);
        let told =
            "NO ANSWER yet: connection refused, is mainstay running with --admin-listen 127.0.0.1:7700?";
        assert_eq!(drawn[1..], [told, ""]);
        let drawn = draw(&View { back: Some(Duration::from_secs(8)), ..view(Some(PAGE), &[]) }, 80, 24);
        assert_eq!(drawn[1], "answers again, after 8s");
    }

    #[test]
    fn it_fits_every_window() {
        let (all, changes) = (PAGE.repeat(4), changes());
        let lost = Some((Duration::from_secs(75), "connection refused"));
        for columns in 0..100 {
            for rows in 0..30 {
                for view in [view(Some(&all), &changes), View { lost, ..view(None, &changes) }] {
                    let drawn = draw(&view, columns, rows);
                    assert!(drawn.len() <= rows, "{columns} × {rows}: {drawn:#?}");
                    assert!(
                        drawn.iter().all(|line| line.chars().count() <= columns),
                        "{columns} × {rows}: {drawn:#?}"
                    );
                }
            }
        }
        assert_eq!(draw(&view(Some(PAGE), &changes), 12, 24)[0], "mainstay at…");
        let short = draw(&view(Some(PAGE), &changes), 80, 4);
        assert_eq!(short[2..], ["engine engine: well", "… 2 lines more than this window has room for"]);
        // Lines of the page come first, then as many changes as there is room for.
        let drawn = draw(&view(Some(PAGE), &changes), 80, 8);
        assert_eq!(drawn.last().unwrap(), "  08:01:02 engine engine el2: drain (127.0.0.1)");
    }

    #[test]
    fn blocks() {
        let at = "2026-11-22T06:04:16Z";
        let address = &"127.0.0.1:7700";
        let told = |news: &News| block(at, address, Some("page\u{7}\n"), news);
        assert_eq!(told(&News::First), "2026-11-22T06:04:16Z 127.0.0.1:7700\npage\n\n");
        assert_eq!(
            told(&News::Changed(changes()[1..2].to_vec())),
            "2026-11-22T06:04:16Z 127.0.0.1:7700\n  08:01:01 engine engine: well → degraded (el1 is unfit)\npage\n\n"
        );
        assert_eq!(
            told(&News::Lost("connection refused".to_owned())),
            "2026-11-22T06:04:16Z 127.0.0.1:7700 NO ANSWER: connection refused\n\n"
        );
        assert_eq!(
            told(&News::Back { after: Duration::from_secs(3), changes: Vec::new() }),
            "2026-11-22T06:04:16Z 127.0.0.1:7700 answers again, after 3s\npage\n\n"
        );
    }
}

//! One line a slot for a person to watch: every node's vote, the verdict, and what is broken.
//! Pure: plain data in, text out.

use std::{ffi::OsStr, fmt::Write as _, io::IsTerminal as _, time::Duration};

use crate::cl::SlotReport;

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// No escape sequences.
    Plain,
    /// ANSI colours.
    Colour,
}

impl Ink {
    /// Colours only on a terminal, and only while `NO_COLOR` is unset or empty
    /// (<https://no-color.org>).
    pub fn choose(is_terminal: bool, no_color: Option<&OsStr>) -> Ink {
        if is_terminal && no_color.is_none_or(OsStr::is_empty) { Ink::Colour } else { Ink::Plain }
    }

    /// What suits this process's standard output.
    #[allow(
        clippy::disallowed_methods,
        reason = "NO_COLOR is everybody's convention, not a setting of mainstay's"
    )]
    pub fn of_stdout() -> Ink {
        let no_color = std::env::var_os("NO_COLOR");
        Ink::choose(std::io::stdout().is_terminal(), no_color.as_deref())
    }

    fn paint(self, tint: Tint, text: &str) -> String {
        let code = match (self, tint) {
            (Ink::Plain, _) | (_, Tint::None) => return text.to_owned(),
            (_, Tint::Good) => 32,
            (_, Tint::Bad) => 31,
            (_, Tint::Doubtful) => 33,
            (_, Tint::Faint) => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[derive(Clone, Copy)]
enum Tint {
    None,
    Good,
    Bad,
    Doubtful,
    Faint,
}

impl Tint {
    fn of(said: &str) -> Tint {
        match said {
            "VALID" => Tint::Good,
            "SYNCING" | "ACCEPTED" => Tint::Doubtful,
            "" => Tint::None,
            _ => Tint::Bad,
        }
    }
}

/// What one node said in a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The node.
    pub node: String,
    /// `VALID`, `INVALID`, `SYNCING`, `ACCEPTED`, or why it is no vote (`timeout`).
    pub said: String,
    /// How long it took, where it answered.
    pub took: Option<Duration>,
    /// What else is to be said of it: what is wrong with it on purpose (`lie`), how it is held (`cordoned`).
    pub note: Option<String>,
}

/// What there is to say of one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotLine {
    /// Its number.
    pub slot: u64,
    /// Its block's number.
    pub number: Option<u64>,
    /// Its block's hash, `0x…`.
    pub hash: Option<String>,
    /// The votes, in the order of the nodes.
    pub votes: Vec<Vote>,
    /// What the consensus client was told.
    pub verdict: Option<String>,
    /// Whether it was told so before every node had answered.
    pub early: bool,
    /// How long the slot's work took.
    pub took: Duration,
    /// Why the slot was missed, where it was.
    pub missed: Option<String>,
}

impl SlotLine {
    /// What a consensus client knows of its slot; votes and verdict are for the caller to add.
    pub fn of(report: &SlotReport) -> SlotLine {
        SlotLine {
            slot: report.slot,
            number: report.block.map(|block| block.number),
            hash: report.block.map(|block| block.hash.to_string()),
            took: report.took,
            missed: report.missed.clone(),
            ..SlotLine::default()
        }
    }
}

/// The line of a slot, without a line break.
pub fn slot_line(slot: &SlotLine, ink: Ink) -> String {
    let mut line = format!("slot {:>5}  ", slot.slot);
    let block = match (slot.number, &slot.hash) {
        (Some(number), Some(hash)) => format!("block {number:>5} {}", short(&clean(hash))),
        (Some(number), None) => format!("block {number:>5}"),
        _ => "no block".to_owned(),
    };
    // The width of "block 12345 0x1234…cdef".
    let _ = write!(line, "{block:<23}");
    for vote in &slot.votes {
        line.push_str("  ");
        line.push_str(&vote_text(vote, ink));
    }
    if let Some(verdict) = &slot.verdict {
        let verdict = clean(verdict);
        let _ = write!(line, "  → {}", ink.paint(Tint::of(&verdict), &verdict));
        if slot.early {
            line.push_str(&ink.paint(Tint::Faint, " early"));
        }
    }
    let _ = write!(line, "  {}", ink.paint(Tint::Faint, &time(slot.took)));
    if let Some(why) = &slot.missed {
        let missed = format!("MISSED: {}", clean(why));
        let _ = write!(line, "  {}", ink.paint(Tint::Bad, &missed));
    }
    line
}

fn vote_text(vote: &Vote, ink: Ink) -> String {
    let said = clean(&vote.said);
    let mut text = format!("{} {}", clean(&vote.node), ink.paint(Tint::of(&said), &said));
    if let Some(took) = vote.took {
        let _ = write!(text, " {}", ink.paint(Tint::Faint, &time(took)));
    }
    if let Some(note) = &vote.note {
        let marker = format!("[{}]", clean(note));
        let _ = write!(text, " {}", ink.paint(Tint::Doubtful, &marker));
    }
    text
}

/// `0x1234…cdef`
fn short(hash: &str) -> String {
    let count = hash.chars().count();
    if count <= 14 {
        return hash.to_owned();
    }
    let first: String = hash.chars().take(6).collect();
    let last: String = hash.chars().skip(count - 4).collect();
    format!("{first}…{last}")
}

fn time(took: Duration) -> String {
    if took < Duration::from_millis(10) {
        format!("{:.1} ms", took.as_secs_f64() * 1e3)
    } else if took < Duration::from_secs(10) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}

/// Texts may come from a node: what could steer the terminal is left out.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SlotLine {
        let vote = |node: &str, said: &str, took: Option<u64>, note: Option<&str>| Vote {
            node: node.to_owned(),
            said: said.to_owned(),
            took: took.map(Duration::from_micros),
            note: note.map(str::to_owned),
        };
        SlotLine {
            slot: 12,
            number: Some(11),
            hash: Some(format!("0x1234{}cdef", "0".repeat(56))),
            votes: vec![
                vote("el1", "VALID", Some(3210), None),
                vote("el2", "VALID", Some(812_000), Some("lag 800 ms")),
                vote("el3", "timeout", None, Some("hang")),
            ],
            verdict: Some("VALID".to_owned()),
            early: true,
            took: Duration::from_millis(14),
            missed: None,
        }
    }

    #[test]
    fn a_slot_is_one_plain_line() {
        assert_eq!(
            slot_line(&sample(), Ink::Plain),
            "slot    12  block    11 0x1234…cdef  el1 VALID 3.2 ms  el2 VALID 812 ms [lag 800 ms]  \
             el3 timeout [hang]  → VALID early  14 ms"
        );
    }

    #[test]
    fn a_missed_slot_says_why() {
        let slot = SlotLine {
            slot: 3,
            took: Duration::from_secs(12),
            missed: Some("newPayload: SYNCING".to_owned()),
            verdict: Some("SYNCING".to_owned()),
            ..SlotLine::default()
        };
        assert_eq!(
            slot_line(&slot, Ink::Plain),
            "slot     3  no block                 → SYNCING  12.0 s  MISSED: newPayload: SYNCING"
        );
    }

    #[test]
    fn colours_change_nothing_but_escapes() {
        let coloured = slot_line(&sample(), Ink::Colour);
        assert!(coloured.contains("\x1b[32mVALID\x1b[0m") && coloured.contains("\x1b[31mtimeout"));
        let mut plain = String::new();
        for (at, piece) in coloured.split('\x1b').enumerate() {
            plain.push_str(if at == 0 { piece } else { piece.split_once('m').map_or("", |p| p.1) });
        }
        assert_eq!(plain, slot_line(&sample(), Ink::Plain));
    }

    #[test]
    fn colours_need_a_terminal_and_leave_to_use_them() {
        assert_eq!(Ink::choose(true, None), Ink::Colour);
        assert_eq!(Ink::choose(true, Some(OsStr::new(""))), Ink::Colour);
        assert_eq!(Ink::choose(true, Some(OsStr::new("1"))), Ink::Plain);
        assert_eq!(Ink::choose(false, None), Ink::Plain);
    }

    #[test]
    fn a_node_cannot_steer_the_terminal() {
        let vote = Vote { node: "el1".into(), said: "\x1b[2Jgone\r\n".into(), ..Vote::default() };
        let slot = SlotLine { votes: vec![vote], ..SlotLine::default() };
        assert!(!slot_line(&slot, Ink::Plain).contains(char::is_control));
    }
}

//! Commands as a person types them.

use std::io::{BufRead, Read as _};

use tokio::sync::mpsc;

use super::Action;

/// What `help` prints.
pub const HELP: &str = "\
crash NODE       its process is gone: connections are refused
hang NODE        it accepts and never answers
lag NODE [MS]    it answers so many milliseconds later (800)
lie NODE         it says INVALID where it should say VALID
syncing NODE     it says SYNCING
heal NODE        it is well again (NODE may be all)
nodes            how every node is
help             this list";

/// No line is longer; the rest is read as another one.
const LONGEST_LINE: u64 = 1024;

/// A line that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Empty.
    Nothing,
    /// `help`
    Help,
    /// `nodes`
    Nodes,
    /// A verb and a node.
    Act {
        /// The node's name, or `all`.
        node: String,
        /// What to do to it.
        action: Action,
    },
}

/// Reads a line such as `lag el2 800`.
///
/// # Errors
/// What was wrong, and what would be right.
pub fn parse_line(line: &str) -> Result<Line, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] => Ok(Line::Nothing),
        ["help" | "?"] => Ok(Line::Help),
        ["nodes"] => Ok(Line::Nodes),
        [verb] => {
            Action::parse(verb, None).map_err(|why| format!("{why}; help shows how"))?;
            Err(format!("which node? {verb} el1, for example"))
        }
        [verb, node, rest @ ..] if rest.len() <= 1 => {
            let action = Action::parse(verb, rest.first().copied())?;
            Ok(Line::Act { node: (*node).to_owned(), action })
        }
        _ => Err("too many words; help shows how".to_owned()),
    }
}

/// The lines of standard input, until it ends. They are read by a thread of their own that no
/// shutdown waits for, because a read from a terminal can't be called off.
pub fn stdin_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || forward(&mut std::io::stdin().lock(), &sender));
    lines
}

pub(super) fn forward(reader: &mut dyn BufRead, lines: &mpsc::Sender<String>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if lines.blocking_send(text).is_err() {
            return;
        }
    }
}

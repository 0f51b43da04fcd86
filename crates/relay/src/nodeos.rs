//! What nodeos's settings have to be for a relay to keep its promise: `mainstay check --nodeos config.ini --as inner`. Pure.
//!
//! [`Ini`] reads the file as nodeos does, the rules are in `rules`. Only what a relay needs is judged; whatever else stands in the file is the
//! operator's business.

mod ini;
mod rules;

use std::fmt;

pub use ini::{BadLine, Ini};
pub use rules::check;

/// What the node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// It produces, and has the relay as its only peer.
    Inner,
    /// The relay connects to it, once for each inner node.
    Outer,
    /// It stands between outer nodes and the public network.
    Sentry,
}

/// What is known of the rest.
#[derive(Debug, Clone)]
pub struct Around {
    /// How many inner nodes there are: one outer node may get all their legs.
    pub legs: u32,
    /// The relays or tunnels that an inner node is to connect to, `HOST:PORT`; empty: not known.
    pub relays: Vec<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The relay doesn't work so, or doesn't keep its promise.
    Wrong,
    /// To be thought about.
    Advice,
}

/// Something to mend or to think about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// The line it stands on, from 1; `None` for what isn't there.
    pub line: Option<usize>,
    /// What is there, and why that's wrong.
    pub what: String,
    /// The line to write instead; `None` where it is to be taken out, or the operator knows.
    pub write: Option<String>,
}

/// `12: …; write: …`, without the file's name.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.write {
            Some(write) => write!(f, "; write: {write}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

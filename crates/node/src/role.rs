//! What every role that has nodes tells its operators and is told by them: how well it is, and why a change was not made.

use std::fmt;

use serde::Serialize;

/// How well a role serves its clients; the greater, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it was meant to.
    Well,
    /// Its clients are served, but something that could be there isn't.
    Degraded,
    /// Its clients cannot be served.
    Down,
}

/// Why a change wasn't made. The text is for whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no node that is called so.
    NoSuchNode(String),
    /// It can't be done as asked; what is wrong.
    Bad(String),
    /// What the nodes are kept in can't be asked; nothing was changed, unless the text says that nobody knows.
    Unavailable(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode(name) => write!(f, "no node is called {name}"),
            Self::Bad(what) | Self::Unavailable(what) => f.write_str(what),
        }
    }
}

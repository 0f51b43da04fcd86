//! How a leg ends.

use std::fmt;

use crate::stream::Ended;

/// Who ended a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Inner,
    Outer,
    Mainstay,
}

impl Side {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Outer => "outer",
            Self::Mainstay => "mainstay",
        }
    }
}

/// Why a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Ended(Ended),
    /// The side sent a `go_away`, with this reason.
    GoAway(&'static str),
    /// It didn't show a key that is asked for.
    Key(&'static str),
    /// Another leg's outer peer is so many blocks ahead of it.
    Behind(u32),
    Stopped,
}

impl Why {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Ended(Ended::Closed) => "closed",
            Self::Ended(Ended::Silent) => "silent",
            Self::Ended(Ended::Stalled) => "stalled",
            Self::Ended(Ended::NoFrame(_)) => "no_frame",
            Self::GoAway(_) => "go_away",
            Self::Key(_) => "key",
            Self::Behind(_) => "behind",
            Self::Stopped => "stopped",
        }
    }
}

/// How a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) side: Side,
    pub(crate) why: Why,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Inner => "the inner node",
            Side::Outer => "the outer peer",
            Side::Mainstay => "mainstay",
        };
        match &self.why {
            Why::Ended(Ended::Closed) => write!(f, "{side} closed the connection"),
            Why::Ended(Ended::Silent) => write!(f, "{side} said nothing for too long"),
            Why::Ended(Ended::Stalled) => write!(f, "{side} took in nothing for too long"),
            Why::Ended(Ended::NoFrame(why)) => write!(f, "{side} sent what is no frame: {why}"),
            Why::GoAway(reason) => write!(f, "{side} sent go_away, {reason}"),
            Why::Key(what) => write!(f, "{side}: {what}"),
            Why::Behind(blocks) => write!(f, "{side} is {blocks} blocks behind"),
            Why::Stopped => f.write_str("mainstay stops"),
        }
    }
}

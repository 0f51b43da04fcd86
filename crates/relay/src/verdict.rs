//! What becomes of a block, and why.

use std::fmt;

use mainstay_antelope::Id;

/// What becomes of a block that an inner node sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out.
    Pass(Pass),
    /// It doesn't, and nobody is told.
    Suppress(Suppress),
}

/// Why a block goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It is of a producer that isn't ours.
    Other,
    /// It is known public, from outside.
    Public,
    /// It is history: irreversible for the outer peer, or for the node that sends it.
    History,
    /// The slot was free and is now its own.
    Win,
    /// The claim holds the same id.
    Same,
    /// The claims could not be asked, and the settings say to go on without.
    Open,
}

/// Why a block is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppress {
    /// Its slot is further in the future than blocks are sent early.
    Future,
    /// Its slot is absurdly old.
    Old,
    /// Its parent is not public.
    Tainted,
    /// The slot is another block's, or its number or slot is not above the last published.
    Lost {
        /// The block that has the slot, where there is one.
        winner: Option<Id>,
    },
    /// This outer peer has it already, by us.
    Copy,
    /// The claims could not be asked.
    Closed,
}

impl Verdict {
    /// Whether it goes out.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Pass(_))
    }

    /// One word: for logs, labels and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass(Pass::Other) => "other",
            Self::Pass(Pass::Public) => "public",
            Self::Pass(Pass::History) => "history",
            Self::Pass(Pass::Win) => "win",
            Self::Pass(Pass::Same) => "same",
            Self::Pass(Pass::Open) => "open",
            Self::Suppress(Suppress::Future) => "future",
            Self::Suppress(Suppress::Old) => "old",
            Self::Suppress(Suppress::Tainted) => "tainted",
            Self::Suppress(Suppress::Lost { .. }) => "lost",
            Self::Suppress(Suppress::Copy) => "copy",
            Self::Suppress(Suppress::Closed) => "closed",
        }
    }

    /// Whether an operator should hear of it: a clock is wrong, or the claims are away.
    #[must_use]
    pub fn alarms(self) -> bool {
        matches!(
            self,
            Self::Pass(Pass::Open) | Self::Suppress(Suppress::Future | Suppress::Old | Suppress::Closed)
        )
    }
}

/// The reason, for people.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass(Pass::Other) => "of another producer",
            Self::Pass(Pass::Public) => "known public",
            Self::Pass(Pass::History) => "at or below the last irreversible block",
            Self::Pass(Pass::Win) => "the slot was free",
            Self::Pass(Pass::Same) => "the claim holds the same id",
            Self::Pass(Pass::Open) => "the claims could not be asked; fail_open is set",
            Self::Suppress(Suppress::Future) => "its slot is too far in the future",
            Self::Suppress(Suppress::Old) => "its slot is absurdly old",
            Self::Suppress(Suppress::Tainted) => "previous is not public",
            Self::Suppress(Suppress::Lost { winner: Some(winner) }) => {
                return write!(f, "the slot went to {winner}");
            }
            Self::Suppress(Suppress::Lost { winner: None }) => "not above the last published",
            Self::Suppress(Suppress::Copy) => "sent to this outer peer already",
            Self::Suppress(Suppress::Closed) => "the claims could not be asked",
        })
    }
}

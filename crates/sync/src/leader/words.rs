//! What is said of consensus clients (CL) and of changes of the leader.

use std::fmt;
use std::time::Duration;

use crate::client::Client;
use crate::hash::Hash;

/// Why a CL is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// It named a slot more than one ahead of the clock.
    Ahead {
        /// The slot.
        slot: u64,
        /// The clock's.
        clock: u64,
    },
    /// No execution client takes its head for VALID or SYNCING.
    Refused {
        /// The head.
        head: Hash,
    },
    /// Execution clients refuse its token, which is handed on to them.
    Unauthorized,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead { slot, clock } => {
                let by = slot.saturating_sub(*clock);
                write!(f, "it named slot {slot}, {by} ahead of this machine's clock ({clock})")
            }
            Self::Refused { head } => write!(f, "no execution client takes its head {head}"),
            Self::Unauthorized => f.write_str("execution clients refuse its token"),
        }
    }
}

/// What is thought of a CL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It could lead.
    Well,
    /// Not to be believed.
    Suspect(Suspicion),
    /// Its connection is gone.
    Gone,
    /// It has sent nothing that counts for `leader_timeout`.
    Silent,
    /// It has been below the best for too long.
    Behind,
    /// It is on another head than most.
    Disagrees,
}

impl State {
    /// One word, for metrics and the API.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Suspect(_) => "suspect",
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Behind => "behind",
            Self::Disagrees => "disagrees",
        }
    }
}

/// Why the lead changed. In its words "it" is the former leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody led.
    First,
    /// The leader became suspect.
    Suspect(Suspicion),
    /// Its connection is gone.
    Gone,
    /// It has sent nothing for so long.
    Silent {
        /// `leader_timeout`.
        wait: Duration,
    },
    /// It was below the best for so long.
    Behind {
        /// By how many slots; `None`: it never told a slot.
        by: Option<u64>,
        /// For how long that is borne.
        wait: Duration,
    },
    /// Another showed a later slot, and it has said nothing since.
    Overtaken {
        /// For how long that is borne.
        wait: Duration,
    },
    /// It is on another head than most.
    Disagrees {
        /// The head of most.
        head: Hash,
        /// How many name it.
        by: usize,
        /// Of how many.
        of: usize,
    },
    /// The operator named the new one before the old one.
    Preferred {
        /// How long it had to be fit; `None`: it had nothing to prove.
        well_for: Option<Duration>,
    },
}

impl Why {
    /// The former leader failed.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        !matches!(self, Self::First | Self::Preferred { .. })
    }

    /// One word, for metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Suspect(_) => "suspect",
            Self::Gone => "gone",
            Self::Silent { .. } => "silent",
            Self::Behind { .. } => "behind",
            Self::Overtaken { .. } => "overtaken",
            Self::Disagrees { .. } => "disagrees",
            Self::Preferred { .. } => "preferred",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("nobody led"),
            Self::Suspect(suspicion) => suspicion.fmt(f),
            Self::Gone => f.write_str("its connection is gone"),
            Self::Silent { wait } => write!(f, "it has sent nothing for {wait:?}"),
            Self::Behind { by: Some(1), wait } => write!(f, "it is a slot behind the best, for {wait:?} now"),
            Self::Behind { by: Some(by), wait } => {
                write!(f, "it is {by} slots behind the best, and has been behind for {wait:?}")
            }
            Self::Behind { by: None, wait } => {
                write!(f, "it has shown no slot for {wait:?} in which others have")
            }
            Self::Overtaken { wait } => {
                write!(f, "another is a slot ahead, and it has said nothing in the {wait:?} since")
            }
            Self::Disagrees { head, by, of } => write!(f, "{by} of {of} are on {head}, and it is not"),
            Self::Preferred { well_for: None } => f.write_str("the new one is named before it"),
            Self::Preferred { well_for: Some(time) } => {
                write!(f, "the new one is named before it and has been well for {time:?}")
            }
        }
    }
}

/// Another CL leads from now on. The shell has to bring the new leader's last head to the execution clients: it may not
/// name it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who led.
    pub from: Option<Client>,
    /// Who leads.
    pub to: Client,
    /// Why.
    pub why: Why,
}

//! The figures that the rules go by.

use std::time::Duration;

use crate::client::Client;

/// The rules' figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A slot's length.
    pub slot: Duration,
    /// A CL that sent nothing for so long isn't live.
    pub leader_timeout: Duration,
    /// So many slots below the best is behind, if it lasts; 0 is taken as 1.
    pub max_lag: u64,
    /// How long who was unfit or lost the lead has to be fit until it takes the lead back.
    pub failback_after: Duration,
    /// Follow the head that most name.
    pub agreement: bool,
    /// CLs in the operator's order of preference; they are always remembered.
    pub order: Vec<Client>,
    /// Others that are remembered at most; at least one is.
    pub max_strangers: usize,
}

impl Rules {
    /// The defaults for slots of this length: `leader_timeout` two slots, `max_lag` one, `failback_after` 30 s, no
    /// agreement, nobody named, 64 strangers.
    #[must_use]
    pub fn new(slot: Duration) -> Self {
        Self {
            slot,
            leader_timeout: slot * 2,
            max_lag: 1,
            failback_after: Duration::from_secs(30),
            agreement: false,
            order: Vec::new(),
            max_strangers: 64,
        }
    }

    /// What 0 is taken for.
    pub(super) fn clamped(self) -> Self {
        Self { max_lag: self.max_lag.max(1), max_strangers: self.max_strangers.max(1), ..self }
    }

    /// How long a CL may be `max_lag` below the best.
    pub(super) fn lag_for(&self) -> Duration {
        self.slot * 2
    }

    /// How long a leader may say nothing after another has shown a later slot.
    pub(super) fn silent_for(&self) -> Duration {
        self.slot / 3
    }
}

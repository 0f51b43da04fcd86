//! What one round of a check found.

use serde::Serialize;

/// How a round of a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Not as it should be, yet better than no beacon node at all: few peers, a head some slots behind.
    Soft,
    /// Not fit for duty.
    Hard,
    /// Nobody is there: refused, reset. Needs no second time to count.
    Gone,
}

/// What one round of a check found, in words for an operator. Never has an address, a credential or a token in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen: `is_syncing: true, sync_distance: 109`, `63 peers of at least 64`, `connection refused`.
    pub saw: String,
}

impl Finding {
    /// A round that found all well.
    pub fn good(saw: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, saw: saw.into() }
    }

    /// A round that found something that can be lived with.
    pub fn soft(saw: impl Into<String>) -> Self {
        Self { verdict: Verdict::Soft, saw: saw.into() }
    }

    /// A round that failed.
    pub fn hard(saw: impl Into<String>) -> Self {
        Self { verdict: Verdict::Hard, saw: saw.into() }
    }

    /// A round that found nobody there.
    pub fn gone(saw: impl Into<String>) -> Self {
        Self { verdict: Verdict::Gone, saw: saw.into() }
    }

    /// Whether all was well.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdict == Verdict::Good
    }
}

//! One check of one beacon node: a state machine over the rounds' findings.
//!
//! * **Not yet checked is unfit**, and the first round decides: at start there is no history to be careful about.
//! * **Out**: the `fall`-th bad round in a row. Whoever finds nobody there ([`Verdict::Gone`]) needs no second look.
//! * **Back**: the `rise`-th good round in a row.
//! * How bad it is follows the latest bad round: a node that only lags after it has synced may be kept as the last one.

use std::time::Instant;

use crate::finding::{Finding, Verdict};

/// How many rounds in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Good rounds that end a failure; at least 1.
    pub rise: u32,
    /// Bad rounds that make one; at least 1.
    pub fall: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { rise: 2, fall: 1 }
    }
}

/// The state of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No round has ended.
    Unchecked,
    /// It holds.
    Holds,
    /// It fails, for what the latest bad round found; never [`Verdict::Good`].
    Fails(Finding),
}

impl Condition {
    /// How bad that is. A check that hasn't been made is as bad as one that fails.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Unchecked => Verdict::Hard,
            Self::Holds => Verdict::Good,
            Self::Fails(finding) => finding.verdict,
        }
    }
}

/// A check that began or ceased to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Whether it holds now.
    pub holds: bool,
    /// What the round found that decided it.
    pub saw: String,
}

/// A check.
#[derive(Clone, Debug)]
pub struct Check {
    rules: Rules,
    condition: Condition,
    since: Instant,
    /// Rounds in a row that speak against the condition.
    against: u32,
    last: Option<Finding>,
}

impl Check {
    /// A check of which nothing is known.
    #[must_use]
    pub fn new(rules: Rules, now: Instant) -> Self {
        Self { rules, condition: Condition::Unchecked, since: now, against: 0, last: None }
    }

    /// A check that holds until something speaks against it: of traffic, which may never come.
    #[must_use]
    pub fn holding(rules: Rules, now: Instant) -> Self {
        Self { condition: Condition::Holds, ..Self::new(rules, now) }
    }

    /// The same by other rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Takes in a round. Says so if the check began or ceased to fail by it.
    pub fn observe(&mut self, finding: Finding, now: Instant) -> Option<Flip> {
        let flips = match (&self.condition, finding.verdict) {
            (Condition::Unchecked, _) => true,
            (Condition::Holds, Verdict::Good)
            | (Condition::Fails(_), Verdict::Soft | Verdict::Hard | Verdict::Gone) => {
                self.against = 0;
                false
            }
            (Condition::Holds, Verdict::Gone) => true,
            (Condition::Holds, Verdict::Soft | Verdict::Hard) => self.counts_against(self.rules.fall),
            (Condition::Fails(_), Verdict::Good) => self.counts_against(self.rules.rise),
        };
        self.last = Some(finding.clone());
        let holds = finding.is_good();
        if !flips {
            if let (Condition::Fails(why), false) = (&mut self.condition, holds) {
                *why = finding;
            }
            return None;
        }
        let saw = finding.saw.clone();
        self.condition = if holds { Condition::Holds } else { Condition::Fails(finding) };
        self.since = now;
        self.against = 0;
        Some(Flip { holds, saw })
    }

    fn counts_against(&mut self, needed: u32) -> bool {
        self.against += 1;
        self.against >= needed
    }

    /// Its state.
    #[must_use]
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Since when it is in that state.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What the latest round found, whatever came of it.
    #[must_use]
    pub fn last(&self) -> Option<&Finding> {
        self.last.as_ref()
    }

    /// How many rounds in a row it takes.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }
}

#[cfg(test)]
mod tests;

//! The verdict: what the votes of the execution clients (EL) amount to, and whether votes still out can change it.
//!
//! The rule (issue text and ExecutionBackup's behaviour, without its defects):
//!
//! 1. Votes are VALID, INVALID, SYNCING. `needed` = n × majority, rounded half away from zero, of the n votes cast.
//! 2. The largest group has `needed` votes and is INVALID → INVALID.
//! 3. Any INVALID otherwise → SYNCING: the consensus client is never told VALID where an EL said INVALID. That guards against
//!    a bug of the client that most nodes run. (`on_dissent = "majority"`: one lone INVALID against two or more VALID
//!    is outvoted.)
//! 4. No group with `needed` votes, or a tie of the largest → SYNCING; but VALID against SYNCING alone in a tie is VALID.
//! 5. Else the majority.
//!
//! Fewer votes than `min_votes` → SYNCING; none at all → [`Verdict::Shortfall`], which its owner's policy answers.
//!
//! Only counts go in, so neither the order of arrival nor the order of the nodes can matter.

use serde::Serialize;

/// What a vote says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Vote {
    /// The block is valid.
    Valid,
    /// The block is invalid (also INVALID_BLOCK_HASH).
    Invalid,
    /// Not known yet (also ACCEPTED).
    Syncing,
}

/// What the vote gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// VALID.
    Valid,
    /// INVALID.
    Invalid,
    /// SYNCING, by majority or because the votes don't allow more.
    Syncing,
    /// Nobody voted.
    Shortfall,
}

impl Verdict {
    /// The status that is told, or `none`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Invalid => "INVALID",
            Self::Syncing => "SYNCING",
            Self::Shortfall => "none",
        }
    }
}

/// What to do with an INVALID that stands alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDissent {
    /// Any INVALID without an INVALID majority → SYNCING.
    #[default]
    Syncing,
    /// A lone INVALID against two or more VALID is outvoted.
    Majority,
}

/// The owner's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Share of the votes that a majority needs, 0 to 1.
    pub majority: f64,
    /// Fewer votes give SYNCING.
    pub min_votes: u32,
    /// What a lone INVALID does.
    pub on_dissent: OnDissent,
}

impl Default for Rules {
    fn default() -> Self {
        Self { majority: 0.6, min_votes: 1, on_dissent: OnDissent::default() }
    }
}

/// Votes counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Tally {
    /// VALID.
    pub valid: u32,
    /// INVALID.
    pub invalid: u32,
    /// SYNCING.
    pub syncing: u32,
}

impl Tally {
    /// Adds a vote.
    pub fn add(&mut self, vote: Vote) {
        match vote {
            Vote::Valid => self.valid += 1,
            Vote::Invalid => self.invalid += 1,
            Vote::Syncing => self.syncing += 1,
        }
    }

    /// All votes.
    #[must_use]
    pub fn total(self) -> u32 {
        self.valid + self.invalid + self.syncing
    }

    fn plus(self, valid: u32, invalid: u32, syncing: u32) -> Self {
        Self { valid: self.valid + valid, invalid: self.invalid + invalid, syncing: self.syncing + syncing }
    }
}

/// How many of `n` votes a majority needs; at least one.
#[must_use]
pub fn needed(n: u32, majority: f64) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 ≤ n × majority ≤ n
    let needed = (f64::from(n) * majority.clamp(0.0, 1.0)).round() as u32;
    needed.max(1)
}

/// What makes a verdict what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody voted.
    NoVotes,
    /// There are fewer votes than `min_votes`.
    TooFew,
    /// INVALID has the majority.
    InvalidMajority,
    /// Somebody says INVALID, without a majority for that.
    Dissent,
    /// VALID has the majority, and the one INVALID is outvoted.
    Outvoted,
    /// VALID has the majority.
    ValidMajority,
    /// VALID has none.
    NoMajority,
}

/// The verdict of a full tally.
#[must_use]
pub fn judge(tally: Tally, rules: &Rules) -> Verdict {
    reasoned(tally, rules).0
}

/// The verdict of a full tally, and what makes it so.
#[must_use]
pub fn reasoned(tally: Tally, rules: &Rules) -> (Verdict, Reason) {
    let n = tally.total();
    if n == 0 {
        return (Verdict::Shortfall, Reason::NoVotes);
    }
    if n < rules.min_votes {
        return (Verdict::Syncing, Reason::TooFew);
    }
    let Tally { valid, invalid, syncing } = tally;
    let needed = needed(n, rules.majority);
    if invalid >= needed && invalid > valid && invalid > syncing {
        return (Verdict::Invalid, Reason::InvalidMajority);
    }
    let is_valid = valid >= needed && valid >= syncing;
    if invalid > 0 {
        let outvoted = rules.on_dissent == OnDissent::Majority && invalid == 1 && valid >= 2;
        return if outvoted && is_valid {
            (Verdict::Valid, Reason::Outvoted)
        } else {
            (Verdict::Syncing, Reason::Dissent)
        };
    }
    if is_valid { (Verdict::Valid, Reason::ValidMajority) } else { (Verdict::Syncing, Reason::NoMajority) }
}

/// Whether replies that are still out can change the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// They can't.
    Decided(Verdict),
    /// VALID stands, and nothing but an INVALID could turn it (into SYNCING): worth a short wait only.
    OnlyDissent,
    /// They can.
    Open,
}

/// What can still come of `tally` with `pending` replies out, each of which may be any vote or none.
#[must_use]
pub fn outlook(tally: Tally, pending: u32, rules: &Rules) -> Outlook {
    let mut seen: Option<Verdict> = None;
    let mut all_same = true;
    let mut without_dissent_valid = true;
    let mut dissent_is_safe = true;
    for invalid in 0..=pending {
        for valid in 0..=pending - invalid {
            for syncing in 0..=pending - invalid - valid {
                let verdict = judge(tally.plus(valid, invalid, syncing), rules);
                all_same &= *seen.get_or_insert(verdict) == verdict;
                if invalid == 0 {
                    without_dissent_valid &= verdict == Verdict::Valid;
                } else {
                    dissent_is_safe &= matches!(verdict, Verdict::Valid | Verdict::Syncing);
                }
            }
        }
    }
    match seen {
        Some(verdict) if all_same => Outlook::Decided(verdict),
        _ if without_dissent_valid && dissent_is_safe => Outlook::OnlyDissent,
        _ => Outlook::Open,
    }
}

#[cfg(test)]
mod tests;

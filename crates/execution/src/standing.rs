//! What a node's vote is worth: the memory between rounds that makes its [`Part`] in the next one.
//!
//! * *muted*: it said SYNCING where another said VALID, or it was down. It has no SYNCING vote and isn't waited for until it
//!   says VALID or INVALID again; it still gets every call.
//! * *straggling*: three rounds in a row it wasn't in when the wait for it was over. It votes, and isn't waited for once
//!   VALID stands, until it is in time again.
//! * *quarantined* (off unless `quarantine_after` is set): it dissented alone on n blocks in a row. It has no vote until it
//!   agrees again.
//! * *cordoned*, *drained*: the operator took its vote away.

use std::collections::VecDeque;

use mainstay_node::Condition;
use serde::Serialize;

use crate::ballot::Part;
use crate::verdict::Vote;

/// Rounds in a row that make a straggler.
const STRAGGLES: u32 = 3;

/// Blocks remembered as dissented on: the consensus client comes back to earlier ones.
const DISSENTS_KEPT: usize = 16;

/// What the operator has decided of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// Nothing: it is in use.
    #[default]
    None,
    /// It gets every call and has no vote.
    Cordoned,
    /// It gets no new call.
    Drained,
}

/// A node's standing.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What the operator has decided.
    pub hold: Hold,
    /// From the config: never used for anything.
    pub do_not_use: bool,
    muted: bool,
    quarantined: bool,
    dissents: u32,
    /// Of those the last ones.
    dissented_on: VecDeque<String>,
    straggles: u32,
}

impl Standing {
    /// The part in the next round.
    #[must_use]
    pub fn part(&self, condition: &Condition) -> Part {
        if self.do_not_use || self.hold != Hold::None || self.quarantined {
            return Part::Never;
        }
        match condition {
            Condition::Misconfigured { .. } => Part::Never,
            Condition::Unfit(_) => Part::Doubtful,
            Condition::Unknown | Condition::Syncing | Condition::Lagging { .. } => Part::Maybe,
            Condition::Fit if self.muted => Part::Maybe,
            Condition::Fit => Part::Voter,
        }
    }

    /// Whether payloads and single calls may come from it (health aside).
    #[must_use]
    pub fn may_serve(&self) -> bool {
        !self.do_not_use && self.hold == Hold::None && !self.quarantined
    }

    /// Says why its vote is worth less, if it is.
    #[must_use]
    pub fn note(&self) -> Option<&'static str> {
        if self.do_not_use {
            Some("do-not-use")
        } else if self.hold == Hold::Cordoned {
            Some("cordoned")
        } else if self.hold == Hold::Drained {
            Some("drained")
        } else if self.quarantined {
            Some("quarantined")
        } else if self.muted {
            Some("muted")
        } else if self.straggling() {
            Some("straggling")
        } else {
            None
        }
    }

    /// It voted: VALID or INVALID give it its vote back. Returns whether it was muted until now.
    pub fn voted(&mut self, vote: Vote) -> bool {
        if vote == Vote::Syncing {
            return false;
        }
        std::mem::take(&mut self.muted)
    }

    /// It said SYNCING where another said VALID, or it was down. Returns whether that is new.
    pub fn mute(&mut self) -> bool {
        !std::mem::replace(&mut self.muted, true)
    }

    /// Whether it is quarantined, and nothing else keeps it from voting.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.quarantined && !self.do_not_use && self.hold == Hold::None
    }

    /// Whether it was in before the wait for it was over.
    pub fn arrived(&mut self, in_time: bool) {
        self.straggles = if in_time { 0 } else { self.straggles.saturating_add(1) };
    }

    /// Whether it keeps straggling.
    #[must_use]
    pub fn straggling(&self) -> bool {
        self.straggles >= STRAGGLES
    }

    /// It was alone with its vote on `block` against two or more that agreed. Returns whether it is quarantined by that.
    pub fn dissented(&mut self, block: &str, quarantine_after: Option<u32>) -> bool {
        if !self.dissented_on.iter().any(|b| b == block) {
            self.dissents = self.dissents.saturating_add(1);
            if self.dissented_on.len() == DISSENTS_KEPT {
                self.dissented_on.pop_front();
            }
            self.dissented_on.push_back(block.to_owned());
        }
        let now = quarantine_after.is_some_and(|after| self.dissents >= after);
        now && !std::mem::replace(&mut self.quarantined, true)
    }

    /// It agreed with the others on `block`. Returns whether that ends its quarantine.
    pub fn agreed(&mut self, block: &str) -> bool {
        if self.dissented_on.back().is_some_and(|last| last == block) {
            // newPayload and forkchoiceUpdated speak of one block: half of it isn't agreement.
            return false;
        }
        self.dissents = 0;
        self.dissented_on.clear();
        std::mem::take(&mut self.quarantined)
    }
}

/// Who, of `votes` (node, vote), stands alone against two or more others that agree. SYNCING is no opinion.
#[must_use]
pub fn lone_dissenter(votes: &[(usize, Vote)]) -> Option<usize> {
    let of = |vote: Vote| votes.iter().filter(move |(_, v)| *v == vote);
    match (of(Vote::Valid).count(), of(Vote::Invalid).count()) {
        (1, n) if n >= 2 => of(Vote::Valid).map(|(i, _)| *i).next(),
        (n, 1) if n >= 2 => of(Vote::Invalid).map(|(i, _)| *i).next(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_node::Cause;

    #[test]
    fn parts() {
        let plain = Standing::default();
        for (condition, part) in [
            (Condition::Fit, Part::Voter),
            (Condition::Unknown, Part::Maybe),
            (Condition::Syncing, Part::Maybe),
            (Condition::Lagging { behind: 4 }, Part::Maybe),
            (Condition::Unfit(Cause::Refused), Part::Doubtful),
            (Condition::Misconfigured { expected: 1, got: 2 }, Part::Never),
        ] {
            assert_eq!(plain.part(&condition), part, "{condition:?}");
            for held in [
                Standing { hold: Hold::Cordoned, ..Standing::default() },
                Standing { hold: Hold::Drained, ..Standing::default() },
                Standing { do_not_use: true, ..Standing::default() },
            ] {
                assert_eq!(held.part(&condition), Part::Never, "{condition:?}");
                assert!(!held.may_serve());
            }
        }
    }

    #[test]
    fn syncing_where_another_says_valid_costs_the_vote_until_it_answers_again() {
        let mut standing = Standing::default();
        assert!(standing.mute());
        assert!(!standing.mute());
        assert_eq!(standing.part(&Condition::Fit), Part::Maybe);
        assert!(!standing.voted(Vote::Syncing));
        assert_eq!(standing.part(&Condition::Fit), Part::Maybe);
        assert!(standing.voted(Vote::Invalid));
        assert_eq!(standing.part(&Condition::Fit), Part::Voter);
    }

    #[test]
    fn three_late_rounds_make_a_straggler_and_one_in_time_ends_it() {
        let mut standing = Standing::default();
        for _ in 0..2 {
            standing.arrived(false);
        }
        assert!(!standing.straggling());
        standing.arrived(false);
        assert!(standing.straggling());
        standing.arrived(true);
        assert!(!standing.straggling());
    }

    #[test]
    fn quarantine_after_n_blocks_in_a_row_until_it_agrees() {
        let mut standing = Standing::default();
        for block in ["a", "b", "c", "d"] {
            assert!(!standing.dissented(block, None), "off by default");
        }
        let mut standing = Standing::default();
        assert!(!standing.dissented("a", Some(2)));
        assert!(!standing.dissented("a", Some(2)), "one block counts once");
        let mut returning = standing.clone();
        assert!(!returning.dissented("b", Some(3)));
        assert!(!returning.dissented("a", Some(3)), "also where the consensus client comes back to it");
        assert!(returning.dissented("c", Some(3)));
        assert!(!standing.agreed("a"), "half of a block isn't agreement");
        assert!(standing.dissented("b", Some(2)));
        assert_eq!(standing.part(&Condition::Fit), Part::Never);
        assert!(!standing.dissented("c", Some(2)));
        assert!(standing.agreed("d"));
        assert_eq!(standing.part(&Condition::Fit), Part::Voter);
        assert!(!standing.dissented("e", Some(2)));
    }

    #[test]
    fn who_stands_alone() {
        use Vote::{Invalid as I, Syncing as S, Valid as V};
        for (votes, alone) in [
            (vec![V, V, I], Some(2)),
            (vec![I, V, I], Some(1)),
            (vec![V, I], None),
            (vec![V, V, V], None),
            (vec![V, V, I, I], None),
            (vec![V, S, V, I], Some(3)),
            (vec![V, S, I], None),
        ] {
            let votes: Vec<(usize, Vote)> = votes.into_iter().enumerate().collect();
            assert_eq!(lone_dissenter(&votes), alone, "{votes:?}");
        }
    }
}

//! Whether one beacon node is fit: all its checks taken together, over time.
//!
//! * Every check has to hold.
//! * **Traffic counts at once** ([`Guard::broke`]): a request that was refused, reset or timed out makes the node unfit with that very
//!   request. Rounds that reached the node and *began later* make it good again, `rise` of them.
//! * **Back slowly**: a node that has been unfit stays out until all checks have held for `warm_up` without a break. At start
//!   there is nothing to come back from.
//! * **The operator's word** ([`Guard::set_drained`]) goes above all.
//!
//! What the other guards mean for this one is decided in [`crate::fleet`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::check::{Check, Condition, Flip, Rules};
use crate::finding::{Finding, Verdict};

/// Flips that are kept to be shown.
pub const FLIPS_KEPT: usize = 20;

/// How fit a node is by its own checks; the greater, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Every check holds.
    Good,
    /// Every check holds, but not for long enough.
    Warming {
        /// When it will have been long enough.
        until: Instant,
    },
    /// Something soft fails, so many checks.
    Soft(usize),
    /// Not fit for duty.
    Hard,
}

/// Something that was decided of a node, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When.
    pub at: Instant,
    /// The check that flipped; `None`: the node as a whole became fit or unfit.
    pub check: Option<usize>,
    /// Whether it is well now.
    pub good: bool,
    /// Why.
    pub saw: String,
}

/// A node's checks.
#[derive(Clone, Debug)]
pub struct Guard {
    checks: Vec<Check>,
    /// Which of them is about traffic.
    traffic: usize,
    /// When traffic broke last: only rounds that began after that speak for the node.
    broke: Option<Instant>,
    warm_up: Duration,
    /// Since when all checks hold.
    well_since: Option<Instant>,
    /// Whether a check has failed, so that there is something to come back from.
    fell: bool,
    drained: bool,
    turns: VecDeque<Turn>,
}

impl Guard {
    /// A guard with checks of these rules, of which nothing is known, and one more, the last, for traffic.
    #[must_use]
    pub fn new(checks: &[Rules], traffic: Rules, warm_up: Duration, now: Instant) -> Self {
        let mut all: Vec<Check> = checks.iter().map(|rules| Check::new(*rules, now)).collect();
        all.push(Check::holding(traffic, now));
        Self {
            traffic: all.len() - 1,
            checks: all,
            broke: None,
            warm_up,
            well_since: None,
            fell: false,
            drained: false,
            turns: VecDeque::new(),
        }
    }

    /// Other checks before the same node: each with its rules and which one of those before it was. One that is new holds until its rounds
    /// say otherwise.
    pub fn renew(
        &mut self,
        checks: &[(Rules, Option<usize>)],
        traffic: Rules,
        warm_up: Duration,
        now: Instant,
    ) {
        let old = |at: usize, rules: Rules| {
            let fresh = || Check::holding(rules, now);
            self.checks.get(at).map_or_else(fresh, |check| check.clone().with_rules(rules))
        };
        let new = |(rules, before): &(Rules, Option<usize>)| match before {
            Some(at) => old(*at, *rules),
            None => Check::holding(*rules, now),
        };
        let mut all: Vec<Check> = checks.iter().map(new).collect();
        all.push(old(self.traffic, traffic));
        let place = |at: usize| match at {
            at if at == self.traffic => Some(checks.len()),
            at => checks.iter().position(|(_, before)| *before == Some(at)),
        };
        // What is told of checks that are no more would be told of others.
        self.turns.retain_mut(|turn| match turn.check {
            Some(at) => {
                turn.check = place(at);
                turn.check.is_some()
            }
            None => true,
        });
        (self.traffic, self.checks, self.warm_up) = (checks.len(), all, warm_up);
        self.settle(now);
    }

    /// Another node behind it, of which nothing is known: as at the start, but for what the operator said.
    pub fn restart(&mut self, checks: &[Rules], traffic: Rules, warm_up: Duration, now: Instant) {
        *self = Self { drained: self.drained, ..Self::new(checks, traffic, warm_up, now) };
    }

    /// Takes in a round of a check.
    pub fn observe(&mut self, check: usize, finding: Finding, now: Instant) -> Option<Flip> {
        let flip = self.checks.get_mut(check)?.observe(finding, now);
        if let Some(flip) = &flip {
            self.note(Turn { at: now, check: Some(check), good: flip.holds, saw: flip.saw.clone() });
        }
        self.settle(now);
        flip
    }

    /// A request of a client's broke, for the node's sake.
    pub fn broke(&mut self, saw: &str, now: Instant) -> Option<Flip> {
        self.broke = Some(now);
        self.observe(self.traffic, Finding::gone(saw), now)
    }

    /// A round of some check that began at `began` got an answer from the node.
    pub fn reached(&mut self, began: Instant, now: Instant) -> Option<Flip> {
        let fails = matches!(self.checks[self.traffic].condition(), Condition::Fails(_));
        if !fails || self.broke.is_some_and(|broke| began <= broke) {
            return None;
        }
        self.observe(self.traffic, Finding::good("the node answers again"), now)
    }

    /// The operator takes it out, or gives it back.
    pub fn set_drained(&mut self, drained: bool) {
        self.drained = drained;
    }

    /// Whether the operator has taken it out.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// How fit it is by its own checks.
    #[must_use]
    pub fn grade(&self, now: Instant) -> Grade {
        if self.drained || self.verdict() >= Verdict::Hard {
            return Grade::Hard;
        }
        match self.failing().count() {
            0 => match self.well_since {
                Some(since) if self.fell && now < since + self.warm_up => {
                    Grade::Warming { until: since + self.warm_up }
                }
                _ => Grade::Good,
            },
            soft => Grade::Soft(soft),
        }
    }

    /// The worst of its checks.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.condition().verdict()).max().unwrap_or(Verdict::Good)
    }

    /// The checks that don't hold, by number.
    pub fn failing(&self) -> impl Iterator<Item = (usize, &Check)> {
        self.checks.iter().enumerate().filter(|(_, check)| *check.condition() != Condition::Holds)
    }

    /// All checks; the last is traffic's.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The latest turns, the oldest first.
    pub fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter()
    }

    /// Keeps a turn to be shown.
    pub fn note(&mut self, turn: Turn) {
        if self.turns.len() == FLIPS_KEPT {
            self.turns.pop_front();
        }
        self.turns.push_back(turn);
    }

    fn settle(&mut self, now: Instant) {
        if self.failing().next().is_none() {
            self.well_since.get_or_insert(now);
        } else {
            self.well_since = None;
            self.fell |= self.has_failed();
        }
    }

    /// Whether a check fails, as opposed to not having been made.
    fn has_failed(&self) -> bool {
        self.failing().any(|(_, check)| *check.condition() != Condition::Unchecked)
    }
}

#[cfg(test)]
mod tests;

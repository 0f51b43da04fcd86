//! One round of votes: who is waited for, when the answer can be given, and what it says.
//!
//! Time is a `Duration` since the round began. [`Ballot::next`] is asked after every event and says either "answer now" or
//! until when to wait. The rules:
//!
//! * An answer is given once replies still out can't change it ([`crate::verdict::outlook`]).
//! * When VALID stands and only an INVALID could turn it, those still out are waited for no longer than their own
//!   `straggler_wait`; a node that keeps straggling isn't waited for at all then. What it says later is
//!   remembered ([`crate::memory`]).
//! * Nodes whose vote isn't sure to come ([`Part::Maybe`]: thought to be syncing, lagging, down) are never waited for, but vote
//!   with VALID or INVALID if they answer in time. Where nobody else could vote, they are the voters: that is how a fresh
//!   chain starts.
//! * As long as all that was heard is ACCEPTED the others get that wait too, so that ACCEPTED or SYNCING is no matter of
//!   who was quick.
//! * Where a build was asked for, VALID without a payload id is worth a wait of [`ID_WAIT`] for one: a slot without a block is
//!   dearer than half a second.
//! * At the deadline whoever is still out has abstained.
//!
//! Where the first node answers ([`Answering::First`]) there is no vote: VALID or INVALID of any is the answer at once. SYNCING,
//! ACCEPTED and JSON-RPC errors wait for as long as the others' `straggler_wait`, since one of them may say more.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::config::Answering;
use crate::status::{Heard, PayloadStatus, Status};
use crate::verdict::{self, OnDissent, Outlook, Rules, Tally, Verdict, Vote};

/// How long a payload id is waited for once VALID stands and those who said so gave none.
const ID_WAIT: Duration = Duration::from_millis(500);

/// What part a node has in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Waited for; every vote of it counts.
    Voter,
    /// Not waited for; VALID and INVALID count.
    Maybe,
    /// Down: as `Maybe`, and the last to be waited for where there is nobody else.
    Doubtful,
    /// Gets the call, has no vote (`do-not-use`, cordoned, on another chain, quarantined).
    Never,
}

/// A node on the ballot.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its part in this round.
    pub part: Part,
    /// How long it is waited for once VALID stands.
    pub straggler_wait: Duration,
    /// It said INVALID of this block before, and hasn't taken it back.
    pub said_invalid: bool,
    /// What was heard, and when.
    pub heard: Option<(Heard, Duration)>,
}

impl Entry {
    /// An entry nothing was heard of.
    #[must_use]
    pub fn new(part: Part, straggler_wait: Duration) -> Self {
        Self { part, straggler_wait, said_invalid: false, heard: None }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The answer stands.
    Answer,
    /// Wait for a reply until this time, then ask again.
    WaitUntil(Duration),
}

/// The answer of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This status.
    Status(PayloadStatus),
    /// All voters gave this JSON-RPC error.
    Error(Bytes),
    /// Nobody voted: the owner's `on_shortfall` says what to tell.
    Shortfall,
}

/// A round's votes.
#[derive(Clone, Debug)]
pub struct Ballot {
    rules: Rules,
    deadline: Duration,
    entries: Vec<Entry>,
    stands_since: Option<Duration>,
    builds: bool,
    answering: Answering,
}

impl Ballot {
    /// A round among `entries` (in the order of the nodes) that has to be answered at `deadline`.
    #[must_use]
    pub fn new(rules: Rules, deadline: Duration, entries: Vec<Entry>) -> Self {
        let mut ballot =
            Self { rules, deadline, entries, stands_since: None, builds: false, answering: Answering::Vote };
        ballot.promote();
        ballot
    }

    /// The call has attributes: a payload id is wanted.
    #[must_use]
    pub fn building(self) -> Self {
        Self { builds: true, ..self }
    }

    /// Who answers; all by vote if nothing is said.
    #[must_use]
    pub fn answered_by(self, answering: Answering) -> Self {
        Self { answering, ..self }
    }

    /// Where all voters are heard and none of them voted, the next best nodes are the voters. Depends only on what was
    /// heard, not on when, so the order of arrival still can't matter.
    fn promote(&mut self) {
        let may_vote =
            |e: &Entry| e.part == Part::Voter && e.heard.as_ref().is_none_or(|(h, _)| h.vote().is_some());
        while !self.entries.iter().any(may_vote) {
            let next =
                self.entries.iter().map(|e| e.part).filter(|p| !matches!(p, Part::Voter | Part::Never)).min();
            let Some(next) = next else { return };
            for entry in self.entries.iter_mut().filter(|e| e.part == next) {
                entry.part = Part::Voter;
            }
        }
    }

    /// Takes what was heard of a node; the first counts.
    pub fn hear(&mut self, index: usize, heard: Heard, at: Duration) {
        if let Some(entry) = self.entries.get_mut(index)
            && entry.heard.is_none()
        {
            if heard.vote() == Some(Vote::Valid) {
                entry.said_invalid = false;
            }
            entry.heard = Some((heard, at));
            self.promote();
        }
    }

    /// What is remembered of a node's word on this block by now: an INVALID may come in another round while this one is open.
    /// To be brought up to date before the answer.
    pub fn remember(&mut self, index: usize, said_invalid: bool) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.said_invalid = said_invalid;
        }
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Duration) -> Next {
        if now >= self.deadline {
            return Next::Answer;
        }
        if self.answering == Answering::First {
            return self.next_of_first(now);
        }
        let pending = u32::try_from(self.pending().count()).unwrap_or(u32::MAX);
        match verdict::outlook(self.tally(), pending, &self.rules) {
            Outlook::Decided(_) if (pending == 0 || !self.only_accepted()) && !self.lacks_id() => {
                Next::Answer
            }
            // Whether it is ACCEPTED or SYNCING must not depend on who was quick.
            Outlook::Decided(_) | Outlook::OnlyDissent => {
                let wait = self.pending().map(|e| e.straggler_wait).max().unwrap_or_default();
                let wait = if self.lacks_id() { wait.max(ID_WAIT) } else { wait };
                let since = *self.stands_since.get_or_insert(now);
                let until = since.saturating_add(wait).min(self.deadline);
                if now >= until { Next::Answer } else { Next::WaitUntil(until) }
            }
            Outlook::Open => Next::WaitUntil(self.deadline),
        }
    }

    fn next_of_first(&mut self, now: Duration) -> Next {
        let first = self.first_heard();
        let definite = |heard: &Heard| heard.vote().is_some_and(|vote| vote != Vote::Syncing);
        if first.is_some_and(definite) || self.pending().next().is_none() {
            return Next::Answer;
        }
        if first.is_none() {
            return Next::WaitUntil(self.deadline);
        }
        let wait = self.pending().map(|e| e.straggler_wait).max().unwrap_or_default();
        let until = self.stands_since.get_or_insert(now).saturating_add(wait).min(self.deadline);
        if now >= until { Next::Answer } else { Next::WaitUntil(until) }
    }

    /// Whose answer is the round's where the first one is: who says VALID or INVALID; else SYNCING or ACCEPTED; else a JSON-RPC
    /// error. Of equals the first in the order of the nodes.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        let usable = self.entries.iter().enumerate().filter(|(_, e)| e.part != Part::Never);
        usable.filter_map(|(i, e)| Some((rank(e)?, i))).min().map(|(_, i)| i)
    }

    fn first_heard(&self) -> Option<&Heard> {
        Some(&self.entries.get(self.first()?)?.heard.as_ref()?.0)
    }

    /// Who answers.
    #[must_use]
    pub fn answering(&self) -> Answering {
        self.answering
    }

    /// A payload id is wanted, nobody gave one yet, and somebody still may.
    fn lacks_id(&self) -> bool {
        let gave = |e: &Entry| matches!(&e.heard, Some((Heard::Status(_, Some(_)), _)));
        let may = |e: &Entry| e.heard.is_none() && matches!(e.part, Part::Voter | Part::Maybe);
        self.builds
            && self.verdict() == Verdict::Valid
            && self.entries.iter().any(may)
            && !self.entries.iter().any(gave)
    }

    fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.part == Part::Voter && e.heard.is_none())
    }

    /// The votes counted so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for entry in &self.entries {
            if let Some(vote) = counted(entry) {
                tally.add(vote);
            }
        }
        tally
    }

    /// The verdict as of now; those still out abstain.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.answering == Answering::First {
            return match self.first_heard().and_then(Heard::vote) {
                Some(Vote::Valid) => Verdict::Valid,
                Some(Vote::Invalid) => Verdict::Invalid,
                Some(Vote::Syncing) => Verdict::Syncing,
                None => Verdict::Shortfall,
            };
        }
        let tally = self.tally();
        match verdict::judge(tally, &self.rules) {
            Verdict::Valid if self.contradicted(tally) => Verdict::Syncing,
            verdict => verdict,
        }
    }

    /// Somebody with a vote said INVALID of this block in another round and hasn't taken it back since.
    fn contradicted(&self, tally: Tally) -> bool {
        let remembered = self
            .entries
            .iter()
            .filter(|e| e.said_invalid && matches!(e.part, Part::Voter | Part::Maybe))
            .filter(|e| counted(e) != Some(Vote::Invalid))
            .count();
        let outvoted = self.rules.on_dissent == OnDissent::Majority
            && remembered + tally.invalid as usize == 1
            && tally.valid >= 2;
        remembered > 0 && !outvoted
    }

    /// The answer as of now.
    #[must_use]
    pub fn answer(&self) -> Answer {
        if self.answering == Answering::First {
            return match self.first_heard() {
                Some(Heard::Status(status, _)) => Answer::Status(status.clone()),
                Some(Heard::Error(_, raw)) => Answer::Error(raw.clone()),
                _ => Answer::Shortfall,
            };
        }
        let verdict = self.verdict();
        let status = match verdict {
            Verdict::Shortfall => {
                return match self.common_error() {
                    Some(error) => Answer::Error(error),
                    None => Answer::Shortfall,
                };
            }
            Verdict::Valid => Status::Valid,
            Verdict::Invalid => Status::Invalid,
            Verdict::Syncing => Status::Syncing,
        };
        let cast = self.cast();
        let group: Vec<&PayloadStatus> =
            cast.iter().copied().filter(|s| s.status.vote() == status.vote()).collect();
        let is_v2 = cast.iter().any(|s| s.inclusion_list_satisfied.is_some());
        let null = || is_v2.then(|| Bytes::from_static(b"null"));
        Answer::Status(match status {
            Status::Syncing => PayloadStatus {
                status: if self.only_accepted() { Status::Accepted } else { Status::Syncing },
                latest_valid_hash: None,
                validation_error: None,
                inclusion_list_satisfied: null(),
            },
            Status::Invalid => PayloadStatus {
                status,
                latest_valid_hash: most(group.iter().map(|s| s.latest_valid_hash.as_ref())),
                validation_error: most(group.iter().map(|s| s.validation_error.as_ref())),
                inclusion_list_satisfied: null(),
            },
            _ => PayloadStatus {
                status,
                latest_valid_hash: commonest(group.iter().map(|s| s.latest_valid_hash.as_ref())),
                validation_error: None,
                inclusion_list_satisfied: commonest(
                    group.iter().map(|s| s.inclusion_list_satisfied.as_ref()),
                )
                .or_else(null),
            },
        })
    }

    /// ACCEPTED is told only where every vote cast is ACCEPTED.
    fn only_accepted(&self) -> bool {
        let cast = self.cast();
        !cast.is_empty() && cast.iter().all(|s| s.status == Status::Accepted)
    }

    fn cast(&self) -> Vec<&PayloadStatus> {
        let status = |e: &Entry| counted(e).is_some();
        self.entries
            .iter()
            .filter(|e| status(e))
            .filter_map(|e| match &e.heard {
                Some((Heard::Status(status, _), _)) => Some(status),
                _ => None,
            })
            .collect()
    }

    fn common_error(&self) -> Option<Bytes> {
        let mut common: Option<(i64, &Bytes)> = None;
        for entry in self.entries.iter().filter(|e| e.part == Part::Voter) {
            match (&entry.heard, common) {
                (Some((Heard::Error(code, raw), _)), None) => common = Some((*code, raw)),
                (Some((Heard::Error(code, _), _)), Some((first, _))) if *code == first => {}
                _ => return None,
            }
        }
        common.map(|(_, raw)| raw.clone())
    }

    /// Whether the round has an answer while a waited-for reply is still out.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.pending().next().is_some()
    }

    /// Since when VALID stands with nothing but an INVALID that could turn it.
    #[must_use]
    pub fn stands_since(&self) -> Option<Duration> {
        self.stands_since
    }

    /// The entries, in the order of the nodes.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Nodes with a vote said both VALID and INVALID.
    #[must_use]
    pub fn is_split(&self) -> bool {
        let tally = self.tally();
        tally.valid > 0 && tally.invalid > 0
    }
}

/// The lower, the more an entry says.
fn rank(entry: &Entry) -> Option<u8> {
    match &entry.heard.as_ref()?.0 {
        Heard::Status(status, _) => Some(u8::from(status.status.vote() == Vote::Syncing)),
        Heard::Error(..) => Some(2),
        Heard::Silent(_) => None,
    }
}

/// The vote of an entry, if it has one that counts.
fn counted(entry: &Entry) -> Option<Vote> {
    let vote = entry.heard.as_ref()?.0.vote()?;
    match entry.part {
        Part::Voter => Some(vote),
        Part::Maybe | Part::Doubtful => (vote != Vote::Syncing).then_some(vote),
        Part::Never => None,
    }
}

/// The value that more than half gave, null counted as a value.
fn most<'a>(values: impl Iterator<Item = Option<&'a Bytes>> + Clone) -> Option<Bytes> {
    let total = values.clone().count();
    let winner = values.clone().find(|v| values.clone().filter(|w| w == v).count() * 2 > total)?;
    winner.cloned()
}

/// The value that most gave; of equals the first in the order of the nodes.
fn commonest<'a>(values: impl Iterator<Item = Option<&'a Bytes>> + Clone) -> Option<Bytes> {
    let mut best: Option<(&Bytes, usize)> = None;
    for value in values.clone().flatten() {
        let count = values.clone().filter(|w| *w == Some(value)).count();
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((value, count));
        }
    }
    best.map(|(value, _)| value.clone())
}

#[cfg(test)]
mod tests;

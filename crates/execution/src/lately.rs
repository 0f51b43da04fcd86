//! The last rounds and disagreements, for whoever looks on: bounded, in memory, as they are shown. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::round::Round;

/// Rounds of newPayload that are kept, and as many of forkchoiceUpdated.
pub const ROUNDS: usize = 64;
/// Disagreements that are kept.
pub const DISAGREEMENTS: usize = 16;

/// What a node said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vote {
    /// Its name.
    pub node: String,
    /// In a word; `pending` if nothing yet.
    pub said: &'static str,
    /// How long after the call, in microseconds.
    pub took_us: Option<u64>,
}

/// A round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Counts up.
    pub seq: u64,
    /// When the call came, in milliseconds since 1970.
    pub at_ms: u64,
    /// The method.
    pub method: String,
    /// The block's hash, if the call could be read.
    pub block: Option<String>,
    /// The block's number, if it is known.
    pub number: Option<u64>,
    /// What was told: VALID, INVALID, SYNCING, ACCEPTED or `error`.
    pub verdict: &'static str,
    /// Whether a reply was still out.
    pub early: bool,
    /// Time to the answer in microseconds.
    pub took_us: u64,
    /// Who said what, in the order of the nodes.
    pub votes: Vec<Vote>,
}

/// Nodes that contradicted each other.
#[derive(Debug, Serialize)]
pub struct Disagreement {
    /// `split vote` or `late dissent`.
    pub cause: &'static str,
    /// The round in which they did.
    #[serde(flatten)]
    pub round: Shown,
}

/// The last of both, as they are told: every call adds one, and few are ever looked at.
#[derive(Debug, Default)]
pub struct Lately {
    payloads: VecDeque<Arc<Round>>,
    heads: VecDeque<Arc<Round>>,
    disagreements: VecDeque<(&'static str, Arc<Round>)>,
}

/// [`Lately`] as it is shown.
#[derive(Debug, Serialize)]
pub struct View {
    /// The oldest first.
    pub rounds: Vec<Shown>,
    /// The oldest first.
    pub disagreements: Vec<Disagreement>,
}

impl From<&Arc<Round>> for Shown {
    fn from(round: &Arc<Round>) -> Self {
        let since = round.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let vote = |(node, said, at): &(String, &'static str, Option<Duration>)| Vote {
            node: node.clone(),
            said,
            took_us: at.map(micros),
        };
        Self {
            seq: round.seq,
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            method: round.method.clone(),
            block: round.block.clone(),
            number: round.number,
            verdict: round.verdict,
            early: round.early,
            took_us: micros(round.took),
            votes: round.votes.iter().map(vote).collect(),
        }
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

impl Lately {
    /// A round; once more when replies have come that were out the first time.
    pub fn round(&mut self, round: Arc<Round>) {
        let ring = if round.method.contains("newPayload") { &mut self.payloads } else { &mut self.heads };
        match ring.iter_mut().find(|known| known.seq == round.seq) {
            Some(known) => *known = round,
            None => push(ring, round, ROUNDS),
        }
    }

    /// A disagreement. Of one block the last of each cause is kept.
    pub fn disagreement(&mut self, cause: &'static str, round: Arc<Round>) {
        self.disagreements.retain(|(known, of)| (*known, &of.block) != (cause, &round.block));
        push(&mut self.disagreements, (cause, round), DISAGREEMENTS);
    }

    /// Time to the answer of the last newPayload, in microseconds.
    #[must_use]
    pub fn took_us(&self) -> Option<u64> {
        self.payloads.back().map(|round| micros(round.took))
    }

    /// All of it.
    #[must_use]
    pub fn view(&self) -> View {
        let mut rounds: Vec<Shown> = self.payloads.iter().chain(&self.heads).map(Shown::from).collect();
        rounds.sort_by_key(|round| round.seq);
        let disagreement =
            |(cause, round): &(&'static str, Arc<Round>)| Disagreement { cause, round: round.into() };
        View { rounds, disagreements: self.disagreements.iter().map(disagreement).collect() }
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(item);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn round(seq: u64, method: &str, said: &'static str) -> Arc<Round> {
        Arc::new(Round {
            seq,
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            method: method.to_owned(),
            block: Some(format!("0x{}", seq % 3)),
            number: Some(7),
            verdict: "VALID",
            early: true,
            took: Duration::from_millis(3),
            votes: vec![("el1".to_owned(), said, Some(Duration::from_micros(900)))],
            is_true: false,
        })
    }

    #[test]
    fn rounds_are_bounded_by_kind_and_told_in_order() {
        let mut lately = Lately::default();
        assert_eq!(lately.took_us(), None);
        for seq in 0..1000 {
            // Many more heads than payloads: these aren't pushed out by those.
            let method = if seq % 10 == 0 { "engine_newPayloadV4" } else { "engine_forkchoiceUpdatedV3" };
            lately.round(round(seq, method, "VALID"));
        }
        let rounds = lately.view().rounds;
        let payloads = rounds.iter().filter(|round| round.method.contains("newPayload"));
        assert_eq!((payloads.count(), rounds.len()), (ROUNDS, 2 * ROUNDS));
        assert!(rounds.is_sorted_by_key(|round| round.seq));
        assert_eq!(rounds.last().unwrap().seq, 999);
        assert_eq!(lately.took_us(), Some(3000));
    }

    #[test]
    fn what_came_late_is_put_in_its_place() {
        let mut lately = Lately::default();
        for said in ["pending", "INVALID"] {
            lately.round(round(5, "engine_newPayloadV4", said));
        }
        let rounds = lately.view().rounds;
        assert_eq!(rounds.len(), 1);
        assert_eq!(rounds[0].votes, [Vote { node: "el1".to_owned(), said: "INVALID", took_us: Some(900) }]);
        assert_eq!(rounds[0].at_ms, 1_700_000_000_123);
    }

    #[test]
    fn a_block_is_disputed_once_a_cause() {
        let mut lately = Lately::default();
        for seq in 0..30 {
            lately.disagreement("split vote", round(seq, "engine_newPayloadV4", "INVALID"));
        }
        lately.disagreement("late dissent", round(30, "engine_newPayloadV4", "INVALID"));
        let seen: Vec<(&str, u64)> =
            lately.view().disagreements.iter().map(|one| (one.cause, one.round.seq)).collect();
        assert_eq!(seen, [("split vote", 27), ("split vote", 28), ("split vote", 29), ("late dissent", 30)]);
        for seq in 0..100 {
            let mut of = round(seq, "engine_newPayloadV4", "INVALID");
            Arc::get_mut(&mut of).unwrap().block = Some(seq.to_string());
            lately.disagreement("split vote", of);
        }
        assert_eq!(lately.view().disagreements.len(), DISAGREEMENTS);
    }
}

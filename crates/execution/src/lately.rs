//! The last rounds and disagreements, for whoever looks on: bounded, in memory, as they are shown. Pure.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    pub said: String,
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
    pub verdict: String,
    /// Whether a reply was still out.
    pub early: bool,
    /// Time to the answer in microseconds.
    pub took_us: u64,
    /// Who said what, in the order of the nodes.
    pub votes: Vec<Vote>,
}

/// Nodes that contradicted each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// `split vote` or `late dissent`.
    pub cause: &'static str,
    /// The round in which they did.
    #[serde(flatten)]
    pub round: Shown,
}

/// The last of both.
#[derive(Debug, Default)]
pub struct Lately {
    payloads: VecDeque<Shown>,
    heads: VecDeque<Shown>,
    disagreements: VecDeque<Disagreement>,
}

/// [`Lately`] as it is shown.
#[derive(Debug, Serialize)]
pub struct View {
    /// The oldest first.
    pub rounds: Vec<Shown>,
    /// The oldest first.
    pub disagreements: Vec<Disagreement>,
}

impl Shown {
    /// A round that began at `at`.
    #[must_use]
    pub fn new(round: &Round, at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let vote = |(node, said, at): &(String, String, Option<Duration>)| Vote {
            node: node.clone(),
            said: said.clone(),
            took_us: at.map(micros),
        };
        Self {
            seq: round.seq,
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            method: round.method.clone(),
            block: round.block.clone(),
            number: round.number,
            verdict: round.verdict.clone(),
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
    pub fn round(&mut self, round: Shown) {
        let ring = if round.method.contains("newPayload") { &mut self.payloads } else { &mut self.heads };
        match ring.iter_mut().find(|known| known.seq == round.seq) {
            Some(known) => *known = round,
            None => push(ring, round, ROUNDS),
        }
    }

    /// A disagreement. Of one block the last of each cause is kept.
    pub fn disagreement(&mut self, cause: &'static str, round: Shown) {
        self.disagreements.retain(|known| (known.cause, &known.round.block) != (cause, &round.block));
        push(&mut self.disagreements, Disagreement { cause, round }, DISAGREEMENTS);
    }

    /// Time to the answer of the last newPayload, in microseconds.
    #[must_use]
    pub fn took_us(&self) -> Option<u64> {
        self.payloads.back().map(|round| round.took_us)
    }

    /// All of it.
    #[must_use]
    pub fn view(&self) -> View {
        let mut rounds: Vec<Shown> = self.payloads.iter().chain(&self.heads).cloned().collect();
        rounds.sort_by_key(|round| round.seq);
        View { rounds, disagreements: self.disagreements.iter().cloned().collect() }
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

    fn shown(seq: u64, method: &str, said: &str) -> Shown {
        let round = Round {
            seq,
            method: method.to_owned(),
            block: Some(format!("0x{}", seq % 3)),
            number: Some(7),
            verdict: "VALID".to_owned(),
            early: true,
            took: Duration::from_millis(3),
            votes: vec![("el1".to_owned(), said.to_owned(), Some(Duration::from_micros(900)))],
            is_true: false,
        };
        Shown::new(&round, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
    }

    #[test]
    fn rounds_are_bounded_by_kind_and_told_in_order() {
        let mut lately = Lately::default();
        assert_eq!(lately.took_us(), None);
        for seq in 0..1000 {
            // Many more heads than payloads: these aren't pushed out by those.
            let method = if seq % 10 == 0 { "engine_newPayloadV4" } else { "engine_forkchoiceUpdatedV3" };
            lately.round(shown(seq, method, "VALID"));
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
            lately.round(shown(5, "engine_newPayloadV4", said));
        }
        let rounds = lately.view().rounds;
        assert_eq!(rounds.len(), 1);
        assert_eq!(
            rounds[0].votes,
            [Vote { node: "el1".to_owned(), said: "INVALID".to_owned(), took_us: Some(900) }]
        );
        assert_eq!(rounds[0].at_ms, 1_700_000_000_123);
    }

    #[test]
    fn a_block_is_disputed_once_a_cause() {
        let mut lately = Lately::default();
        for seq in 0..30 {
            lately.disagreement("split vote", shown(seq, "engine_newPayloadV4", "INVALID"));
        }
        lately.disagreement("late dissent", shown(30, "engine_newPayloadV4", "INVALID"));
        let seen: Vec<(&str, u64)> =
            lately.view().disagreements.iter().map(|one| (one.cause, one.round.seq)).collect();
        assert_eq!(seen, [("split vote", 27), ("split vote", 28), ("split vote", 29), ("late dissent", 30)]);
        for seq in 0..100 {
            let round =
                Shown { block: Some(seq.to_string()), ..shown(seq, "engine_newPayloadV4", "INVALID") };
            lately.disagreement("split vote", round);
        }
        assert_eq!(lately.view().disagreements.len(), DISAGREEMENTS);
    }
}

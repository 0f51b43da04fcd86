//! What became of a slot, put together from the two who know: the consensus client, whose duty it was, and the engine,
//! which saw the votes. Pure: events and the time in, lines out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mainstay_execution::Round;
use mainstay_sim::SlotReport;
use mainstay_sim::terminal::{SlotLine, Vote};
use tokio::time::Instant;

/// The engine tells of a round when every node has answered, or some time after the answer; a line waits for that.
const VOTES_WITHIN: Duration = Duration::from_millis(1500);
/// The same for the votes on a head. They are known by when they come, so this has to be over before the next slot's.
const HEAD_VOTES_WITHIN: Duration = Duration::from_millis(900);
/// Rounds that are kept for the report that they belong to.
const KEPT: usize = 64;

/// What nodes say, rather than what is said of one that says nothing.
const ANSWERS: [&str; 6] = ["VALID", "INVALID", "INVALID_BLOCK_HASH", "SYNCING", "ACCEPTED", "error"];

/// A node, and what is to be said of it beside its vote.
pub(super) type Notes = Vec<(String, String)>;

/// Reports that wait for their votes, and votes that wait for their report.
pub(super) struct Watch {
    slot: Duration,
    payloads: VecDeque<Arc<Round>>,
    /// The last one on a head.
    head: Option<Arc<Round>>,
    reports: VecDeque<Waiting>,
}

struct Waiting {
    report: SlotReport,
    notes: Notes,
    until: Instant,
}

impl Watch {
    /// `slot`: the length of a slot.
    pub(super) fn new(slot: Duration) -> Self {
        Self { slot, payloads: VecDeque::new(), head: None, reports: VecDeque::new() }
    }

    /// The engine has told of a round.
    pub(super) fn round(&mut self, round: Arc<Round>) {
        if round.method.starts_with("engine_newPayload") {
            if self.payloads.len() == KEPT {
                self.payloads.pop_front();
            }
            self.payloads.push_back(round);
        } else {
            self.head = Some(round);
        }
    }

    /// The consensus client has told of a slot; `notes` as they are now.
    pub(super) fn report(&mut self, report: SlotReport, notes: Notes, now: Instant) {
        let patience = match report.block {
            Some(_) => VOTES_WITHIN,
            // No call was made, so there are no votes.
            None if report.took.is_zero() => Duration::ZERO,
            None => HEAD_VOTES_WITHIN.min(self.slot / 2),
        };
        self.reports.push_back(Waiting { report, notes, until: now + patience });
    }

    /// The next line, if all that belongs on it is there or has been waited for.
    pub(super) fn line(&mut self, now: Instant) -> Option<SlotLine> {
        let waiting = self.reports.front()?;
        let block = waiting.report.block.map(|block| block.hash.to_string());
        let payload = block.and_then(|hash| {
            self.payloads.iter().position(|round| round.block.as_ref().is_some_and(|b| *b == hash))
        });
        if payload.is_none() && now < waiting.until {
            return None;
        }
        let Waiting { report, notes, .. } = self.reports.pop_front()?;
        let round = match payload {
            Some(at) => {
                // Those before it belong to slots that are told already.
                self.payloads.drain(..at);
                self.payloads.pop_front()
            }
            None if report.block.is_none() && !report.took.is_zero() => self.head.clone(),
            None => None,
        };
        Some(line(&report, round.as_deref(), notes))
    }

    /// When to ask for a line again though nothing happens.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.reports.front().map(|waiting| waiting.until)
    }
}

fn line(report: &SlotReport, round: Option<&Round>, notes: Notes) -> SlotLine {
    let mut line = SlotLine::of(report);
    let Some(round) = round else { return line };
    let vote = |(node, said, took): &(String, &str, Option<Duration>)| Vote {
        node: node.clone(),
        said: said.replace('_', " "),
        // How soon a connection is refused is of no interest.
        took: took.filter(|_| ANSWERS.contains(said)),
        note: notes.iter().find(|(name, _)| name == node).map(|(_, note)| note.clone()),
    };
    line.votes = round.votes.iter().map(vote).collect();
    line.verdict = Some(round.verdict.to_owned());
    line.early = round.early;
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mainstay_sim::chain::Hash;
    use mainstay_sim::cl::Head;
    use mainstay_sim::terminal::{Ink, slot_line};

    const SLOT: Duration = Duration::from_secs(2);

    fn report(slot: u64, block: Option<u8>, missed: Option<&str>, took: u64) -> SlotReport {
        SlotReport {
            slot,
            block: block.map(|byte| Head { number: slot, hash: Hash([byte; 32]) }),
            built: missed.is_none(),
            payload_status: None,
            fcu_status: None,
            missed: missed.map(str::to_owned),
            took: Duration::from_millis(took),
        }
    }

    fn round(method: &str, byte: u8, verdict: &'static str, vote: &'static str) -> Arc<Round> {
        Arc::new(Round {
            seq: 0,
            at: std::time::UNIX_EPOCH,
            method: method.to_owned(),
            block: Some(Hash([byte; 32]).to_string()),
            number: None,
            verdict,
            early: false,
            took: Duration::from_millis(1),
            votes: vec![("el1".to_owned(), vote, Some(Duration::from_millis(1)))],
            is_true: false,
        })
    }

    fn shown(watch: &mut Watch, now: Instant) -> Option<String> {
        watch.line(now).map(|line| slot_line(&line, Ink::Plain))
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_has_the_votes_on_its_block_whoever_tells_first() {
        let (now, mut watch) = (Instant::now(), Watch::new(SLOT));
        watch.round(round("engine_newPayloadV4", 7, "VALID", "VALID"));
        watch.round(round("engine_forkchoiceUpdatedV3", 7, "VALID", "SYNCING"));
        watch.report(report(1, Some(7), None, 4), Vec::new(), now);
        watch.report(report(2, Some(8), None, 4), vec![("el1".into(), "lie".into())], now);
        assert!(shown(&mut watch, now).unwrap().contains("el1 VALID 1.0 ms  → VALID"));
        assert_eq!(shown(&mut watch, now), None);
        watch.round(round("engine_newPayloadV4", 8, "SYNCING", "INVALID"));
        assert!(shown(&mut watch, now).unwrap().contains("el1 INVALID 1.0 ms [lie]  → SYNCING"));
        assert_eq!(watch.wakes(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_without_a_block_has_the_last_votes_on_the_head() {
        let (now, mut watch) = (Instant::now(), Watch::new(SLOT));
        watch.round(round("engine_forkchoiceUpdatedV3", 7, "VALID", "VALID"));
        watch.report(report(1, None, Some("forkchoiceUpdated: SYNCING"), 4), Vec::new(), now);
        assert_eq!(shown(&mut watch, now), None);
        watch.round(round("engine_forkchoiceUpdatedV3", 7, "SYNCING", "INVALID"));
        let until = watch.wakes().unwrap();
        assert!(until < now + SLOT);
        let line = shown(&mut watch, until).unwrap();
        assert!(
            line.contains("no block") && line.contains("el1 INVALID") && line.contains("MISSED"),
            "{line}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn votes_that_never_come_hold_no_line_back() {
        let (now, mut watch) = (Instant::now(), Watch::new(SLOT));
        watch.report(report(1, None, Some("an earlier slot was still busy"), 0), Vec::new(), now);
        watch.report(report(2, Some(9), Some("newPayload: timeout"), 8000), Vec::new(), now);
        watch.round(round("engine_forkchoiceUpdatedV3", 7, "VALID", "VALID"));
        assert!(!shown(&mut watch, now).unwrap().contains("el1"));
        assert_eq!(shown(&mut watch, now), None);
        let until = watch.wakes().unwrap();
        assert!(shown(&mut watch, until).unwrap().contains("MISSED: newPayload: timeout"));
    }
}

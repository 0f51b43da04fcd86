//! After the answer: replies that come late, and what all of them together say of the nodes.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Round;
use super::conductor::Conductor;
use crate::ballot::{Entry, Part};
use crate::core::Dispute;
use crate::feed::Report;
use crate::node::lock;
use crate::records::{self, Disagreement};
use crate::standing::lone_dissenter;
use crate::verdict::Vote;

/// How long after the answer those who watch are told of a round at the latest.
const TELL_AFTER: Duration = Duration::from_secs(1);

impl Conductor {
    /// Learns from the replies that come after the answer.
    pub(super) async fn afterwards(mut self, mut reports: mpsc::Receiver<Report>) {
        let tell_at = Instant::now() + TELL_AFTER;
        let mut told_as = None;
        loop {
            tokio::select! {
                biased;
                report = reports.recv() => match report {
                    Some(report) => self.take(report).await,
                    None => break,
                },
                () = tokio::time::sleep_until(tell_at), if told_as.is_none() => told_as = Some(self.tell_watchers()),
            }
        }
        let seq = match told_as {
            // Who was out then has answered by now, or never will.
            Some(seq) => {
                lock(&self.core.lately).round(Arc::new(self.round(seq)));
                seq
            }
            None => self.tell_watchers(),
        };
        self.note_dispute();
        self.count_stragglers();
        if self.judge_dissent() {
            // Who is quarantined serves nothing from now on, and who no longer is may.
            self.core.primary();
        }
        self.keep_evidence(seq).await;
    }

    /// Nodes with a vote that contradict each other are shown until they agree about a block again.
    fn note_dispute(&self) {
        let says = |e: &Entry, wanted: Vote| {
            // Who objects to a block that this one builds on needn't say it again.
            let objects = wanted == Vote::Invalid && e.said_invalid;
            objects || e.heard.as_ref().and_then(|(h, _)| h.vote()) == Some(wanted)
        };
        let said = |wanted: Vote| -> Vec<String> {
            let entries = self.ballot.entries().iter().zip(self.nodes.iter());
            let votes = entries.filter(|(e, _)| e.part != Part::Never && says(e, wanted));
            votes.map(|(_, node)| node.name().to_owned()).collect()
        };
        let (valid, invalid) = (said(Vote::Valid), said(Vote::Invalid));
        let mut dispute = lock(&self.core.dispute);
        if !valid.is_empty() && !invalid.is_empty() {
            let block = self.subject.block.clone().unwrap_or_default();
            *dispute = Some(Dispute { block, valid, invalid });
        } else if !valid.is_empty() || !invalid.is_empty() {
            *dispute = None;
        }
    }

    /// Who never answered, or only after the wait for it was over, has straggled. (Who answered was counted then.)
    fn count_stragglers(&self) {
        if self.ballot.stands_since().is_none() {
            return;
        }
        for (entry, node) in self.ballot.entries().iter().zip(self.nodes.iter()) {
            let silent = entry.heard.as_ref().is_some_and(|(heard, _)| matches!(heard.word(), "timeout"));
            if entry.part == Part::Voter && silent {
                node.state().standing.arrived(false);
            }
        }
    }

    /// Who dissents alone may lose its vote by it, and gets it back once it agrees. Returns whether either happened.
    fn judge_dissent(&self) -> bool {
        let Some(block) = &self.subject.block else { return false };
        let mut changed = false;
        let opinions = |wanted: &dyn Fn(usize, &Entry) -> bool| -> Vec<(usize, Vote)> {
            let entries = self.ballot.entries().iter().enumerate().filter(|(i, e)| wanted(*i, e));
            let votes = entries.filter_map(|(i, e)| Some((i, e.heard.as_ref()?.0.vote()?)));
            votes.filter(|(_, vote)| *vote != Vote::Syncing).collect()
        };
        // Only who votes is a measure; a quarantined node is held against it.
        let voters = opinions(&|_, e| e.part != Part::Never);
        let alone = lone_dissenter(&voters);
        for (index, _) in &voters {
            let Some(node) = self.nodes.get(*index) else { continue };
            let mut state = node.state();
            if alone != Some(*index) {
                if voters.len() > 1 {
                    state.standing.agreed(block);
                }
            } else if state.standing.dissented(block, self.config.quarantine_after) {
                changed = true;
                self.core.telemetry.standing(
                    node.name(),
                    "quarantined",
                    "it dissents alone, block after block",
                );
            }
        }
        let Some((_, common)) = voters.first().filter(|(_, first)| voters.iter().all(|(_, v)| v == first))
        else {
            return changed;
        };
        for (index, vote) in opinions(&|i, e| e.part == Part::Never && self.is_quarantined(i)) {
            let Some(node) = self.nodes.get(index) else { continue };
            let mut state = node.state();
            if vote != *common {
                state.standing.dissented(block, self.config.quarantine_after);
            } else if state.standing.agreed(block) {
                changed = true;
                self.core.telemetry.standing(node.name(), "votes", "it agrees again");
            }
        }
        changed
    }

    fn is_quarantined(&self, index: usize) -> bool {
        self.nodes.get(index).is_some_and(|node| node.state().standing.is_quarantined())
    }

    async fn keep_evidence(self, seq: u64) {
        let split = self.ballot.is_split();
        let cause = match (self.late_invalid, split) {
            (true, _) => records::LATE_DISSENT,
            (false, true) => records::SPLIT_VOTE,
            (false, false) => return,
        };
        lock(&self.core.lately).disagreement(cause, Arc::new(self.round(seq)));
        let (verdict, _, _) = self.told.unwrap_or_default();
        let replies = self
            .ballot
            .entries()
            .iter()
            .zip(self.nodes.iter())
            .zip(self.said)
            .filter_map(|((entry, node), said)| {
                let (heard, at) = entry.heard.as_ref()?;
                Some((node.clone(), heard.word(), *at, said?))
            })
            .collect();
        let disagreement = Disagreement {
            cause,
            method: self.name,
            block: self.subject.block,
            number: self.subject.number,
            verdict: verdict.to_owned(),
            request: self.request,
            replies,
        };
        self.core.records.keep(disagreement, &self.core.telemetry).await;
    }

    /// Tells those who watch of the round, and gives its number.
    fn tell_watchers(&self) -> u64 {
        let seq = self.core.round_number();
        let round = Arc::new(self.round(seq));
        lock(&self.core.lately).round(Arc::clone(&round));
        // Nobody may be watching.
        let _ = self.core.rounds.send(round);
        seq
    }

    /// The round as it stands.
    fn round(&self, seq: u64) -> Round {
        let (verdict, early, took) = self.told.unwrap_or_default();
        let votes = self.ballot.entries().iter().zip(self.nodes.iter()).map(|(entry, node)| {
            let (word, at) = match &entry.heard {
                Some((heard, at)) => (heard.word(), Some(*at)),
                None => ("pending", None),
            };
            (node.name().to_owned(), word, at)
        });
        Round {
            seq,
            at: crate::clock::wall().checked_sub(self.started.elapsed()).unwrap_or(UNIX_EPOCH),
            method: self.name.clone(),
            block: self.subject.block.clone(),
            number: self.subject.number,
            verdict,
            early,
            took,
            votes: votes.collect(),
            is_true: self.checked == Some(Some(true)),
        }
    }
}

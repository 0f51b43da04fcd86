//! Takes the replies of a round as they come, gives the answer when the ballot says so, and learns from each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_node::{Cause, Condition};
use mainstay_wire::envelope::{self, Call, Outcome};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Keep, Subject, Told};
use crate::ballot::{Answer, Ballot, Entry, Next, Part};
use crate::config::{Answering, Config, OnShortfall, StragglerWait};
use crate::core::{Core, Nodes};
use crate::feed::Report;
use crate::method::{Family, Method};
use crate::node::{Node, State, lock};
use crate::status::{self, Heard, PayloadStatus, Silence, Status};
use crate::unvoted;
use crate::verdict::Vote;

pub(super) struct Conductor {
    pub(super) core: Arc<Core>,
    /// What the settings were when it began.
    pub(super) config: Arc<Config>,
    pub(super) nodes: Nodes,
    pub(super) name: String,
    method: Method,
    pub(super) request: Bytes,
    params: Bytes,
    pub(super) subject: Subject,
    pub(super) started: Instant,
    pub(super) ballot: Ballot,
    pub(super) said: Vec<Option<Result<Bytes, String>>>,
    pub(super) told: Option<(&'static str, bool, Duration)>,
    pub(super) late_invalid: bool,
    /// Whether the payload is what its hash says, once that was checked; inside `None`: it can't be told.
    pub(super) checked: Option<Option<bool>>,
    /// Nodes that lost their vote by this round already, and may have it back by now.
    muted: Vec<usize>,
    /// Nodes that this round has asked a replay for.
    led: Vec<usize>,
    /// [`Subject::unproved`] is kept.
    is_kept: bool,
}

impl Conductor {
    pub(super) fn new(
        (core, config): (Arc<Core>, Arc<Config>),
        nodes: Nodes,
        call: &Call,
        method: Method,
        subject: Subject,
        started: Instant,
    ) -> Self {
        let objectors = subject.block.as_ref().map(|block| core.objectors(block)).unwrap_or_default();
        let entries = nodes
            .iter()
            .map(|node| {
                let said_invalid = objectors.contains(&node.id);
                Entry { said_invalid, ..Entry::new(node.part(), straggler_wait(&config, node, method, true)) }
            })
            .collect();
        let deadline = config.answer_within.min(method.patience());
        let said = vec![None; nodes.len()];
        let ballot = Ballot::new(core.rules_by(&config), deadline, entries).answered_by(config.answer);
        let ballot = if subject.build.is_some() { ballot.building() } else { ballot };
        Self {
            ballot,
            core,
            config,
            nodes,
            name: call.method.clone(),
            method,
            request: call.raw.clone(),
            params: call.params.clone().unwrap_or_default(),
            checked: None,
            subject,
            started,
            said,
            told: None,
            late_invalid: false,
            muted: Vec::new(),
            led: Vec::new(),
            is_kept: false,
        }
    }

    pub(super) async fn conduct(mut self, mut reports: mpsc::Receiver<Report>, tell: oneshot::Sender<Told>) {
        loop {
            match self.ballot.next(self.started.elapsed()) {
                Next::Answer => break,
                Next::WaitUntil(until) => tokio::select! {
                    biased;
                    report = reports.recv() => match report {
                        Some(report) => self.take(report).await,
                        None => break,
                    },
                    () = tokio::time::sleep_until(self.started + until) => {}
                },
            }
        }
        let told = self.answer().await;
        // The CL may have gone away.
        let _ = tell.send(told);
        self.afterwards(reports).await;
    }

    /// Takes a reply, early or late.
    pub(super) async fn take(&mut self, report: Report) {
        let at = self.started.elapsed();
        let Report { index, heard, said, took } = report;
        let Some(node) = self.nodes.get(index).cloned() else { return };
        if let Some(slot) = self.said.get_mut(index) {
            *slot = Some(said);
        }
        if let Some(vote) = heard.vote() {
            let of_block = vote != Vote::Invalid || self.is_of_block().await;
            self.learn(&node, vote, of_block, took, at);
        }
        if let Heard::Status(_, Some(id)) = &heard
            && let Some(ours) = &self.subject.build
            && node.state().standing.may_serve()
        {
            lock(&self.core.ids).add(ours, node.id, id.clone(), Instant::now().into_std());
        }
        self.ballot.hear(index, heard, at);
        self.lead_the_syncing();
    }

    /// Whether an INVALID is about the block: a payload may not be what its hash says.
    async fn is_of_block(&mut self) -> bool {
        if self.subject.keep == Keep::Now {
            return true;
        }
        if self.checked.is_none() {
            let status = unvoted::status(&self.params).await;
            self.checked = Some(status.map(|status| status == PayloadStatus::SYNCING));
        }
        // Where it can't be told it is held against the block if its sender is relied on: that is the safe side.
        self.checked.flatten().unwrap_or(self.subject.keep == Keep::Checked)
    }

    fn learn(&mut self, node: &Arc<Node>, vote: Vote, of_block: bool, took: Duration, at: Duration) {
        if vote == Vote::Valid
            && let Some((payload, by)) = self.subject.unproved.as_ref().filter(|_| !self.is_kept)
        {
            self.is_kept = true;
            lock(&self.core.blocks).keep_recent(payload.clone(), true, *by);
        }
        let mut state = node.state();
        if self.method.family == Family::NewPayload {
            state.payload_latency.add(took);
        } else {
            state.forkchoice_latency.add(took);
        }
        if let Some(stands) = self.ballot.stands_since() {
            let wait = straggler_wait_of(&self.config, &state, self.method, false);
            state.standing.arrived(at <= stands.saturating_add(wait));
        } else {
            state.standing.arrived(true);
        }
        if of_block && state.standing.voted(vote) {
            self.core.telemetry.standing(node.name(), "votes", "it answers VALID or INVALID again");
        }
        if vote == Vote::Valid {
            state.gap = None;
            state.replays_in_vain = 0;
        }
        let may_vote = state.standing.part(state.health.condition()) != Part::Never;
        drop(state);
        let Some(block) = self.subject.block.as_ref().filter(|_| of_block) else { return };
        self.core.remember(block, node.id, vote);
        let told_valid = self.told.as_ref().is_some_and(|(verdict, ..)| *verdict == "VALID");
        if vote == Vote::Invalid && may_vote && told_valid {
            self.late_invalid = true;
            self.core.telemetry.late_invalid(node.name(), block);
        }
    }

    /// Who says SYNCING gets what it missed, be it the only node there is or without a vote: it may be put back any time. Where
    /// another says VALID it loses its vote for now. ACCEPTED is no sign of missing blocks.
    fn lead_the_syncing(&mut self) {
        let entries = self.ballot.entries();
        let word = |e: &Entry| e.heard.as_ref().map(|(heard, _)| heard.word());
        let known = entries.iter().any(|e| e.part != Part::Never && word(e) == Some("VALID"));
        let behind: Vec<usize> = (0..entries.len())
            .filter(|i| entries.get(*i).is_some_and(|e| word(e) == Some("SYNCING")))
            .collect();
        for index in behind {
            let Some(node) = self.nodes.get(index) else { continue };
            if matches!(node.condition(), Condition::Misconfigured { .. }) {
                continue;
            }
            if !self.led.contains(&index) {
                self.led.push(index);
                match &self.subject.unproved {
                    Some((payload, _)) => node.feed.lead_to(payload.clone()),
                    None => node.feed.want_replay(),
                }
            }
            if known && !self.muted.contains(&index) {
                self.muted.push(index);
                if node.state().standing.mute() {
                    self.core.telemetry.standing(node.name(), "muted", "SYNCING where another says VALID");
                }
            }
        }
    }

    /// A late INVALID of an earlier round may have come in, or been taken back, while this one went on.
    fn recall(&mut self) {
        let Some(block) = &self.subject.block else { return };
        let objectors = self.core.objectors(block);
        for (index, node) in self.nodes.iter().enumerate() {
            self.ballot.remember(index, objectors.contains(&node.id));
        }
    }

    async fn answer(&mut self) -> Told {
        self.recall();
        let answer = self.ballot.answer();
        let early = self.ballot.is_early();
        self.core.telemetry.verdict(&self.name, self.ballot.verdict(), early);
        let told = match answer {
            Answer::Status(status) => Told::Result(self.own_words().unwrap_or_else(|| self.write(&status))),
            Answer::Error(error) => Told::Error(error),
            Answer::Shortfall => self.shortfall().await,
        };
        let word = match (&told, &self.ballot.answer()) {
            (Told::Result(_), Answer::Status(status)) => status.status.word(),
            // Without a vote: what the block hash allowed.
            (Told::Unvoted { result: Some(result), .. }, _)
                if result.starts_with(b"{\"status\":\"INVALID\"") =>
            {
                "INVALID"
            }
            (Told::Result(_) | Told::Unvoted { result: Some(_), .. }, _) => "SYNCING",
            _ => "error",
        };
        let took = self.started.elapsed();
        self.core.telemetry.answered(&self.name, word, took);
        self.told = Some((word, early, took));
        told
    }

    /// What the node sent that answers alone, so that nothing is lost that isn't known here. Payload ids are ours where one is asked
    /// for, so that whoever asks for the payload finds all that build it.
    fn own_words(&self) -> Option<Vec<u8>> {
        if self.ballot.answering() == Answering::Vote || self.subject.build.is_some() {
            return None;
        }
        let said = self.said.get(self.ballot.first()?)?.as_ref()?.as_ref().ok()?;
        match envelope::parse_reply(said).ok()?.outcome {
            Outcome::Result(result) => Some(result.to_vec()),
            Outcome::Error { .. } => None,
        }
    }

    fn write(&self, status: &PayloadStatus) -> Vec<u8> {
        if self.method.family == Family::NewPayload {
            return status::write(status);
        }
        let mut status = status.clone();
        if status.status == Status::Accepted {
            // forkchoiceUpdated knows no ACCEPTED (paris.md, point 8 of its response).
            status.status = Status::Syncing;
        }
        let build = self.subject.build.as_deref().filter(|_| status.status == Status::Valid);
        let known = build.filter(|id| lock(&self.core.ids).get(id, Instant::now().into_std()).is_some());
        status::write_forkchoice(&status, known)
    }

    /// Nobody voted.
    async fn shortfall(&self) -> Told {
        // A newer head took this one's place: that nobody was asked is no sign of nodes that are down.
        let replaced = |e: &Entry| matches!(&e.heard, Some((Heard::Silent(Silence::Replaced), _)));
        let replaced = self.ballot.entries().iter().any(replaced);
        let unauthorized = self.ballot.entries().iter().zip(self.nodes.iter()).any(|(entry, node)| {
            matches!(&entry.heard, Some((Heard::Silent(Silence::Failed(Cause::Unauthorized)), _)))
                && !node.signs()
        });
        let status = match self.method.family {
            _ if self.config.on_shortfall == OnShortfall::Error && !replaced => None,
            Family::NewPayload => unvoted::status(&self.params).await,
            _ => Some(PayloadStatus::SYNCING),
        };
        Told::Unvoted { result: status.map(|status| self.write(&status)), unauthorized }
    }
}

fn straggler_wait(config: &Config, node: &Node, method: Method, mind_straggling: bool) -> Duration {
    straggler_wait_of(config, &node.state(), method, mind_straggling)
}

fn straggler_wait_of(config: &Config, state: &State, method: Method, mind_straggling: bool) -> Duration {
    match config.straggler_wait {
        StragglerWait::Timeout => Duration::MAX,
        _ if mind_straggling && state.standing.straggling() => Duration::ZERO,
        StragglerWait::Fixed(wait) => wait,
        StragglerWait::Adaptive if method.family == Family::NewPayload => {
            state.payload_latency.straggler_wait()
        }
        StragglerWait::Adaptive => state.forkchoice_latency.straggler_wait(),
    }
}

//! One voted call: to all nodes' queues, their replies to the ballot, the answer to the consensus client (CL), and what is
//! learned afterwards from the replies that were late.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_node::Condition;
use mainstay_wire::envelope::{self, Call};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::ballot::{Answer, Ballot, Entry, Next, Part};
use crate::block_hash;
use crate::blocks::Payload;
use crate::config::{OnShortfall, StragglerWait};
use crate::core::{Core, Dispute, Head, Nodes};
use crate::feed::{Job, Report, quantity};
use crate::method::{Family, Method};
use crate::node::{Caller, Node, lock};
use crate::payloads::payload_id;
use crate::queue::Kind;
use crate::records::Disagreement;
use crate::standing::lone_dissenter;
use crate::status::{self, Heard, PayloadStatus, Silence, Status};
use crate::verdict::Vote;

/// How long after the answer those who watch are told of a round at the latest.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// Parameters up to this many bytes are hashed where they are: handing them to another thread would cost more.
const HASHED_IN_PLACE: usize = 16 << 10;

/// A round as those who watch see it.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Counts up.
    pub seq: u64,
    /// The method.
    pub method: String,
    /// The block's hash, if the call could be read.
    pub block: Option<String>,
    /// The block's number; forkchoiceUpdated doesn't carry one.
    pub number: Option<u64>,
    /// What was told: VALID, INVALID, SYNCING, ACCEPTED or `error`.
    pub verdict: String,
    /// Whether a reply was still out.
    pub early: bool,
    /// Time to the answer.
    pub took: Duration,
    /// Each node's name, what it said (`pending` if nothing yet) and how long after the call.
    pub votes: Vec<(String, String, Option<Duration>)>,
}

/// What a call is about.
#[derive(Clone, Debug)]
struct Subject {
    block: Option<String>,
    number: Option<u64>,
    /// For forkchoiceUpdated with attributes: the payload id that the CL will know.
    build: Option<String>,
}

/// What the CL is told.
#[derive(Debug)]
pub enum Told {
    /// This result.
    Result(Vec<u8>),
    /// This JSON-RPC error object, from the nodes.
    Error(Bytes),
    /// No node gave an answer.
    Nothing,
}

/// Puts a voted call to the nodes. Everything up to the queues happens before the first await, so calls reach every node in the
/// order in which this is called. The round goes on if the CL goes away.
pub fn begin(core: &Arc<Core>, call: &Call, method: Method, caller: &Caller) -> oneshot::Receiver<Told> {
    let started = Instant::now();
    let (tell, told) = oneshot::channel();
    let nodes = core.nodes();
    let (report, reports) = mpsc::channel(nodes.len().max(1));
    let subject = {
        let _order = lock(&core.order);
        let (kind, subject) = read(core, call, method, caller);
        for (index, node) in nodes.iter().enumerate() {
            let job = Job {
                request: call.raw.clone(),
                name: call.method.clone(),
                method,
                caller: caller.clone(),
                index,
                report: report.clone(),
            };
            node.feed.push(kind.clone(), job);
        }
        subject
    };
    let conductor = Conductor::new(core.clone(), nodes, call, method, subject, started);
    tokio::spawn(conductor.conduct(reports, tell));
    told
}

/// Reads what the decisions need of the call, and keeps it for nodes that miss it.
fn read(core: &Core, call: &Call, method: Method, caller: &Caller) -> (Kind, Subject) {
    let params = call.params.clone().unwrap_or_default();
    let text =
        |raw: Option<Bytes>| raw.and_then(|raw| envelope::string(&raw)).map(|s| s.to_ascii_lowercase());
    let unread = Subject { block: None, number: None, build: None };
    let Some(first) = envelope::first_element(&params) else {
        let kind = match method.family {
            Family::NewPayload => Kind::Payload,
            _ => Kind::Head { head: String::new(), builds: true },
        };
        return (kind, unread);
    };
    if method.family == Family::NewPayload {
        let fields = envelope::fields(&first, ["blockHash", "parentHash", "blockNumber"]).unwrap_or_default();
        let [hash, parent, number] = fields.map(text);
        let number = number.as_deref().and_then(quantity);
        if let (Some(hash), Some(parent), Some(number)) = (&hash, parent, number) {
            let (hash, method) = (hash.clone(), call.method.clone());
            lock(&core.blocks).keep(Payload { hash, parent, number, method, request: call.raw.clone() });
        }
        return (Kind::Payload, Subject { block: hash, number, build: None });
    }
    let hash = envelope::fields(&first, ["headBlockHash"]).and_then(|[hash]| text(hash));
    let elements = envelope::elements(&params).unwrap_or_default();
    let attributes = elements.get(1).filter(|raw| !envelope::is_null(raw));
    if let Some(hash) = &hash {
        let request = match attributes {
            Some(_) => without_attributes(call, &elements),
            None => call.raw.clone(),
        };
        let (hash, method) = (hash.clone(), call.method.clone());
        *lock(&core.head) = Some(Head { hash, request, method, caller: caller.clone() });
    }
    let build = attributes.zip(hash.as_ref()).map(|(attributes, head)| payload_id(head, attributes));
    let kind = Kind::Head { head: hash.clone().unwrap_or_default(), builds: attributes.is_some() };
    let number = hash.as_ref().and_then(|h| lock(&core.blocks).get(h).map(|p| p.number));
    (kind, Subject { block: hash, number, build })
}

fn without_attributes(call: &Call, elements: &[Bytes]) -> Bytes {
    let null: &[u8] = b"null";
    let params = elements.iter().enumerate().map(|(i, e)| if i == 1 { null } else { e.as_ref() });
    let params = crate::merge::array(params);
    let mut out = Vec::with_capacity(params.len() + 128);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":1,"method":""#);
    // A method of this family is made of letters and digits: nothing to escape.
    out.extend_from_slice(call.method.as_bytes());
    out.extend_from_slice(br#"","params":"#);
    out.extend_from_slice(&params);
    out.push(b'}');
    Bytes::from(out)
}

struct Conductor {
    core: Arc<Core>,
    nodes: Nodes,
    name: String,
    method: Method,
    request: Bytes,
    params: Bytes,
    subject: Subject,
    started: Instant,
    ballot: Ballot,
    said: Vec<Option<Result<Bytes, String>>>,
    told: Option<(String, bool, Duration)>,
    late_invalid: bool,
    /// Nodes that lost their vote by this round already, and may have it back by now.
    muted: Vec<usize>,
    /// Nodes that this round has asked a replay for.
    led: Vec<usize>,
}

impl Conductor {
    fn new(
        core: Arc<Core>,
        nodes: Nodes,
        call: &Call,
        method: Method,
        subject: Subject,
        started: Instant,
    ) -> Self {
        let memory = lock(&core.memory);
        let entries = nodes
            .iter()
            .map(|node| {
                let said_invalid = subject.block.as_ref().is_some_and(|block| memory.said(block, node.id));
                Entry { said_invalid, ..Entry::new(node.part(), straggler_wait(&core, node, method, true)) }
            })
            .collect();
        drop(memory);
        let deadline = core.config.timeout.min(method.patience());
        let said = vec![None; nodes.len()];
        let ballot = Ballot::new(core.config.rules, deadline, entries);
        let ballot = if subject.build.is_some() { ballot.building() } else { ballot };
        Self {
            ballot,
            core,
            nodes,
            name: call.method.clone(),
            method,
            request: call.raw.clone(),
            params: call.params.clone().unwrap_or_default(),
            subject,
            started,
            said,
            told: None,
            late_invalid: false,
            muted: Vec::new(),
            led: Vec::new(),
        }
    }

    async fn conduct(mut self, mut reports: mpsc::Receiver<Report>, tell: oneshot::Sender<Told>) {
        loop {
            match self.ballot.next(self.started.elapsed()) {
                Next::Answer => break,
                Next::WaitUntil(until) => tokio::select! {
                    biased;
                    report = reports.recv() => match report {
                        Some(report) => self.take(report),
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
    fn take(&mut self, report: Report) {
        let at = self.started.elapsed();
        let Report { index, heard, said, took } = report;
        let Some(node) = self.nodes.get(index).cloned() else { return };
        if let Some(slot) = self.said.get_mut(index) {
            *slot = Some(said);
        }
        if let Some(vote) = heard.vote() {
            self.learn(&node, vote, took, at);
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

    fn learn(&mut self, node: &Arc<Node>, vote: Vote, took: Duration, at: Duration) {
        let mut state = node.state();
        if self.method.family == Family::NewPayload {
            state.payload_latency.add(took);
        } else {
            state.forkchoice_latency.add(took);
        }
        if let Some(stands) = self.ballot.stands_since() {
            let wait = straggler_wait_of(&self.core, &state, self.method, false);
            state.standing.arrived(at <= stands.saturating_add(wait));
        } else {
            state.standing.arrived(true);
        }
        if state.standing.voted(vote) {
            self.core.telemetry.standing(node.name(), "votes", "it answers VALID or INVALID again");
        }
        if vote == Vote::Valid {
            state.gap = None;
            state.replays_in_vain = 0;
        }
        let may_vote = state.standing.part(state.health.condition()) != Part::Never;
        drop(state);
        let Some(block) = &self.subject.block else { return };
        match vote {
            Vote::Valid => lock(&self.core.memory).take_back(block, node.id),
            Vote::Invalid => {
                lock(&self.core.memory).say(block, node.id);
                if may_vote && self.told.as_ref().is_some_and(|(verdict, ..)| verdict == "VALID") {
                    self.late_invalid = true;
                    self.core.telemetry.late_invalid(node.name(), block);
                }
            }
            Vote::Syncing => {}
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
                node.feed.want_replay();
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
        let memory = lock(&self.core.memory);
        for (index, node) in self.nodes.iter().enumerate() {
            self.ballot.remember(index, memory.said(block, node.id));
        }
    }

    async fn answer(&mut self) -> Told {
        self.recall();
        let answer = self.ballot.answer();
        let early = self.ballot.is_early();
        self.core.telemetry.verdict(&self.name, self.ballot.verdict(), early);
        let told = match answer {
            Answer::Status(status) => Told::Result(self.write(&status)),
            Answer::Error(error) => Told::Error(error),
            Answer::Shortfall => self.shortfall().await,
        };
        let word = match (&told, &self.ballot.answer()) {
            (Told::Result(_), Answer::Status(status)) => status.status.word(),
            // Without a vote: what the block hash allowed.
            (Told::Result(result), _) if result.starts_with(b"{\"status\":\"INVALID\"") => "INVALID",
            (Told::Result(_), _) => "SYNCING",
            _ => "error",
        };
        let took = self.started.elapsed();
        self.core.telemetry.answered(&self.name, word, took);
        self.told = Some((word.to_owned(), early, took));
        told
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
        if self.core.config.on_shortfall == OnShortfall::Error && !replaced {
            return Told::Nothing;
        }
        let mut status = PayloadStatus {
            status: Status::Syncing,
            latest_valid_hash: None,
            validation_error: None,
            inclusion_list_satisfied: None,
        };
        if self.method.family == Family::NewPayload {
            match self.check_hash().await {
                block_hash::Check::Match => {}
                block_hash::Check::Mismatch { expected, got } => {
                    status.status = Status::Invalid;
                    let text =
                        format!("block hash mismatch: the payload says {expected}, its header gives {got}");
                    status.validation_error = serde_json::to_vec(&text).ok().map(Bytes::from);
                }
                // Unsure whether the payload is what its hash says: SYNCING would let it be imported unchecked.
                block_hash::Check::Unknown(_) => return Told::Nothing,
            }
        }
        Told::Result(self.write(&status))
    }

    async fn check_hash(&self) -> block_hash::Check {
        if self.params.len() <= HASHED_IN_PLACE {
            return block_hash::check(&self.params);
        }
        let params = self.params.clone();
        // Hashing takes milliseconds for a large payload: not on a thread that serves.
        let check = tokio::task::spawn_blocking(move || block_hash::check(&params)).await;
        check.unwrap_or(block_hash::Check::Unknown("the check failed"))
    }

    /// Learns from the replies that come after the answer.
    async fn afterwards(mut self, mut reports: mpsc::Receiver<Report>) {
        let tell_at = Instant::now() + TELL_AFTER;
        let mut watched = false;
        loop {
            tokio::select! {
                biased;
                report = reports.recv() => match report {
                    Some(report) => self.take(report),
                    None => break,
                },
                () = tokio::time::sleep_until(tell_at), if !watched => {
                    watched = true;
                    self.tell_watchers();
                }
            }
        }
        if !watched {
            self.tell_watchers();
        }
        self.note_dispute();
        self.count_stragglers();
        self.judge_dissent();
        self.keep_evidence().await;
    }

    /// Nodes with a vote that contradict each other are shown until they agree about a block again.
    fn note_dispute(&self) {
        let said = |wanted: Vote| -> Vec<String> {
            let entries = self.ballot.entries().iter().zip(self.nodes.iter());
            let votes = entries.filter(|(e, _)| {
                e.part != Part::Never && e.heard.as_ref().and_then(|(h, _)| h.vote()) == Some(wanted)
            });
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

    fn judge_dissent(&self) {
        let Some(block) = &self.subject.block else { return };
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
            } else if state.standing.dissented(block, self.core.config.quarantine_after) {
                self.core.telemetry.standing(
                    node.name(),
                    "quarantined",
                    "it dissents alone, block after block",
                );
            }
        }
        let Some((_, common)) = voters.first().filter(|(_, first)| voters.iter().all(|(_, v)| v == first))
        else {
            return;
        };
        for (index, vote) in opinions(&|i, e| e.part == Part::Never && self.is_quarantined(i)) {
            let Some(node) = self.nodes.get(index) else { continue };
            let mut state = node.state();
            if vote != *common {
                state.standing.dissented(block, self.core.config.quarantine_after);
            } else if state.standing.agreed(block) {
                self.core.telemetry.standing(node.name(), "votes", "it agrees again");
            }
        }
    }

    fn is_quarantined(&self, index: usize) -> bool {
        self.nodes.get(index).is_some_and(|node| node.state().standing.is_quarantined())
    }

    async fn keep_evidence(self) {
        let split = self.ballot.is_split();
        let cause = match (self.late_invalid, split) {
            (true, _) => "late dissent",
            (false, true) => "split vote",
            (false, false) => return,
        };
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
            verdict,
            request: self.request,
            replies,
        };
        self.core.records.keep(disagreement, &self.core.telemetry).await;
    }

    fn tell_watchers(&self) {
        let (verdict, early, took) = self.told.clone().unwrap_or_default();
        let votes = self.ballot.entries().iter().zip(self.nodes.iter()).map(|(entry, node)| {
            let (word, at) = match &entry.heard {
                Some((heard, at)) => (heard.word(), Some(*at)),
                None => ("pending", None),
            };
            (node.name().to_owned(), word.to_owned(), at)
        });
        let round = Round {
            seq: self.core.round_number(),
            method: self.name.clone(),
            block: self.subject.block.clone(),
            number: self.subject.number,
            verdict,
            early,
            took,
            votes: votes.collect(),
        };
        // Nobody may be watching.
        let _ = self.core.rounds.send(Arc::new(round));
    }
}

fn straggler_wait(core: &Core, node: &Node, method: Method, mind_straggling: bool) -> Duration {
    straggler_wait_of(core, &node.state(), method, mind_straggling)
}

fn straggler_wait_of(
    core: &Core,
    state: &crate::node::State,
    method: Method,
    mind_straggling: bool,
) -> Duration {
    match core.config.straggler_wait {
        StragglerWait::Timeout => Duration::MAX,
        _ if mind_straggling && state.standing.straggling() => Duration::ZERO,
        StragglerWait::Fixed(wait) => wait,
        StragglerWait::Adaptive if method.family == Family::NewPayload => {
            state.payload_latency.straggler_wait()
        }
        StragglerWait::Adaptive => state.forkchoice_latency.straggler_wait(),
    }
}

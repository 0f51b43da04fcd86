//! A voted call: what `round.rs` of the engine does around the ballot, function for function.

use std::time::Duration;

use bytes::Bytes;
use mainstay_engine::ballot::{Answer, Ballot, Entry, Next, Part};
use mainstay_engine::config::StragglerWait;
use mainstay_engine::method::{Family, Method};
use mainstay_engine::payloads::payload_id;
use mainstay_engine::queue::Kind;
use mainstay_engine::standing::lone_dissenter;
use mainstay_engine::status::{Heard, PayloadStatus, Silence, Status};
use mainstay_engine::verdict::Vote;
use mainstay_node::Condition;

use crate::chain::{Chain, Id};
use crate::el::{Ask, Attributes, Outcome, Said};
use crate::world::{Event, World, micros};

pub type RoundId = u64;

/// A voted call for one node.
#[derive(Clone, Debug)]
pub struct Job {
    pub round: RoundId,
    pub ask: Ask,
}

/// What the consensus client (CL) is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Status(Status, Option<String>),
    Error,
    Nothing,
}

/// Who of the CL waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// The import of this slot's blocks.
    Import(u64),
    /// The preparation of a proposal in this slot.
    Prepare(u64),
    /// Nobody: a repetition.
    Nobody,
}

pub struct Round {
    pub id: RoundId,
    pub ask: Ask,
    pub block: Id,
    pub build: Option<String>,
    pub started: u64,
    pub deadline: Duration,
    pub ballot: Ballot,
    /// The parts as they were when the round began.
    pub parts: Vec<Part>,
    pub told: Option<Told>,
    pub told_at: u64,
    /// As the ballot was when the answer was given.
    pub at_answer: Option<Ballot>,
    pub reports: usize,
    pub caller: For,
    /// Nodes that lost their vote by this round.
    muted: Vec<usize>,
}

impl Round {
    pub fn family(&self) -> Family {
        if matches!(self.ask, Ask::Payload(_)) { Family::NewPayload } else { Family::ForkchoiceUpdated }
    }
}

/// `Heard::new_payload`, `Heard::forkchoice_updated`.
pub fn heard(outcome: &Outcome, chain: &Chain, ask: &Ask) -> Heard {
    match outcome {
        Err(cause) => Heard::Silent(Silence::Failed(cause.clone())),
        Ok(Said::Status(status, id)) => {
            let hash = match ask {
                Ask::Payload(block) | Ask::Head(block, _) if *status == Status::Valid => {
                    Some(Bytes::copy_from_slice(chain.get(*block).hash.as_bytes()))
                }
                _ => None,
            };
            let status = PayloadStatus {
                status: *status,
                latest_valid_hash: hash,
                validation_error: None,
                inclusion_list_satisfied: None,
            };
            Heard::Status(status, id.clone())
        }
        Ok(Said::Error(code)) => {
            Heard::Error(*code, Bytes::from(format!(r#"{{"code":{code},"message":"simulated"}}"#)))
        }
        Ok(_) => Heard::Silent(Silence::Failed(mainstay_node::Cause::Unreadable)),
    }
}

/// The attributes as the CL writes them; the same ones not always in the same way.
pub fn written(attributes: Attributes, otherwise: bool) -> String {
    if otherwise {
        format!(r#"{{ "prevRandao": "0xAB", "timestamp": "0x{attributes:X}" }}"#)
    } else {
        format!(r#"{{"timestamp":"0x{attributes:x}","prevRandao":"0xab"}}"#)
    }
}

impl World {
    /// `round::begin`.
    pub fn begin(&mut self, ask: Ask, otherwise: bool, caller: For) -> RoundId {
        let id = self.main.next_round;
        self.main.next_round += 1;
        let (block, kind, build) = self.read_call(&ask, otherwise);
        let size = self.chain.get(block).size;
        self.trace(|_| format!("CL: round {id} {ask:?} for {caller:?}"));
        for node in 0..self.main.nodes.len() {
            self.push(node, kind.clone(), size, Job { round: id, ask: ask.clone() });
        }
        let name =
            if kind == Kind::Payload { self.setup.payload_method } else { "engine_forkchoiceUpdatedV3" };
        let method = Method::of(name);
        let deadline = self.setup.timeout.min(method.patience());
        let hash = &self.chain.get(block).hash;
        let entries: Vec<Entry> = (0..self.main.nodes.len())
            .map(|node| {
                let said_invalid = self.main.memory.said(hash, node as u64);
                let wait = self.straggler_wait(node, method.family, true);
                Entry { said_invalid, ..Entry::new(self.main.part(node), wait) }
            })
            .collect();
        let parts = entries.iter().map(|e| e.part).collect();
        let mut ballot = Ballot::new(self.setup.rules, deadline, entries);
        if build.is_some() {
            ballot = ballot.building();
        }
        let round = Round {
            id,
            ask,
            block,
            build,
            started: self.now,
            deadline,
            ballot,
            parts,
            told: None,
            told_at: 0,
            at_answer: None,
            reports: self.main.nodes.len(),
            caller,
            muted: Vec::new(),
        };
        self.oracle.begins(&round, &self.main);
        self.main.rounds.insert(id, round);
        self.after(micros(deadline) + 1, Event::RoundOverdue(id));
        self.after(0, Event::RoundTimer(id));
        id
    }

    /// `round::read`.
    fn read_call(&mut self, ask: &Ask, otherwise: bool) -> (Id, Kind, Option<String>) {
        match ask {
            Ask::Head(block, attributes) => {
                self.main.head = Some(*block);
                let head = self.chain.get(*block).hash.clone();
                let build =
                    attributes.map(|attributes| payload_id(&head, written(attributes, otherwise).as_bytes()));
                (*block, Kind::Head { head, builds: attributes.is_some() }, build)
            }
            Ask::Payload(block) => {
                self.main.blocks.keep(self.chain.payload(*block, self.setup.payload_method));
                self.oracle.keeps(*block);
                (*block, Kind::Payload, None)
            }
            _ => (0, Kind::Payload, None),
        }
    }

    pub fn round_timer(&mut self, id: RoundId) {
        self.conduct(id);
    }

    /// The loop of `Conductor::conduct`, until it would wait.
    fn conduct(&mut self, id: RoundId) {
        let Some(round) = self.main.rounds.get_mut(&id) else { return };
        if round.told.is_some() {
            return;
        }
        let elapsed = Duration::from_micros(self.now - round.started);
        match round.ballot.next(elapsed) {
            Next::WaitUntil(_) if round.reports == 0 => self.answer(id),
            Next::WaitUntil(until) => {
                let at = round.started.saturating_add(micros(until)).max(self.now + 1);
                self.at(at, Event::RoundTimer(id));
            }
            Next::Answer => self.answer(id),
        }
    }

    pub fn round_overdue(&mut self, id: RoundId) {
        let late = self.main.rounds.get(&id).is_some_and(|round| round.told.is_none());
        self.oracle.ensure(!late, || format!("4: round {id} has no answer at its deadline"));
    }

    /// A node's reply: `Job::report`, `Conductor::take`.
    pub fn report(&mut self, job: &Job, node: usize, heard: Heard, took: Duration) {
        let id = job.round;
        let Some(round) = self.main.rounds.get_mut(&id) else { return };
        round.reports -= 1;
        let at = Duration::from_micros(self.now - round.started);
        if let Some(vote) = heard.vote() {
            self.learn(id, node, vote, took, at);
        }
        let now = self.instant();
        let Some(round) = self.main.rounds.get_mut(&id) else { return };
        if let (Heard::Status(_, Some(theirs)), Some(ours)) = (&heard, &round.build)
            && self.main.nodes[node].standing.may_serve()
        {
            self.main.ids.add(ours, node as u64, theirs.clone(), now);
            self.oracle.given(ours, node, theirs);
        }
        let lacks = matches!(&heard, Heard::Status(status, _) if status.status == Status::Syncing);
        round.ballot.hear(node, heard, at);
        let told = round.told.is_some();
        if lacks {
            // Also where nobody says VALID, and also of a node without a vote: else it never catches up.
            self.want_replay(node);
        }
        self.mute_the_syncing(id);
        if !told {
            self.conduct(id);
        }
        if self.main.rounds.get(&id).is_some_and(|round| round.reports == 0) {
            self.afterwards(id);
        }
    }

    fn learn(&mut self, id: RoundId, node: usize, vote: Vote, took: Duration, at: Duration) {
        let round = &self.main.rounds[&id];
        let (family, stands, block) = (round.family(), round.ballot.stands_since(), round.block);
        let told_valid = matches!(round.told, Some(Told::Status(Status::Valid, _)));
        let wait = stands.map(|_| self.straggler_wait(node, family, false));
        let state = &mut self.main.nodes[node];
        if family == Family::NewPayload {
            state.payload_latency.add(took);
        } else {
            state.forkchoice_latency.add(took);
        }
        let in_time = match (stands, wait) {
            (Some(stands), Some(wait)) => at <= stands.saturating_add(wait),
            _ => true,
        };
        state.standing.arrived(in_time);
        state.standing.voted(vote);
        let hash = &self.chain.get(block).hash;
        match vote {
            Vote::Valid => {
                self.main.nodes[node].replays_in_vain = 0;
                self.main.memory.take_back(hash, node as u64);
            }
            Vote::Invalid => {
                self.main.memory.say(hash, node as u64);
                self.oracle.count.late_invalid += u64::from(told_valid);
            }
            Vote::Syncing => {}
        }
    }

    fn mute_the_syncing(&mut self, id: RoundId) {
        let round = &self.main.rounds[&id];
        let said = |entry: &Entry, wanted: Status| matches!(&entry.heard, Some((Heard::Status(status, _), _)) if status.status == wanted);
        let entries = round.ballot.entries();
        if !entries.iter().any(|e| e.part != Part::Never && said(e, Status::Valid)) {
            return;
        }
        // ACCEPTED has all parents: it is behind in nothing.
        let behind: Vec<usize> = (0..entries.len())
            .filter(|i| said(&entries[*i], Status::Syncing) && !round.muted.contains(i))
            .collect();
        for node in &behind {
            if matches!(self.main.nodes[*node].health.condition(), Condition::Misconfigured { .. }) {
                continue;
            }
            self.oracle.count.mutes += u64::from(self.main.nodes[*node].standing.mute());
        }
        if let Some(round) = self.main.rounds.get_mut(&id) {
            round.muted.extend(behind);
        }
    }

    fn answer(&mut self, id: RoundId) {
        let now = self.instant();
        let Some(round) = self.main.rounds.get_mut(&id) else { return };
        // Another round may have heard an INVALID of this block since this one began.
        let hash = &self.chain.get(round.block).hash;
        for node in 0..self.main.nodes.len() {
            round.ballot.remember(node, self.main.memory.said(hash, node as u64));
        }
        let told = match round.ballot.answer() {
            Answer::Error(_) => Told::Error,
            Answer::Shortfall if self.setup.error_on_shortfall => Told::Nothing,
            // The model's hashes are right, so the check of the block's hash always passes.
            Answer::Shortfall => Told::Status(Status::Syncing, None),
            Answer::Status(status) => {
                let mut word = status.status;
                if word == Status::Accepted && matches!(round.ask, Ask::Head(..)) {
                    word = Status::Syncing;
                }
                let build = round.build.as_deref().filter(|_| word == Status::Valid);
                let known = build.filter(|ours| self.main.ids.get(ours, now).is_some());
                Told::Status(word, known.map(str::to_owned))
            }
        };
        round.told = Some(told.clone());
        round.told_at = self.now;
        round.at_answer = Some(round.ballot.clone());
        let caller = round.caller;
        let round = &self.main.rounds[&id];
        self.oracle.tells(round, &self.chain, &self.setup, self.now);
        self.trace(|w| {
            let said = w.main.rounds[&id].ballot.entries().iter();
            let said: Vec<String> = said
                .map(|e| format!("{:?}:{}", e.part, e.heard.as_ref().map_or("-", |(h, _)| h.word())))
                .collect();
            format!("round {id} told {told:?} by {}", said.join(" "))
        });
        self.cl_hears(caller, id, told);
    }

    /// `Conductor::afterwards`, once all nodes have reported.
    fn afterwards(&mut self, id: RoundId) {
        if self.main.rounds.get(&id).is_some_and(|round| round.told.is_none()) {
            // All reports are in: nothing is left to wait for.
            self.answer(id);
        }
        let Some(round) = self.main.rounds.remove(&id) else { return };
        self.oracle.ends(&round);
        // No payload is forgotten for being called INVALID: a replay follows the CL's own head, and a block that one liar called
        // so while the others were down would be a hole that no EL gets over.
        if round.ballot.stands_since().is_some() {
            for (node, entry) in round.ballot.entries().iter().enumerate() {
                let silent = entry.heard.as_ref().is_some_and(|(heard, _)| heard.word() == "timeout");
                if entry.part == Part::Voter && silent {
                    self.main.nodes[node].standing.arrived(false);
                }
            }
        }
        self.judge_dissent(&round);
    }

    fn judge_dissent(&mut self, round: &Round) {
        let block = self.chain.get(round.block).hash.clone();
        let opinions: Vec<(usize, Vote)> = (round.ballot.entries().iter().enumerate())
            .filter_map(|(i, e)| Some((i, e.heard.as_ref()?.0.vote()?)))
            .filter(|(_, vote)| *vote != Vote::Syncing)
            .collect();
        for (node, _) in &opinions {
            // Only nodes with a vote are a measure for others: two liars that are cordoned must not cost an honest one its vote.
            let measure = |(other, _): &&(usize, Vote)| other == node || round.parts[*other] != Part::Never;
            let compared: Vec<(usize, Vote)> = opinions.iter().filter(measure).copied().collect();
            let standing = &mut self.main.nodes[*node].standing;
            if lone_dissenter(&compared) == Some(*node) {
                if standing.dissented(&block, self.setup.quarantine_after) {
                    self.trace(|_| format!("  node {node} is quarantined"));
                    self.oracle.quarantined(*node, round, &opinions);
                }
            } else if compared.len() > 1 {
                standing.agreed(&block);
            }
        }
    }

    /// `round::straggler_wait_of`.
    fn straggler_wait(&self, node: usize, family: Family, mind_straggling: bool) -> Duration {
        let state = &self.main.nodes[node];
        match self.setup.straggler_wait {
            StragglerWait::Timeout => Duration::MAX,
            _ if mind_straggling && state.standing.straggling() => Duration::ZERO,
            StragglerWait::Fixed(wait) => wait,
            StragglerWait::Adaptive if family == Family::NewPayload => state.payload_latency.straggler_wait(),
            StragglerWait::Adaptive => state.forkchoice_latency.straggler_wait(),
        }
    }
}

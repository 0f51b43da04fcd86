//! mainstay's tasks for its nodes: what `feed.rs`, `probe.rs`, `core.rs` and `handle.rs` do around the decisions, with virtual
//! time. Function for function the same, so that a difference is easy to see.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use mainstay_engine::ballot::Part;
use mainstay_engine::blocks::{Blocks, Plan};
use mainstay_engine::latency::Latency;
use mainstay_engine::memory::InvalidMemory;
use mainstay_engine::method::Method;
use mainstay_engine::payloads::PayloadIds;
use mainstay_engine::queue::{Fifo, Item, Kind};
use mainstay_engine::standing::{Hold, Standing};
use mainstay_engine::status::{Heard, Silence};
use mainstay_engine::verdict::Vote;
use mainstay_node::{Candidate, Cause, Condition, Health, Primary, Seen, health};

use crate::chain::Id;
use crate::el::{Ask, Outcome, Said};
use crate::reads::Read;
use crate::round::{Job, Round, RoundId, heard};
use crate::setup::Setup;
use crate::world::{Event, Origin, World, micros};

/// As in feed.rs.
const MAX_BYTES: usize = 128 << 20;
const RETRY_AFTER: u64 = 2_000_000;
const MOST_RETRY: u64 = 64_000_000;

/// How a replay ended, as in feed.rs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replayed {
    Followed,
    Behind,
    Failed,
}

#[derive(Debug)]
pub enum Busy {
    No,
    Delivers,
    Replays { head: Id, gap: Option<u64>, left: VecDeque<Id> },
}

pub struct Node {
    pub health: Health,
    pub standing: Standing,
    pub payload_latency: Latency,
    pub forkchoice_latency: Latency,
    pub queue: Fifo<Job>,
    pub replay: bool,
    pub at_once: bool,
    pub replays_in_vain: u32,
    pub busy: Busy,
    pub not_before: u64,
    probing: bool,
    turn: u64,
}

pub struct Mainstay {
    pub nodes: Vec<Node>,
    pub memory: InvalidMemory,
    pub ids: PayloadIds,
    pub blocks: Blocks,
    pub head: Option<Id>,
    pub primary: Primary,
    pub rounds: BTreeMap<RoundId, Round>,
    pub next_round: RoundId,
    pub reads: BTreeMap<u64, Read>,
    pub next_read: u64,
}

impl Mainstay {
    pub fn new(setup: &Setup, base: Instant) -> Self {
        let node = |do_not_use: bool| {
            let mut standing = Standing::default();
            standing.do_not_use = do_not_use;
            Node {
                health: Health::new(setup.health, base),
                standing,
                payload_latency: Latency::default(),
                forkchoice_latency: Latency::default(),
                queue: Fifo::new(setup.queue, MAX_BYTES),
                replay: false,
                at_once: false,
                replays_in_vain: 0,
                busy: Busy::No,
                not_before: 0,
                probing: false,
                turn: 0,
            }
        };
        Self {
            nodes: setup.natures.iter().map(|n| node(n.do_not_use)).collect(),
            memory: InvalidMemory::default(),
            ids: PayloadIds::default(),
            blocks: Blocks::new(setup.replay_blocks, setup.replay_bytes),
            head: None,
            primary: Primary::new(setup.failback_after),
            rounds: BTreeMap::new(),
            next_round: 1,
            reads: BTreeMap::new(),
            next_read: 1,
        }
    }

    pub fn part(&self, node: usize) -> Part {
        self.nodes[node].standing.part(self.nodes[node].health.condition())
    }
}

impl World {
    /// `Node::within`.
    pub fn within(&self, node: usize, limit: Duration) -> Duration {
        self.setup.natures[node].timeout.map_or(limit, |own| own.min(limit))
    }

    fn voted_limit(&self, node: usize, ask: &Ask) -> Duration {
        let name = match ask {
            Ask::Payload(_) => self.setup.payload_method,
            _ => "engine_forkchoiceUpdatedV3",
        };
        self.within(node, self.setup.timeout.min(Method::of(name).patience()))
    }

    /// `Feed::push`.
    pub fn push(&mut self, node: usize, kind: Kind, size: usize, job: Job) {
        match self.main.nodes[node].queue.push(Item { kind, size, call: job }) {
            Ok(replaced) => {
                for old in replaced {
                    self.oracle.replaced(node, &old);
                    self.decline(node, &old, Silence::Replaced);
                }
            }
            Err(job) => {
                // Its round doesn't listen yet.
                self.oracle.count.queue_full += 1;
                self.after(0, Event::NotSent(node, job));
            }
        }
        let waiting = self.main.nodes[node].queue.len();
        self.oracle
            .ensure(waiting <= self.setup.queue, || format!("5: {waiting} calls queued for node {node}"));
        self.wake(node);
    }

    pub fn decline(&mut self, node: usize, job: &Job, silence: Silence) {
        self.oracle.over(node, job);
        self.report(job, node, Heard::Silent(silence), Duration::ZERO);
    }

    /// `Feed::want_replay`.
    pub fn want_replay(&mut self, node: usize) {
        self.main.nodes[node].replay = true;
        self.wake(node);
    }

    /// `Feed::came_back`.
    fn came_back(&mut self, node: usize) {
        self.main.nodes[node].at_once = true;
        self.want_replay(node);
    }

    /// `Feed::wake`: the node's task looks again once whoever wakes it is done.
    fn wake(&mut self, node: usize) {
        self.after(0, Event::FeedAgain(node));
    }

    /// The loop of `feed::run`.
    pub fn feed(&mut self, node: usize) {
        while matches!(self.main.nodes[node].busy, Busy::No) {
            let now = self.now;
            let state = &mut self.main.nodes[node];
            if std::mem::take(&mut state.at_once) {
                state.not_before = now;
                state.replays_in_vain = 0;
            }
            let (wanted, not_before) = (state.replay, state.not_before);
            if wanted && now >= not_before {
                state.replay = false;
                self.start_replay(node);
                continue;
            }
            let Some(job) = self.main.nodes[node].queue.pop() else {
                if wanted {
                    self.at(not_before, Event::FeedAgain(node));
                }
                return;
            };
            self.deliver(node, job);
        }
    }

    fn deliver(&mut self, node: usize, job: Job) {
        if self.skips(node) {
            self.decline(node, &job, Silence::NotSent);
            return;
        }
        self.main.nodes[node].busy = Busy::Delivers;
        let limit = self.voted_limit(node, &job.ask);
        self.call(node, job.ask.clone(), Origin::Job(job), limit);
    }

    pub fn delivered(&mut self, node: usize, job: Job, outcome: Outcome, took: Duration) {
        if let Some(before) = self.traffic(node, &outcome) {
            self.changed(node, &before);
        }
        self.oracle.hears(node, &job.ask, &outcome, Some(job.round));
        let heard = heard(&outcome, &self.chain, &job.ask);
        self.report(&job, node, heard, took);
        self.main.nodes[node].busy = Busy::No;
    }

    fn skips(&self, node: usize) -> bool {
        let state = &self.main.nodes[node];
        if state.standing.hold == Hold::Drained {
            return true;
        }
        let hangs = matches!(state.health.condition(), Condition::Unfit(cause) if *cause != Cause::Refused);
        hangs && self.main.nodes.iter().any(|n| *n.health.condition() == Condition::Fit)
    }

    fn start_replay(&mut self, node: usize) {
        let state = &self.main.nodes[node];
        let drained = state.standing.hold == Hold::Drained;
        let down = matches!(state.health.condition(), Condition::Unfit(_) | Condition::Misconfigured { .. });
        let Some(head) = self.main.head.filter(|_| !drained && !down) else {
            self.count_in_vain(node, Replayed::Followed);
            return;
        };
        self.oracle.count.replays += 1;
        self.main.nodes[node].busy = Busy::Replays { head, gap: None, left: VecDeque::new() };
        let limit = self.within(node, self.setup.timeout).min(Duration::from_secs(2));
        self.call(node, Ask::OwnHead, Origin::Replay, limit);
    }

    pub fn replayed(&mut self, node: usize, ask: &Ask, outcome: Outcome) {
        let Busy::Replays { head, gap, mut left } =
            std::mem::replace(&mut self.main.nodes[node].busy, Busy::Delivers)
        else {
            return;
        };
        match ask {
            Ask::OwnHead => {
                let Ok(Said::OwnHead(own)) = outcome else {
                    return self.replay_ends(node, Replayed::Failed);
                };
                let own = self.chain.get(own);
                let plan = {
                    let blocks = &self.main.blocks;
                    blocks.plan((&own.hash, own.number), blocks.tip(&self.chain.get(head).hash))
                };
                let (payloads, gap) = match plan {
                    Plan::Replay(payloads) => (payloads, None),
                    Plan::Gap(gap) => (Vec::new(), Some(gap)),
                };
                let left: VecDeque<Id> = payloads.iter().map(|p| self.chain.id_of(&p.hash)).collect();
                self.trace(|_| format!("  node {node}: replay {left:?}, gap {gap:?}, then {head}"));
                self.replay_next(node, head, gap, left);
            }
            Ask::Payload(_) => {
                let heard = self.replay_heard(node, ask, &outcome);
                if matches!(heard, Heard::Silent(_)) {
                    return self.replay_ends(node, Replayed::Failed);
                }
                left.pop_front();
                self.replay_next(node, head, gap, left);
            }
            _ => {
                let heard = self.replay_heard(node, ask, &outcome);
                let Some(vote) = heard.vote() else { return self.replay_ends(node, Replayed::Failed) };
                self.main.nodes[node].standing.voted(vote);
                if vote == Vote::Valid {
                    let now = self.instant();
                    self.main.nodes[node].health.probe_soon(now);
                    self.wait_for_probe(node);
                }
                let end = if vote == Vote::Syncing { Replayed::Behind } else { Replayed::Followed };
                self.replay_ends(node, end);
            }
        }
    }

    fn replay_heard(&mut self, node: usize, ask: &Ask, outcome: &Outcome) -> Heard {
        if let Some(before) = self.traffic(node, outcome) {
            self.changed(node, &before);
        }
        self.oracle.hears(node, ask, outcome, None);
        let heard = heard(outcome, &self.chain, ask);
        // What a node says while it catches up is its word as well.
        if let Ask::Payload(block) | Ask::Head(block, _) = ask {
            let hash = &self.chain.get(*block).hash;
            match heard.vote() {
                Some(Vote::Valid) => self.main.memory.take_back(hash, node as u64),
                Some(Vote::Invalid) => self.main.memory.say(hash, node as u64),
                _ => {}
            }
        }
        heard
    }

    fn replay_next(&mut self, node: usize, head: Id, gap: Option<u64>, left: VecDeque<Id>) {
        let ask = left.front().map_or(Ask::Head(head, None), |block| Ask::Payload(*block));
        let limit = self.voted_limit(node, &ask);
        self.main.nodes[node].busy = Busy::Replays { head, gap, left };
        self.call(node, ask, Origin::Replay, limit);
    }

    fn replay_ends(&mut self, node: usize, end: Replayed) {
        let in_vain = self.count_in_vain(node, end);
        let state = &mut self.main.nodes[node];
        if in_vain > 0 {
            let doubled = RETRY_AFTER.saturating_mul(1 << (in_vain.clamp(1, 16) - 1));
            state.not_before = self.now + doubled.min(MOST_RETRY);
        }
        if end == Replayed::Failed {
            state.replay = true;
        }
        state.busy = Busy::No;
        self.feed(node);
    }

    fn count_in_vain(&mut self, node: usize, end: Replayed) -> u32 {
        let state = &mut self.main.nodes[node];
        state.replays_in_vain =
            if end == Replayed::Followed { 0 } else { state.replays_in_vain.saturating_add(1) };
        state.replays_in_vain
    }

    /// `Node::traffic`.
    pub fn traffic(&mut self, node: usize, outcome: &Outcome) -> Option<Condition> {
        let now = self.instant();
        let health = &mut self.main.nodes[node].health;
        let change = match outcome {
            Ok(_) => {
                health.call_answered();
                None
            }
            Err(cause) => health.call_failed(cause, now),
        };
        if change.is_some() {
            self.wait_for_probe(node);
        }
        change
    }

    /// `Core::changed`.
    pub fn changed(&mut self, node: usize, before: &Condition) {
        let now = self.main.nodes[node].health.condition().clone();
        self.trace(|_| format!("  node {node}: {before} -> {now}"));
        match &now {
            Condition::Unfit(_) => {
                self.main.nodes[node].standing.mute();
                self.wake(node);
            }
            Condition::Fit | Condition::Syncing | Condition::Lagging { .. }
                if matches!(before, Condition::Unfit(_)) =>
            {
                self.came_back(node);
            }
            Condition::Lagging { .. } => self.want_replay(node),
            _ => {}
        }
        self.choose_primary();
    }

    /// `Core::primary`.
    pub fn choose_primary(&mut self) -> Option<usize> {
        let candidates: Vec<Candidate> = (self.main.nodes.iter().enumerate())
            .map(|(id, n)| {
                let fit = *n.health.condition() == Condition::Fit && n.standing.may_serve();
                let fit_since = fit.then(|| n.health.since());
                Candidate { id: id as u64, tier: self.setup.natures[id].tier, fit_since, never_left: false }
            })
            .collect();
        let now = self.instant();
        let before = self.main.primary.current();
        let chosen = self.main.primary.choose(&candidates, now);
        self.oracle.chosen(&candidates, before, chosen);
        chosen.and_then(|id| usize::try_from(id).ok())
    }

    /// `Core::others_with`.
    fn others_with(&self, fresh: Option<(usize, Seen)>) -> health::Others {
        let nodes = &self.main.nodes;
        let votes = |n: &&Node| *n.health.condition() == Condition::Fit && n.standing.may_serve();
        let chain = |(i, n): (usize, &Node)| match fresh {
            Some((node, seen)) if node == i => seen.chain_id.or(n.health.seen().chain_id),
            _ => n.health.seen().chain_id,
        };
        let ids: Vec<Option<u64>> = nodes.iter().enumerate().map(chain).collect();
        // A node that sits on an orphaned branch may have the highest number: nobody lags behind who is where the CL is.
        let wanted = self.main.head.map_or(u64::MAX, |head| self.chain.number(head));
        let best_head = nodes.iter().filter(votes).filter_map(|n| n.health.seen().head).max();
        health::Others {
            best_head: best_head.map(|best| best.min(wanted)),
            chain_id: health::common_chain(&ids),
        }
    }

    /// The loop of `probe::run`: sleeps until `probe_at`, or looks again when it is woken.
    pub fn wait_for_probe(&mut self, node: usize) {
        let state = &mut self.main.nodes[node];
        if state.probing {
            return;
        }
        state.turn += 1;
        let turn = state.turn;
        let at = micros(state.health.probe_at().saturating_duration_since(self.base));
        self.at(at, Event::Probe { node, turn });
    }

    pub fn probe_due(&mut self, node: usize, turn: u64) {
        // Where chains differ one of them may be mended: none is taken for granted.
        let other = |n: &Node| matches!(n.health.condition(), Condition::Misconfigured { .. });
        let odd = self.main.nodes.iter().any(other);
        let state = &mut self.main.nodes[node];
        if state.turn != turn || state.probing {
            return;
        }
        state.probing = true;
        let chain =
            state.health.seen().chain_id.is_none() || *state.health.condition() != Condition::Fit || odd;
        let limit = self.within(node, Duration::from_secs(1).min(self.setup.timeout));
        self.call(node, Ask::Probe { chain }, Origin::Probe, limit);
    }

    pub fn probed(&mut self, node: usize, outcome: Outcome) {
        let probe: Result<Seen, Cause> = outcome.map(|said| match said {
            Said::Seen(seen) => seen,
            _ => Seen::default(),
        });
        let mut others = self.others_with(probe.as_ref().ok().map(|seen| (node, *seen)));
        if let Ok(seen) = &probe {
            others.best_head = others.best_head.max(seen.head.filter(|_| others.best_head.is_none()));
        }
        let now = self.instant();
        let change = self.main.nodes[node].health.probed(&probe, others, now);
        self.main.nodes[node].probing = false;
        if probe.is_ok_and(|seen| seen.chain_id.is_some()) {
            self.doubt_other_chains();
        }
        match change {
            Some(before) => self.changed(node, &before),
            None => {
                self.choose_primary();
            }
        }
        self.wait_for_probe(node);
    }

    /// `probe::doubt_other_chains`.
    fn doubt_other_chains(&mut self) {
        let common = self.others_with(None).chain_id;
        let now = self.instant();
        for node in 0..self.main.nodes.len() {
            let health = &mut self.main.nodes[node].health;
            let Some(id) = health.seen().chain_id else { continue };
            let misfit = match health.condition() {
                Condition::Unfit(_) | Condition::Unknown => false,
                Condition::Misconfigured { .. } => Some(id) == common,
                _ => Some(id) != common,
            };
            if misfit {
                health.probe_soon(now);
                self.wait_for_probe(node);
            }
        }
    }

    /// `Handle::hold`.
    pub fn hold(&mut self, node: usize, hold: Hold) {
        let before = std::mem::replace(&mut self.main.nodes[node].standing.hold, hold);
        if before == hold {
            return;
        }
        self.trace(|_| format!("operator: node {node} {before:?} -> {hold:?}"));
        if before == Hold::Drained {
            self.main.nodes[node].standing.mute();
            self.came_back(node);
        }
        self.choose_primary();
    }
}

//! Virtual time: the events to come, calls on their way to the execution clients (EL) and back, and the run itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use mainstay_engine::status::Silence;
use mainstay_node::Cause;

use crate::chain::Chain;
use crate::cl::{Cl, Step};
use crate::el::{Ask, CallId, El, Outcome};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::round::{Job, RoundId};
use crate::setup::{SLOT, Setup};
use crate::shell::Mainstay;
use crate::weather::{Change, Weather};

/// What happens next.
#[derive(Clone, Debug)]
pub enum Event {
    Arrive(CallId),
    Worked { el: usize, epoch: u64 },
    Reply(CallId, Outcome),
    CallTimeout(CallId),
    RoundTimer(RoundId),
    RoundOverdue(RoundId),
    ReadOver(u64),
    Probe { node: usize, turn: u64 },
    FeedAgain(usize),
    NotSent(usize, Job),
    Cl(Step),
    Weather(Change),
    Synced { el: usize, epoch: u64, head: usize },
}

/// On whose behalf an EL is called.
#[derive(Debug)]
pub enum Origin {
    Job(Job),
    Replay,
    Probe,
    Read(u64),
}

#[derive(Debug)]
pub struct Call {
    pub node: usize,
    pub ask: Ask,
    pub origin: Origin,
    pub sent: u64,
}

struct Due {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        Reverse((self.at, self.order)).cmp(&Reverse((other.at, other.order)))
    }
}

pub struct World {
    /// Microseconds since the run began.
    pub now: u64,
    pub base: Instant,
    pub rng: Rng,
    pub setup: Setup,
    pub chain: Chain,
    pub els: Vec<El>,
    pub main: Mainstay,
    pub cl: Cl,
    pub weather: Weather,
    pub oracle: Oracle,
    pub calls: HashMap<CallId, Call>,
    /// Prints what happens.
    pub traced: Option<Vec<String>>,
    events: BinaryHeap<Due>,
    order: u64,
    next_call: CallId,
}

impl World {
    pub fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let setup = Setup::draw(&mut rng);
        // The start of virtual time: only differences count.
        #[allow(clippy::disallowed_methods)]
        let base = Instant::now();
        let els = setup.natures.iter().cloned().enumerate().map(|(i, nature)| El::new(i, nature)).collect();
        let mut world = Self {
            now: 0,
            base,
            main: Mainstay::new(&setup, base),
            cl: Cl::new(),
            weather: Weather::new(setup.natures.len()),
            oracle: Oracle::new(setup.natures.len()),
            chain: Chain::new(),
            els,
            setup,
            rng,
            calls: HashMap::new(),
            traced: traced.then(Vec::new),
            events: BinaryHeap::new(),
            order: 0,
            next_call: 0,
        };
        world.trace(|w| format!("{:#?}", w.setup));
        for node in 0..world.els.len() {
            world.wait_for_probe(node);
        }
        world.at(SLOT, Event::Cl(Step::Slot(1)));
        world
    }

    /// Runs until `slots` slots are over.
    ///
    /// # Errors
    /// The invariant that doesn't hold.
    pub fn run(&mut self, slots: u64) -> Result<(), String> {
        let end = (slots + 1) * SLOT;
        while let Some(due) = self.events.pop() {
            if due.at > end {
                break;
            }
            self.now = due.at;
            self.happen(due.event);
            if let Some(violation) = self.oracle.violation.take() {
                return Err(format!("slot {}, {} µs: {violation}", self.now / SLOT, self.now % SLOT));
            }
        }
        Ok(())
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Due { at: at.max(self.now), order: self.order, event });
    }

    pub fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now.saturating_add(wait), event);
    }

    /// The time as the decisions take it.
    pub fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    pub fn trace(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.traced.is_some() {
            let line = format!("{:>4}+{:>8} {}", self.now / SLOT, self.now % SLOT, what(self));
            if let Some(lines) = &mut self.traced {
                lines.push(line);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(call) => self.arrive(call),
            Event::Worked { el, epoch } => self.worked(el, epoch),
            Event::Reply(call, outcome) => self.finish(call, outcome),
            Event::CallTimeout(call) => self.finish(call, Err(Cause::Timeout)),
            Event::RoundTimer(round) => self.round_timer(round),
            Event::RoundOverdue(round) => self.round_overdue(round),
            Event::ReadOver(read) => self.read_over(read),
            Event::Probe { node, turn } => self.probe_due(node, turn),
            Event::FeedAgain(node) => self.feed(node),
            Event::NotSent(node, job) => self.decline(node, &job, Silence::NotSent),
            Event::Cl(step) => self.cl_step(step),
            Event::Weather(change) => self.weather_changes(change),
            Event::Synced { el, epoch, head } => self.el_synced(el, epoch, head),
        }
    }

    /// Sends a call, to be answered within `limit`.
    pub fn call(&mut self, node: usize, ask: Ask, origin: Origin, limit: Duration) {
        self.next_call += 1;
        let id = self.next_call;
        self.calls.insert(id, Call { node, ask, origin, sent: self.now });
        let wire = self.rng.within(100, 400);
        self.after(wire, Event::Arrive(id));
        self.after(micros(limit), Event::CallTimeout(id));
    }

    fn arrive(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let (node, ask) = (call.node, call.ask.clone());
        let el = &mut self.els[node];
        if el.faults.down {
            self.after(50, Event::Reply(id, Err(Cause::Refused)));
            return;
        }
        if let Origin::Job(job) = &call.origin {
            let job = job.clone();
            self.oracle.el_sees(node, &job);
        }
        self.take_up(node, id, ask);
    }

    fn take_up(&mut self, node: usize, id: CallId, ask: Ask) {
        let el = &mut self.els[node];
        if el.faults.hangs {
            el.frozen.push((id, ask));
        } else if ask.is_engine() {
            el.inbox.push_back((id, ask));
            self.work(node);
        } else {
            let outcome = el.answer(&ask, &self.chain, &mut self.rng);
            let took = self.rng.within(300, 3000);
            self.after(took, Event::Reply(id, outcome));
        }
    }

    fn work(&mut self, node: usize) {
        let el = &mut self.els[node];
        if el.working || el.faults.down || el.faults.hangs {
            return;
        }
        if let Some((_, ask)) = el.inbox.front() {
            let took = el.work_time(ask, &mut self.rng);
            el.working = true;
            let epoch = el.epoch;
            self.after(took, Event::Worked { el: node, epoch });
        }
    }

    fn worked(&mut self, node: usize, epoch: u64) {
        let el = &mut self.els[node];
        if el.epoch != epoch {
            return;
        }
        el.working = false;
        let Some((id, ask)) = el.inbox.pop_front() else { return };
        let outcome = el.answer(&ask, &self.chain, &mut self.rng);
        self.trace(|_| format!("  el{node} {ask:?} -> {outcome:?}"));
        self.sync_alone(node, &ask);
        let wire = self.rng.within(100, 400);
        self.after(wire, Event::Reply(id, outcome));
        self.work(node);
    }

    /// An EL that lacks more than can be replayed gets it from its peers, after a while.
    fn sync_alone(&mut self, node: usize, ask: &Ask) {
        let Ask::Head(head, _) = ask else { return };
        let el = &self.els[node];
        if el.knows(*head) || el.wrong_chain {
            return;
        }
        // mainstay leads it on from the head that it reports, whatever it knows beyond.
        let lacks = self.chain.back_from(*head).take_while(|b| !self.chain.is_ancestor(*b, el.head));
        if lacks.into_iter().all(|b| self.oracle.is_kept(b, &self.chain, &self.setup)) {
            return;
        }
        let (head, epoch) = (*head, el.epoch);
        let wait = self.rng.within(SLOT / 4, SLOT);
        self.after(wait, Event::Synced { el: node, epoch, head });
    }

    fn el_synced(&mut self, node: usize, epoch: u64, head: usize) {
        let chain = &self.chain;
        let sound = chain.back_from(head).all(|b| {
            let block = chain.get(b);
            block.sound && block.wronged_by & (1 << node) == 0
        });
        if self.els[node].epoch == epoch && sound {
            self.els[node].synced(head, &self.chain);
            self.note_end(node);
            self.oracle.count.synced_alone += 1;
            self.trace(|_| format!("  el{node} has synced to {head} by itself"));
        }
    }

    /// The process of an EL ends: what is on its way is reset.
    pub fn crash(&mut self, node: usize, behind: u64) {
        self.els[node].crash(behind, &self.chain);
        let mut cut: Vec<CallId> =
            self.calls.iter().filter(|(_, c)| c.node == node).map(|(id, _)| *id).collect();
        cut.sort_unstable();
        for id in cut {
            self.after(100, Event::Reply(id, Err(Cause::Reset)));
        }
    }

    /// A stopped EL goes on with what came meanwhile.
    pub fn thaw(&mut self, node: usize) {
        self.els[node].interrupt();
        let frozen = std::mem::take(&mut self.els[node].frozen);
        for (id, ask) in frozen {
            self.take_up(node, id, ask);
        }
        self.work(node);
    }

    /// A call is over for mainstay: an answer, a failure, or its deadline. Whatever comes later is thrown away.
    fn finish(&mut self, id: CallId, outcome: Outcome) {
        let Some(call) = self.calls.remove(&id) else { return };
        let took = Duration::from_micros(self.now - call.sent);
        let node = call.node;
        match call.origin {
            Origin::Job(job) => {
                self.oracle.over(node, &job);
                self.delivered(node, job, outcome, took);
                self.feed(node);
            }
            Origin::Replay => self.replayed(node, &call.ask, outcome),
            Origin::Probe => self.probed(node, outcome),
            Origin::Read(read) => self.read(read, node, outcome),
        }
    }
}

pub fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

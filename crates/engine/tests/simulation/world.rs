//! Everything around the engine: model execution clients (EL) behind transports of their own, the events to come, and the run.
//!
//! The clock is tokio's, paused: it jumps to the next moment at which anything happens, and stands still while anybody is
//! busy. One thread runs the engine's tasks and the world, in an order that depends on the seed alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use mainstay_engine::{Engine, Metrics};
use mainstay_execution::core::Endpoint;
use mainstay_execution::node::{Caller, Node};
use mainstay_execution::standing::Hold;
use mainstay_wire::client::{Posted, Transport};
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::chain::Chain;
use crate::cl::{Cl, Step};
use crate::el::{Ask, El, Failure, Outcome, Taken};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::setup::{SLOT, Setup};
use crate::speech::{self, Told};
use crate::weather::{Change, Weather};

/// What happens next.
#[derive(Clone, Debug)]
pub enum Event {
    Worked { el: usize, epoch: u64 },
    Overdue(u64),
    Cl(Step),
    Weather(Change),
    Synced { el: usize, epoch: u64, head: usize },
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
    /// Milliseconds since the run began.
    pub now: u64,
    pub rng: Rng,
    pub setup: Setup,
    pub chain: Chain,
    pub els: Vec<El>,
    pub engine: Arc<Engine>,
    pub cl: Cl,
    pub weather: Weather,
    pub oracle: Oracle,
    /// Prints what happens.
    pub traced: Option<Vec<String>>,
    events: BinaryHeap<Due>,
    order: u64,
    /// Until when the driver sleeps.
    asleep_until: u64,
    pub sim: Weak<Sim>,
}

/// The world, and what wakes who waits for it.
pub struct Sim {
    /// Empty before the engine is there and after the run.
    world: Mutex<Option<World>>,
    /// Wakes the driver.
    wake: Notify,
    /// The end of an EL's process: calls to it are cut.
    cuts: Vec<Notify>,
    started: Instant,
}

/// The world at this moment.
pub struct Guard<'a> {
    world: MutexGuard<'a, Option<World>>,
    wake: &'a Notify,
}

impl Deref for Guard<'_> {
    type Target = World;
    fn deref(&self) -> &World {
        self.world.as_ref().unwrap()
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut World {
        self.world.as_mut().unwrap()
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(world) = self.world.as_ref()
            && world.next_at() < world.asleep_until
        {
            self.wake.notify_one();
        }
    }
}

impl Sim {
    /// The engine with simulated nodes. Nothing happens but what the caller does and, with `events`, what is due.
    pub fn start(setup: Setup, rng: Rng, traced: bool) -> Arc<Self> {
        let nodes = setup.natures.len();
        let sim = Arc::new(Self {
            world: Mutex::new(None),
            wake: Notify::new(),
            cuts: (0..nodes).map(|_| Notify::new()).collect(),
            started: Instant::now(),
        });
        let weak = Arc::downgrade(&sim);
        let connect = move |endpoint: Endpoint<'_>| {
            let spec = endpoint.spec();
            let place = spec.name.parse().map_err(|_| spec.name.clone())?;
            Ok(Arc::new(Wire { sim: weak.clone(), place }) as Arc<dyn Transport>)
        };
        let metrics = Metrics::new(&mut Registry::default());
        // Its tasks begin once this one waits.
        let engine = Engine::build_over(setup.config(), &metrics, Box::new(connect)).unwrap();
        let els = setup.natures.iter().cloned().enumerate().map(|(i, nature)| El::new(i, nature)).collect();
        let mut world = World {
            now: 0,
            cl: Cl::new(),
            weather: Weather::new(nodes),
            oracle: Oracle::new(nodes, engine.handle().rounds()),
            chain: Chain::new(setup.payload_method.ends_with("V5")),
            els,
            engine: Arc::new(engine),
            setup,
            rng,
            traced: traced.then(Vec::new),
            events: BinaryHeap::new(),
            order: 0,
            asleep_until: 0,
            sim: Arc::downgrade(&sim),
        };
        world.trace(|w| format!("{:#?}", w.setup));
        *sim.world.lock().unwrap() = Some(world);
        sim
    }

    pub fn lock(&self) -> Guard<'_> {
        // A poisoned world is that of a run that has failed.
        let mut guard =
            Guard { world: self.world.lock().unwrap_or_else(PoisonError::into_inner), wake: &self.wake };
        guard.now = u64::try_from(self.started.elapsed().as_millis()).unwrap();
        guard
    }

    /// Lets happen what is due until `end`.
    ///
    /// # Errors
    /// The invariant that doesn't hold.
    pub async fn run_until(&self, end: u64) -> Result<(), String> {
        loop {
            let next = {
                let mut world = self.lock();
                world.happen();
                if let Some(violation) = world.oracle.violation.take() {
                    return Err(format!("slot {}+{} ms: {violation}", world.now / SLOT, world.now % SLOT));
                }
                if world.now >= end {
                    world.asleep_until = 0;
                    return Ok(());
                }
                world.asleep_until = world.next_at().min(end);
                world.asleep_until
            };
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = sleep_until(self.started + Duration::from_millis(next)) => {}
            }
        }
    }

    /// The world after the run. Breaks the circle of references.
    pub fn end(&self) -> World {
        self.world.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap()
    }
}

impl World {
    fn next_at(&self) -> u64 {
        self.events.peek().map_or(u64::MAX, |due| due.at)
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Due { at: at.max(self.now), order: self.order, event });
    }

    pub fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now.saturating_add(wait), event);
    }

    pub fn trace(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.traced.is_some() {
            let line = format!("{:>4}+{:>5} {}", self.now / SLOT, self.now % SLOT, what(self));
            if let Some(lines) = &mut self.traced {
                lines.push(line);
            }
        }
    }

    fn happen(&mut self) {
        while self.next_at() <= self.now {
            let Some(due) = self.events.pop() else { return };
            match due.event {
                Event::Worked { el, epoch } => self.worked(el, epoch),
                Event::Overdue(round) => self.oracle.overdue(round),
                Event::Cl(step) => self.cl_step(step),
                Event::Weather(change) => self.weather_changes(change),
                Event::Synced { el, epoch, head } => self.el_synced(el, epoch, head),
            }
        }
    }

    /// The engine's node of this EL.
    pub fn node(&self, place: usize) -> Arc<Node> {
        self.engine.core().nodes()[place].clone()
    }

    pub fn is_held(&self, place: usize) -> bool {
        let node = self.node(place);
        let state = node.state();
        state.standing.do_not_use || state.standing.hold != Hold::None
    }

    /// Calls mainstay as the CL does; `caller` says who waits.
    pub fn call(&mut self, ask: Ask, otherwise: bool, caller: crate::cl::For) {
        let Some(sim) = self.sim.upgrade() else { return };
        tokio::spawn(async move {
            sim.ask(ask, otherwise, caller).await;
        });
    }

    /// The operator's hand.
    pub fn hold(&mut self, place: usize, hold: Hold) {
        let handle = self.engine.handle();
        let name = place.to_string();
        self.trace(|_| format!("operator: node {place} {hold:?}"));
        match hold {
            Hold::None => handle.uncordon(&name),
            Hold::Cordoned => handle.cordon(&name),
            Hold::Drained => handle.drain(&name),
        }
        .unwrap();
        self.oracle.held(place, hold);
    }

    fn worked(&mut self, place: usize, epoch: u64) {
        let el = &mut self.els[place];
        if el.epoch != epoch {
            return;
        }
        el.working = false;
        let Some(Taken { ask, answer }) = el.inbox.pop_front() else { return };
        let outcome = el.answer(&ask, &self.chain, &mut self.rng);
        self.trace(|_| format!("  el{place} {ask:?} -> {outcome:?}"));
        self.sync_alone(place, &ask);
        // Who asked may have given up.
        let _ = answer.send(outcome);
        self.work(place);
    }

    fn work(&mut self, place: usize) {
        let el = &mut self.els[place];
        if el.working || el.faults.down || el.faults.hangs {
            return;
        }
        if let Some(taken) = el.inbox.front() {
            let took = el.work_time(&taken.ask, &mut self.rng);
            el.working = true;
            let epoch = el.epoch;
            self.after(took, Event::Worked { el: place, epoch });
        }
    }

    /// A call reaches an EL.
    fn arrive(&mut self, place: usize, ask: &Ask) -> Arrived {
        let el = &mut self.els[place];
        if el.faults.down {
            return Arrived::Answered(0, Err(Failure::Refused));
        }
        if el.faults.hangs || ask.is_voted() {
            let (answer, answered) = oneshot::channel();
            self.take_up(place, Taken { ask: ask.clone(), answer });
            return Arrived::Taken(answered);
        }
        let took = el.work_time(ask, &mut self.rng);
        Arrived::Answered(took, el.answer(ask, &self.chain, &mut self.rng))
    }

    fn take_up(&mut self, place: usize, taken: Taken) {
        let el = &mut self.els[place];
        if el.faults.hangs {
            el.frozen.push(taken);
        } else if taken.ask.is_voted() {
            el.inbox.push_back(taken);
            self.work(place);
        } else {
            let outcome = el.answer(&taken.ask, &self.chain, &mut self.rng);
            let _ = taken.answer.send(outcome);
        }
    }

    /// An EL that lacks more than can be replayed gets it from its peers, after a while.
    fn sync_alone(&mut self, place: usize, ask: &Ask) {
        let Ask::Head(head, _) = ask else { return };
        let el = &self.els[place];
        if el.knows(*head) || el.wrong_chain {
            return;
        }
        // mainstay leads it on from the head that it reports, whatever it knows beyond.
        let lacks = self.chain.back_from(*head).take_while(|b| !self.chain.is_ancestor(*b, el.head));
        if lacks.into_iter().all(|b| self.oracle.is_kept(b, &self.setup)) {
            return;
        }
        let (head, epoch) = (*head, el.epoch);
        let wait = self.rng.within(SLOT / 4, SLOT);
        self.after(wait, Event::Synced { el: place, epoch, head });
    }

    fn el_synced(&mut self, place: usize, epoch: u64, head: usize) {
        let chain = &self.chain;
        let sound = chain.back_from(head).all(|b| {
            let block = chain.get(b);
            block.sound && block.wronged_by & (1 << place) == 0
        });
        if self.els[place].epoch == epoch && sound {
            self.els[place].synced(head, &self.chain);
            self.note_end(place);
            self.oracle.count.synced_alone += 1;
            self.trace(|_| format!("  el{place} has synced to {head} by itself"));
        }
    }

    /// The process of an EL ends: what is on its way is reset.
    pub fn crash(&mut self, place: usize, behind: u64) {
        self.els[place].crash(behind, &self.chain);
        if let Some(sim) = self.sim.upgrade() {
            sim.cuts[place].notify_waiters();
        }
    }

    /// A stopped EL goes on with what came meanwhile.
    pub fn thaw(&mut self, place: usize) {
        self.els[place].interrupt();
        let frozen = std::mem::take(&mut self.els[place].frozen);
        for taken in frozen {
            self.take_up(place, taken);
        }
        self.work(place);
    }
}

impl Sim {
    /// One call of the CL, from its begin to the answer.
    pub async fn ask(self: &Arc<Self>, ask: Ask, otherwise: bool, caller: crate::cl::For) -> Option<Told> {
        let (engine, id, body, patience) = {
            let mut world = self.lock();
            let patience = world.cl_patience(&ask, caller);
            let id = world.begins(&ask, caller);
            let method = world.setup.payload_method;
            let body = speech::write_ask(&ask, id, &world.chain, method, otherwise);
            world.oracle.keeps(&ask, body.len());
            (world.engine.clone(), id, body, patience)
        };
        let who = Caller::default();
        let answer = timeout(patience, engine.answer(&body, &who)).await;
        let Ok((status, body)) = answer else {
            self.lock().cl_gives_up(id, caller);
            return None;
        };
        let told = speech::read_told(status, &body, &ask, id);
        self.lock().cl_is_told(id, &ask, caller, told.clone());
        Some(told)
    }
}

/// What becomes of a call that reaches an EL.
enum Arrived {
    /// It is answered after so many milliseconds.
    Answered(u64, Outcome),
    /// It waits for its turn.
    Taken(oneshot::Receiver<Outcome>),
}

/// The way to one EL.
struct Wire {
    sim: Weak<Sim>,
    place: usize,
}

impl Wire {
    async fn exchange(&self, sim: &Sim, ask: &Ask) -> Outcome {
        let mut cut = pin!(sim.cuts[self.place].notified());
        cut.as_mut().enable();
        let way = async {
            let there = sim.lock().rng.within(0, 1);
            pause(there).await;
            let arrived = sim.lock().arrive(self.place, ask);
            match arrived {
                Arrived::Answered(after, outcome) => {
                    pause(after).await;
                    outcome
                }
                // Dropped unanswered: the process has ended, which cuts the call as well.
                Arrived::Taken(answered) => match answered.await {
                    Ok(outcome) => outcome,
                    Err(_) => std::future::pending().await,
                },
            }
        };
        tokio::select! {
            biased;
            () = cut => Err(Failure::Reset),
            outcome = way => outcome,
        }
    }
}

async fn pause(ms: u64) {
    if ms > 0 {
        sleep(Duration::from_millis(ms)).await;
    }
}

impl Transport for Wire {
    fn post<'a>(&'a self, body: Bytes, _: Option<&'a str>, deadline: Instant) -> Posted<'a> {
        Box::pin(async move {
            let Some(sim) = self.sim.upgrade() else { return std::future::pending().await };
            let (ask, id, origin) = {
                let mut world = sim.lock();
                let (ask, id) = speech::read_ask(&body, &world.chain);
                let most = world.setup.natures[self.place]
                    .timeout
                    .map_or(world.setup.timeout, |own| own.min(world.setup.timeout));
                let limit = deadline - Instant::now();
                world.oracle.ensure(limit <= most, || {
                    format!("4: node {} is given {limit:?} for {ask:?}", self.place)
                });
                let origin = world.sends(self.place, &ask, id);
                (ask, id, origin)
            };
            let outcome = timeout_at(deadline, self.exchange(&sim, &ask)).await;
            let outcome = outcome.unwrap_or(Err(Failure::Timeout));
            let mut world = sim.lock();
            world.hears(self.place, &ask, &outcome, origin);
            speech::write_answer(&outcome, &ask, id, self.place, &world.chain)
        })
    }
}

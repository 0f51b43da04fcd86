//! Random steps against a model that looks at everything every time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;
use crate::lane::{Lane, Ratio, Turn, Waiting};
use crate::lanes::Limits;

#[derive(Clone, Debug)]
enum Step {
    Submit {
        lane: usize,
        timeout_ms: u64,
        size: usize,
    },
    /// Some time after whatever was before, with or without a look at who could get the slot from hand to hand.
    Finish(Index, u64, bool),
    Retry(Index),
    Hedge(Index),
    Cancel(Index),
    Pass {
        ms: u64,
    },
    Add {
        workers: u32,
        fit: bool,
    },
    Remove(Index),
    Restore(Index),
    Fit(Index, bool),
    Drain(Index, bool),
    Workers(Index, u32),
    Rest(Index, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = || any::<Index>();
    prop_oneof![
        12 => (0usize..3, 1u64..60, 0usize..9)
            .prop_map(|(lane, timeout_ms, size)| Step::Submit { lane, timeout_ms, size }),
        6 => (index(), prop_oneof![3 => Just(0), 1 => 0u64..30], any::<bool>())
            .prop_map(|(i, ms, hand_on)| Step::Finish(i, ms, hand_on)),
        5 => index().prop_map(Step::Retry),
        1 => index().prop_map(Step::Hedge),
        2 => index().prop_map(Step::Cancel),
        3 => (0u64..30).prop_map(|ms| Step::Pass { ms }),
        2 => (0u32..4, any::<bool>()).prop_map(|(workers, fit)| Step::Add { workers, fit }),
        1 => index().prop_map(Step::Remove),
        1 => index().prop_map(Step::Restore),
        2 => (index(), any::<bool>()).prop_map(|(i, fit)| Step::Fit(i, fit)),
        1 => (index(), any::<bool>()).prop_map(|(i, on)| Step::Drain(i, on)),
        1 => (index(), 0u32..4).prop_map(|(i, n)| Step::Workers(i, n)),
        1 => (index(), 0u64..20).prop_map(|(i, ms)| Step::Rest(i, ms)),
    ]
}

#[derive(Clone, Debug)]
struct Node {
    workers: u32,
    in_flight: u32,
    fit: bool,
    draining: bool,
    removed: bool,
    rests_until: Option<Instant>,
}

impl Node {
    fn is_usable(&self, now: Instant) -> bool {
        self.fit
            && !self.draining
            && !self.removed
            && self.workers > 0
            && self.rests_until.is_none_or(|t| t <= now)
    }
    fn is_free(&self, now: Instant) -> bool {
        self.is_usable(now) && self.in_flight < self.workers
    }
}

#[derive(Clone, Debug)]
struct Waiter {
    number: u32,
    arrived: u32,
    call: Call,
    key: Option<Key>,
}

/// The model: lists, looked through from end to end.
struct Model {
    rules: Rules,
    refuse_when_unfit: bool,
    turn: Turn,
    now: Instant,
    nodes: BTreeMap<NodeId, Node>,
    waiting: Vec<Waiter>,
    running: Vec<(NodeId, Waiter)>,
    /// What became of every request: told exactly once, unless it runs on.
    ended: BTreeMap<u32, &'static str>,
    submitted: u32,
}

impl Model {
    fn may_go(&self, tried: &Tried) -> Vec<NodeId> {
        let usable = |id: &NodeId| self.nodes[id].is_usable(self.now);
        let others: Vec<NodeId> =
            self.nodes.keys().copied().filter(|id| usable(id) && !tried.contains(*id)).collect();
        let all =
            if others.is_empty() { self.nodes.keys().copied().filter(usable).collect() } else { others };
        all.into_iter().filter(|id| self.nodes[id].is_free(self.now)).collect()
    }

    /// The first request of each lane that a free node may take.
    fn firsts(&self) -> [Option<usize>; 3] {
        Lane::ALL.map(|lane| {
            let can = |i: &usize| {
                self.waiting[*i].call.lane == lane && !self.may_go(&self.waiting[*i].call.tried).is_empty()
            };
            (0..self.waiting.len()).filter(can).min_by_key(|i| self.waiting[*i].arrived)
        })
    }

    fn nobody(&self) -> Option<Refusal> {
        if self.nodes.values().all(|n| n.removed) {
            Some(Refusal::NoNodes)
        } else if self.refuse_when_unfit && !self.nodes.values().any(|n| n.is_usable(self.now)) {
            Some(Refusal::NoneFit)
        } else {
            None
        }
    }

    fn room(&self, call: &Call) -> bool {
        let Limits { lanes, items, bytes } = self.rules.limits;
        let limit = lanes[call.lane.index()];
        let in_lane = self.waiting.iter().filter(|w| w.call.lane == call.lane).count();
        let held: usize = self.waiting.iter().map(|w| w.call.size).sum();
        (limit == 0 || in_lane < limit)
            && self.waiting.len() < items
            && (held + call.size <= bytes || self.waiting.is_empty())
    }

    fn took(&mut self, node: NodeId, waiter: Waiter) {
        let allowed = self.may_go(&waiter.call.tried);
        assert!(allowed.contains(&node), "{node:?} is no node for {waiter:?}");
        let share = |id: &NodeId| f64::from(self.nodes[id].in_flight) / f64::from(self.nodes[id].workers);
        let least = allowed.iter().map(share).fold(f64::INFINITY, f64::min);
        assert!((share(&node) - least).abs() < 1e-9, "a fitter node was free");
        self.nodes.get_mut(&node).unwrap().in_flight += 1;
        self.running.push((node, waiter));
    }

    fn gave_back(&mut self, node: NodeId) {
        let known = self.nodes.get_mut(&node).unwrap();
        known.in_flight -= 1;
        if known.removed && known.in_flight == 0 {
            self.nodes.remove(&node);
        }
    }

    fn end(&mut self, number: u32, how: &'static str) {
        assert_eq!(self.ended.insert(number, how), None, "told twice");
    }

    /// A slot went from hand to hand: that has to be all that is to be told.
    fn handed_on(&mut self, node: NodeId, number: u32, dispatch: &Dispatch<u32>) {
        assert!(dispatch.is_settled(&Event::Run { node, waiter: number }));
        self.tell(Some(Event::Run { node, waiter: number }));
        assert!(!self.tell(None), "there was more to tell");
    }

    /// Asks the queue until it has nothing more to tell, and compares each answer.
    fn settle(&mut self, dispatch: &mut Dispatch<u32>) {
        let mut settled = false;
        loop {
            let event = dispatch.next(self.now);
            assert!(!settled || event.is_none(), "it said that there is no more");
            settled = event.as_ref().is_some_and(|event| dispatch.is_settled(event));
            if !self.tell(event) {
                return;
            }
        }
    }

    /// Compares what the queue tells, or that it tells nothing, with what is due; false if nothing is.
    fn tell(&mut self, event: Option<Event<u32>>) -> bool {
        let due = self.waiting.iter().map(|w| w.call.deadline).min().filter(|due| *due <= self.now);
        if let Some(due) = due {
            let Some(Event::Expired(number)) = event else { panic!("expiry is due, got {event:?}") };
            assert_eq!(self.leave(number).call.deadline, due);
            self.end(number, "expired");
            return true;
        }
        if !self.waiting.is_empty()
            && let Some(refusal) = self.nobody()
        {
            let Some(Event::Refused(why, number)) = event else { panic!("no node, got {event:?}") };
            assert_eq!(why, refusal);
            self.leave(number);
            self.end(number, "refused");
            return true;
        }
        let firsts = self.firsts();
        if firsts == [None; 3] {
            assert!(event.is_none(), "nobody can run, got {event:?}");
            return false;
        }
        let low_is_aged = firsts[2]
            .zip(self.rules.low_max_wait)
            .is_some_and(|(i, most)| self.now.saturating_duration_since(self.waiting[i].call.since) >= most);
        let lane = self.turn.next(Waiting { lanes: firsts.map(|f| f.is_some()), low_is_aged }).unwrap();
        let wanted = self.waiting[firsts[lane.index()].unwrap()].number;
        let Some(Event::Run { node, waiter }) = event else { panic!("{wanted} waits though it could run") };
        assert_eq!(waiter, wanted);
        let waiter = self.leave(waiter);
        self.took(node, waiter);
        true
    }

    fn leave(&mut self, number: u32) -> Waiter {
        let at = self.waiting.iter().position(|w| w.number == number).expect("it waited");
        self.waiting.remove(at)
    }

    fn check(&self, dispatch: &Dispatch<u32>) {
        let lengths = Lane::ALL.map(|lane| self.waiting.iter().filter(|w| w.call.lane == lane).count());
        assert_eq!(dispatch.lengths(), lengths);
        for (id, node) in &self.nodes {
            assert_eq!(dispatch.pool().load(*id).unwrap().in_flight, node.in_flight);
        }
        let expiry = self.waiting.iter().map(|w| w.call.deadline).min();
        let wake = dispatch.next_wake();
        assert_eq!(wake.is_some(), expiry.is_some());
        assert!(wake <= expiry);
        assert!(wake.is_none_or(|wake| wake > self.now), "nothing is due any more");
        let held = self.waiting.len() + self.running.len() + self.ended.len();
        assert_eq!(held, self.submitted as usize, "one was lost or doubled");
    }
}

fn pick<T: Clone>(index: &Index, from: &[T]) -> Option<T> {
    if from.is_empty() { None } else { Some(index.get(from).clone()) }
}

#[allow(clippy::too_many_lines)] // one arm per step
fn apply(step: &Step, model: &mut Model, dispatch: &mut Dispatch<u32>) {
    let now = model.now;
    let ids: Vec<NodeId> = model.nodes.keys().copied().collect();
    match step {
        Step::Submit { lane, timeout_ms, size } => {
            model.submitted += 1;
            let number = model.submitted;
            let mut call = Call::new(Lane::ALL[*lane], now, Duration::from_millis(*timeout_ms), *size);
            let may = model.may_go(&call.tried);
            let waiter = |key, call| Waiter { number, arrived: number, call, key };
            match dispatch.submit(&mut call, || number, now) {
                Submitted::Run(node) => model.took(node, waiter(None, call)),
                Submitted::Queued(key) => {
                    assert!(may.is_empty() && model.nobody().is_none() && model.room(&call));
                    model.waiting.push(waiter(Some(key), call));
                }
                Submitted::Refused(refusal) => {
                    assert!(may.is_empty());
                    match refusal {
                        Refusal::Full(_) => assert!(!model.room(&call)),
                        why => assert_eq!(Some(why), model.nobody()),
                    }
                    model.end(number, "refused");
                }
            }
        }
        Step::Finish(i, ..) | Step::Retry(i) if !model.running.is_empty() => {
            let (node, mut waiter) = model.running.swap_remove(i.index(model.running.len()));
            model.gave_back(node);
            if let Step::Finish(_, ms, hand_on) = step {
                model.now += Duration::from_millis(*ms);
                model.end(waiter.number, "ran");
                match hand_on.then(|| dispatch.hand_on(node, model.now)).flatten() {
                    Some(next) => model.handed_on(node, next, dispatch),
                    None => dispatch.release(node),
                }
            } else {
                let mut tried = waiter.call.tried.clone();
                tried.add(node);
                waiter.key = Some(dispatch.retry(node, &mut waiter.call, waiter.number));
                assert_eq!(waiter.call.tried, tried);
                model.waiting.push(waiter);
            }
        }
        Step::Hedge(i) => {
            let Some((node, waiter)) = pick(i, &model.running) else { return };
            let mut tried = waiter.call.tried.clone();
            tried.add(node);
            let others = model.may_go(&tried).iter().any(|id| !tried.contains(*id));
            let hedged = dispatch.hedge(&tried, now);
            assert_eq!(hedged.is_some(), others);
            if let Some(node) = hedged {
                assert!(!tried.contains(node) && model.nodes[&node].is_free(now));
                dispatch.release(node);
            }
        }
        Step::Cancel(i) => {
            let Some(waiter) = pick(i, &model.waiting) else { return };
            assert_eq!(dispatch.cancel(waiter.key.unwrap()), Some(waiter.number));
            model.leave(waiter.number);
            model.end(waiter.number, "cancelled");
            assert!(dispatch.cancel(waiter.key.unwrap()).is_none());
        }
        Step::Pass { ms } => model.now += Duration::from_millis(*ms),
        Step::Add { workers, fit } => {
            let id = dispatch.add_node(*workers, *fit);
            let node = Node {
                workers: *workers,
                in_flight: 0,
                fit: *fit,
                draining: false,
                removed: false,
                rests_until: None,
            };
            assert!(model.nodes.insert(id, node).is_none(), "a node's number is used twice");
        }
        Step::Remove(i) => {
            let Some(id) = pick(i, &ids) else { return };
            dispatch.pool_mut().remove(id);
            model.nodes.get_mut(&id).unwrap().removed = true;
            if model.nodes[&id].in_flight == 0 {
                model.nodes.remove(&id);
            }
        }
        Step::Restore(i) => {
            let Some(id) = pick(i, &ids) else { return };
            assert!(dispatch.pool_mut().restore(id));
            model.nodes.get_mut(&id).unwrap().removed = false;
        }
        Step::Fit(i, fit) => {
            let Some(id) = pick(i, &ids) else { return };
            dispatch.pool_mut().set_fit(id, *fit, now);
            model.nodes.get_mut(&id).unwrap().fit = *fit;
        }
        Step::Drain(i, draining) => {
            let Some(id) = pick(i, &ids) else { return };
            dispatch.pool_mut().set_draining(id, *draining);
            model.nodes.get_mut(&id).unwrap().draining = *draining;
        }
        Step::Workers(i, workers) => {
            let Some(id) = pick(i, &ids) else { return };
            dispatch.pool_mut().set_workers(id, *workers, now);
            model.nodes.get_mut(&id).unwrap().workers = *workers;
        }
        Step::Rest(i, ms) => {
            let Some(id) = pick(i, &ids) else { return };
            let until = now + Duration::from_millis(*ms);
            dispatch.pool_mut().rest(id, until, now);
            let node = model.nodes.get_mut(&id).unwrap();
            node.rests_until = node.rests_until.max(Some(until));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Nothing is lost, doubled, out of turn, over a limit or left waiting beside a free slot, whatever happens.
    #[test]
    fn it_does_what_the_naive_model_does(
        steps in prop::collection::vec(step(), 1..120),
        fast_per_high in 0u32..4,
        drain_first: bool,
        low_max_wait in prop::option::of(1u64..40),
        lanes in [0usize..6, 0usize..6, 0usize..6],
        items in 1usize..20,
        bytes in 1usize..60,
        refuse_when_unfit: bool,
    ) {
        let rules = Rules {
            ratio: Ratio { fast_per_high, drain_first },
            low_max_wait: low_max_wait.map(Duration::from_millis),
            limits: Limits { lanes, items, bytes },
        };
        let mut dispatch = Dispatch::new(Options { rules, slow_start: Duration::ZERO, refuse_when_unfit });
        let mut model = Model {
            rules,
            refuse_when_unfit,
            turn: Turn::new(rules.ratio),
            now: Instant::now(),
            nodes: BTreeMap::new(),
            waiting: Vec::new(),
            running: Vec::new(),
            ended: BTreeMap::new(),
            submitted: 0,
        };
        for step in &steps {
            apply(step, &mut model, &mut dispatch);
            model.settle(&mut dispatch);
            model.check(&dispatch);
        }
    }

    /// With slow start too: never more than the open slots, and woken as told everything runs or expires.
    #[test]
    fn nothing_waits_for_ever_and_no_slot_is_used_twice(
        arrivals in prop::collection::vec((0usize..3, 0u64..20), 1..60), workers in 1u32..9, slow_start_ms in 0u64..200
    ) {
        let slow_start = Duration::from_millis(slow_start_ms);
        let mut dispatch: Dispatch<usize> = Dispatch::new(Options { slow_start, ..Options::default() });
        let mut now = Instant::now();
        let node = dispatch.add_node(workers, false);
        let (mut told, mut wakes) = (0, 0);
        for (number, (lane, ms)) in arrivals.iter().enumerate() {
            now += Duration::from_millis(*ms);
            let mut call = Call::new(Lane::ALL[*lane], now, Duration::from_secs(1), 1);
            told += usize::from(!matches!(dispatch.submit(&mut call, || number, now), Submitted::Queued(_)));
        }
        dispatch.pool_mut().set_fit(node, true, now);
        loop {
            while dispatch.next(now).is_some() {
                told += 1;
            }
            let load = dispatch.pool().load(node).unwrap();
            prop_assert!(load.in_flight <= load.open && load.open <= workers);
            let Some(wake) = dispatch.next_wake() else { break };
            prop_assert!(wake > now);
            now = wake;
            wakes += 1;
            prop_assert!(wakes < 1000);
        }
        prop_assert_eq!(told, arrivals.len());
    }
}

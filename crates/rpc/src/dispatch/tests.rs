#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
//! Tables for what is promised in words, and a naive model that random steps are compared with.

mod model;

use std::time::{Duration, Instant};

use super::*;
use crate::lane::{Lane, Ratio};
use crate::lanes::Limits;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    dispatch: Dispatch<u32>,
    now: Instant,
}

impl Bench {
    fn new(options: Options) -> Self {
        Self { dispatch: Dispatch::new(options), now: Instant::now() }
    }

    /// One node with one slot, which number 0 has.
    fn busy(options: Options) -> (Self, NodeId) {
        let mut bench = Self::new(options);
        let node = bench.dispatch.add_node(1, true);
        assert_eq!(bench.submit(Lane::Low, 0), Ok(Some(node)));
        (bench, node)
    }

    fn submit(&mut self, lane: Lane, number: u32) -> Result<Option<NodeId>, Refusal> {
        let mut call = Call::new(lane, self.now, SECOND * 5, 10);
        match self.dispatch.submit(&mut call, || number, self.now) {
            Submitted::Run(node) => Ok(Some(node)),
            Submitted::Queued(_) => Ok(None),
            Submitted::Refused(refusal) => Err(refusal),
        }
    }

    fn told(&mut self) -> Vec<Event<u32>> {
        std::iter::from_fn(|| self.dispatch.next(self.now)).collect()
    }

    /// The numbers that run, one after the other, when `node` is released again and again.
    fn order(&mut self, node: NodeId) -> Vec<u32> {
        let mut order = Vec::new();
        loop {
            self.dispatch.release(node);
            match self.told().pop() {
                Some(Event::Run { waiter, .. }) => order.push(waiter),
                _ => return order,
            }
        }
    }
}

#[test]
fn fast_track_to_high_is_two_to_one_and_low_is_last() {
    let (mut bench, node) = Bench::busy(Options::default());
    for number in 0..6 {
        for (lane, base) in [(Lane::Low, 300), (Lane::High, 200), (Lane::FastTrack, 100)] {
            assert_eq!(bench.submit(lane, base + number), Ok(None));
        }
    }
    assert_eq!(
        bench.order(node),
        [100, 101, 200, 102, 103, 201, 104, 105, 202, 203, 204, 205, 300, 301, 302, 303, 304, 305]
    );
}

#[test]
fn drain_first_serves_all_fast_track_before_high() {
    let ratio = Ratio { drain_first: true, ..Ratio::default() };
    let rules = Rules { ratio, ..Rules::default() };
    let (mut bench, node) = Bench::busy(Options { rules, ..Options::default() });
    for (lane, number) in [(Lane::High, 1), (Lane::FastTrack, 2), (Lane::FastTrack, 3), (Lane::FastTrack, 4)]
    {
        assert_eq!(bench.submit(lane, number), Ok(None));
    }
    assert_eq!(bench.order(node), [2, 3, 4, 1]);
}

#[test]
fn a_lanes_limit_counts_for_that_lane_alone() {
    let limits = Limits { lanes: [2, 1, 1], ..Limits::default() };
    let rules = Rules { limits, ..Rules::default() };
    let (mut bench, _) = Bench::busy(Options { rules, ..Options::default() });
    let full = |lane| Err(Refusal::Full(Full::Lane(lane)));
    assert_eq!(bench.submit(Lane::Low, 1), Ok(None));
    assert_eq!(bench.submit(Lane::Low, 2), full(Lane::Low));
    assert_eq!(bench.submit(Lane::FastTrack, 3), Ok(None), "the low lane's limit is not this one's");
    assert_eq!(bench.submit(Lane::FastTrack, 4), Ok(None));
    assert_eq!(bench.submit(Lane::FastTrack, 5), full(Lane::FastTrack));
    assert_eq!(bench.submit(Lane::High, 6), Ok(None));
    assert_eq!(bench.submit(Lane::High, 7), full(Lane::High));
    assert_eq!(bench.dispatch.lengths(), [2, 1, 1]);
}

#[test]
fn all_lanes_together_are_bounded_by_items_and_by_bytes() {
    let with = |limits| Options { rules: Rules { limits, ..Rules::default() }, ..Options::default() };
    let (mut bench, _) = Bench::busy(with(Limits { items: 2, ..Limits::default() }));
    assert_eq!(bench.submit(Lane::Low, 1), Ok(None));
    assert_eq!(bench.submit(Lane::High, 2), Ok(None));
    assert_eq!(bench.submit(Lane::FastTrack, 3), Err(Refusal::Full(Full::Items)));
    // Every request is of 10 bytes; one may wait even if it is larger than the limit.
    let (mut bench, _) = Bench::busy(with(Limits { bytes: 5, ..Limits::default() }));
    assert_eq!(bench.submit(Lane::Low, 1), Ok(None));
    assert_eq!(bench.submit(Lane::Low, 2), Err(Refusal::Full(Full::Bytes)));
}

#[test]
fn a_slot_goes_from_hand_to_hand_only_where_nothing_else_is_due() {
    type Change = fn(&mut Dispatch<u32>, NodeId, NodeId, Instant);
    let three_wait = |with: Change| {
        let (mut bench, a) = Bench::busy(Options::default());
        let b = bench.dispatch.add_node(1, true);
        bench.dispatch.pool_mut().rest(b, bench.now + SECOND, bench.now);
        (1..4).for_each(|number| assert_eq!(bench.submit(Lane::Low, number), Ok(None)));
        with(&mut bench.dispatch, a, b, bench.now);
        (bench, a)
    };
    let (mut bench, a) = three_wait(|_, _, _, _| {});
    assert_eq!(bench.dispatch.hand_on(a, bench.now), Some(1));
    assert_eq!(bench.dispatch.hand_on(a, bench.now + SECOND), None, "b's pause is over");
    let cases: [Change; 4] = [
        |dispatch, a, _, _| dispatch.pool_mut().set_draining(a, true),
        |dispatch, a, _, now| dispatch.pool_mut().set_fit(a, false, now),
        |dispatch, a, _, now| dispatch.pool_mut().set_workers(a, 0, now),
        |dispatch, a, _, _| dispatch.pool_mut().remove(a),
    ];
    for (i, case) in cases.into_iter().enumerate() {
        let (mut bench, a) = three_wait(case);
        assert_eq!(bench.dispatch.hand_on(a, bench.now), None, "case {i}");
    }
    let (mut bench, a) = three_wait(|dispatch, _, b, _| dispatch.pool_mut().remove(b));
    assert_eq!(bench.dispatch.hand_on(a, bench.now + SECOND * 5), None, "they have expired");
}

#[test]
fn a_retry_keeps_its_place_and_is_never_refused() {
    let limits = Limits { lanes: [0, 0, 1], items: 1, bytes: 1 };
    let rules = Rules { limits, ..Rules::default() };
    let mut bench = Bench::new(Options { rules, ..Options::default() });
    let node = bench.dispatch.add_node(1, true);
    let mut call = Call::new(Lane::Low, bench.now, SECOND, 10);
    assert_eq!(bench.dispatch.submit(&mut call, || 0, bench.now), Submitted::Run(node));
    assert_eq!(bench.submit(Lane::Low, 1), Ok(None));
    assert!(matches!(bench.submit(Lane::Low, 2), Err(Refusal::Full(_))));
    bench.dispatch.retry(node, &mut call, 0);
    let told = bench.told();
    assert!(matches!(&told[..], [Event::Run { waiter: 0, .. }]), "it was first: {told:?}");
    assert_eq!(bench.order(node), [1]);
}

#[test]
fn a_retry_goes_to_another_node_and_the_next_takes_the_one_it_left() {
    let mut bench = Bench::new(Options::default());
    let (a, b) = (bench.dispatch.add_node(1, true), bench.dispatch.add_node(1, true));
    let mut first = Call::new(Lane::High, bench.now, SECOND, 10);
    assert_eq!(bench.dispatch.submit(&mut first, || 0, bench.now), Submitted::Run(a));
    assert_eq!(bench.submit(Lane::High, 1), Ok(Some(b)));
    assert_eq!(bench.submit(Lane::Low, 2), Ok(None));
    bench.dispatch.retry(a, &mut first, 0);
    // It waits for the other node, and the low one needn't wait for it.
    assert!(matches!(&bench.told()[..], [Event::Run { node, waiter: 2, .. }] if *node == a));
    bench.dispatch.release(b);
    assert!(matches!(&bench.told()[..], [Event::Run { node, waiter: 0, .. }] if *node == b));
}

#[test]
fn without_another_usable_node_a_retry_goes_to_the_same() {
    let mut bench = Bench::new(Options::default());
    let (a, b) = (bench.dispatch.add_node(1, true), bench.dispatch.add_node(1, false));
    let mut call = Call::new(Lane::High, bench.now, SECOND, 10);
    assert_eq!(bench.dispatch.submit(&mut call, || 0, bench.now), Submitted::Run(a));
    bench.dispatch.retry(a, &mut call, 0);
    assert!(matches!(&bench.told()[..], [Event::Run { node, .. }] if *node == a));
    assert!(bench.dispatch.pool().load(b).is_some_and(|load| load.in_flight == 0));
}

#[test]
fn no_node_is_refused_at_once_and_so_are_those_that_wait_when_the_last_goes() {
    let mut bench = Bench::new(Options::default());
    assert_eq!(bench.submit(Lane::FastTrack, 0), Err(Refusal::NoNodes));
    let node = bench.dispatch.add_node(0, true);
    assert_eq!(bench.submit(Lane::FastTrack, 1), Ok(None), "a node without workers may get some");
    bench.dispatch.pool_mut().remove(node);
    assert!(matches!(&bench.told()[..], [Event::Refused(Refusal::NoNodes, 1)]));
}

#[test]
fn with_no_fit_node_requests_wait_until_their_deadline() {
    let mut bench = Bench::new(Options::default());
    let node = bench.dispatch.add_node(1, false);
    assert_eq!(bench.submit(Lane::Low, 0), Ok(None));
    assert_eq!(bench.submit(Lane::Low, 1), Ok(None));
    assert_eq!(bench.told(), []);
    bench.dispatch.pool_mut().set_fit_at_once(node);
    assert!(matches!(&bench.told()[..], [Event::Run { waiter: 0, .. }]));
    assert_eq!(bench.dispatch.next_wake(), Some(bench.now + SECOND * 5));
    bench.now += SECOND * 5;
    assert!(matches!(&bench.told()[..], [Event::Expired(1)]));
    assert_eq!(bench.dispatch.next_wake(), None);
}

#[test]
fn or_are_refused_at_once_where_the_operator_wants_that() {
    let mut bench = Bench::new(Options { refuse_when_unfit: true, ..Options::default() });
    let node = bench.dispatch.add_node(1, true);
    assert_eq!(bench.submit(Lane::Low, 0), Ok(Some(node)));
    assert_eq!(bench.submit(Lane::Low, 1), Ok(None));
    let now = bench.now;
    bench.dispatch.pool_mut().set_fit(node, false, now);
    assert!(matches!(&bench.told()[..], [Event::Refused(Refusal::NoneFit, 1)]));
    assert_eq!(bench.submit(Lane::Low, 2), Err(Refusal::NoneFit));
}

#[test]
fn an_aged_low_request_goes_next() {
    let rules = Rules { low_max_wait: Some(SECOND), ..Rules::default() };
    let (mut bench, node) = Bench::busy(Options { rules, ..Options::default() });
    assert_eq!(bench.submit(Lane::Low, 1), Ok(None));
    assert_eq!(bench.submit(Lane::Low, 2), Ok(None));
    bench.now += SECOND;
    for number in 10..12 {
        assert_eq!(bench.submit(Lane::High, number), Ok(None));
    }
    assert_eq!(bench.order(node), [1, 10, 2, 11]);
}

#[test]
fn a_cancelled_request_leaves_at_once() {
    let (mut bench, node) = Bench::busy(Options::default());
    let mut call = Call::new(Lane::Low, bench.now, SECOND, 10);
    let Submitted::Queued(key) = bench.dispatch.submit(&mut call, || 1, bench.now) else { panic!() };
    assert_eq!(bench.dispatch.lengths(), [0, 0, 1]);
    assert_eq!(bench.dispatch.cancel(key), Some(1));
    assert_eq!(bench.dispatch.lengths(), [0, 0, 0]);
    assert!(bench.dispatch.cancel(key).is_none());
    assert!(bench.order(node).is_empty());
}

#[test]
fn a_second_copy_takes_only_another_free_node() {
    let mut bench = Bench::new(Options::default());
    let a = bench.dispatch.add_node(2, true);
    let mut tried = Tried::default();
    tried.add(a);
    assert_eq!(bench.dispatch.hedge(&tried, bench.now), None);
    assert_eq!(bench.dispatch.pool().load(a).map(|load| load.in_flight), Some(0));
    let b = bench.dispatch.add_node(1, true);
    assert_eq!(bench.dispatch.hedge(&tried, bench.now), Some(b));
    assert_eq!(bench.dispatch.hedge(&tried, bench.now), None, "it has no slot free");
}

#[test]
fn a_node_that_comes_back_gets_its_slots_one_after_the_other() {
    let mut bench = Bench::new(Options { slow_start: SECOND * 4, ..Options::default() });
    let node = bench.dispatch.add_node(4, false);
    for number in 0..4 {
        assert_eq!(bench.submit(Lane::Low, number), Ok(None));
    }
    let now = bench.now;
    bench.dispatch.pool_mut().set_fit(node, true, now);
    assert_eq!(bench.told().len(), 1);
    let next = bench.dispatch.next_wake().unwrap();
    assert_eq!(next, bench.now + SECOND);
    bench.now = next;
    assert_eq!(bench.told().len(), 1);
    bench.now += SECOND * 3;
    assert_eq!(bench.told().len(), 2);
}

#[test]
fn other_options_hold_for_new_ones_and_for_those_that_wait() {
    let (mut bench, node) = Bench::busy(Options::default());
    for number in 0..6 {
        for (lane, base) in [(Lane::High, 200), (Lane::FastTrack, 100)] {
            assert_eq!(bench.submit(lane, base + number), Ok(None));
        }
    }
    let ratio = Ratio { fast_per_high: 1, drain_first: false };
    let limits = Limits { lanes: [2, 0, 0], ..Limits::default() };
    let rules = Rules { ratio, limits, ..Rules::default() };
    bench.dispatch.set_options(Options { rules, refuse_when_unfit: true, ..Options::default() }, bench.now);
    assert_eq!(bench.submit(Lane::FastTrack, 1), Err(Refusal::Full(Full::Lane(Lane::FastTrack))));
    assert_eq!(bench.submit(Lane::High, 206), Ok(None));
    let served = bench.order(node);
    assert_eq!(served, [100, 200, 101, 201, 102, 202, 103, 203, 104, 204, 105, 205, 206], "who waited stays");
    bench.dispatch.pool_mut().set_fit(node, false, bench.now);
    assert_eq!(bench.submit(Lane::High, 1), Err(Refusal::NoneFit));
}

#[test]
fn another_slow_start_holds_for_a_node_that_is_coming_back() {
    let mut bench = Bench::new(Options { slow_start: SECOND * 10, ..Options::default() });
    let node = bench.dispatch.add_node(10, false);
    bench.dispatch.pool_mut().set_fit(node, true, bench.now);
    assert_eq!(bench.dispatch.pool().load(node).unwrap().open, 1);
    bench.dispatch.set_options(Options { slow_start: Duration::ZERO, ..Options::default() }, bench.now);
    assert_eq!(bench.dispatch.pool().load(node).unwrap().open, 10);
}

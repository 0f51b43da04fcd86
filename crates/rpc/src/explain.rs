//! Requests that somebody thinks up, put to the queue that real ones wait in: which runs when, on which node, and what becomes of
//! those that don't.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::call::Call;
use crate::dispatch::{Dispatch, Event, Options, Refusal, Submitted};
use crate::lane::Lane;
use crate::lanes::Full;
use crate::pool::NodeId;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its lane.
    pub lane: Lane,
    /// When it comes.
    pub at: Duration,
    /// How long a node works on it.
    pub work: Duration,
}

/// What happens.
#[derive(Clone, Debug)]
pub struct Case {
    /// The owner's settings.
    pub options: Options,
    /// Of every node how many requests it works on at once.
    pub nodes: Vec<u32>,
    /// How long a request may wait.
    pub timeout: Duration,
    /// The requests; of those that come at the same time the first is first.
    pub arrivals: Vec<Arrival>,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// To which request, from 1 in the order of the case.
    pub request: usize,
    /// Its lane.
    pub lane: &'static str,
    /// `runs`, `waits`, `refused`, `expires` or `ends`.
    pub then: &'static str,
    /// On which node it runs, from 1.
    pub node: Option<usize>,
    /// Why it is refused.
    pub why: Option<&'static str>,
    /// For how long it has waited, in milliseconds.
    pub waited_ms: u64,
    /// How many wait in each lane, the most urgent first.
    pub waiting: [usize; 3],
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The requests in the order in which nodes get them.
    pub order: Vec<usize>,
    /// The longest wait of a request that ran, by lane, in milliseconds; `None` where none ran.
    pub longest_wait_ms: [Option<u64>; 3],
}

/// Plays a case. `start` is any moment.
#[must_use]
pub fn explain(case: &Case, start: Instant) -> Told {
    let mut play = Play {
        case,
        start,
        dispatch: Dispatch::new(case.options),
        nodes: Vec::new(),
        running: BTreeSet::new(),
        told: Told { steps: Vec::new(), order: Vec::new(), longest_wait_ms: [None; 3] },
    };
    for workers in &case.nodes {
        let node = play.dispatch.add_node(*workers, true);
        play.nodes.push(node);
    }
    let mut coming: Vec<usize> = (0..case.arrivals.len()).collect();
    coming.sort_by_key(|request| case.arrivals[*request].at);
    let mut coming = coming.into_iter().peekable();
    loop {
        let comes = coming.peek().map(|request| start + case.arrivals[*request].at);
        let ends = play.running.first().map(|(end, ..)| *end);
        let wakes = play.dispatch.next_wake();
        let Some(now) = comes.into_iter().chain(ends).chain(wakes).min() else { break };
        // Who has ended makes room for who comes at the same moment.
        play.end(now);
        play.settle(now);
        while let Some(request) = coming.next_if(|request| start + case.arrivals[*request].at <= now) {
            play.come(request, now);
        }
    }
    play.told
}

struct Play<'a> {
    case: &'a Case,
    start: Instant,
    dispatch: Dispatch<usize>,
    nodes: Vec<NodeId>,
    /// When each ends, in that order.
    running: BTreeSet<(Instant, usize, NodeId)>,
    told: Told,
}

impl Play<'_> {
    fn come(&mut self, request: usize, now: Instant) {
        let mut call = Call::new(self.case.arrivals[request].lane, now, self.case.timeout, 0);
        match self.dispatch.submit(&mut call, || request, now) {
            Submitted::Run(node) => self.run(request, node, now),
            Submitted::Queued(_) => self.step(request, now, "waits", None, None),
            Submitted::Refused(refusal) => self.step(request, now, "refused", None, Some(why(refusal))),
        }
    }

    fn end(&mut self, now: Instant) {
        while let Some((end, request, node)) = self.running.first().copied().filter(|(end, ..)| *end <= now) {
            self.running.pop_first();
            self.dispatch.release(node);
            self.step(request, end, "ends", Some(node), None);
        }
    }

    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.dispatch.next(now) {
            match event {
                Event::Run { node, waiter } => self.run(waiter, node, now),
                Event::Expired(waiter) => self.step(waiter, now, "expires", None, None),
                Event::Refused(refusal, waiter) => {
                    self.step(waiter, now, "refused", None, Some(why(refusal)));
                }
            }
        }
    }

    fn run(&mut self, request: usize, node: NodeId, now: Instant) {
        let Arrival { lane, work, .. } = self.case.arrivals[request];
        self.running.insert((now + work, request, node));
        self.told.order.push(request + 1);
        self.step(request, now, "runs", Some(node), None);
        let waited = self.told.steps.last().map(|step| step.waited_ms);
        let longest = &mut self.told.longest_wait_ms[lane.index()];
        *longest = (*longest).max(waited);
    }

    fn step(
        &mut self,
        request: usize,
        now: Instant,
        then: &'static str,
        node: Option<NodeId>,
        why: Option<&'static str>,
    ) {
        let Arrival { lane, at, .. } = self.case.arrivals[request];
        let since = now.saturating_duration_since(self.start);
        let waited = if then == "ends" { Duration::ZERO } else { since.saturating_sub(at) };
        self.told.steps.push(Step {
            at_ms: millis(since),
            request: request + 1,
            lane: lane.word(),
            then,
            node: node.and_then(|node| self.nodes.iter().position(|known| *known == node)).map(|at| at + 1),
            why,
            waited_ms: millis(waited),
            waiting: self.dispatch.lengths(),
        });
    }
}

fn why(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Full(Full::Lane(_)) => "its lane is full",
        Refusal::Full(Full::Items | Full::Bytes) => "the queue is full",
        Refusal::NoNodes => "there is no node",
        Refusal::NoneFit => "no node is fit",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Ratio;
    use crate::lanes::{Limits, Rules};

    const MS: Duration = Duration::from_millis(1);

    /// A letter a request, all at the start, each 100 ms of work, on one node with one slot.
    fn case(lanes: &str, rules: Rules) -> Case {
        let lane = |letter| match letter {
            'f' => Lane::FastTrack,
            'h' => Lane::High,
            _ => Lane::Low,
        };
        let arrivals =
            lanes.chars().map(|letter| Arrival { lane: lane(letter), at: Duration::ZERO, work: 100 * MS });
        Case {
            options: Options { rules, ..Options::default() },
            nodes: vec![1],
            timeout: 5000 * MS,
            arrivals: arrivals.collect(),
        }
    }

    fn played(case: &Case) -> Told {
        explain(case, crate::clock::now())
    }

    #[test]
    fn urgent_ones_go_first_by_the_ratio() {
        let told = played(&case("llhhffff", Rules::default()));
        // The first finds the node free; then two fast-track to one high, low when nothing else waits.
        assert_eq!(told.order, [1, 5, 6, 3, 7, 8, 4, 2]);
        assert_eq!(told.longest_wait_ms, [Some(500), Some(600), Some(700)]);
        let drained = Rules { ratio: Ratio { drain_first: true, ..Ratio::default() }, ..Rules::default() };
        assert_eq!(played(&case("llhhffff", drained)).order, [1, 5, 6, 7, 8, 3, 4, 2]);
    }

    #[test]
    fn a_low_one_that_has_waited_goes_next() {
        let rules = Rules { low_max_wait: Some(150 * MS), ..Rules::default() };
        assert_eq!(played(&case("hlhhh", rules)).order, [1, 3, 2, 4, 5]);
    }

    #[test]
    fn slots_of_all_nodes_are_used_and_given_back() {
        let mut two = case("hhhh", Rules::default());
        two.nodes = vec![1, 2];
        two.arrivals[3].at = 10 * MS;
        let told = played(&two);
        assert_eq!(told.order, [1, 2, 3, 4]);
        let ran: Vec<(u64, Option<usize>)> = told
            .steps
            .iter()
            .filter(|step| step.then == "runs")
            .map(|step| (step.at_ms, step.node))
            .collect();
        assert_eq!(ran.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 0, 0, 100]);
        assert!(ran.iter().all(|(_, node)| matches!(node, Some(1 | 2))));
        assert_eq!(told.steps.last().map(|step| (step.at_ms, step.then)), Some((200, "ends")));
    }

    #[test]
    fn who_finds_no_room_or_no_time_is_told_so() {
        let limits = Limits { lanes: [0, 1, 0], ..Limits::default() };
        let mut full = case("hhh", Rules { limits, ..Rules::default() });
        full.timeout = 50 * MS;
        let told = played(&full);
        let then: Vec<(u64, usize, &str, Option<&str>)> =
            told.steps.iter().map(|step| (step.at_ms, step.request, step.then, step.why)).collect();
        assert_eq!(
            then,
            [
                (0, 1, "runs", None),
                (0, 2, "waits", None),
                (0, 3, "refused", Some("its lane is full")),
                (50, 2, "expires", None),
                (100, 1, "ends", None),
            ]
        );
        let none = Case { nodes: Vec::new(), ..case("h", Rules::default()) };
        assert_eq!(played(&none).steps[0].why, Some("there is no node"));
    }
}

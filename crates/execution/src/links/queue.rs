//! What waits for one link, and what may go next. Pure.
//!
//! * Copies go in the order in which they came, several at once.
//! * One that is *in order* (a forkchoiceUpdated) goes when everything that came before it has ended, as the consensus client itself
//!   waits for the answer to a payload before it makes it the head: over a WAN the large payload would else arrive after its head.
//! * Others pass one that waits so: whoever sent them waited for nothing.
//! * What waits is bounded in number and bytes. Where there is no room the oldest go: the newest head is worth most.

use std::collections::{BTreeSet, VecDeque};

/// How much may wait, and how much may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Copies that wait.
    pub(super) waiting: usize,
    /// Bytes of their bodies.
    pub(super) waiting_bytes: usize,
    /// Copies that are under way at once. With one they go strictly in the order in which they came.
    pub(super) in_flight: usize,
}

/// What waits for a link and what is under way. `T` is a copy.
#[derive(Debug)]
pub(super) struct Queue<T> {
    bounds: Bounds,
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
    /// Numbers of the copies that are under way.
    in_flight: BTreeSet<u64>,
    next_number: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    copy: T,
    bytes: usize,
    in_order: bool,
}

impl<T> Queue<T> {
    /// An empty one.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: BTreeSet::new(),
            next_number: 0,
        }
    }

    /// Puts a copy of so many bytes last. Gives those that had to go for it, or itself if it alone is more than may wait.
    pub(super) fn push(&mut self, copy: T, bytes: usize, in_order: bool) -> Vec<T> {
        if bytes > self.bounds.waiting_bytes {
            return vec![copy];
        }
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push_back(Waiting { number, copy, bytes, in_order });
        self.waiting_bytes += bytes;
        let mut dropped = Vec::new();
        while self.waiting.len() > self.bounds.waiting || self.waiting_bytes > self.bounds.waiting_bytes {
            dropped.extend(self.take(0));
        }
        dropped
    }

    /// The copy that may go now, with its number; it is under way until [`Queue::ended`].
    pub(super) fn next(&mut self) -> Option<(u64, T)> {
        if self.in_flight.len() >= self.bounds.in_flight {
            return None;
        }
        let first = self.in_flight.first().copied();
        let may_go = |(place, waiting): (usize, &Waiting<T>)| {
            !waiting.in_order || (place == 0 && first.is_none_or(|first| first > waiting.number))
        };
        let place = self.waiting.iter().enumerate().position(may_go)?;
        let number = self.waiting.get(place)?.number;
        self.in_flight.insert(number);
        self.take(place).map(|copy| (number, copy))
    }

    /// A copy has been answered or given up.
    pub(super) fn ended(&mut self, number: u64) {
        self.in_flight.remove(&number);
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many are under way.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn take(&mut self, place: usize) -> Option<T> {
        let taken = self.waiting.remove(place)?;
        self.waiting_bytes -= taken.bytes;
        Some(taken.copy)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { waiting: 4, waiting_bytes: 100, in_flight: 3 };

    fn all(queue: &mut Queue<&'static str>) -> Vec<(u64, &'static str)> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn a_head_goes_after_what_came_before_it_and_holds_nobody_up() {
        let mut queue = Queue::new(BOUNDS);
        assert!(queue.push("payload 1", 10, false).is_empty());
        assert!(queue.push("head 1", 1, true).is_empty());
        assert!(queue.push("payload 2", 10, false).is_empty());
        assert!(queue.push("head 2", 1, true).is_empty());
        assert_eq!(all(&mut queue), [(0, "payload 1"), (2, "payload 2")]);
        queue.ended(2);
        assert_eq!(all(&mut queue), []);
        queue.ended(0);
        assert_eq!(all(&mut queue), [(1, "head 1")]);
        assert_eq!((queue.waiting(), queue.in_flight()), (1, 1));
        queue.ended(1);
        assert_eq!(all(&mut queue), [(3, "head 2")]);
    }

    #[test]
    fn later_payloads_do_not_keep_a_head_waiting() {
        let mut queue = Queue::new(BOUNDS);
        queue.push("payload", 1, false);
        queue.push("head", 1, true);
        for name in ["a", "b"] {
            queue.push(name, 1, false);
        }
        assert_eq!(all(&mut queue), [(0, "payload"), (2, "a"), (3, "b")]);
        queue.push("c", 1, false);
        queue.ended(0);
        assert_eq!(all(&mut queue), [(1, "head")]);
        queue.ended(3);
        assert_eq!(all(&mut queue), [(4, "c")]);
    }

    #[test]
    fn without_room_the_oldest_go() {
        let mut queue = Queue::new(BOUNDS);
        for name in ["a", "b", "c", "d"] {
            assert!(queue.push(name, 20, false).is_empty());
        }
        assert_eq!(queue.push("e", 20, true), ["a"]);
        assert_eq!(queue.push("f", 70, true), ["b", "c", "d"]);
        assert_eq!(queue.push("too large", 101, true), ["too large"]);
        assert_eq!(queue.push("g", 100, true), ["e", "f"]);
        assert_eq!(all(&mut queue), [(6, "g")]);
        assert!(queue.push("h", 100, true).is_empty(), "its bytes wait no more");
    }

    proptest! {
        /// Whatever happens: bounds hold, nothing is lost uncounted, heads go in order and after all that came before them.
        #[test]
        fn rules_hold(events in prop::collection::vec((0_u8..4, 0_usize..60, any::<bool>()), 0..200)) {
            let mut queue = Queue::new(BOUNDS);
            let (mut pushed, mut dropped, mut started, mut ended) = (0_u64, Vec::new(), Vec::new(), Vec::new());
            let mut in_order = Vec::new();
            for (event, bytes, ordered) in events {
                match event {
                    0 | 1 => {
                        dropped.extend(queue.push((pushed, bytes), bytes, ordered).into_iter().map(|(id, _)| id));
                        in_order.push(ordered);
                        pushed += 1;
                    }
                    2 => while let Some((number, (id, _))) = queue.next() {
                        prop_assert_eq!(number, id);
                        if in_order[id as usize] {
                            let over = |earlier: &u64| ended.contains(earlier) || dropped.contains(earlier);
                            prop_assert!((0..id).all(|earlier| over(&earlier)), "{} went early", id);
                        }
                        started.push(id);
                    },
                    _ if started.len() > ended.len() => {
                        let open: Vec<u64> = started.iter().copied().filter(|id| !ended.contains(id)).collect();
                        let id = open[bytes % open.len()];
                        queue.ended(id);
                        ended.push(id);
                    }
                    _ => {}
                }
                let waiting: usize = queue.waiting.iter().map(|waiting| waiting.bytes).sum();
                prop_assert_eq!(waiting, queue.waiting_bytes);
                prop_assert!(queue.waiting() <= 4 && waiting <= 100 && queue.in_flight() <= 3);
                prop_assert_eq!(started.len() + dropped.len() + queue.waiting(), pushed as usize);
            }
            // And nothing waits for ever.
            while let Some((number, _)) = { ended.extend(queue.in_flight.iter()); queue.in_flight.clear(); queue.next() } {
                started.push(number);
            }
            prop_assert_eq!(queue.waiting(), 0);
        }
    }
}

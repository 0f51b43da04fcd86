//! The new requests of one lane: first in, first out, with a way out of the middle.
//!
//! A ring of entries in the order of arrival. One that leaves from the middle leaves a gap, which is passed over once; the
//! ring is closed up when gaps are most of it. Deadlines almost always come in order too, since requests wait for the same time:
//! then the first entry is the next to expire, and expiry needs no index. An entry whose deadline is before that of
//! one in front of it is *early*; the lanes keep those in a tree.
//!
//! An entry is in two halves: what its turn reads, and what only expiry, ageing and cancelling do. Who puts requests in is often on
//! another core than who takes them out, and to hand a line of memory across takes as long as several steps of the queue.

use std::collections::VecDeque;
use std::time::Instant;

/// Most gaps in a ring with few entries.
const GAPS: usize = 1024;
/// Entries for which memory is kept once a ring is empty.
const KEPT: usize = 16_384;

/// What is known of one that waits, but for its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) order: u64,
    pub(crate) since: Instant,
    pub(crate) deadline: Instant,
    /// Set by the ring.
    pub(crate) early: bool,
}

/// What its turn reads of an entry.
#[derive(Debug)]
struct Place<T> {
    /// `None`: a gap.
    waiter: Option<T>,
    size: usize,
}

/// One that has left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left<T> {
    pub(crate) waiter: T,
    pub(crate) size: usize,
    /// Deadline and order of one that was early.
    pub(crate) early: Option<(Instant, u64)>,
}

#[derive(Debug)]
pub(crate) struct Ring<T> {
    /// By order. The first is no gap.
    places: VecDeque<Place<T>>,
    /// Of the same entries.
    facts: VecDeque<Facts>,
    /// Entries that are gaps, early, or both.
    odd: usize,
    /// Entries that are no gaps.
    len: usize,
    /// Index of the first entry that is not odd; their number if there is none.
    due: usize,
    /// The latest deadline of those that aren't early.
    latest: Option<Instant>,
}

impl<T> Ring<T> {
    pub(crate) fn new() -> Self {
        Self { places: VecDeque::new(), facts: VecDeque::new(), odd: 0, len: 0, due: 0, latest: None }
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&Facts> {
        self.facts.front()
    }

    /// Puts one of higher order than all before it at the end. Says whether it is early.
    #[inline]
    pub(crate) fn push(&mut self, facts: Facts, size: usize, waiter: T) -> bool {
        let early = self.latest.is_some_and(|latest| facts.deadline < latest);
        self.places.push_back(Place { waiter: Some(waiter), size });
        self.facts.push_back(Facts { early, ..facts });
        self.len += 1;
        if early {
            self.pushed_early();
        } else {
            // If none was due before, `due` is where this one went.
            self.latest = Some(facts.deadline);
        }
        early
    }

    #[inline(never)]
    fn pushed_early(&mut self) {
        self.odd += 1;
        if self.due + 1 == self.places.len() {
            self.due += 1;
        }
    }

    /// Takes the first one out and gives its size, in the usual case: there is another, and all are due.
    #[inline]
    pub(crate) fn pop_plain(&mut self) -> Option<(T, usize)> {
        if self.odd > 0 || self.len <= 1 {
            return None;
        }
        let Place { waiter, size } = self.places.pop_front()?;
        self.facts.pop_front();
        self.len -= 1;
        Some((waiter?, size))
    }

    /// Takes the first one out, of whom [`Ring::front`] tells.
    #[inline(never)]
    pub(crate) fn pop(&mut self) -> Option<Left<T>> {
        let Place { waiter, size } = self.places.pop_front()?;
        let facts = self.facts.pop_front()?;
        self.len -= 1;
        self.odd -= usize::from(facts.early);
        let was_due = self.due == 0;
        self.due = self.due.saturating_sub(1);
        self.pass_front();
        if was_due {
            self.seek_due();
        }
        self.close_up();
        Some(Left { waiter: waiter?, size, early: early(&facts) })
    }

    /// Takes out the one of this order, if it is here.
    pub(crate) fn remove(&mut self, order: u64) -> Option<Left<T>> {
        let index = self.facts.binary_search_by_key(&order, |facts| facts.order).ok()?;
        if index == 0 {
            return self.pop();
        }
        let (place, facts) = (&mut self.places[index], self.facts[index]);
        let (waiter, size) = (place.waiter.take()?, place.size);
        self.len -= 1;
        self.odd += usize::from(!facts.early);
        if index == self.due {
            self.seek_due();
        }
        self.close_up();
        Some(Left { waiter, size, early: early(&facts) })
    }

    /// When the first of those that aren't early expires, and its order.
    #[inline]
    pub(crate) fn next_due(&self) -> Option<(Instant, u64)> {
        self.facts.get(self.due).map(|facts| (facts.deadline, facts.order))
    }

    /// Drops the gaps at the front.
    fn pass_front(&mut self) {
        while self.places.front().is_some_and(|place| place.waiter.is_none()) {
            self.places.pop_front();
            self.facts.pop_front();
            self.odd -= 1;
            self.due = self.due.saturating_sub(1);
        }
    }

    /// Goes on to the next that is due; each entry is passed once.
    fn seek_due(&mut self) {
        let is_odd = |(place, facts): (&Place<T>, &Facts)| place.waiter.is_none() || facts.early;
        while self.places.get(self.due).zip(self.facts.get(self.due)).is_some_and(is_odd) {
            self.due += 1;
        }
    }

    fn close_up(&mut self) {
        let gaps = self.places.len() - self.len;
        if self.len == 0 {
            self.places.clear();
            self.facts.clear();
            (self.odd, self.due, self.latest) = (0, 0, None);
            if self.places.capacity() > KEPT {
                (self.places, self.facts) = (VecDeque::new(), VecDeque::new());
            }
        } else if gaps > self.len + GAPS {
            let mut waits = self.places.iter().map(|place| place.waiter.is_some());
            self.facts.retain(|_| waits.next().is_some_and(|waits| waits));
            drop(waits);
            self.places.retain(|place| place.waiter.is_some());
            (self.odd, self.due) = (self.odd - gaps, 0);
            self.seek_due();
        }
    }
}

fn early(facts: &Facts) -> Option<(Instant, u64)> {
    facts.early.then_some((facts.deadline, facts.order))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn facts(order: u64, start: Instant, ms: u64) -> Facts {
        let deadline = start + Duration::from_millis(ms);
        Facts { order, since: start, deadline, early: false }
    }

    /// An entry of the model as the ring gives it back.
    fn left((order, deadline, early): (u64, Instant, bool)) -> Left<u64> {
        Left { waiter: order, size: 1, early: early.then_some((deadline, order)) }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64),
        Pop,
        Remove(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u64..50).prop_map(Step::Push),
            1 => Just(Step::Pop),
            3 => any::<prop::sample::Index>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn as_a_list_that_is_searched(steps in prop::collection::vec(step(), 1..300)) {
            let start = Instant::now();
            let mut ring = Ring::new();
            let mut model: Vec<(u64, Instant, bool)> = Vec::new();
            for (order, step) in (1u64..).zip(steps) {
                match step {
                    Step::Push(ms) => {
                        let early = ring.push(facts(order, start, ms), 1, order);
                        let deadline = start + Duration::from_millis(ms);
                        // One that comes before an entry in front of it has to be early.
                        prop_assert!(early || model.iter().all(|(_, other, early)| *early || *other <= deadline));
                        model.push((order, deadline, early));
                    }
                    Step::Pop => {
                        let first = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(ring.pop(), first.map(left));
                    }
                    Step::Remove(index) if !model.is_empty() => {
                        let one = model.remove(index.index(model.len()));
                        prop_assert_eq!(ring.remove(one.0), Some(left(one)));
                        prop_assert!(ring.remove(one.0).is_none());
                    }
                    Step::Remove(_) => prop_assert!(ring.remove(order).is_none()),
                }
                prop_assert_eq!(ring.len, model.len());
                prop_assert_eq!(ring.places.len(), ring.facts.len());
                let odd = ring.places.iter().zip(&ring.facts).filter(|(place, facts)| place.waiter.is_none() || facts.early);
                prop_assert_eq!(ring.odd, odd.count());
                prop_assert_eq!(ring.front().map(|facts| facts.order), model.first().map(|(order, ..)| *order));
                let due = model.iter().find(|(.., early)| !early).map(|(order, deadline, _)| (*deadline, *order));
                prop_assert_eq!(ring.next_due(), due);
            }
        }
    }

    #[test]
    fn gaps_are_closed_and_memory_given_back() {
        let start = Instant::now();
        let mut ring = Ring::new();
        for order in 0..100_000 {
            ring.push(facts(order, start, 5), 1, order);
        }
        for order in 1..100_000 {
            assert!(ring.remove(order).is_some());
            assert!(ring.places.len() <= 2 * ring.len + GAPS + 1, "gaps of {order}");
            assert_eq!(ring.places.len(), ring.facts.len());
        }
        assert_eq!(ring.len, 1);
        assert_eq!(ring.pop(), Some(Left { waiter: 0, size: 1, early: None }));
        assert_eq!((ring.places.capacity(), ring.facts.capacity()), (0, 0));
    }
}

//! The new requests of one lane: first in, first out, with a way out of the middle.
//!
//! A ring of entries in the order of arrival. One that leaves from the middle leaves a gap, which is passed over once; the
//! ring is closed up when gaps are most of it. Deadlines almost always come in order too, since requests wait for the same time:
//! then the first entry is the next to expire, and expiry needs no index. An entry whose deadline is before that of
//! one in front of it is *early*; the lanes keep those in a tree.

use std::collections::VecDeque;
use std::time::Instant;

/// Most gaps in a ring with few entries.
const GAPS: usize = 1024;
/// Entries for which memory is kept once a ring is empty.
const KEPT: usize = 16_384;

/// What is known of one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) order: u64,
    pub(crate) since: Instant,
    pub(crate) deadline: Instant,
    pub(crate) size: usize,
    /// Set by the ring.
    pub(crate) early: bool,
}

#[derive(Debug)]
struct Entry<T> {
    facts: Facts,
    /// `None`: a gap.
    waiter: Option<T>,
}

impl<T> Entry<T> {
    /// Whether it is neither a gap nor early.
    #[inline]
    fn is_due(&self) -> bool {
        self.waiter.is_some() && !self.facts.early
    }
}

#[derive(Debug)]
pub(crate) struct Ring<T> {
    /// By order. The first is no gap.
    entries: VecDeque<Entry<T>>,
    /// Entries that are no gaps.
    len: usize,
    /// Index of the first entry that is neither a gap nor early; their number if there is none.
    due: usize,
    /// The latest deadline of those that aren't early.
    latest: Option<Instant>,
}

impl<T> Ring<T> {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), len: 0, due: 0, latest: None }
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&Facts> {
        self.entries.front().map(|entry| &entry.facts)
    }

    /// Puts one of higher order than all before it at the end. Says whether it is early.
    #[inline]
    pub(crate) fn push(&mut self, facts: Facts, waiter: T) -> bool {
        let early = self.latest.is_some_and(|latest| facts.deadline < latest);
        if !early {
            self.latest = Some(facts.deadline);
        }
        // If none was due before, `due` is where this one goes.
        let none_due = self.due == self.entries.len();
        self.entries.push_back(Entry { facts: Facts { early, ..facts }, waiter: Some(waiter) });
        self.len += 1;
        if early && none_due {
            self.due = self.entries.len();
        }
        early
    }

    /// Takes the first one out, of whom [`Ring::front`] tells.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let waiter = self.entries.pop_front()?.waiter;
        self.len -= 1;
        // Nearly always the next one is due now, and there are no gaps.
        let is_next_due = self.entries.front().is_some_and(Entry::is_due);
        if self.due > 0 || !is_next_due || self.has_gaps() {
            self.tidy();
        }
        waiter
    }

    /// Takes out the one of this order, if it is here.
    pub(crate) fn remove(&mut self, order: u64) -> Option<(Facts, T)> {
        let index = self.entries.binary_search_by_key(&order, |entry| entry.facts.order).ok()?;
        let entry = &mut self.entries[index];
        let facts = entry.facts;
        if index == 0 {
            return Some((facts, self.pop()?));
        }
        let waiter = entry.waiter.take()?;
        self.len -= 1;
        if index == self.due {
            self.seek_due();
        }
        self.close_up();
        Some((facts, waiter))
    }

    /// When the first of those that aren't early expires, and its order.
    #[inline]
    pub(crate) fn next_due(&self) -> Option<(Instant, u64)> {
        self.entries.get(self.due).map(|entry| (entry.facts.deadline, entry.facts.order))
    }

    fn has_gaps(&self) -> bool {
        self.entries.len() > self.len
    }

    /// After the first one went.
    #[inline(never)]
    fn tidy(&mut self) {
        let was_due = self.due == 0;
        self.due = self.due.saturating_sub(1);
        self.pass_front();
        if was_due {
            self.seek_due();
        }
        self.close_up();
    }

    /// Drops the gaps at the front.
    fn pass_front(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.waiter.is_none()) {
            self.entries.pop_front();
            self.due = self.due.saturating_sub(1);
        }
    }

    /// Goes on to the next that is due; each entry is passed once.
    fn seek_due(&mut self) {
        while self.entries.get(self.due).is_some_and(|entry| !entry.is_due()) {
            self.due += 1;
        }
    }

    fn close_up(&mut self) {
        if self.len == 0 {
            self.entries.clear();
            (self.due, self.latest) = (0, None);
            if self.entries.capacity() > KEPT {
                self.entries = VecDeque::new();
            }
        } else if self.entries.len() - self.len > self.len + GAPS {
            self.entries.retain(|entry| entry.waiter.is_some());
            self.due = 0;
            self.seek_due();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn facts(order: u64, start: Instant, ms: u64) -> Facts {
        let deadline = start + Duration::from_millis(ms);
        Facts { order, since: start, deadline, size: 1, early: false }
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
                        let early = ring.push(facts(order, start, ms), order);
                        let deadline = start + Duration::from_millis(ms);
                        // One that comes before an entry in front of it has to be early.
                        prop_assert!(early || model.iter().all(|(_, other, early)| *early || *other <= deadline));
                        model.push((order, deadline, early));
                    }
                    Step::Pop => {
                        let popped = ring.pop();
                        prop_assert_eq!(popped, (!model.is_empty()).then(|| model.remove(0).0));
                    }
                    Step::Remove(index) if !model.is_empty() => {
                        let (order, _, early) = model.remove(index.index(model.len()));
                        let (facts, waiter) = ring.remove(order).unwrap();
                        prop_assert_eq!((facts.order, facts.early, waiter), (order, early, order));
                        prop_assert!(ring.remove(order).is_none());
                    }
                    Step::Remove(_) => prop_assert!(ring.remove(order).is_none()),
                }
                prop_assert_eq!(ring.len, model.len());
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
            ring.push(facts(order, start, 5), order);
        }
        for order in 1..100_000 {
            assert!(ring.remove(order).is_some());
            assert!(ring.entries.len() <= 2 * ring.len + GAPS + 1, "gaps of {order}");
        }
        assert_eq!(ring.len, 1);
        assert_eq!(ring.pop(), Some(0));
        assert_eq!(ring.entries.capacity(), 0);
    }
}

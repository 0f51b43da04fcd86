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

#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) order: u64,
    pub(crate) since: Instant,
    pub(crate) deadline: Instant,
    pub(crate) size: usize,
    pub(crate) early: bool,
    /// `None`: a gap.
    pub(crate) waiter: Option<T>,
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
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&Entry<T>> {
        self.entries.front()
    }

    /// Puts an entry of higher order than all before it at the end. Says whether it is early.
    #[inline]
    pub(crate) fn push(&mut self, mut entry: Entry<T>) -> bool {
        let early = self.latest.is_some_and(|latest| entry.deadline < latest);
        entry.early = early;
        if !early {
            self.latest = Some(entry.deadline);
        }
        // If none was due before, `due` is where this one goes.
        let none_due = self.due == self.entries.len();
        self.entries.push_back(entry);
        self.len += 1;
        if early && none_due {
            self.due = self.entries.len();
        }
        early
    }

    /// Takes the first entry.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry<T>> {
        let entry = self.entries.pop_front()?;
        self.len -= 1;
        if self.due == 0 {
            self.pass_front();
            self.seek_due();
        } else {
            self.due -= 1;
            self.pass_front();
        }
        self.close_up();
        Some(entry)
    }

    /// Takes out the entry of this order, if it is here: its size, whether it is early, and who waits.
    pub(crate) fn remove(&mut self, order: u64) -> Option<Entry<T>> {
        let index = self.entries.binary_search_by_key(&order, |entry| entry.order).ok()?;
        if index == 0 {
            return self.pop();
        }
        let entry = &mut self.entries[index];
        let waiter = Some(entry.waiter.take()?);
        let taken = Entry { waiter, ..*entry };
        self.len -= 1;
        if index == self.due {
            self.seek_due();
        }
        self.close_up();
        Some(taken)
    }

    /// When the first of those that aren't early expires, and its order.
    #[inline]
    pub(crate) fn next_due(&self) -> Option<(Instant, u64)> {
        self.entries.get(self.due).map(|entry| (entry.deadline, entry.order))
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
        let is_due = |entry: &Entry<T>| entry.waiter.is_some() && !entry.early;
        while self.entries.get(self.due).is_some_and(|entry| !is_due(entry)) {
            self.due += 1;
        }
    }

    #[inline]
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

    fn entry(order: u64, start: Instant, ms: u64) -> Entry<u64> {
        let deadline = start + Duration::from_millis(ms);
        Entry { order, since: start, deadline, size: 1, early: false, waiter: Some(order) }
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
                        let early = ring.push(entry(order, start, ms));
                        let deadline = start + Duration::from_millis(ms);
                        // One that comes before an entry in front of it has to be early.
                        prop_assert!(early || model.iter().all(|(_, other, early)| *early || *other <= deadline));
                        model.push((order, deadline, early));
                    }
                    Step::Pop => {
                        let popped = ring.pop().map(|entry| entry.order);
                        prop_assert_eq!(popped, (!model.is_empty()).then(|| model.remove(0).0));
                    }
                    Step::Remove(index) if !model.is_empty() => {
                        let (order, _, early) = model.remove(index.index(model.len()));
                        let removed = ring.remove(order).unwrap();
                        prop_assert_eq!((removed.order, removed.early, removed.waiter), (order, early, Some(order)));
                        prop_assert!(ring.remove(order).is_none());
                    }
                    Step::Remove(_) => prop_assert!(ring.remove(order).is_none()),
                }
                prop_assert_eq!(ring.len(), model.len());
                prop_assert_eq!(ring.front().map(|entry| entry.order), model.first().map(|(order, ..)| *order));
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
            ring.push(entry(order, start, 5));
        }
        for order in 1..100_000 {
            assert!(ring.remove(order).is_some());
            assert!(ring.entries.len() <= 2 * ring.len() + GAPS + 1, "gaps of {order}");
        }
        assert_eq!(ring.len(), 1);
        assert_eq!(ring.pop().map(|entry| entry.order), Some(0));
        assert_eq!(ring.entries.capacity(), 0);
    }
}

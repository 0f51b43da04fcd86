//! Which waiting item's time is up next.
//!
//! Almost all deadlines come in order, since requests wait for the same time: those are a list in which a newcomer finds
//! its place within a few steps from either end (a retry has an old deadline). One that doesn't goes into a tree beside it.
//! So the usual item costs two links, and no order of deadlines can make one costly.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::arena::{Arena, Chain, Ends, Place, Side};

/// How far from an end of the list a place is looked for.
const STEPS: usize = 8;

/// An item that has a deadline.
pub(crate) trait Timed {
    fn deadline(&self) -> Instant;
    /// A number that no other item has; of equal deadlines the lower is due first.
    fn number(&self) -> u64;
}

/// The deadlines of the items of one arena.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    list: Ends,
    tree: BTreeSet<(Instant, u64, Place)>,
}

impl Deadlines {
    /// Takes an item's deadline in. Says whether it stands in the tree, which `remove` wants to know.
    pub(crate) fn insert<T: Timed>(&mut self, arena: &mut Arena<T>, place: Place) -> bool {
        let Some(deadline) = arena.get(place).map(Timed::deadline) else { return false };
        let due = |at: Place| arena.get(at).map(Timed::deadline);
        let mut at = arena.last(&self.list);
        let mut found = None;
        for _ in 0..STEPS {
            let Some(other) = at else { break };
            if due(other).is_some_and(|other| other <= deadline) {
                found = Some((other, Side::After));
                break;
            }
            at = arena.beside(Chain::Deadline, other, Side::Before);
            if at.is_none() {
                found = Some((other, Side::Before));
            }
        }
        if found.is_none() {
            let mut at = arena.first(&self.list);
            for _ in 0..STEPS {
                let Some(other) = at else { break };
                if due(other).is_some_and(|other| deadline < other) {
                    found = Some((other, Side::Before));
                    break;
                }
                at = arena.beside(Chain::Deadline, other, Side::After);
            }
        }
        match found {
            Some((other, side)) => arena.put(Chain::Deadline, &mut self.list, place, side, other),
            None if self.list.is_empty() => arena.push_back(Chain::Deadline, &mut self.list, place),
            None => {
                let number = arena.get(place).map_or(0, Timed::number);
                self.tree.insert((deadline, number, place));
                return true;
            }
        }
        false
    }

    /// Forgets an item that `insert` took in.
    pub(crate) fn remove<T: Timed>(&mut self, arena: &mut Arena<T>, place: Place, in_tree: bool) {
        if !in_tree {
            arena.unlink(Chain::Deadline, &mut self.list, place);
        } else if let Some(item) = arena.get(place) {
            self.tree.remove(&(item.deadline(), item.number(), place));
        }
    }

    /// The item that is due first, and when.
    pub(crate) fn first<T: Timed>(&self, arena: &Arena<T>) -> Option<(Instant, Place)> {
        let listed = arena.first(&self.list).and_then(|place| Some((arena.get(place)?.deadline(), place)));
        if self.tree.is_empty() {
            return listed;
        }
        let kept = self.tree.first().map(|(due, _, place)| (*due, *place));
        match (listed, kept) {
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    struct Item(Instant, u64, bool);

    impl Timed for Item {
        fn deadline(&self) -> Instant {
            self.0
        }
        fn number(&self) -> u64 {
            self.1
        }
    }

    proptest! {
        #[test]
        fn they_come_out_by_deadline_whatever_the_order_they_went_in(
            steps in prop::collection::vec((0u64..1000, prop::option::of(any::<prop::sample::Index>())), 1..300)
        ) {
            let start = Instant::now();
            let (mut arena, mut deadlines, mut held) = (Arena::new(), Deadlines::default(), Vec::new());
            for (number, (ms, taken)) in (0u64..).zip(steps) {
                let due = start + Duration::from_millis(ms);
                let place = arena.insert(Item(due, number, false));
                let in_tree = deadlines.insert(&mut arena, place);
                arena.get_mut(place).unwrap().2 = in_tree;
                held.push((due, place));
                if let Some(index) = taken {
                    let (_, place) = held.swap_remove(index.index(held.len()));
                    let in_tree = arena.get(place).unwrap().2;
                    deadlines.remove(&mut arena, place, in_tree);
                    prop_assert!(arena.remove(place).is_some());
                }
                prop_assert_eq!(deadlines.first(&arena).map(|(due, _)| due), held.iter().map(|(due, _)| *due).min());
            }
            held.sort_by_key(|(due, _)| *due);
            for (due, _) in held {
                let (first, place) = deadlines.first(&arena).unwrap();
                prop_assert_eq!(first, due);
                let in_tree = arena.get(place).unwrap().2;
                deadlines.remove(&mut arena, place, in_tree);
                arena.remove(place);
            }
            prop_assert!(deadlines.first(&arena).is_none() && deadlines.tree.is_empty());
        }
    }

    #[test]
    fn deadlines_in_order_need_no_tree() {
        let start = Instant::now();
        let (mut arena, mut deadlines) = (Arena::new(), Deadlines::default());
        for number in 0..1000 {
            let place = arena.insert(Item(start + Duration::from_millis(number), number, false));
            assert!(!deadlines.insert(&mut arena, place));
        }
        let old = arena.insert(Item(start, 1000, false));
        assert!(!deadlines.insert(&mut arena, old), "near the front there is room too");
        let odd = arena.insert(Item(start + Duration::from_millis(500), 1001, false));
        assert!(deadlines.insert(&mut arena, odd));
    }
}

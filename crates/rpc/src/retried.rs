//! Requests that were sent to some nodes and wait for another.
//!
//! They are kept apart by lane and by which nodes those are, so that finding one for a free node never means to look past all
//! those that want another. There are few of them, in trees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::call::{Call, Tried};
use crate::lane::Lane;

#[derive(Debug)]
struct Item<T> {
    call: Call,
    waiter: T,
    serial: u64,
}

/// Requests of one lane that were sent to the same nodes, by their order.
#[derive(Debug)]
struct Group {
    lane: Lane,
    tried: Tried,
    orders: BTreeSet<u64>,
}

#[derive(Debug)]
pub(crate) struct Retried<T> {
    items: BTreeMap<u64, Item<T>>,
    groups: Vec<Group>,
    deadlines: BTreeSet<(Instant, u64)>,
}

impl<T> Retried<T> {
    pub(crate) fn new() -> Self {
        Self { items: BTreeMap::new(), groups: Vec::new(), deadlines: BTreeSet::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes a request in; `serial` is one that no other has.
    pub(crate) fn push(&mut self, call: Call, waiter: T, serial: u64) {
        let order = call.order;
        self.deadlines.insert((call.deadline, order));
        let same = |group: &&mut Group| group.lane == call.lane && group.tried == call.tried;
        match self.groups.iter_mut().find(same) {
            Some(group) => {
                group.orders.insert(order);
            }
            None => {
                let orders = BTreeSet::from([order]);
                self.groups.push(Group { lane: call.lane, tried: call.tried.clone(), orders });
            }
        }
        self.items.insert(order, Item { call, waiter, serial });
    }

    /// Takes a request out; `serial` has to be that with which it went in, if it is given.
    pub(crate) fn remove(&mut self, order: u64, serial: Option<u64>) -> Option<(Call, T)> {
        let item = self.items.get(&order)?;
        if serial.is_some_and(|serial| serial != item.serial) {
            return None;
        }
        let Item { call, waiter, .. } = self.items.remove(&order)?;
        self.deadlines.remove(&(call.deadline, order));
        let same = |group: &Group| group.lane == call.lane && group.tried == call.tried;
        if let Some(at) = self.groups.iter().position(same) {
            self.groups[at].orders.remove(&order);
            if self.groups[at].orders.is_empty() {
                self.groups.swap_remove(at);
            }
        }
        Some((call, waiter))
    }

    /// Order of the first request of a lane that can run.
    pub(crate) fn first(&self, lane: Lane, can_run: impl Fn(&Tried) -> bool) -> Option<u64> {
        let runnable = self.groups.iter().filter(|group| group.lane == lane && can_run(&group.tried));
        runnable.filter_map(|group| group.orders.first().copied()).min()
    }

    /// When a request of this order came.
    pub(crate) fn since(&self, order: u64) -> Option<Instant> {
        self.items.get(&order).map(|item| item.call.since)
    }

    /// When the next one expires, and its order.
    pub(crate) fn next_due(&self) -> Option<(Instant, u64)> {
        self.deadlines.first().copied()
    }
}

//! Requests meet free slots: the queue's whole mind.
//!
//! A request runs at once if a node may take it, else it waits in its lane. After anything that could let a waiting one
//! run (a slot given back, a node added or fit again, time) the caller asks [`Dispatch::next`] until it says `None`; between two
//! such rounds no request waits that a free slot could take, which is why a new one may take a free slot without asking
//! who else waits.
//!
//! * No node at all: refused at once, those that wait too. Nodes, but none usable: they wait for one until their deadline, for a
//!   node is often back within it; `refuse_when_unfit` refuses them at once instead.
//! * A deadline passes in the queue: [`Dispatch::next`] gives the request back then, if it is asked at [`Dispatch::next_wake`].
//! * A retry is never refused for a full queue, and keeps its place.

use std::time::{Duration, Instant};

use crate::call::{Call, Tried};
use crate::lanes::{Full, Key, Lanes, Rules};
use crate::pool::{NodeId, NodeLoad, Pool};

/// How requests and nodes meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How requests wait.
    pub rules: Rules,
    /// Over what time a node that comes back gets its slots.
    pub slow_start: Duration,
    /// Refuse at once when there are nodes but none is usable, instead of waiting for one.
    pub refuse_when_unfit: bool,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full.
    Full(Full),
    /// There is no node.
    NoNodes,
    /// There are nodes, and none is usable; only with `refuse_when_unfit`.
    NoneFit,
}

/// What became of a new request.
#[derive(Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Send it to this node now, of which a slot is taken.
    Run(NodeId),
    /// It waits.
    Queued(Key),
    /// It may not wait.
    Refused(Refusal),
}

/// What is to be told to one who waited. What the request is, the waiter knows.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// Send it to this node now.
    Run {
        /// The node, of which a slot is taken.
        node: NodeId,
        /// Who waits for it.
        waiter: T,
    },
    /// Its deadline has passed.
    Expired(T),
    /// The last node went.
    Refused(Refusal, T),
}

/// Lanes and pool.
#[derive(Debug)]
pub struct Dispatch<T> {
    lanes: Lanes<T>,
    pool: Pool,
    refuse_when_unfit: bool,
    arrivals: u64,
}

impl<T> Dispatch<T> {
    /// No request and no node.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { rules, slow_start, refuse_when_unfit } = options;
        Self { lanes: Lanes::new(rules), pool: Pool::new(slow_start), refuse_when_unfit, arrivals: 0 }
    }

    /// Other options from now on. Who waits stays, beyond a lane's limit too. Ask [`Dispatch::next`].
    pub fn set_options(&mut self, options: Options, now: Instant) {
        let Options { rules, slow_start, refuse_when_unfit } = options;
        self.lanes.set_rules(rules);
        self.pool.set_slow_start(slow_start, now);
        self.refuse_when_unfit = refuse_when_unfit;
    }

    /// A new request, which gets its place in the order of arrival; `waiter` makes who waits for it, if it has to wait. Asks
    /// nothing of [`Dispatch::next`].
    #[inline]
    pub fn submit(&mut self, call: &mut Call, waiter: impl FnOnce() -> T, now: Instant) -> Submitted {
        self.arrivals += 1;
        call.order = self.arrivals;
        if self.lanes.is_empty() {
            // Nobody set a clock for the pool then.
            self.pool.advance(now);
        }
        if let Some(node) = self.pool.take(&call.tried) {
            return Submitted::Run(node);
        }
        let admitted = match self.nobody() {
            Some(refusal) => Err(refusal),
            None => self.lanes.room(call.lane, call.size).map_err(Refusal::Full),
        };
        match admitted {
            Ok(()) => Submitted::Queued(self.lanes.push(call, waiter())),
            Err(refusal) => Submitted::Refused(refusal),
        }
    }

    /// A request that ran on `node` shall run again, on another if there is one: gives the slot back and lets it wait
    /// in its old place. Ask [`Dispatch::next`]: it may run at once.
    pub fn retry(&mut self, node: NodeId, call: &mut Call, waiter: T) -> Key {
        self.pool.give_back(node);
        call.tried.add(node);
        self.lanes.push(call, waiter)
    }

    /// A slot for a second copy of a request that was sent to `tried`: only of another node, only if one is free.
    pub fn hedge(&mut self, tried: &Tried, now: Instant) -> Option<NodeId> {
        if self.lanes.is_empty() {
            self.pool.advance(now);
        }
        let node = self.pool.take(tried)?;
        if tried.contains(node) {
            self.pool.give_back(node);
            return None;
        }
        Some(node)
    }

    /// A request has ended on `node`. Ask [`Dispatch::next`].
    #[inline]
    pub fn release(&mut self, node: NodeId) {
        self.pool.give_back(node);
    }

    /// As [`Dispatch::release`], where all that comes of it is that the next one who waits gets the same slot: gives who that is. That is
    /// how a slot goes from hand to hand under load. `None`: nothing has happened.
    #[inline]
    pub fn hand_on(&mut self, node: NodeId, now: Instant) -> Option<T> {
        if self.pool.may_keep(node, now) { self.lanes.next_plain(now) } else { None }
    }

    /// Whoever waits is gone: takes the request out. `None` if it waits no more.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        self.lanes.remove(key)
    }

    /// What is to be told next; `None` if nobody has to be told anything now.
    #[inline(always)]
    pub fn next(&mut self, now: Instant) -> Option<Event<T>> {
        if self.lanes.is_empty() {
            return None;
        }
        self.pool.advance(now);
        if let Some(waiter) = self.lanes.expired(now) {
            return Some(Event::Expired(waiter));
        }
        if !self.pool.has_free() {
            let refusal = self.nobody()?;
            return Some(Event::Refused(refusal, self.lanes.any()?));
        }
        let pool = &self.pool;
        let (tried, waiter) = self.lanes.next(|tried| pool.can_take(tried), now)?;
        match self.pool.take(&tried) {
            Some(node) => Some(Event::Run { node, waiter }),
            // It said that it can.
            None => Some(Event::Refused(Refusal::NoneFit, waiter)),
        }
    }

    /// Whether [`Dispatch::next`], which gave `event`, is sure to give nothing more now: what has expired comes before
    /// what runs, so with no free slot left there is nothing.
    #[must_use]
    #[inline]
    pub fn is_settled(&self, event: &Event<T>) -> bool {
        self.lanes.is_empty()
            || (matches!(event, Event::Run { .. }) && !self.pool.has_free() && self.pool.has_usable())
    }

    /// When [`Dispatch::next`] has to be asked at the latest; once it has been, this is later or `None`.
    #[must_use]
    #[inline]
    pub fn next_wake(&self) -> Option<Instant> {
        let expiry = self.lanes.quiet_until()?;
        Some(self.pool.next_change().map_or(expiry, |change| change.min(expiry)))
    }

    /// Adds a node. Ask [`Dispatch::next`] after this and every other change of a node.
    pub fn add_node(&mut self, workers: u32, fit: bool) -> NodeId {
        self.pool.add(workers, fit)
    }

    /// The nodes, to be changed.
    pub fn pool_mut(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// The nodes.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How many wait, by [`crate::Lane::index`].
    #[must_use]
    pub fn lengths(&self) -> [usize; 3] {
        self.lanes.lengths()
    }

    /// As [`Lanes::oldest`].
    #[must_use]
    pub fn oldest(&self) -> [Option<Instant>; 3] {
        self.lanes.oldest()
    }

    /// Every node that isn't removed.
    pub fn loads(&self) -> impl Iterator<Item = NodeLoad> + '_ {
        self.pool.loads()
    }

    /// Why nobody may wait now.
    fn nobody(&self) -> Option<Refusal> {
        if self.pool.is_empty() {
            Some(Refusal::NoNodes)
        } else if self.refuse_when_unfit && !self.pool.has_usable() {
            Some(Refusal::NoneFit)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;

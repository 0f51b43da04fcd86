//! The queue's mind under its lock.
//!
//! Every step is one short hold of one lock, and ends with the round of [`Dispatch::next`] that the step needs. Who has to be
//! told something is told by the caller, when the lock is free again.

use std::time::Instant;

use crate::call::{Call, Tried};
use crate::dispatch::{Dispatch, Event, Options, Submitted};
use crate::lanes::Key;
use crate::pool::{NodeId, NodeLoad, Pool};

use super::lock::Lock;

/// What is to be told, and to whom. Most steps have none or one.
#[derive(Debug)]
#[must_use = "somebody waits for it"]
pub struct Events<W> {
    first: Option<Event<W>>,
    more: Vec<Event<W>>,
}

impl<W> Events<W> {
    #[inline(always)]
    fn of(dispatch: &mut Dispatch<W>, now: Instant) -> Self {
        let Some(first) = dispatch.next(now) else { return Self { first: None, more: Vec::new() } };
        let more = if dispatch.is_settled(&first) { Vec::new() } else { Self::more(dispatch, now) };
        Self { first: Some(first), more }
    }

    #[inline(never)]
    fn more(dispatch: &mut Dispatch<W>, now: Instant) -> Vec<Event<W>> {
        let mut more = Vec::new();
        while let Some(event) = dispatch.next(now) {
            let is_last = dispatch.is_settled(&event);
            more.push(event);
            if is_last {
                break;
            }
        }
        more
    }

    /// Gives them out, in order.
    #[inline]
    pub fn each(self, mut tell: impl FnMut(Event<W>)) {
        if let Some(first) = self.first {
            tell(first);
        }
        self.more.into_iter().for_each(tell);
    }
}

#[derive(Debug)]
struct State<W> {
    dispatch: Dispatch<W>,
    /// Until when the one who keeps the time sleeps.
    sleeps_until: Option<Instant>,
    awake: bool,
}

/// The queue, for many threads; `W` is who waits for a request.
#[derive(Debug)]
pub struct Shared<W> {
    state: Lock<State<W>>,
}

/// What became of a step that may have made the next wake earlier.
#[derive(Debug)]
#[must_use = "somebody waits for it"]
pub struct Done<R, W> {
    /// What the step gave.
    pub result: R,
    /// What is to be told.
    pub events: Events<W>,
    /// [`Shared::next_wake`] is to be asked anew.
    pub wake: bool,
}

impl<W> Shared<W> {
    /// No request and no node.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let dispatch = Dispatch::new(options);
        Self { state: Lock::new(State { dispatch, sleeps_until: None, awake: true }) }
    }

    /// See [`Dispatch::submit`]. Gives how many wait too, by [`crate::Lane::index`], and whether
    /// [`Shared::next_wake`] is to be asked anew.
    #[inline]
    pub fn submit(
        &self,
        call: &mut Call,
        waiter: impl FnOnce() -> W,
        now: Instant,
    ) -> (Submitted, [usize; 3], bool) {
        self.state.with(|state| {
            let submitted = state.dispatch.submit(call, waiter, now);
            (submitted, state.dispatch.lengths(), state.is_late())
        })
    }

    /// See [`Dispatch::release`].
    #[inline]
    pub fn release(&self, node: NodeId, now: Instant) -> Events<W> {
        self.state.with(|state| {
            if let Some(waiter) = state.dispatch.hand_on(node, now) {
                return Events { first: Some(Event::Run { node, waiter }), more: Vec::new() };
            }
            state.dispatch.release(node);
            Events::of(&mut state.dispatch, now)
        })
    }

    /// See [`Dispatch::retry`].
    pub fn retry(&self, node: NodeId, call: &mut Call, waiter: W, now: Instant) -> Done<Key, W> {
        self.step(now, |dispatch| dispatch.retry(node, call, waiter))
    }

    /// See [`Dispatch::hedge`].
    pub fn hedge(&self, tried: &Tried, now: Instant) -> Option<NodeId> {
        self.state.with(|state| state.dispatch.hedge(tried, now))
    }

    /// See [`Pool::has_untried`].
    pub fn has_untried(&self, tried: &Tried) -> bool {
        self.state.with(|state| state.dispatch.pool().has_untried(tried))
    }

    /// See [`Dispatch::cancel`].
    pub fn cancel(&self, key: Key) -> Option<W> {
        self.state.with(|state| state.dispatch.cancel(key))
    }

    /// Changes nodes.
    pub fn change<R>(&self, now: Instant, change: impl FnOnce(&mut Pool) -> R) -> Done<R, W> {
        self.step(now, |dispatch| change(dispatch.pool_mut()))
    }

    /// Does what is due by the clock.
    pub fn tick(&self, now: Instant) -> Events<W> {
        self.state.with(|state| Events::of(&mut state.dispatch, now))
    }

    /// When [`Shared::tick`] is due. Whoever asks sleeps until then, unless told to ask anew.
    pub fn next_wake(&self) -> Option<Instant> {
        self.state.with(|state| {
            state.sleeps_until = state.dispatch.next_wake();
            state.awake = false;
            state.sleeps_until
        })
    }

    /// How many wait, by [`crate::Lane::index`].
    pub fn lengths(&self) -> [usize; 3] {
        self.state.with(|state| state.dispatch.lengths())
    }

    /// Every node that isn't removed.
    pub fn loads(&self) -> Vec<NodeLoad> {
        self.state.with(|state| state.dispatch.loads().collect())
    }

    fn step<R>(&self, now: Instant, step: impl FnOnce(&mut Dispatch<W>) -> R) -> Done<R, W> {
        self.state.with(|state| {
            let result = step(&mut state.dispatch);
            let events = Events::of(&mut state.dispatch, now);
            Done { result, events, wake: state.is_late() }
        })
    }
}

impl<W> State<W> {
    /// Whether the one who keeps the time would sleep too long. Says so once.
    fn is_late(&mut self) -> bool {
        if self.awake {
            return false;
        }
        let late = match (self.dispatch.next_wake(), self.sleeps_until) {
            (Some(next), Some(until)) => next < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.awake = late;
        late
    }
}

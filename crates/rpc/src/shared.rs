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

/// What is to be told, and to whom.
#[derive(Debug)]
#[must_use = "somebody waits for it"]
pub struct Events<W>(Told<W>);

/// Most steps have nothing to tell, or one thing.
#[derive(Debug)]
enum Told<W> {
    Nothing,
    One(Event<W>),
    Several(Vec<Event<W>>),
}

impl<W> Events<W> {
    fn of(dispatch: &mut Dispatch<W>, now: Instant) -> Self {
        match dispatch.next(now) {
            None => Self(Told::Nothing),
            Some(event) if dispatch.is_settled(&event) => Self(Told::One(event)),
            Some(event) => Self(Told::Several(Self::more(event, dispatch, now))),
        }
    }

    #[inline(never)]
    fn more(first: Event<W>, dispatch: &mut Dispatch<W>, now: Instant) -> Vec<Event<W>> {
        let mut all = vec![first];
        while let Some(event) = dispatch.next(now) {
            let is_last = dispatch.is_settled(&event);
            all.push(event);
            if is_last {
                break;
            }
        }
        all
    }

    /// Gives them out, in order.
    #[inline]
    pub fn each(self, mut tell: impl FnMut(Event<W>)) {
        match self.0 {
            Told::Nothing => {}
            Told::One(event) => tell(event),
            Told::Several(events) => events.into_iter().for_each(tell),
        }
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
        self.state.with(|state| match state.dispatch.hand_on(node, now) {
            Some(waiter) => Events(Told::One(Event::Run { node, waiter })),
            None => state.release(node, now),
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

    /// As [`Dispatch::set_options`].
    pub fn set_options(&self, options: Options, now: Instant) -> Done<(), W> {
        self.step(now, |dispatch| dispatch.set_options(options, now))
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

    /// Since when the first of each lane waits, by [`crate::Lane::index`].
    pub fn oldest(&self) -> [Option<Instant>; 3] {
        self.state.with(|state| state.dispatch.oldest())
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
    #[inline(never)]
    fn release(&mut self, node: NodeId, now: Instant) -> Events<W> {
        self.dispatch.release(node);
        Events::of(&mut self.dispatch, now)
    }

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

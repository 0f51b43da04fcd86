//! The queue as request handlers use it.
//!
//! ```text
//! enter ──▶ Slot                        a node is free: no task switch, nothing allocated
//!       ├─▶ Ticket ──await──▶ Slot      it waits; dropped, it leaves the queue at once
//!       │             └─────▶ Unserved  its deadline passed, or the last node went
//!       └─▶ Refusal                     the queue is full, or there is no node
//! Slot ──drop──▶ the next one runs      ──retry──▶ Ticket, in its old place
//! ```
//!
//! Whatever is dropped where, a slot is given back once and a place in the queue left: a grant that nobody waits for any more is a
//! [`Slot`] that is dropped. Deadlines are kept by [`Queue::keep_time`], which the role runs as a task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use crate::call::Call;
use crate::clock;
use crate::dispatch::{Event, Options, Refusal, Submitted};
use crate::lanes::Key;
use crate::pool::{NodeId, NodeLoad, Pool};

use super::shared::{Done, Events, Shared};

type Told = Result<Taken, Unserved>;

/// Why one who waited gets no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// Its deadline has passed.
    Expired,
    /// There is no node any more.
    Refused(Refusal),
}

/// What became of a request that entered.
#[derive(Debug)]
pub enum Place {
    /// It may be sent now.
    Now(Slot),
    /// It waits.
    Later(Ticket),
}

/// A request that was let in.
#[derive(Debug)]
pub struct Entered {
    /// Where it is.
    pub place: Place,
    /// How many wait, itself included, by [`crate::Lane::index`].
    pub lengths: [usize; 3],
}

struct Inner {
    shared: Shared<oneshot::Sender<Told>>,
    /// For the one who keeps the time.
    earlier: Notify,
}

/// The queue and the nodes behind it; clones are the same queue.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("lengths", &self.lengths()).finish_non_exhaustive()
    }
}

impl Queue {
    /// No request and no node.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { inner: Arc::new(Inner { shared: Shared::new(options), earlier: Notify::new() }) }
    }

    /// A new request.
    ///
    /// # Errors
    /// It may not wait: the queue is full, or there is no node.
    pub fn enter(&self, mut call: Call, now: Instant) -> Result<Entered, Refusal> {
        let mut receiver = None;
        let waiter = || {
            let (sender, told) = oneshot::channel();
            receiver = Some(told);
            sender
        };
        let (submitted, lengths, wake) = self.inner.shared.submit(&mut call, waiter, now);
        if wake {
            self.inner.earlier.notify_one();
        }
        let place = match (submitted, receiver) {
            (Submitted::Run(node), _) => Place::Now(self.slot(node, call)),
            (Submitted::Queued(key), Some(told)) => Place::Later(self.ticket(call, key, told)),
            (Submitted::Refused(refusal), _) => return Err(refusal),
            (Submitted::Queued(_), None) => unreachable!("who waits has a receiver"),
        };
        Ok(Entered { place, lengths })
    }

    /// Changes nodes: adds, removes, drains, says which are fit. Who can run because of it is told at once.
    pub fn change<R>(&self, now: Instant, change: impl FnOnce(&mut Pool) -> R) -> R {
        self.done(self.inner.shared.change(now, change))
    }

    /// Other options from now on, for those that wait too.
    pub fn set_options(&self, options: Options, now: Instant) {
        self.done(self.inner.shared.set_options(options, now));
    }

    /// Answers those whose deadline has passed, and opens slots that open by the clock. Ends only by being dropped.
    pub async fn keep_time(&self) {
        loop {
            let next = self.inner.shared.next_wake();
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.inner.earlier.notified() => {}
                () = sleep => {}
            }
            self.tick(clock::now());
        }
    }

    /// Does what is due at `now`: what [`Queue::keep_time`] does by itself.
    pub fn tick(&self, now: Instant) {
        self.tell(self.inner.shared.tick(now));
    }

    /// How many wait, by [`crate::Lane::index`].
    #[must_use]
    pub fn lengths(&self) -> [usize; 3] {
        self.inner.shared.lengths()
    }

    /// Since when the first of each lane waits, by [`crate::Lane::index`].
    #[must_use]
    pub fn oldest(&self) -> [Option<Instant>; 3] {
        self.inner.shared.oldest()
    }

    /// Every node that isn't removed.
    #[must_use]
    pub fn loads(&self) -> Vec<NodeLoad> {
        self.inner.shared.loads()
    }

    fn done<R>(&self, done: Done<R, oneshot::Sender<Told>>) -> R {
        if done.wake {
            self.inner.earlier.notify_one();
        }
        self.tell(done.events);
        done.result
    }

    fn tell(&self, events: Events<oneshot::Sender<Told>>) {
        events.each(|event| {
            // Who is gone meanwhile drops what it is told, and with it the slot.
            let _ = match event {
                Event::Run { node, waiter } => waiter.send(Ok(self.taken(node))),
                Event::Expired(waiter) => waiter.send(Err(Unserved::Expired)),
                Event::Refused(refusal, waiter) => waiter.send(Err(Unserved::Refused(refusal))),
            };
        });
    }

    fn taken(&self, node: NodeId) -> Taken {
        Taken { queue: Some(self.clone()), node }
    }

    fn slot(&self, node: NodeId, call: Call) -> Slot {
        Slot { taken: self.taken(node), call }
    }

    fn ticket(&self, call: Call, key: Key, told: oneshot::Receiver<Told>) -> Ticket {
        Ticket { queue: self.clone(), call: Some(call), key, told }
    }
}

/// A place in the queue. Awaited it gives the slot; dropped it leaves the queue.
#[derive(Debug)]
#[must_use = "dropped, it leaves the queue"]
pub struct Ticket {
    queue: Queue,
    /// `None` once it is over.
    call: Option<Call>,
    key: Key,
    told: oneshot::Receiver<Told>,
}

impl Future for Ticket {
    type Output = Result<Slot, Unserved>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = std::task::ready!(Pin::new(&mut self.told).poll(context));
        // Whoever waits is told before its sender goes.
        let gone = Unserved::Refused(Refusal::NoNodes);
        let told = told.unwrap_or(Err(gone));
        let call = self.call.take().ok_or(gone);
        Poll::Ready(told.and_then(|taken| Ok(Slot { taken, call: call? })))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.call.is_some() {
            // If it has been granted just now, the slot goes with the receiver.
            let _ = self.queue.inner.shared.cancel(self.key);
        }
    }
}

/// A slot of a node that somebody has. Dropped, it is free for the next one.
#[derive(Debug)]
struct Taken {
    /// `None` once the slot has been given back.
    queue: Option<Queue>,
    node: NodeId,
}

impl Taken {
    fn give_back(&mut self, now: Instant) {
        if let Some(queue) = self.queue.take() {
            queue.tell(queue.inner.shared.release(self.node, now));
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.queue.is_some() {
            self.give_back(clock::now());
        }
    }
}

/// A slot of a node, and the request that has it. Dropped, the slot is free for the next one.
#[derive(Debug)]
#[must_use = "dropped, the slot is free for another"]
pub struct Slot {
    taken: Taken,
    call: Call,
}

impl Slot {
    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.taken.node
    }

    /// Whether a node is usable, free or not, to which the request wasn't sent.
    #[must_use]
    pub fn has_untried(&self) -> bool {
        let Some(queue) = &self.taken.queue else { return false };
        let mut tried = self.call.tried.clone();
        tried.add(self.taken.node);
        queue.inner.shared.has_untried(&tried)
    }

    /// Gives the slot back; as drop, for one who has read the clock.
    pub fn release(mut self, now: Instant) {
        self.taken.give_back(now);
    }

    /// Gives the slot back and waits, in the request's old place, for one of another node; of the same if it is the
    /// only usable one. Never refused for a full queue.
    pub fn retry(self, now: Instant) -> Ticket {
        let Self { mut taken, mut call } = self;
        let Some(queue) = taken.queue.take() else { unreachable!("a slot is given back once") };
        let (sender, told) = oneshot::channel();
        let key = queue.done(queue.inner.shared.retry(taken.node, &mut call, sender, now));
        queue.ticket(call, key, told)
    }

    /// A slot of another node for a second copy of the request, if one is free. Whichever of the two slots is used for a retry
    /// later, the request was sent to both nodes.
    #[must_use]
    pub fn hedge(&mut self, now: Instant) -> Option<Self> {
        let queue = self.taken.queue.as_ref()?;
        let mut copy = self.call.clone();
        copy.tried.add(self.taken.node);
        let node = queue.inner.shared.hedge(&copy.tried, now)?;
        self.call.tried.add(node);
        Some(queue.slot(node, copy))
    }
}

//! The nodes and their free slots: which node takes a request.
//!
//! The fittest free node is the one with the least in flight relative to its open slots; of equals the next in turn, so that
//! idle nodes share. A request that was tried goes to a node that it wasn't sent to, as long as one is usable, free or not:
//! only when there is no other does it go to the same one again.
//!
//! A choice looks at each node once: pools have tens of nodes. Whether any slot is free is known without looking.

use std::time::{Duration, Instant};

use crate::call::Tried;
use crate::slots::Slots;

/// A node of a [`Pool`]. One that was removed and is gone has a number that is never used again.
///
/// Index and generation in one word: it is handed on a lot, and two halves that are written one by one are slow to be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    #[inline]
    fn new(index: usize, generation: u32) -> Self {
        Self(((index as u64) << 32) | u64::from(generation))
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the upper half of 64 bits
    fn index(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the lower half
    fn generation(self) -> u32 {
        self.0 as u32
    }
}

/// What a node looks like to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    /// The node.
    pub id: NodeId,
    /// Most requests at once.
    pub workers: u32,
    /// Slots that may be used now; fewer than `workers` in slow start.
    pub open: u32,
    /// Requests that it works on.
    pub in_flight: u32,
    /// Health says that it may be used.
    pub fit: bool,
    /// It gets no more, and finishes what it has.
    pub draining: bool,
    /// It asked for a pause.
    pub resting: bool,
}

#[derive(Debug)]
struct Member {
    generation: u32,
    /// `None`: the place is empty.
    slots: Option<Slots>,
}

/// The nodes.
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
    slow_start: Duration,
    /// Nodes that aren't removed.
    configured: usize,
    /// Nodes that may get requests, now or when they have a slot free.
    usable: usize,
    /// Nodes that may get one now.
    free: usize,
    /// Where the search starts, so that equals take turns.
    turn: usize,
    /// The node that a slot was given back of last: under load the only free one.
    freed: usize,
    /// When a slot opens or a pause ends.
    next_change: Option<Instant>,
}

impl Pool {
    /// No nodes. One that comes back gets its slots over `slow_start`.
    #[must_use]
    pub fn new(slow_start: Duration) -> Self {
        let members = Vec::new();
        Self { members, slow_start, configured: 0, usable: 0, free: 0, turn: 0, freed: 0, next_change: None }
    }

    /// Over another time nodes that come back get their slots, those too that are about to.
    pub fn set_slow_start(&mut self, slow_start: Duration, now: Instant) {
        self.slow_start = slow_start;
        self.look_at_clock(now);
    }

    /// Adds a node.
    pub fn add(&mut self, workers: u32, fit: bool) -> NodeId {
        let slots = Slots::new(workers, fit);
        let index = match self.members.iter().position(|member| member.slots.is_none()) {
            Some(index) => index,
            None => {
                self.members.push(Member { generation: 0, slots: None });
                self.members.len() - 1
            }
        };
        self.count(&slots, 1);
        let member = &mut self.members[index];
        member.slots = Some(slots);
        NodeId::new(index, member.generation)
    }

    /// Takes a node out. What it works on still counts for it until it is given back, also if the node is
    /// [brought back](Self::restore) meanwhile.
    pub fn remove(&mut self, id: NodeId) {
        self.change(id, |slots| slots.removed = true);
        self.forget_if_gone(id);
    }

    /// Takes a removal back; false if the node is gone, as it worked on nothing any more. Add it then.
    pub fn restore(&mut self, id: NodeId) -> bool {
        self.change(id, |slots| slots.removed = false)
    }

    /// Says what health says. A node that comes back starts slowly.
    pub fn set_fit(&mut self, id: NodeId, fit: bool, now: Instant) {
        let slow_start = self.slow_start;
        self.change(id, |slots| {
            if fit && !slots.fit {
                slots.back_since = Some(now);
            }
            slots.fit = fit;
            slots.advance(slow_start, now);
        });
        self.look_at_clock(now);
    }

    /// The first word of health on a node that was added as unfit because nothing was known of it: it isn't back, it was never
    /// away, and starts with all its slots.
    pub fn set_fit_at_once(&mut self, id: NodeId) {
        self.change(id, |slots| {
            slots.fit = true;
            slots.back_since = None;
            slots.open = slots.workers;
        });
    }

    /// Lets a node get no more, or get requests again.
    pub fn set_draining(&mut self, id: NodeId, draining: bool) {
        self.change(id, |slots| slots.draining = draining);
    }

    /// Changes how many requests a node may work on at once. What is more than that in flight finishes.
    pub fn set_workers(&mut self, id: NodeId, workers: u32, now: Instant) {
        let slow_start = self.slow_start;
        self.change(id, |slots| {
            slots.workers = workers;
            slots.advance(slow_start, now);
        });
        self.look_at_clock(now);
    }

    /// Gives a node no requests until `until` (it answered 429); never shortens a pause.
    pub fn rest(&mut self, id: NodeId, until: Instant, now: Instant) {
        self.change(id, |slots| {
            if until > now {
                slots.rests_until = slots.rests_until.max(Some(until));
            }
        });
        self.look_at_clock(now);
    }

    /// Opens what is due by the clock.
    #[inline]
    pub fn advance(&mut self, now: Instant) {
        if self.next_change.is_some_and(|next| next <= now) {
            self.look_at_clock(now);
        }
    }

    /// When [`Pool::advance`] has something to do next.
    #[must_use]
    pub fn next_change(&self) -> Option<Instant> {
        self.next_change
    }

    /// Takes a slot of the fittest free node for a request that was sent to `tried`.
    #[inline]
    pub fn take(&mut self, tried: &Tried) -> Option<NodeId> {
        let index = match self.free {
            0 => return None,
            1 if tried.is_empty() && self.is_free(self.freed) => self.freed,
            _ => self.choose(tried)?,
        };
        self.turn = index + 1;
        let slots = self.members[index].slots.as_mut()?;
        slots.in_flight += 1;
        if !slots.is_free() {
            self.free -= 1;
        }
        Some(self.id(index))
    }

    #[inline(never)]
    fn choose(&self, tried: &Tried) -> Option<usize> {
        let untried = self.fittest(|id| !tried.contains(id));
        untried.or_else(|| if self.has_untried(tried) { None } else { self.fittest(|_| true) })
    }

    /// Whether [`Pool::take`] would give one.
    #[must_use]
    #[inline]
    pub fn can_take(&self, tried: &Tried) -> bool {
        if self.free == 0 || tried.is_empty() {
            return self.free > 0;
        }
        self.fittest(|id| !tried.contains(id)).is_some() || !self.has_untried(tried)
    }

    /// Whether no slot is free, and one that this node gave back now would be: for a request that was sent nowhere yet
    /// [`Pool::give_back`] and [`Pool::take`] would come to the same slot.
    #[must_use]
    #[inline]
    pub fn may_keep(&self, id: NodeId, now: Instant) -> bool {
        self.free == 0
            && self.next_change.is_none_or(|next| next > now)
            && self.slots(id).is_some_and(Slots::is_within)
    }

    /// Gives a slot back.
    #[inline]
    pub fn give_back(&mut self, id: NodeId) {
        let Some(slots) = self.slots_mut(id) else { return };
        let was_free = slots.is_free();
        slots.in_flight = slots.in_flight.saturating_sub(1);
        let (is_free, removed) = (slots.is_free(), slots.removed);
        self.free += usize::from(is_free && !was_free);
        self.freed = id.index();
        if removed {
            self.forget_if_gone(id);
        }
    }

    /// Whether any slot is free.
    #[must_use]
    #[inline]
    pub fn has_free(&self) -> bool {
        self.free > 0
    }

    /// Whether any node may get requests, now or when it has a slot free.
    #[must_use]
    #[inline]
    pub fn has_usable(&self) -> bool {
        self.usable > 0
    }

    /// Whether there is no node but removed ones.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.configured == 0
    }

    /// Every node that isn't removed.
    pub fn loads(&self) -> impl Iterator<Item = NodeLoad> + '_ {
        self.members.iter().enumerate().filter_map(|(index, member)| {
            let slots = member.slots.as_ref().filter(|slots| !slots.removed)?;
            Some(load(self.id(index), slots))
        })
    }

    /// One node, also a removed one that still works.
    #[must_use]
    pub fn load(&self, id: NodeId) -> Option<NodeLoad> {
        self.slots(id).map(|slots| load(id, slots))
    }

    /// The free node with the least in flight relative to its open slots.
    fn fittest(&self, may: impl Fn(NodeId) -> bool) -> Option<usize> {
        let mut best: Option<(usize, u64, u64)> = None;
        let count = self.members.len();
        let start = if self.turn < count { self.turn } else { 0 };
        for index in (start..count).chain(0..start) {
            let Some(slots) = self.members[index].slots.as_ref().filter(|slots| slots.is_free()) else {
                continue;
            };
            if !may(self.id(index)) {
                continue;
            }
            let (busy, open) = (u64::from(slots.in_flight), u64::from(slots.open));
            if best.is_none_or(|(_, least, of)| busy * of < least * open) {
                best = Some((index, busy, open));
            }
        }
        best.map(|(index, ..)| index)
    }

    /// Whether a usable node, free or not, isn't among `tried`.
    #[must_use]
    pub fn has_untried(&self, tried: &Tried) -> bool {
        let usable = |id: &&NodeId| self.slots(**id).is_some_and(Slots::is_usable);
        self.usable > tried.nodes().iter().filter(usable).count()
    }

    #[inline]
    fn is_free(&self, index: usize) -> bool {
        self.members.get(index).and_then(|member| member.slots.as_ref()).is_some_and(Slots::is_free)
    }

    fn id(&self, index: usize) -> NodeId {
        NodeId::new(index, self.members[index].generation)
    }

    #[inline]
    fn slots(&self, id: NodeId) -> Option<&Slots> {
        let member = self.members.get(id.index()).filter(|member| member.generation == id.generation())?;
        member.slots.as_ref()
    }

    #[inline]
    fn slots_mut(&mut self, id: NodeId) -> Option<&mut Slots> {
        let member = self.members.get_mut(id.index())?;
        if member.generation == id.generation() { member.slots.as_mut() } else { None }
    }

    /// Changes a node and keeps the counts true; false if there is none.
    fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Slots)) -> bool {
        let Some(slots) = self.slots_mut(id) else { return false };
        let before = (slots.removed, slots.is_usable(), slots.is_free());
        change(slots);
        slots.weigh();
        let after = (slots.removed, slots.is_usable(), slots.is_free());
        let step = |count: usize, was: bool, is: bool| count + usize::from(is) - usize::from(was);
        self.configured = step(self.configured, !before.0, !after.0);
        self.usable = step(self.usable, before.1, after.1);
        self.free = step(self.free, before.2, after.2);
        true
    }

    fn count(&mut self, slots: &Slots, by: usize) {
        self.configured += by;
        self.usable += by * usize::from(slots.is_usable());
        self.free += by * usize::from(slots.is_free());
    }

    fn forget_if_gone(&mut self, id: NodeId) {
        if self.slots(id).is_some_and(|slots| slots.removed && slots.in_flight == 0) {
            let member = &mut self.members[id.index()];
            member.slots = None;
            member.generation = member.generation.wrapping_add(1);
        }
    }

    fn look_at_clock(&mut self, now: Instant) {
        let slow_start = self.slow_start;
        let mut next: Option<Instant> = None;
        for index in 0..self.members.len() {
            let id = self.id(index);
            let mut change = None;
            self.change(id, |slots| change = slots.advance(slow_start, now));
            next = [next, change].into_iter().flatten().min();
        }
        self.next_change = next;
    }
}

fn load(id: NodeId, slots: &Slots) -> NodeLoad {
    NodeLoad {
        id,
        workers: slots.workers,
        open: slots.open,
        in_flight: slots.in_flight,
        fit: slots.fit,
        draining: slots.draining,
        resting: slots.rests_until.is_some(),
    }
}

#[cfg(test)]
mod tests;

//! The waiting requests: three lanes, each in the order of arrival, bounded.
//!
//! * A lane's limit counts for that lane alone; 0 is no limit of its own. All lanes together hold at most `items` requests and
//!   `bytes` bytes. Only a new request is refused for that: a retry has been let in before.
//! * A retry has its old place, which is in front of whatever came later: it was next once already.
//! * Requests that were sent to some nodes are kept apart by which nodes those are, so that finding one for a free node never
//!   means to look past all those that want another.
//! * Cancelling, expiring and serving one cost the same with 10 or 100,000 waiting.

use std::time::{Duration, Instant};

use crate::arena::{Arena, Chain, Ends, Place, Side};
use crate::call::{Call, Tried};
use crate::deadlines::{Deadlines, Timed};
use crate::lane::{Lane, Ratio, Turn, Waiting};

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests by [`Lane::index`]; 0: no limit but the common ones.
    pub lanes: [usize; 3],
    /// Requests in all lanes together.
    pub items: usize,
    /// Bytes in all lanes together; one request may always wait, however large.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lanes: [0; 3], items: 100_000, bytes: 1 << 30 }
    }
}

/// How requests wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How fast-track and high share.
    pub ratio: Ratio,
    /// A low request that has waited so long goes next.
    pub low_max_wait: Option<Duration>,
    /// How much may wait.
    pub limits: Limits,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// That of the lane.
    Lane(Lane),
    /// Requests in all lanes.
    Items,
    /// Bytes in all lanes.
    Bytes,
}

/// A waiting request; finds nothing once it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(Place);

#[derive(Debug)]
struct Item<T> {
    call: Call,
    waiter: T,
    group: u32,
    in_tree: bool,
}

impl<T> Timed for Item<T> {
    fn deadline(&self) -> Instant {
        self.call.deadline
    }
    fn number(&self) -> u64 {
        self.call.order
    }
}

/// Requests of one lane that were sent to the same nodes, by their order.
#[derive(Debug, Default)]
struct Group {
    tried: Tried,
    list: Ends,
}

/// One lane. Its first group is of those that were sent nowhere yet.
#[derive(Debug)]
struct Queue {
    groups: Vec<Group>,
    len: usize,
    /// How many of them are in other groups than the first.
    tried: usize,
}

/// The lanes.
#[derive(Debug)]
pub struct Lanes<T> {
    rules: Rules,
    turn: Turn,
    arena: Arena<Item<T>>,
    queues: [Queue; 3],
    deadlines: Deadlines,
    bytes: usize,
}

impl<T> Lanes<T> {
    /// Empty lanes.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let queue = || Queue { groups: vec![Group::default()], len: 0, tried: 0 };
        Self {
            rules,
            turn: Turn::new(rules.ratio),
            arena: Arena::new(),
            queues: [queue(), queue(), queue()],
            deadlines: Deadlines::default(),
            bytes: 0,
        }
    }

    /// Whether a new request may wait.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn room(&self, lane: Lane, size: usize) -> Result<(), Full> {
        let Limits { lanes, items, bytes } = self.rules.limits;
        let limit = lanes[lane.index()];
        if limit > 0 && self.queues[lane.index()].len >= limit {
            Err(Full::Lane(lane))
        } else if self.len() >= items {
            Err(Full::Items)
        } else if self.bytes.saturating_add(size) > bytes && !self.is_empty() {
            Err(Full::Bytes)
        } else {
            Ok(())
        }
    }

    /// Lets a request wait, in its order. Asks for no [`Lanes::room`].
    pub fn push(&mut self, call: Call, waiter: T) -> Key {
        let lane = call.lane.index();
        let (order, size) = (call.order, call.size);
        let group = self.queues[lane].group(&call.tried);
        let queue = &mut self.queues[lane];
        queue.len += 1;
        queue.tried += usize::from(group > 0);
        self.bytes = self.bytes.saturating_add(size);
        #[allow(clippy::cast_possible_truncation)] // a group has an item, of which there are fewer
        let item = Item { call, waiter, group: group as u32, in_tree: false };
        let place = self.arena.insert(item);
        let list = &mut self.queues[lane].groups[group].list;
        match beside(&self.arena, list, order) {
            Some((other, side)) => self.arena.put(Chain::Order, list, place, side, other),
            None => self.arena.push_back(Chain::Order, list, place),
        }
        if self.deadlines.insert(&mut self.arena, place)
            && let Some(item) = self.arena.get_mut(place)
        {
            item.in_tree = true;
        }
        Key(place)
    }

    /// Takes a request out (its client is gone).
    pub fn remove(&mut self, key: Key) -> Option<(Call, T)> {
        let Key(place) = key;
        let item = self.arena.get(place)?;
        let (lane, group, in_tree) = (item.call.lane.index(), item.group as usize, item.in_tree);
        let queue = &mut self.queues[lane];
        queue.len -= 1;
        queue.tried -= usize::from(group > 0);
        self.arena.unlink(Chain::Order, &mut queue.groups[group].list, place);
        self.deadlines.remove(&mut self.arena, place, in_tree);
        let item = self.arena.remove(place)?;
        self.bytes = self.bytes.saturating_sub(item.call.size);
        Some((item.call, item.waiter))
    }

    /// Takes the request whose turn it is, among those for which `can_run` says that a free node may take them.
    pub fn next(&mut self, can_run: impl Fn(&Tried) -> bool, now: Instant) -> Option<(Call, T)> {
        if self.queues.iter().all(|queue| queue.tried == 0) && self.rules.low_max_wait.is_none() {
            // The usual case: every one of them can take any free node.
            if !can_run(&Tried::default()) {
                return None;
            }
            let lanes = [0, 1, 2].map(|lane: usize| self.queues[lane].len > 0);
            let lane = self.turn.next(Waiting { lanes, low_is_aged: false })?;
            return self.remove(Key(self.arena.first(&self.queues[lane.index()].groups[0].list)?));
        }
        let firsts = Lane::ALL.map(|lane| self.first(lane, &can_run));
        let aged = |place: Place| {
            let since = self.arena.get(place).map(|item| item.call.since);
            let waited = since.map(|since| now.saturating_duration_since(since));
            waited.zip(self.rules.low_max_wait).is_some_and(|(waited, most)| waited >= most)
        };
        let low_is_aged = self.rules.low_max_wait.is_some() && firsts[Lane::Low.index()].is_some_and(aged);
        let lane = self.turn.next(Waiting { lanes: firsts.map(|first| first.is_some()), low_is_aged })?;
        self.remove(Key(firsts[lane.index()]?))
    }

    /// Takes a request whose deadline has passed.
    pub fn expired(&mut self, now: Instant) -> Option<(Call, T)> {
        let (due, place) = self.deadlines.first(&self.arena)?;
        if due <= now { self.remove(Key(place)) } else { None }
    }

    /// Whether [`Lanes::expired`] has one.
    #[must_use]
    pub fn has_expired(&self, now: Instant) -> bool {
        self.next_expiry().is_some_and(|due| due <= now)
    }

    /// When the next deadline passes.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.deadlines.first(&self.arena).map(|(due, _)| due)
    }

    /// Takes any request, the first to expire.
    pub fn any(&mut self) -> Option<(Call, T)> {
        let (_, place) = self.deadlines.first(&self.arena)?;
        self.remove(Key(place))
    }

    /// How many wait, by [`Lane::index`].
    #[must_use]
    pub fn lengths(&self) -> [usize; 3] {
        [self.queues[0].len, self.queues[1].len, self.queues[2].len]
    }

    /// How many wait in all lanes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first request of a lane that can run.
    fn first(&self, lane: Lane, can_run: &impl Fn(&Tried) -> bool) -> Option<Place> {
        let queue = &self.queues[lane.index()];
        if queue.len == 0 {
            return None;
        }
        let first = |group: &Group| self.arena.first(&group.list);
        if queue.tried == 0 {
            return first(&queue.groups[0]).filter(|_| can_run(&Tried::default()));
        }
        let runnable = queue.groups.iter().filter(|group| !group.list.is_empty() && can_run(&group.tried));
        runnable.filter_map(first).min_by_key(|place| self.arena.get(*place).map(|item| item.call.order))
    }
}

impl Queue {
    /// The group of those that were sent to `tried`.
    fn group(&mut self, tried: &Tried) -> usize {
        if tried.is_empty() {
            return 0;
        }
        let old = |group: &Group| group.tried == *tried;
        // An empty group is anybody's.
        let unused = |(index, group): &(usize, &Group)| *index > 0 && group.list.is_empty();
        let index = self.groups.iter().position(old).or_else(|| {
            let (index, _) = self.groups.iter().enumerate().find(unused)?;
            Some(index)
        });
        let index = index.unwrap_or_else(|| {
            self.groups.push(Group::default());
            self.groups.len() - 1
        });
        self.groups[index].tried = tried.clone();
        index
    }
}

/// Where in a list the order says that an item belongs; `None`: at its end. Looks from both ends at once, as newcomers
/// belong to one and retries to the other.
fn beside<T>(arena: &Arena<Item<T>>, list: &Ends, order: u64) -> Option<(Place, Side)> {
    let of = |place: Place| arena.get(place).map_or(0, |item| item.call.order);
    let (mut first, mut last) = (arena.first(list)?, arena.last(list)?);
    loop {
        if of(last) < order {
            return Some((last, Side::After));
        }
        if order < of(first) {
            return Some((first, Side::Before));
        }
        last = arena.beside(Chain::Order, last, Side::Before)?;
        first = arena.beside(Chain::Order, first, Side::After)?;
    }
}

#[cfg(test)]
mod tests;

//! The waiting requests: three lanes, each in the order of arrival, bounded.
//!
//! * A lane's limit counts for that lane alone; 0 is no limit of its own. All lanes together hold at most `items` requests and
//!   `bytes` bytes. Only a new request is refused for that: a retry has been let in before.
//! * A retry has its old place, which is in front of whatever came later: it was next once already.
//! * Serving, cancelling and expiring one look at no other, with 10 or 100,000 waiting (a cancelled one is found by a binary
//!   search).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::call::{Call, Tried};
use crate::lane::{Lane, Ratio, Turn, Waiting};
use crate::retried::Retried;
use crate::ring::{Facts, Left, Ring};

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
pub struct Key {
    order: u64,
    lane: Lane,
    /// That of a retry; 0 for a new request.
    serial: u64,
}

/// Where a waiting request is.
#[derive(Clone, Copy, Debug)]
enum Found {
    New(Lane, u64),
    Retried(u64),
}

/// The lanes.
#[derive(Debug)]
pub struct Lanes<T> {
    rules: Rules,
    turn: Turn,
    /// New requests, by [`Lane::index`].
    rings: [Ring<T>; 3],
    /// New requests whose deadline is before that of one in front of them.
    early: BTreeSet<(Instant, u64, Lane)>,
    retried: Retried<T>,
    serials: u64,
    /// By [`Lane::index`].
    lens: [usize; 3],
    /// Of all lanes.
    len: usize,
    bytes: usize,
    /// No deadline passes before this: that of the first to expire, or of one that was and has left. `None` if none waits.
    quiet_until: Option<Instant>,
}

impl<T> Lanes<T> {
    /// Empty lanes.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            turn: Turn::new(rules.ratio),
            rings: [Ring::new(), Ring::new(), Ring::new()],
            early: BTreeSet::new(),
            retried: Retried::new(),
            serials: 0,
            lens: [0; 3],
            len: 0,
            bytes: 0,
            quiet_until: None,
        }
    }

    /// Other rules from now on. Only new requests are refused for its limits.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        self.turn.set_ratio(rules.ratio);
    }

    /// Whether a new request may wait.
    ///
    /// # Errors
    /// The limit that is reached.
    #[inline]
    pub fn room(&self, lane: Lane, size: usize) -> Result<(), Full> {
        let Limits { lanes, items, bytes } = self.rules.limits;
        let limit = lanes[lane.index()];
        if limit > 0 && self.length(lane) >= limit {
            Err(Full::Lane(lane))
        } else if self.len >= items {
            Err(Full::Items)
        } else if self.bytes.saturating_add(size) > bytes && !self.is_empty() {
            Err(Full::Bytes)
        } else {
            Ok(())
        }
    }

    /// Lets a request wait: a new one, which comes after all before it, at the end of its lane, a retry in its old place. Asks
    /// for no [`Lanes::room`].
    #[inline]
    pub fn push(&mut self, call: &Call, waiter: T) -> Key {
        let Call { lane, since, deadline, size, order, .. } = *call;
        self.lens[lane.index()] += 1;
        self.len += 1;
        self.bytes = self.bytes.saturating_add(size);
        if self.quiet_until.is_none_or(|until| deadline < until) {
            self.quiet_until = Some(deadline);
        }
        if !call.tried.is_empty() {
            return self.push_retried(call, waiter);
        }
        let facts = Facts { order, since, deadline, early: false };
        if self.rings[lane.index()].push(facts, size, waiter) {
            self.came_early(deadline, order, lane);
        }
        Key { order, lane, serial: 0 }
    }

    #[inline(never)]
    fn came_early(&mut self, deadline: Instant, order: u64, lane: Lane) {
        self.early.insert((deadline, order, lane));
    }

    #[inline(never)]
    fn push_retried(&mut self, call: &Call, waiter: T) -> Key {
        self.serials += 1;
        self.retried.push(call.clone(), waiter, self.serials);
        Key { order: call.order, lane: call.lane, serial: self.serials }
    }

    /// Takes a request out (its client is gone).
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let Key { order, lane, serial } = key;
        if serial > 0 {
            return self.take_retried(order, Some(serial)).map(|(_, waiter)| waiter);
        }
        self.take_new(lane, order)
    }

    /// Takes the request whose turn it is, among those for which `can_run` says that a free node may take them. Gives to which
    /// nodes it was sent, and who waits.
    #[inline(always)]
    pub fn next(&mut self, can_run: impl Fn(&Tried) -> bool, now: Instant) -> Option<(Tried, T)> {
        let new_can_run = can_run(&Tried::default());
        if new_can_run && self.is_plain() {
            return self.next_new().map(|waiter| (Tried::default(), waiter));
        }
        self.next_of_all(can_run, new_can_run, now)
    }

    /// As [`Lanes::next`] when every request can run, in the usual case: none was sent to a node yet, none is aged, and no
    /// deadline has passed. `None` in any other.
    #[inline]
    pub fn next_plain(&mut self, now: Instant) -> Option<T> {
        let is_quiet = self.quiet_until.is_some_and(|until| now < until);
        if is_quiet && self.is_plain() { self.next_new() } else { None }
    }

    #[inline]
    fn is_plain(&self) -> bool {
        self.retried.is_empty() && self.rules.low_max_wait.is_none()
    }

    #[inline(always)]
    fn next_new(&mut self) -> Option<T> {
        let lanes = self.lens.map(|len| len > 0);
        let lane = self.turn.next(Waiting { lanes, low_is_aged: false })?;
        let ring = &mut self.rings[lane.index()];
        if let Some((waiter, size)) = ring.pop_plain() {
            self.count_out(lane, size);
            return Some(waiter);
        }
        let left = ring.pop()?;
        Some(self.new_left(lane, left))
    }

    #[inline(never)]
    fn next_of_all(
        &mut self,
        can_run: impl Fn(&Tried) -> bool,
        new_can_run: bool,
        now: Instant,
    ) -> Option<(Tried, T)> {
        let firsts = Lane::ALL.map(|lane| {
            let new = self.rings[lane.index()].front().filter(|_| new_can_run).map(|facts| facts.order);
            let retried = self.retried.first(lane, &can_run);
            match (new, retried) {
                (new, Some(retried)) if new.is_none_or(|new| retried < new) => Some(Found::Retried(retried)),
                (new, _) => new.map(|order| Found::New(lane, order)),
            }
        });
        let low_is_aged = firsts[Lane::Low.index()].is_some_and(|low| self.is_aged(low, now));
        let lane = self.turn.next(Waiting { lanes: firsts.map(|first| first.is_some()), low_is_aged })?;
        self.take(firsts[lane.index()]?)
    }

    /// Takes a request whose deadline has passed.
    #[inline]
    pub fn expired(&mut self, now: Instant) -> Option<T> {
        if self.quiet_until.is_none_or(|until| now < until) {
            return None;
        }
        self.look_for_expired(now)
    }

    #[inline(never)]
    fn look_for_expired(&mut self, now: Instant) -> Option<T> {
        let (due, found) = self.first_due()?;
        if due <= now {
            return self.take(found).map(|(_, waiter)| waiter);
        }
        self.quiet_until = Some(due);
        None
    }

    /// No deadline passes before this; `None` if none waits. When it has passed, [`Lanes::expired`] has one or puts this off.
    #[must_use]
    #[inline]
    pub fn quiet_until(&self) -> Option<Instant> {
        self.quiet_until
    }

    /// Takes any request, the first to expire.
    pub fn any(&mut self) -> Option<T> {
        let (_, found) = self.first_due()?;
        self.take(found).map(|(_, waiter)| waiter)
    }

    /// How many wait in a lane.
    #[must_use]
    pub fn length(&self, lane: Lane) -> usize {
        self.lens[lane.index()]
    }

    /// How many wait, by [`Lane::index`].
    #[must_use]
    pub fn lengths(&self) -> [usize; 3] {
        self.lens
    }

    /// Since when the first request of each lane waits, new or retried, by [`Lane::index`].
    #[must_use]
    pub fn oldest(&self) -> [Option<Instant>; 3] {
        Lane::ALL.map(|lane| {
            let new = self.rings[lane.index()].front().map(|facts| facts.since);
            let retried = self.retried.first(lane, |_| true).and_then(|order| self.retried.since(order));
            new.into_iter().chain(retried).min()
        })
    }

    /// How many wait in all lanes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn first_due(&self) -> Option<(Instant, Found)> {
        let listed = Lane::ALL.into_iter().filter_map(|lane| {
            let (due, order) = self.rings[lane.index()].next_due()?;
            Some((due, Found::New(lane, order)))
        });
        let early = self.early.first().map(|(due, order, lane)| (*due, Found::New(*lane, *order)));
        let retried = self.retried.next_due().map(|(due, order)| (due, Found::Retried(order)));
        listed.chain(early).chain(retried).min_by_key(|(due, _)| *due)
    }

    fn is_aged(&self, found: Found, now: Instant) -> bool {
        let since = match found {
            // Asked of the first of a lane only.
            Found::New(lane, _) => self.rings[lane.index()].front().map(|facts| facts.since),
            Found::Retried(order) => self.retried.since(order),
        };
        let waited = since.map(|since| now.saturating_duration_since(since));
        waited.zip(self.rules.low_max_wait).is_some_and(|(waited, most)| waited >= most)
    }

    fn take(&mut self, found: Found) -> Option<(Tried, T)> {
        match found {
            Found::New(lane, order) => Some((Tried::default(), self.take_new(lane, order)?)),
            Found::Retried(order) => self.take_retried(order, None),
        }
    }

    fn take_new(&mut self, lane: Lane, order: u64) -> Option<T> {
        let left = self.rings[lane.index()].remove(order)?;
        Some(self.new_left(lane, left))
    }

    fn take_retried(&mut self, order: u64, serial: Option<u64>) -> Option<(Tried, T)> {
        let (call, waiter) = self.retried.remove(order, serial)?;
        self.count_out(call.lane, call.size);
        Some((call.tried, waiter))
    }

    /// Counts a new request that left, and gives who waits.
    fn new_left(&mut self, lane: Lane, left: Left<T>) -> T {
        let Left { waiter, size, early } = left;
        if let Some((deadline, order)) = early {
            self.early.remove(&(deadline, order, lane));
        }
        self.count_out(lane, size);
        waiter
    }

    #[inline]
    fn count_out(&mut self, lane: Lane, size: usize) {
        self.lens[lane.index()] -= 1;
        self.len -= 1;
        self.bytes = self.bytes.saturating_sub(size);
        if self.is_empty() {
            self.quiet_until = None;
        }
    }
}

#[cfg(test)]
mod tests;

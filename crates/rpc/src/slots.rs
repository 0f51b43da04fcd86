//! One node's slots: how many requests it may work on, and how many it does.
//!
//! A node that comes back gets its slots one after the other over `slow_start`, the first at once: it may have cold
//! caches, or fall again, and then few requests notice.

use std::time::{Duration, Instant};

/// What is known of a node here.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// Most requests at once.
    pub(crate) workers: u32,
    pub(crate) in_flight: u32,
    /// Health says that it may be used.
    pub(crate) fit: bool,
    /// Its operator wants it to get no more.
    pub(crate) draining: bool,
    /// It was taken out of the pool, and works on what it has.
    pub(crate) removed: bool,
    /// It asked for a pause (429).
    pub(crate) rests_until: Option<Instant>,
    /// When it came back, while slots are still held back.
    pub(crate) back_since: Option<Instant>,
    /// Slots that may be used as of the last look at the clock; `workers` but for slow start.
    pub(crate) open: u32,
    /// What it may work on at once now, all things considered: `open` or 0. Kept by [`Slots::weigh`].
    limit: u32,
}

impl Slots {
    pub(crate) fn new(workers: u32, fit: bool) -> Self {
        Self {
            workers,
            in_flight: 0,
            fit,
            draining: false,
            removed: false,
            rests_until: None,
            back_since: None,
            open: workers,
            limit: if fit { workers } else { 0 },
        }
    }

    /// To be called after every change of what is public here but `in_flight`.
    pub(crate) fn weigh(&mut self) {
        self.limit = if self.is_usable() { self.open } else { 0 };
    }

    /// Whether it may get requests, now or when it has a slot free.
    pub(crate) fn is_usable(&self) -> bool {
        self.fit && !self.draining && !self.removed && self.rests_until.is_none() && self.workers > 0
    }

    /// Whether it may get one now.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.in_flight < self.limit
    }

    /// Whether it works on something, and on no more than it may: a request that ends makes room for another.
    #[inline]
    pub(crate) fn is_within(&self) -> bool {
        (1..=self.limit).contains(&self.in_flight)
    }

    /// Brings `open` and the pause up to date. Gives the time at which they change next.
    pub(crate) fn advance(&mut self, slow_start: Duration, now: Instant) -> Option<Instant> {
        self.rests_until = self.rests_until.filter(|until| now < *until);
        let mut next_open = None;
        match self.back_since {
            Some(since) if self.fit => {
                self.open = opened(self.workers, slow_start, now.saturating_duration_since(since));
                if self.open == self.workers {
                    self.back_since = None;
                } else {
                    // The step after the last of `open` slots.
                    next_open =
                        Some(since + slow_start.mul_f64(f64::from(self.open) / f64::from(self.workers)));
                }
            }
            _ => self.open = self.workers,
        }
        // Times are rounded: never ask to be woken for what has been done.
        let later = |at: Instant| at.max(now + Duration::from_micros(100));
        [next_open.map(later), self.rests_until].into_iter().flatten().min()
    }
}

/// Slots of `workers` that are open `after` a node came back: the first at once, all after `slow_start`.
fn opened(workers: u32, slow_start: Duration, after: Duration) -> u32 {
    if after >= slow_start {
        return workers;
    }
    let part = after.as_secs_f64() / slow_start.as_secs_f64();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 ≤ part < 1
    let steps = (part * f64::from(workers)) as u32;
    (steps + 1).min(workers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn slots_open_one_after_the_other() {
        for (workers, ms, open) in [
            (8, 0, 1),
            (8, 1249, 1),
            (8, 1251, 2),
            (8, 5001, 5),
            (8, 9999, 8),
            (8, 10_000, 8),
            (1, 0, 1),
            (0, 0, 0),
        ] {
            assert_eq!(
                opened(workers, SECOND * 10, Duration::from_millis(ms)),
                open,
                "{workers} after {ms} ms"
            );
        }
        assert_eq!(opened(8, Duration::ZERO, Duration::ZERO), 8);
    }

    #[test]
    fn what_makes_a_node_unusable() {
        let now = Instant::now();
        type Change = fn(&mut Slots, Instant);
        let changes: [(Change, bool, bool); 7] = [
            (|_, _| {}, true, true),
            (|s, _| s.in_flight = 2, true, false),
            (|s, _| s.fit = false, false, false),
            (|s, _| s.draining = true, false, false),
            (|s, _| s.removed = true, false, false),
            (|s, _| s.workers = 0, false, false),
            (|s, now| s.rests_until = Some(now + SECOND), false, false),
        ];
        for (i, (change, usable, free)) in changes.into_iter().enumerate() {
            let mut slots = Slots::new(2, true);
            change(&mut slots, now);
            slots.advance(Duration::ZERO, now);
            slots.weigh();
            assert_eq!((slots.is_usable(), slots.is_free()), (usable, free), "case {i}");
        }
    }

    #[test]
    fn a_pause_ends() {
        let now = Instant::now();
        let mut slots = Slots::new(2, true);
        slots.rests_until = Some(now + SECOND);
        assert_eq!(slots.advance(SECOND, now), Some(now + SECOND));
        assert_eq!(slots.advance(SECOND, now + SECOND), None);
        slots.weigh();
        assert!(slots.is_free());
    }

    proptest! {
        #[test]
        fn woken_as_told_all_slots_open_and_never_one_too_early(workers in 1u32..200, ms in 1u64..60_000) {
            let (start, slow_start) = (Instant::now(), Duration::from_millis(ms));
            let mut slots = Slots::new(workers, true);
            slots.back_since = Some(start);
            let (mut now, mut before, mut wakes) = (start, 0, 0);
            while let Some(next) = slots.advance(slow_start, now) {
                prop_assert!(next > now && slots.open >= before && slots.open < workers);
                before = slots.open;
                now = next;
                wakes += 1;
                prop_assert!(wakes <= 3 * workers + 3);
            }
            prop_assert_eq!(slots.open, workers);
        }
    }
}

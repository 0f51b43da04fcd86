//! Rate limits of a rule: one for each API key, by the leaky bucket of `governor`, with the time given.
//!
//! How many keys are remembered has a bound, and so has a key's length. Those that a full bucket stands for are forgotten first, as a new one would say the
//! same; beyond that, newcomers share one bucket, as those with longer keys do. A request is let through whole or takes nothing.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// Most keys that have a bucket of their own.
const MAX_KEYS: usize = 10_000;

/// Longest key that has a bucket of its own: a client chooses what it sends as one, and it is remembered.
const LONGEST_KEY: usize = 1024;

/// How many requests are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second, on the long run.
    pub per_second: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

/// Why a request isn't let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// There is room for it after so long.
    For(Duration),
    /// It is more at once than the burst, so there never is.
    Always,
}

/// A clock that shows what it is told.
#[derive(Clone, Debug, Default)]
struct Told(Arc<AtomicU64>);

impl Clock for Told {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.load(Ordering::Relaxed))
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Told, NoOpMiddleware<Nanos>>;

/// The buckets of one rule.
#[derive(Debug)]
pub struct Limits {
    quota: Quota,
    clock: Told,
    start: Instant,
    buckets: HashMap<String, (Bucket, Nanos)>,
    /// Until when no bucket can have become full again since they were last looked through.
    all_in_use: Nanos,
    shared: Bucket,
}

impl Limits {
    /// Full buckets. `now` is the earliest time that will be given.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let clock = Told::default();
        let shared = RateLimiter::direct_with_clock(quota, clock.clone());
        Self { quota, clock, start: now, buckets: HashMap::new(), all_in_use: Nanos::new(0), shared }
    }

    /// Takes a request of `key` out that counts `times`, or nothing.
    ///
    /// # Errors
    /// When there is room for it, if ever.
    pub fn take(&mut self, key: &str, times: NonZeroU32, now: Instant) -> Result<(), Exceeded> {
        let since = u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        let told = self.clock.0.fetch_max(since, Ordering::Relaxed).max(since);
        let now = Nanos::from(told);
        if !self.buckets.contains_key(key) && self.buckets.len() >= MAX_KEYS && now >= self.all_in_use {
            self.forget_full(now);
        }
        let take = |bucket: &Bucket| match bucket.check_n(times) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(Exceeded::For(not_until.wait_time_from(now))),
            Err(_) => Err(Exceeded::Always),
        };
        if let Some((bucket, used)) = self.buckets.get_mut(key) {
            *used = now;
            return take(bucket);
        }
        if self.buckets.len() >= MAX_KEYS || key.len() > LONGEST_KEY {
            return take(&self.shared);
        }
        let bucket = RateLimiter::direct_with_clock(self.quota, self.clock.clone());
        let taken = take(&bucket);
        self.buckets.insert(key.to_owned(), (bucket, now));
        taken
    }

    /// Forgets the buckets that are full again.
    fn forget_full(&mut self, now: Nanos) {
        let filled = Nanos::from(self.quota.replenish_interval() * self.quota.burst_size().get());
        self.buckets.retain(|_, (_, used)| now.duration_since(*used) < filled);
        let oldest = self.buckets.values().map(|(_, used)| *used).min().unwrap_or(now);
        self.all_in_use = oldest + filled;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use proptest::prelude::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    const ONCE: NonZeroU32 = NonZeroU32::MIN;

    #[test]
    fn a_key_has_its_own_bucket() {
        let now = Instant::now();
        let mut limits = Limits::new(rate(10, 2), now);
        assert_eq!([(); 2].map(|()| limits.take("a", ONCE, now)), [Ok(()); 2]);
        assert_eq!(limits.take("a", ONCE, now), Err(Exceeded::For(Duration::from_millis(100))));
        assert_eq!(limits.take("b", ONCE, now), Ok(()));
        let later = now + Duration::from_millis(100);
        assert_eq!(limits.take("a", ONCE, later), Ok(()));
        assert!(limits.take("a", ONCE, later).is_err());
    }

    #[test]
    fn a_batch_is_let_through_whole_or_takes_nothing() {
        let now = Instant::now();
        let mut limits = Limits::new(rate(10, 4), now);
        let times = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(limits.take("a", times(3), now), Ok(()));
        assert_eq!(limits.take("a", times(2), now), Err(Exceeded::For(Duration::from_millis(100))));
        assert_eq!(limits.take("a", times(5), now), Err(Exceeded::Always));
        assert_eq!(limits.take("a", ONCE, now), Ok(()), "neither has taken the last one");
    }

    #[test]
    fn keys_have_a_bound_and_idle_ones_are_forgotten() {
        let now = Instant::now();
        let mut limits = Limits::new(rate(1, 1), now);
        for n in 0..MAX_KEYS {
            assert_eq!(limits.take(&n.to_string(), ONCE, now), Ok(()));
        }
        assert_eq!(limits.take("x", ONCE, now), Ok(()), "from the shared bucket");
        assert!(limits.take("y", ONCE, now).is_err(), "which is empty now");
        assert_eq!(limits.buckets.len(), MAX_KEYS);
        assert_eq!(limits.take("y", ONCE, now + Duration::from_secs(1)), Ok(()));
        assert_eq!(limits.buckets.len(), 1);
    }

    #[test]
    fn no_long_key_is_remembered() {
        let now = Instant::now();
        let mut limits = Limits::new(rate(1, 1), now);
        let [one, other] = ["a", "b"].map(|letter| letter.repeat(LONGEST_KEY + 1));
        assert_eq!(limits.take(&one, ONCE, now), Ok(()), "from the shared bucket");
        assert!(limits.take(&other, ONCE, now).is_err(), "which is empty now");
        assert!(limits.buckets.is_empty());
        assert_eq!(limits.take(&one[1..], ONCE, now), Ok(()));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_the_burst(
            per_second in 1u32..50, burst in 1u32..20, steps in prop::collection::vec(0u64..300, 1..200)
        ) {
            let start = Instant::now();
            let mut limits = Limits::new(rate(per_second, burst), start);
            let (mut now, mut taken) = (start, 0u32);
            for ms in steps {
                now += Duration::from_millis(ms);
                taken += u32::from(limits.take("k", ONCE, now).is_ok());
                let most = f64::from(burst) + (now - start).as_secs_f64() * f64::from(per_second) + 1e-6;
                prop_assert!(f64::from(taken) <= most);
            }
        }
    }
}

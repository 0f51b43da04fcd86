//! Collateral that is at hand, and which must be fetched: a decision, told the time.
//!
//! A handshake never waits for collateral. A platform that is met without any is noted and refused; what is noted is fetched, and fetched again
//! well before it expires, so that it is there the next time. Where fetching fails it is tried again, less and less often; what is at hand stays
//! good until it expires.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Collateral;
use crate::sgx::Platform;

/// How many platforms are kept: nodes of one operator are of few kinds.
pub const MAX_PLATFORMS: usize = 64;
/// Fetched again once this is all that is left of it, if nothing else is said; Intel's lasts 30 days.
pub const AHEAD: Duration = Duration::from_secs(7 * 86_400);
/// But not more often than this where it lasts less.
const OFTEN: Duration = Duration::from_secs(3_600);
/// After the first failure, twice as long after each that follows, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// What is at hand, of platforms or what else tells them apart.
#[derive(Debug)]
pub struct Shelf<P = Platform> {
    /// How long before it expires collateral is fetched again.
    ahead: Duration,
    slots: BTreeMap<P, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    held: Option<Arc<Collateral>>,
    /// Not to be fetched before.
    after: Option<SystemTime>,
    failures: u32,
    fetching: bool,
    /// When a node of the kind was last met.
    met: Option<SystemTime>,
}

impl<P> Default for Shelf<P> {
    fn default() -> Self {
        Self { ahead: AHEAD, slots: BTreeMap::new() }
    }
}

impl<P: Ord + Copy> Shelf<P> {
    /// An empty one, of which what is left to last for `ahead` is fetched again.
    #[must_use]
    pub fn new(ahead: Duration) -> Self {
        Self { ahead, ..Self::default() }
    }

    /// The collateral of a platform that is met, expired or not; notes that it is needed if there is none. Where [`MAX_PLATFORMS`] are kept the one
    /// that was met the longest ago goes.
    pub fn meet(&mut self, platform: P, now: SystemTime) -> Option<Arc<Collateral>> {
        if !self.slots.contains_key(&platform) && self.slots.len() >= MAX_PLATFORMS {
            let oldest = self.slots.iter().min_by_key(|(_, slot)| slot.met).map(|(platform, _)| *platform);
            oldest.map(|oldest| self.slots.remove(&oldest));
        }
        let slot = self.slots.entry(platform).or_default();
        slot.met = Some(now);
        slot.held.clone()
    }

    /// What must be fetched now; each is told once until it is [kept](Shelf::keep) or has [failed](Shelf::failed).
    pub fn due(&mut self, now: SystemTime) -> Vec<P> {
        let ahead = self.ahead;
        let due = self
            .slots
            .iter_mut()
            .filter(|(_, slot)| !slot.fetching && slot.at(ahead).is_none_or(|at| at <= now));
        due.map(|(platform, slot)| {
            slot.fetching = true;
            *platform
        })
        .collect()
    }

    /// When something is due next; nothing if that isn't known before a platform is met or a fetch ends.
    #[must_use]
    pub fn next(&self) -> Option<SystemTime> {
        self.slots.values().filter(|slot| !slot.fetching).filter_map(|slot| slot.at(self.ahead)).min()
    }

    /// What was fetched. It takes the place of what is at hand unless that lasts longer.
    pub fn keep(&mut self, platform: P, collateral: Collateral, now: SystemTime) {
        let Some(slot) = self.slots.get_mut(&platform) else { return };
        (slot.fetching, slot.failures, slot.after) = (false, 0, Some(now + OFTEN));
        if slot.held.as_ref().is_none_or(|held| held.until() <= collateral.until()) {
            slot.held = Some(Arc::new(collateral));
        }
    }

    /// What is at hand for a platform was not fetched just now: whether it has to be hangs on its age alone.
    pub fn hurry(&mut self, platform: P) {
        if let Some(slot) = self.slots.get_mut(&platform) {
            slot.after = None;
        }
    }

    /// Whether a platform's collateral is being fetched, or is due to be.
    #[must_use]
    pub fn is_pending(&self, platform: P, now: SystemTime) -> bool {
        let is_due = |slot: &Slot| slot.at(self.ahead).is_none_or(|at| at <= now);
        self.slots.get(&platform).is_some_and(|slot| slot.fetching || is_due(slot))
    }

    /// Fetching it has failed.
    pub fn failed(&mut self, platform: P, now: SystemTime) {
        let Some(slot) = self.slots.get_mut(&platform) else { return };
        let (first, most) = RETRY;
        slot.fetching = false;
        slot.after = Some(now + first.saturating_mul(1 << slot.failures.min(16)).min(most));
        slot.failures += 1;
    }
}

impl Slot {
    /// When it is due; nothing: at once.
    fn at(&self, ahead: Duration) -> Option<SystemTime> {
        let ahead = self.held.as_ref().map(|held| held.until().checked_sub(ahead).unwrap_or(held.from()));
        match (ahead, self.after) {
            (Some(ahead), Some(after)) => Some(ahead.max(after)),
            (None, after) => after,
            (ahead, None) => ahead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fmspc;
    use super::*;
    use crate::when;

    const JSON: &[u8] = include_bytes!("../../tests/vectors/sgx/sgx_quote_collateral.json");

    /// From 2025-06-19 to 2025-07-19.
    fn collateral() -> Collateral {
        Collateral::from_json(JSON).unwrap()
    }

    fn platform(number: u8) -> Platform {
        Platform { fmspc: Fmspc([number; 6]), authority: "platform" }
    }

    fn now() -> SystemTime {
        when::read("2025-06-20T00:00:00Z").unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_platform_that_is_met_is_fetched_once_at_a_time() {
        let mut shelf = Shelf::default();
        assert_eq!((shelf.due(now()), shelf.next()), (vec![], None));
        assert_eq!(shelf.meet(platform(1), now()), None);
        assert_eq!(shelf.due(now()), [platform(1)]);
        assert_eq!(shelf.due(now()), []);
        shelf.keep(platform(1), collateral(), now());
        assert_eq!(shelf.meet(platform(1), now()).as_deref(), Some(&collateral()));
        assert_eq!(shelf.due(now()), []);
    }

    #[test]
    fn it_is_fetched_again_a_week_before_it_expires() {
        let mut shelf = Shelf::default();
        shelf.meet(platform(1), now());
        shelf.due(now());
        shelf.keep(platform(1), collateral(), now());
        let again = collateral().until() - AHEAD;
        assert_eq!(shelf.next(), Some(again));
        assert_eq!(shelf.due(again - seconds(1)), []);
        assert_eq!(shelf.due(again), [platform(1)]);
        // While it is fetched, and where that fails, the old one is at hand.
        assert!(shelf.meet(platform(1), again).is_some());
        shelf.failed(platform(1), again);
        assert!(shelf.meet(platform(1), again).is_some());
        assert_eq!(shelf.next(), Some(again + seconds(10)));
        // The service has nothing newer yet.
        shelf.due(again + seconds(10));
        shelf.keep(platform(1), collateral(), again);
        assert_eq!(shelf.next(), Some(again + OFTEN));
    }

    #[test]
    fn what_lasts_longer_is_kept() {
        let mut newer = collateral();
        newer.until += seconds(86_400);
        let mut shelf = Shelf::default();
        shelf.meet(platform(1), now());
        for (fetched, kept) in
            [(collateral(), collateral()), (newer.clone(), newer.clone()), (collateral(), newer)]
        {
            shelf.keep(platform(1), fetched, now());
            assert_eq!(shelf.meet(platform(1), now()).as_deref(), Some(&kept));
        }
    }

    #[test]
    fn what_was_stored_is_fetched_by_its_age_alone() {
        let mut shelf = Shelf::new(seconds(3_600));
        let late = collateral().until() - seconds(1_800);
        shelf.meet(platform(1), late);
        assert!(shelf.is_pending(platform(1), late) && !shelf.is_pending(platform(2), late));
        shelf.keep(platform(1), collateral(), late);
        assert!(!shelf.is_pending(platform(1), late));
        assert_eq!(shelf.due(late), []);
        shelf.hurry(platform(1));
        assert!(shelf.is_pending(platform(1), late));
        assert!(!shelf.is_pending(platform(1), late - seconds(1_801)));
        assert_eq!(shelf.due(late), [platform(1)]);
        assert!(shelf.is_pending(platform(1), late - seconds(1_801)), "it is being fetched");
        shelf.failed(platform(1), late);
        assert!(!shelf.is_pending(platform(1), late));
    }

    #[test]
    fn what_is_being_fetched_is_not_due() {
        let mut shelf = Shelf::default();
        shelf.meet(platform(1), now());
        shelf.due(now());
        shelf.failed(platform(1), now());
        shelf.meet(platform(2), now());
        assert_eq!(shelf.due(now()), [platform(2)]);
        assert_eq!(shelf.next(), Some(now() + seconds(10)));
        assert_eq!(shelf.due(now() + seconds(10)), [platform(1)]);
        assert_eq!(shelf.next(), None);
    }

    #[test]
    fn after_a_success_failures_are_counted_anew() {
        let mut shelf = Shelf::default();
        shelf.meet(platform(1), now());
        for _ in 0..3 {
            shelf.failed(platform(1), now());
        }
        shelf.keep(platform(1), collateral(), now());
        shelf.failed(platform(1), collateral().until());
        assert_eq!(shelf.next(), Some(collateral().until() + seconds(10)));
    }

    #[test]
    fn failures_are_tried_again_less_and_less_often() {
        let mut shelf = Shelf::default();
        shelf.meet(platform(1), now());
        let mut at = now();
        for wait in [10, 20, 40, 80, 160, 320, 600, 600, 600] {
            assert_eq!(shelf.due(at), [platform(1)]);
            shelf.failed(platform(1), at);
            assert_eq!(shelf.next(), Some(at + seconds(wait)));
            assert_eq!(shelf.due(at + seconds(wait - 1)), []);
            at += seconds(wait);
        }
        shelf.due(at);
        shelf.keep(platform(1), collateral(), at);
        assert_eq!(shelf.due(at), []);
    }

    #[test]
    fn no_more_platforms_are_kept_than_there_is_room_for() {
        let mut shelf = Shelf::default();
        for number in 0..u8::try_from(MAX_PLATFORMS).unwrap() {
            shelf.meet(platform(number), now() + seconds(number.into()));
        }
        shelf.meet(platform(0), now() + seconds(100));
        shelf.meet(platform(200), now() + seconds(101));
        let due = shelf.due(now());
        assert_eq!(due.len(), MAX_PLATFORMS);
        assert!(due.contains(&platform(0)) && due.contains(&platform(200)) && !due.contains(&platform(1)));
        // Nobody waits for what comes of one that is gone.
        shelf.keep(platform(1), collateral(), now());
        shelf.failed(platform(1), now());
        assert_eq!(shelf.meet(platform(1), now() + seconds(102)), None);
    }
}

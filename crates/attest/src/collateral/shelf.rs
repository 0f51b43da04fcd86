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
/// Fetched again once this is all that is left of it; Intel's lasts 30 days.
const AHEAD: Duration = Duration::from_secs(7 * 86_400);
/// But not more often than this where it lasts less.
const OFTEN: Duration = Duration::from_secs(3_600);
/// After the first failure, twice as long after each that follows, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// What is at hand.
#[derive(Debug, Default)]
pub struct Shelf(BTreeMap<Platform, Slot>);

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

impl Shelf {
    /// The collateral of a platform that is met, expired or not; notes that it is needed if there is none. Where [`MAX_PLATFORMS`] are kept the one
    /// that was met the longest ago goes.
    pub fn meet(&mut self, platform: Platform, now: SystemTime) -> Option<Arc<Collateral>> {
        if !self.0.contains_key(&platform) && self.0.len() >= MAX_PLATFORMS {
            let oldest = self.0.iter().min_by_key(|(_, slot)| slot.met).map(|(platform, _)| *platform);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let slot = self.0.entry(platform).or_default();
        slot.met = Some(now);
        slot.held.clone()
    }

    /// What must be fetched now; each is told once until it is [kept](Shelf::keep) or has [failed](Shelf::failed).
    pub fn due(&mut self, now: SystemTime) -> Vec<Platform> {
        let due =
            self.0.iter_mut().filter(|(_, slot)| !slot.fetching && slot.at().is_none_or(|at| at <= now));
        due.map(|(platform, slot)| {
            slot.fetching = true;
            *platform
        })
        .collect()
    }

    /// When something is due next; nothing if that isn't known before a platform is met or a fetch ends.
    #[must_use]
    pub fn next(&self) -> Option<SystemTime> {
        self.0.values().filter(|slot| !slot.fetching).filter_map(Slot::at).min()
    }

    /// What was fetched. It takes the place of what is at hand unless that lasts longer.
    pub fn keep(&mut self, platform: Platform, collateral: Collateral, now: SystemTime) {
        let Some(slot) = self.0.get_mut(&platform) else { return };
        (slot.fetching, slot.failures, slot.after) = (false, 0, Some(now + OFTEN));
        if slot.held.as_ref().is_none_or(|held| held.until() <= collateral.until()) {
            slot.held = Some(Arc::new(collateral));
        }
    }

    /// Fetching it has failed.
    pub fn failed(&mut self, platform: Platform, now: SystemTime) {
        let Some(slot) = self.0.get_mut(&platform) else { return };
        let (first, most) = RETRY;
        slot.fetching = false;
        slot.after = Some(now + first.saturating_mul(1 << slot.failures.min(16)).min(most));
        slot.failures += 1;
    }
}

impl Slot {
    /// When it is due; nothing: at once.
    fn at(&self) -> Option<SystemTime> {
        let ahead = self.held.as_ref().map(|held| held.until().checked_sub(AHEAD).unwrap_or(held.from()));
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

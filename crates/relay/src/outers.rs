//! Which outer peer a leg gets: the one with the fewest legs, of those that haven't failed lately.

use std::time::{Duration, Instant};

/// How long a peer that has failed is taken only if all have.
pub const AVOIDED: Duration = Duration::from_secs(10);
/// The same for one that was behind the others. It answers, so nothing shows whether it has caught up but another try.
pub const AVOIDED_BEHIND: Duration = Duration::from_secs(60);

/// The outer peers, by their place in the settings. Pure.
#[derive(Clone, Debug)]
pub struct Outers(Vec<Outer>);

/// What is known of an outer peer.
#[derive(Clone, Debug, Default)]
pub struct Outer {
    /// Legs that it has, or is being connected to for.
    pub legs: usize,
    failed: Option<Failure>,
    /// The settings have it no more: its legs go on, and it gets no other.
    is_left: bool,
}

/// How an outer peer failed.
#[derive(Clone, Debug)]
struct Failure {
    at: Instant,
    why: String,
    /// It answers all the same.
    is_behind: bool,
}

impl Outer {
    fn avoided(&self, now: Instant) -> Option<Instant> {
        let failure = self.failed.as_ref()?;
        let avoided = if failure.is_behind { AVOIDED_BEHIND } else { AVOIDED };
        (now.saturating_duration_since(failure.at) < avoided).then_some(failure.at)
    }

    /// Whether a leg may go there that has another one: the settings have it, and it isn't avoided.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        !self.is_left && self.avoided(now).is_none()
    }

    /// Whether the settings have it.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !self.is_left
    }

    /// Whether the settings have it, or a leg still goes to it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.is_left || self.legs > 0
    }

    /// Why it is avoided, if it is.
    #[must_use]
    pub fn trouble(&self, now: Instant) -> Option<&str> {
        let failure = self.failed.as_ref().filter(|_| !self.is_left)?;
        self.avoided(now).map(|_| failure.why.as_str())
    }
}

impl Outers {
    /// So many, of whom nothing is known.
    #[must_use]
    pub fn new(peers: usize) -> Self {
        Self(vec![Outer::default(); peers])
    }

    /// Says of each place whether new legs may go there; there may be more places than before, never fewer.
    pub fn set(&mut self, used: impl IntoIterator<Item = bool>) {
        for (place, used) in used.into_iter().enumerate() {
            if place == self.0.len() {
                self.0.push(Outer::default());
            }
            if let Some(outer) = self.0.get_mut(place) {
                if outer.is_left && used {
                    outer.failed = None;
                }
                outer.is_left = !used;
            }
        }
    }

    /// The peer to try next for a leg, whose it then is until [`Outers::left`]; of those that failed lately the one that did so first.
    pub fn take(&mut self, tried: &[usize], now: Instant) -> Option<usize> {
        let free =
            self.0.iter().enumerate().filter(|(place, outer)| !tried.contains(place) && !outer.is_left);
        let (place, _) = free.min_by_key(|(_, outer)| (outer.avoided(now), outer.legs))?;
        self.0[place].legs += 1;
        Some(place)
    }

    /// It is to be connected to for a leg, whose it then is until [`Outers::left`].
    pub fn hold(&mut self, place: usize) {
        if let Some(outer) = self.0.get_mut(place) {
            outer.legs += 1;
        }
    }

    /// A leg no longer has it.
    pub fn left(&mut self, place: usize) {
        if let Some(outer) = self.0.get_mut(place) {
            outer.legs = outer.legs.saturating_sub(1);
        }
    }

    /// It couldn't be reached, or has ended a leg.
    pub fn failed(&mut self, place: usize, why: String, now: Instant) {
        if let Some(outer) = self.0.get_mut(place) {
            outer.failed = Some(Failure { at: now, why, is_behind: false });
        }
    }

    /// It was too far behind the others.
    pub fn lagged(&mut self, place: usize, why: String, now: Instant) {
        if let Some(outer) = self.0.get_mut(place) {
            outer.failed = Some(Failure { at: now, why, is_behind: true });
        }
    }

    /// It has sent something.
    pub fn well(&mut self, place: usize) {
        if let Some(outer) = self.0.get_mut(place)
            && outer.failed.as_ref().is_some_and(|failure| !failure.is_behind)
        {
            outer.failed = None;
        }
    }

    /// All of them, in the order of the settings.
    pub fn view(&self) -> impl Iterator<Item = &Outer> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // some point in time

    use super::*;

    #[test]
    fn legs_are_spread() {
        let (mut outers, now) = (Outers::new(3), Instant::now());
        let taken: Vec<Option<usize>> = (0..4).map(|_| outers.take(&[], now)).collect();
        assert_eq!(taken, [Some(0), Some(1), Some(2), Some(0)]);
        outers.left(1);
        assert_eq!(outers.take(&[], now), Some(1));
        assert_eq!(outers.take(&[0, 1, 2], now), None);
    }

    #[test]
    fn who_failed_is_taken_last_and_after_a_while_like_the_others() {
        let (mut outers, start) = (Outers::new(3), Instant::now());
        outers.failed(1, "refused".to_owned(), start);
        outers.failed(0, "refused".to_owned(), start + Duration::from_secs(1));
        let soon = start + Duration::from_secs(2);
        assert_eq!(outers.take(&[], soon), Some(2));
        assert_eq!(outers.take(&[], soon), Some(2));
        // The one that failed first has had the most time to come back.
        assert_eq!(outers.take(&[2], soon), Some(1));
        assert_eq!(outers.take(&[2, 1], soon), Some(0));
        for place in [1, 0] {
            outers.left(place);
        }
        assert_eq!(outers.view().filter_map(|outer| outer.trouble(soon)).count(), 2);
        assert_eq!(outers.take(&[], start + AVOIDED), Some(1));
        outers.well(0);
        assert_eq!(outers.take(&[], soon), Some(0));
    }

    /// One that is behind says something as soon as it is connected to, and is behind still.
    #[test]
    fn who_is_named_no_more_keeps_its_place_and_gets_no_leg() {
        let (mut outers, now) = (Outers::new(2), Instant::now());
        assert_eq!(outers.take(&[], now), Some(0));
        outers.set([false, true, true]);
        let taken: Vec<Option<usize>> = (0..3).map(|_| outers.take(&[], now)).collect();
        assert_eq!(taken, [Some(1), Some(2), Some(1)]);
        outers.failed(0, "refused".to_owned(), now);
        let used = |outers: &Outers| outers.view().map(Outer::is_used).collect::<Vec<_>>();
        assert_eq!(
            (used(&outers), outers.view().filter_map(|outer| outer.trouble(now)).count()),
            (vec![true; 3], 0)
        );
        outers.left(0);
        assert_eq!(used(&outers), [false, true, true]);
        outers.set([true, true, false]);
        assert_eq!(outers.take(&[], now), Some(0), "back, and what it did before is forgotten");
    }

    #[test]
    fn who_was_behind_is_taken_last_for_longer_whatever_it_says() {
        let (mut outers, start) = (Outers::new(2), Instant::now());
        outers.lagged(0, "behind".to_owned(), start);
        outers.well(0);
        let later = start + AVOIDED_BEHIND - Duration::from_millis(1);
        assert_eq!((outers.take(&[], later), outers.take(&[], later)), (Some(1), Some(1)));
        assert_eq!(outers.take(&[1], later), Some(0));
        outers.left(0);
        assert_eq!(outers.view().next().and_then(|outer| outer.trouble(later)), Some("behind"));
        assert_eq!(outers.take(&[], start + AVOIDED_BEHIND), Some(0));
    }
}

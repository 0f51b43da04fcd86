//! What was sent a short while ago.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How long something is remembered; nodes remember transactions for ten seconds and more.
pub(crate) const TTL: Duration = Duration::from_secs(15);
/// As much is remembered, the latest: 15 seconds of 2000 a second.
pub(crate) const KEPT: usize = 32_768;

/// Half of a hash: whoever could make two transactions with the same one could do so with the ids that nodes go by.
pub(crate) type Mark = [u8; 16];

/// What bytes are remembered by.
pub(crate) fn mark(bytes: &[u8]) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&Sha256::digest(bytes)[..16]);
    mark
}

/// Bytes that have been sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Once {
    marks: HashSet<Mark>,
    order: VecDeque<(Instant, Mark)>,
}

impl Once {
    /// Whether these bytes come for the first time within [`TTL`].
    pub(crate) fn is_first(&mut self, bytes: &[u8], now: Instant) -> bool {
        self.is_first_of(mark(bytes), now)
    }

    /// [`Once::is_first`] of bytes with this mark.
    pub(crate) fn is_first_of(&mut self, mark: Mark, now: Instant) -> bool {
        self.forget(KEPT - 1, now);
        let first = self.marks.insert(mark);
        if first {
            self.order.push_back((now, mark));
        }
        first
    }

    /// Whether such bytes have come within [`TTL`].
    pub(crate) fn has(&mut self, mark: &Mark, now: Instant) -> bool {
        self.forget(KEPT, now);
        self.marks.contains(mark)
    }

    fn forget(&mut self, kept: usize, now: Instant) {
        while let Some((at, mark)) = self.order.front()
            && (self.order.len() > kept || now.saturating_duration_since(*at) >= TTL)
        {
            self.marks.remove(mark);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // some point in time

    use super::*;

    #[test]
    fn once_until_it_is_forgotten() {
        let (mut once, start) = (Once::default(), Instant::now());
        assert!(once.is_first(b"a", start) && once.is_first(b"b", start + TTL / 2));
        assert!(!once.is_first(b"a", start + TTL - Duration::from_millis(1)));
        // Asking doesn't make it last.
        assert!(once.is_first(b"a", start + TTL));
        assert!(!once.is_first(b"b", start + TTL));
        assert!(!once.is_first(b"a", start));
    }

    /// What comes again and again is remembered from its first time on, and from the first one after that.
    #[test]
    fn what_is_repeated_is_not_forgotten_sooner() {
        let (mut once, start) = (Once::default(), Instant::now());
        assert!(once.is_first(b"a", start));
        assert!(!once.is_first(b"a", start + TTL / 2));
        assert!(once.is_first(b"a", start + TTL));
        assert!(!once.is_first(b"a", start + TTL + TTL / 2));
        assert_eq!((once.marks.len(), once.order.len()), (1, 1));
    }

    #[test]
    fn no_more_than_its_bound() {
        let (mut once, start) = (Once::default(), Instant::now());
        for number in 0..KEPT + 5 {
            assert!(once.is_first(&number.to_le_bytes(), start));
        }
        assert_eq!((once.marks.len(), once.order.len()), (KEPT, KEPT));
        assert!(
            !once.is_first(&(KEPT + 4).to_le_bytes(), start) && once.is_first(&0_usize.to_le_bytes(), start)
        );
    }
}

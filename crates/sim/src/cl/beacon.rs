//! What a consensus client holds for true, and when its slots are. Pure.

use std::{collections::VecDeque, time::Duration};

use crate::{chain::Hash, request::Forkchoice};

/// The head of a simulated consensus client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The block's number.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The blocks that it took over, as far back as finality reaches.
#[derive(Clone, Debug)]
pub(super) struct Beacon {
    /// Newest last; never empty.
    line: VecDeque<Head>,
    epoch: usize,
}

impl Beacon {
    /// Starts at a block; one epoch (in blocks) later it is safe, two later final.
    pub(super) fn new(head: Head, epoch: u32) -> Beacon {
        let epoch = usize::try_from(epoch.max(1)).unwrap_or(usize::MAX / 2);
        Beacon { line: VecDeque::from([head]), epoch }
    }

    pub(super) fn head(&self) -> Head {
        self.line[self.line.len() - 1]
    }

    pub(super) fn adopt(&mut self, block: Head) {
        self.line.push_back(block);
        if self.line.len() > self.epoch * 2 + 1 {
            self.line.pop_front();
        }
    }

    pub(super) fn forkchoice(&self) -> Forkchoice {
        let back = |blocks: usize| {
            let at = self.line.len().checked_sub(blocks + 1);
            at.map_or(Hash::ZERO, |at| self.line[at].hash)
        };
        Forkchoice { head: self.head().hash, safe: back(self.epoch), finalized: back(self.epoch * 2) }
    }
}

/// When slots are, counted from the start of slot 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotClock {
    pub(super) slot: Duration,
    /// How long before a slot its payload is asked for.
    pub(super) lead: Duration,
    /// The timestamp of slot 0.
    pub(super) genesis_time: u64,
}

impl SlotClock {
    pub(super) fn starts(&self, slot: u64) -> Duration {
        let nanos = self.slot.as_nanos().saturating_mul(u128::from(slot));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(super) fn prepares(&self, slot: u64) -> Duration {
        self.starts(slot).saturating_sub(self.lead)
    }

    /// Seconds, which grow by one a slot at least, since no block may be as old as its parent.
    pub(super) fn timestamp(&self, slot: u64) -> u64 {
        let seconds = if self.slot < Duration::from_secs(1) { slot } else { self.starts(slot).as_secs() };
        self.genesis_time.saturating_add(seconds)
    }

    /// The first slot after `last` that has not begun at `now`.
    pub(super) fn next(&self, last: u64, now: Duration) -> u64 {
        let begun = now.as_nanos() / self.slot.as_nanos().max(1);
        let begun = u64::try_from(begun).unwrap_or(u64::MAX - 1);
        let on_the_dot = self.starts(begun) == now;
        let first = if on_the_dot { begun } else { begun + 1 };
        first.max(last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64) -> Head {
        Head { number, hash: Hash::of(&[&number.to_be_bytes()]) }
    }

    #[test]
    fn safe_and_final_follow_the_head() {
        let mut beacon = Beacon::new(head(0), 2);
        assert_eq!(beacon.forkchoice(), Forkchoice::head(head(0).hash));
        for number in 1..=9 {
            beacon.adopt(head(number));
        }
        let state = beacon.forkchoice();
        assert_eq!((state.head, state.safe), (head(9).hash, head(7).hash));
        assert_eq!(state.finalized, head(5).hash);
        assert_eq!(beacon.line.len(), 5);
    }

    #[test]
    fn slots_that_have_begun_are_left_out() {
        let ms = Duration::from_millis;
        let clock = SlotClock { slot: ms(2000), lead: ms(700), genesis_time: 100 };
        assert_eq!(clock.next(0, ms(0)), 1);
        assert_eq!(clock.next(0, ms(1999)), 1);
        assert_eq!(clock.next(1, ms(2000)), 2);
        assert_eq!(clock.next(1, ms(8001)), 5);
        assert_eq!((clock.starts(3), clock.prepares(3)), (ms(6000), ms(5300)));
        assert_eq!(clock.timestamp(3), 106);
        let quick = SlotClock { slot: ms(100), ..clock };
        assert_eq!(quick.timestamp(3), 103);
    }
}

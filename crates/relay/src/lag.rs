//! Outer peers that stand still while others go on.
//!
//! A peer that is frozen, or cut off from the public network, doesn't close its connections, and answers no less than a healthy one that has nothing to say. What
//! tells them apart is another leg's outer peer, which sends blocks that this one doesn't. A leg whose peer has been so many blocks behind for so long
//! is to end: its node dials again, and gets another peer.
//!
//! **Ahead** counts by what a peer has sent: a block whose time it is. **Behind** counts by the best that it has shown: blocks, handshakes, notices, and blocks of
//! ours that it was given, which it doesn't send back. Who is ahead isn't behind, so one leg stays, whatever happens: where all stand still nobody is behind.
//!
//! **A node that syncs** is no case: its peer sends it the past, and nothing of the present before that is through. So a peer isn't behind before the
//! node has got as far as the peer has told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::egress::Leg;

/// What outer peers have shown. Pure.
#[derive(Clone, Debug)]
pub struct Lag {
    blocks: u32,
    time: Duration,
    legs: BTreeMap<Leg, Shown>,
}

/// What is known of a leg, as numbers of blocks.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    /// The highest block that its outer peer has sent, or told.
    head: u32,
    /// The highest one of those that it has sent when their time was.
    live: u32,
    /// The highest one that its node has told, made, or been sent.
    node: u32,
    /// Since when it is behind.
    since: Option<Instant>,
}

impl Lag {
    /// A peer that is `blocks` behind for `time` is too far behind; 0: never.
    #[must_use]
    pub fn of(blocks: u32, time: Duration) -> Self {
        Self { blocks, time, legs: BTreeMap::new() }
    }

    /// As in [`Lag::of`], from now on.
    pub fn set(&mut self, blocks: u32, time: Duration) {
        (self.blocks, self.time) = (blocks, time);
    }

    /// A leg is there.
    pub fn opened(&mut self, leg: Leg) {
        self.legs.insert(leg, Shown::default());
    }

    /// A leg is gone.
    pub fn closed(&mut self, leg: Leg) {
        self.legs.remove(&leg);
    }

    /// An outer peer has named a block as one that it has.
    pub fn told(&mut self, leg: Leg, number: u32) {
        self.shown(leg, |shown| shown.head = shown.head.max(number));
    }

    /// An outer peer has sent a block, or its id in its place; `is_live`: its time is about now.
    pub fn sent(&mut self, leg: Leg, number: u32, is_live: bool) {
        self.shown(leg, |shown| {
            shown.head = shown.head.max(number);
            shown.node = shown.node.max(number);
            if is_live {
                shown.live = shown.live.max(number);
            }
        });
    }

    /// A leg's node has named a block as one that it has.
    pub fn has(&mut self, leg: Leg, number: u32) {
        self.shown(leg, |shown| shown.node = shown.node.max(number));
    }

    /// A block of a leg's node went out to its outer peer.
    pub fn given(&mut self, leg: Leg, number: u32) {
        self.shown(leg, |shown| {
            shown.node = shown.node.max(number);
            // Of one that hasn't told anything yet nothing is known.
            if shown.head > 0 {
                shown.head = shown.head.max(number);
            }
        });
    }

    /// How many blocks a leg's outer peer is behind the best of the others.
    #[must_use]
    pub fn behind(&self, leg: Leg) -> u32 {
        let best = self.legs.values().map(|shown| shown.live).max().unwrap_or_default();
        match self.legs.get(&leg) {
            Some(shown) if shown.head > 0 && shown.node >= shown.head => best.saturating_sub(shown.head),
            _ => 0,
        }
    }

    /// The legs that are to end, and how many blocks their outer peers are behind. To be asked again and again, as time counts.
    pub fn judge(&mut self, now: Instant) -> BTreeMap<Leg, u32> {
        let mut lagging = BTreeMap::new();
        let behind: Vec<(Leg, u32)> = self.legs.keys().map(|leg| (*leg, self.behind(*leg))).collect();
        for (leg, blocks) in behind {
            let Some(shown) = self.legs.get_mut(&leg) else { continue };
            if self.blocks == 0 || blocks < self.blocks {
                shown.since = None;
                continue;
            }
            let since = *shown.since.get_or_insert(now);
            if now.saturating_duration_since(since) >= self.time {
                lagging.insert(leg, blocks);
            }
        }
        lagging
    }

    fn shown(&mut self, leg: Leg, change: impl FnOnce(&mut Shown)) {
        if let Some(shown) = self.legs.get_mut(&leg) {
            change(shown);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // some point in time

    use proptest::prelude::*;

    use super::*;

    const TIME: Duration = Duration::from_secs(3);
    const A: Leg = Leg(1);
    const B: Leg = Leg(2);

    /// Two legs whose peers and nodes are at block 100.
    fn two() -> (Lag, Instant) {
        let mut lag = Lag::of(10, TIME);
        for leg in [A, B] {
            lag.opened(leg);
            lag.told(leg, 100);
            lag.has(leg, 100);
        }
        (lag, Instant::now())
    }

    /// The legs that end, asked at once and when the time is over.
    fn ends(lag: &mut Lag, now: Instant) -> Vec<(Leg, u32)> {
        assert_eq!(lag.judge(now), BTreeMap::new());
        assert_eq!(lag.judge(now + TIME - Duration::from_millis(1)), BTreeMap::new());
        lag.judge(now + TIME).into_iter().collect()
    }

    #[test]
    fn who_is_too_far_behind_for_too_long() {
        let (mut lag, now) = two();
        lag.sent(A, 109, true);
        assert_eq!((ends(&mut lag, now), lag.behind(B), lag.behind(A)), (vec![], 9, 0));
        lag.sent(A, 110, true);
        assert_eq!((ends(&mut lag, now), lag.behind(B)), (vec![(B, 10)], 10));
        // It goes on, and may begin anew.
        lag.sent(B, 101, true);
        assert_eq!(lag.judge(now + TIME * 2), BTreeMap::new());
        lag.sent(A, 111, true);
        assert_eq!(ends(&mut lag, now + TIME * 3), [(B, 10)]);
        lag.closed(B);
        assert_eq!(lag.judge(now + TIME * 9), BTreeMap::new());
    }

    #[test]
    fn where_all_stand_still_nobody_is_behind() {
        let (mut lag, now) = two();
        for leg in [A, B] {
            lag.sent(leg, 120, true);
        }
        assert_eq!(ends(&mut lag, now), []);
        // The best one's leg is gone: who is left is the best.
        lag.sent(A, 150, true);
        lag.closed(A);
        assert_eq!(ends(&mut lag, now), []);
    }

    /// What a peer says that isn't followed by blocks puts nobody behind, and it isn't behind what it says.
    #[test]
    fn words_put_nobody_behind() {
        let (mut lag, now) = two();
        lag.told(A, 1_000_000);
        lag.has(A, 1_000_000);
        lag.sent(A, 500, false);
        assert_eq!(ends(&mut lag, now), []);
        lag.sent(B, 200, true);
        assert_eq!(ends(&mut lag, now), []);
        lag.told(B, 150);
        assert_eq!(lag.behind(B), 0);
    }

    #[test]
    fn a_node_that_syncs_keeps_its_peer() {
        let (mut lag, now) = two();
        let c = Leg(3);
        lag.opened(c);
        lag.told(c, 100);
        lag.has(c, 1);
        lag.sent(A, 200, true);
        lag.sent(B, 200, true);
        lag.sent(c, 99, false);
        assert_eq!(ends(&mut lag, now), []);
        // It is through, and the peer has nothing more.
        lag.sent(c, 100, false);
        assert_eq!(ends(&mut lag, now), [(c, 100)]);
    }

    #[test]
    fn who_has_not_said_anything_is_not_behind_yet() {
        let (mut lag, now) = two();
        let c = Leg(3);
        lag.opened(c);
        lag.has(c, 100);
        lag.given(c, 101);
        lag.sent(A, 200, true);
        lag.sent(B, 200, true);
        assert_eq!(ends(&mut lag, now), []);
    }

    /// A peer that gets our round doesn't send it back, while the others' send it.
    #[test]
    fn what_a_peer_is_given_counts() {
        let (mut lag, now) = two();
        for number in 101..=112 {
            lag.given(A, number);
            lag.sent(B, number, true);
        }
        assert_eq!((ends(&mut lag, now), lag.behind(A)), (vec![], 0));
        // Its node has what it made.
        lag.sent(B, 130, true);
        assert_eq!(lag.behind(A), 18);
    }

    #[test]
    fn never_if_that_is_wanted() {
        let (_, now) = two();
        let mut lag = Lag { blocks: 0, ..two().0 };
        lag.sent(A, 5000, true);
        assert_eq!((ends(&mut lag, now), lag.behind(B)), (vec![], 4900));
    }

    proptest! {
        #[test]
        fn one_leg_stays(events in prop::collection::vec((0..4_u64, 0..5_u8, 0..60_u32, any::<bool>()), 0..80)) {
            let (mut lag, start) = (Lag::of(5, TIME), Instant::now());
            let mut open = std::collections::BTreeSet::new();
            for (step, (leg, what, number, live)) in events.into_iter().enumerate() {
                let leg = Leg(leg);
                if open.insert(leg) {
                    lag.opened(leg);
                }
                match what {
                    0 => lag.told(leg, number),
                    1 => lag.has(leg, number),
                    2 => lag.given(leg, number),
                    _ => lag.sent(leg, number, live),
                }
                for leg in lag.judge(start + TIME * step as u32).keys() {
                    open.remove(leg);
                    lag.closed(*leg);
                }
                prop_assert!(!open.is_empty());
            }
        }
    }
}

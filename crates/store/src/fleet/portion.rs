//! How a node's slots are dealt out. Pure.
//!
//! The slots of a node are points on a circle, at equal distances; where the first one lies depends on the node, so that
//! nodes with few slots don't all fall to the same instance. An instance has an interval of the circle, and of every node
//! the slots that lie in it. Where intervals don't overlap, no slot has two owners, whatever the number of slots: that is
//! all that has to be kept while instances come and go.

use std::fmt;

/// The length of the circle.
const WHOLE: u64 = 1 << 32;

/// An interval of the circle: a part of every node's slots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    from: u64,
    to: u64,
}

impl fmt::Debug for Portion {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = [self.from, self.to].map(|point| point as f64 / WHOLE as f64);
        write!(f, "{from:.3}..{to:.3}")
    }
}

impl Portion {
    /// No slot of any node.
    pub const NONE: Self = Self { from: 0, to: 0 };
    /// All slots of all nodes: what an instance that shares with nobody has.
    pub const ALL: Self = Self { from: 0, to: WHOLE };

    /// The part of one of `live` instances; `index` counts from 0. The parts of all of them are the whole, none overlaps.
    pub fn of(live: usize, index: usize) -> Self {
        if index >= live {
            return Self::NONE;
        }
        let [live, index] = [live, index].map(|number| number as u64);
        let live = live.min(WHOLE);
        Self { from: WHOLE * index / live, to: WHOLE * (index + 1) / live }
    }

    /// How many of a node's slots are in this portion. `node` must be written the same, and `slots` be the same number, in
    /// all instances. Over intervals that don't overlap, the sum is at most `slots`.
    pub fn slots(self, slots: u32, node: &str) -> u32 {
        if self.is_none() {
            return 0;
        }
        // The circle turned back by the node's offset: its slots then lie at (k + 1/2) / slots.
        let start = (self.from + WHOLE - offset(node)) % WHOLE;
        let end = start + (self.to - self.from);
        if end <= WHOLE {
            below(end, slots) - below(start, slots)
        } else {
            slots - below(start, slots) + below(end - WHOLE, slots)
        }
    }

    /// Whether it is empty.
    pub fn is_none(self) -> bool {
        self.from >= self.to
    }

    /// As it is written in the roll: two numbers up to 2³². What makes no sense is nothing.
    pub(super) fn from_parts(from: u64, to: u64) -> Self {
        if from < to && to <= WHOLE { Self { from, to } } else { Self::NONE }
    }

    pub(super) fn parts(self) -> (u64, u64) {
        (self.from, self.to)
    }

    pub(super) fn overlap(self, other: Self) -> Self {
        Self::from_parts(self.from.max(other.from), self.to.min(other.to))
    }

    fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// The largest part that is in none of `others`.
    pub(super) fn without(self, others: &[Self]) -> Self {
        self.pieces(others).into_iter().max_by_key(|piece| piece.length()).unwrap_or(Self::NONE)
    }

    /// As much of `self` around `core` as is in none of `others`; the largest part if there is no core.
    pub(super) fn around(self, core: Self, others: &[Self]) -> Self {
        let mut pieces = self.pieces(others).into_iter();
        if core.is_none() {
            self.without(others)
        } else {
            pieces.find(|piece| piece.overlap(core) == core).unwrap_or(core)
        }
    }

    fn pieces(self, others: &[Self]) -> Vec<Self> {
        let mut others: Vec<Self> = others.iter().copied().filter(|other| !other.is_none()).collect();
        others.sort_by_key(|other| other.from);
        let mut pieces = Vec::new();
        let mut from = self.from;
        for other in others {
            pieces.push(Self::from_parts(from, other.from.min(self.to)));
            from = from.max(other.to);
        }
        pieces.push(Self::from_parts(from, self.to));
        pieces.retain(|piece| !piece.is_none());
        pieces
    }
}

/// How many of the points (k + 1/2) / slots of the circle are below `point`.
fn below(point: u64, slots: u32) -> u32 {
    // In halves of a slot, so that nothing is rounded: k + 1/2 < point · slots / WHOLE.
    let halves = (2 * u128::from(point) * u128::from(slots)).div_ceil(u128::from(WHOLE));
    u32::try_from(halves / 2).unwrap_or(slots).min(slots)
}

/// Where a node's slots begin: FNV-1a, which every version of every instance computes the same.
fn offset(node: &str) -> u64 {
    let hash = node.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_even_and_spread() {
        for (slots, live, expected) in [
            (8, 1, vec![8]),
            (8, 2, vec![4, 4]),
            (8, 3, vec![2, 3, 3]),
            (1, 3, vec![0, 0, 1]),
            (0, 2, vec![0, 0]),
        ] {
            let mut shares: Vec<u32> =
                (0..live).map(|index| Portion::of(live, index).slots(slots, "a")).collect();
            shares.sort_unstable();
            assert_eq!(shares, expected, "{slots} over {live}");
        }
        let mut owned = [0; 3];
        for node in 0..300 {
            for (index, owned) in owned.iter_mut().enumerate() {
                *owned += Portion::of(3, index).slots(1, &format!("http://node-{node}:8545"));
            }
        }
        assert!(owned.iter().all(|nodes| (60..140).contains(nodes)), "{owned:?}");
    }

    #[test]
    fn counting_agrees_with_looking_at_every_slot() {
        for slots in 0..40_u64 {
            for point in (0..=WHOLE).step_by(usize::try_from(WHOLE / 97).unwrap()) {
                let looked = (0..slots).filter(|slot| WHOLE * (2 * slot + 1) < 2 * point * slots).count();
                assert_eq!(below(point, slots.try_into().unwrap()) as usize, looked, "{slots} {point}");
            }
        }
    }

    proptest! {
        #[test]
        fn all_slots_are_dealt_out_once(slots in 0..100_000_u32, live in 1..40_usize, node in ".{0,30}") {
            let shares: Vec<u32> = (0..live).map(|index| Portion::of(live, index).slots(slots, &node)).collect();
            prop_assert_eq!(shares.iter().sum::<u32>(), slots);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", shares);
        }

        #[test]
        fn what_does_not_overlap_is_never_more_than_all(
            mut cuts in proptest::collection::vec(0..=WHOLE, 0..12), slots in 0..1000_u32, node in ".{0,30}"
        ) {
            cuts.sort_unstable();
            let parts = cuts.windows(2).map(|cut| Portion::from_parts(cut[0], cut[1]).slots(slots, &node));
            prop_assert!(parts.sum::<u32>() <= slots);
        }

        #[test]
        fn what_is_free_overlaps_nothing(
            cuts in proptest::collection::vec((0..=WHOLE, 0..=WHOLE), 0..6), from in 0..WHOLE, to in 0..=WHOLE
        ) {
            let others: Vec<Portion> = cuts.into_iter().map(|(from, to)| Portion::from_parts(from, to)).collect();
            let free = Portion::from_parts(from, to).without(&others);
            for piece in [free, Portion::ALL.around(free, &others)] {
                prop_assert!(others.iter().all(|other| other.overlap(piece).is_none()));
                prop_assert_eq!(free.overlap(piece), free);
            }
        }
    }
}

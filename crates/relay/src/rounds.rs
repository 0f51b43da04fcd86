//! Whose blocks filled our rounds, and which slots of ours nobody filled.
//!
//! There is no schedule here. A producer has the twelve slots of a round if one of its blocks is in it; and it has the round that comes as long
//! after its last one as that came after the one before, unless somebody else's block is in that. So a round that is missed as a whole is
//! noticed, and who has left the schedule misses nothing.
//!
//! A round is over for good when a public block of the second one after it is there. Of rounds next to which nothing public was seen nobody
//! can tell anything: then it was this relay that was cut off.

mod away;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstay_antelope::{Name, Slot};

pub use away::{AFTER, BEFORE, WATCHED};

/// Rounds of a producer that are shown.
pub const SHOWN: usize = 8;
/// Rounds that are remembered, those of others included: more than a schedule has.
const KEPT: usize = 256;
/// Slots of a round.
const SLOTS: usize = Slot::PER_ROUND as usize;

/// A round of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Whose.
    pub producer: Name,
    /// Which: its first slot divided by twelve.
    pub number: u32,
    /// Whose block each slot has: the node's name; empty: it came from elsewhere.
    pub slots: [Option<Arc<str>>; SLOTS],
    /// How many slots have none; known when it is over.
    pub gaps: Option<usize>,
}

/// All rounds that have been seen. Pure.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    ours: BTreeSet<Name>,
    /// Who filled slots of a round.
    seen: BTreeMap<u32, BTreeSet<Name>>,
    rounds: BTreeMap<(Name, u32), Round>,
    /// The first slot that was seen; nobody knows what was before it.
    first: Option<Slot>,
    newest: u32,
}

impl Rounds {
    /// Those of these producers.
    #[must_use]
    pub fn of(ours: BTreeSet<Name>) -> Self {
        Self { ours, ..Self::default() }
    }

    /// A block is public, of anybody's, and not of long ago; `node` if one of ours made it. The gaps that are certain since.
    pub fn public(&mut self, producer: Name, slot: Slot, node: Option<&Arc<str>>) -> Vec<(Name, usize)> {
        self.first.get_or_insert(slot);
        let number = slot.round();
        self.seen.entry(number).or_default().insert(producer);
        if self.seen.len() > KEPT {
            self.seen.pop_first();
        }
        if self.ours.contains(&producer) {
            let round = self.rounds.entry((producer, number)).or_insert_with(|| empty(producer, number));
            let filled = &mut round.slots[slot.position() as usize];
            if filled.is_none() {
                *filled = Some(node.cloned().unwrap_or_else(|| "".into()));
            }
        }
        self.newest = self.newest.max(number);
        self.close()
    }

    /// The last rounds of ours, the oldest first.
    pub fn view(&self) -> impl Iterator<Item = &Round> {
        let mut rounds: Vec<&Round> = self.rounds.values().collect();
        rounds.sort_by_key(|round| round.number);
        let skip = rounds.len().saturating_sub(SHOWN * self.ours.len());
        rounds.into_iter().skip(skip)
    }

    /// Ends the rounds that are over.
    fn close(&mut self) -> Vec<(Name, usize)> {
        let mut found = Vec::new();
        let over = |number: u32, newest: u32| number.saturating_add(1) < newest;
        for producer in self.ours.clone() {
            while let Some(missed) = self.missed(producer).filter(|number| over(*number, self.newest)) {
                self.rounds.insert((producer, missed), empty(producer, missed));
            }
            let first = self.first;
            let newest = self.newest;
            let open = self.rounds.range_mut((producer, 0)..=(producer, u32::MAX));
            for (_, round) in open.filter(|(_, round)| round.gaps.is_none() && over(round.number, newest)) {
                let begins = round.number * Slot::PER_ROUND;
                let watched = self.seen.contains_key(&(round.number + 1));
                let known = |position: &usize| {
                    watched && first.is_none_or(|first| begins + *position as u32 >= first.0)
                };
                let gaps =
                    (0..SLOTS).filter(known).filter(|position| round.slots[*position].is_none()).count();
                round.gaps = Some(gaps);
                if gaps > 0 {
                    found.push((producer, gaps));
                }
            }
            while self.rounds.range((producer, 0)..=(producer, u32::MAX)).count() > SHOWN {
                let first = self.rounds.range((producer, 0)..).next().map(|(key, _)| *key);
                first.map(|key| self.rounds.remove(&key));
            }
        }
        found
    }

    /// The round that a producer has after its last one, if it can be told, nobody else has it, and nothing of its own is in it.
    fn missed(&self, producer: Name) -> Option<u32> {
        let mut latest =
            self.rounds.range((producer, 0)..=(producer, u32::MAX)).rev().map(|(_, round)| round);
        let (last, before) = (latest.next()?, latest.next()?);
        // One that was missed tells nothing of the schedule but that it was expected.
        let next = last.number.checked_add(last.number - before.number)?;
        let watched = self.seen.contains_key(&(next - 1)) && self.seen.contains_key(&next.checked_add(1)?);
        (watched && !self.seen.contains_key(&next)).then_some(next)
    }
}

fn empty(producer: Name, number: u32) -> Round {
    Round { producer, number, slots: std::array::from_fn(|_| None), gaps: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Name = Name(1);

    /// Public rounds of four producers in turn; of the slots for which `fills` says no there is none.
    fn rounds(fills: impl Fn(u32, u32) -> bool, to: u32) -> (Rounds, usize) {
        let mut rounds = Rounds::of([OURS].into());
        let mut gaps = 0;
        let node: Arc<str> = "a".into();
        for slot in 0..to * 12 {
            let producer = Name(u64::from(slot / 12 % 4) + 1);
            if producer != OURS || fills(slot / 12, slot % 12) {
                let node = (producer == OURS).then_some(&node);
                gaps += rounds.public(producer, Slot(slot), node).iter().map(|(_, gaps)| gaps).sum::<usize>();
            }
        }
        (rounds, gaps)
    }

    #[test]
    fn a_whole_round_has_no_gaps() {
        let (rounds, gaps) = rounds(|_, _| true, 40);
        assert_eq!(gaps, 0);
        let shown: Vec<(u32, Option<usize>)> =
            rounds.view().map(|round| (round.number, round.gaps)).collect();
        assert_eq!(shown.len(), SHOWN);
        assert_eq!(shown[7], (36, Some(0)));
    }

    #[test]
    fn slots_that_nobody_filled_are_counted_once_the_round_is_over() {
        let fills = |round, position| round != 8 || position < 5;
        assert_eq!(rounds(fills, 10).1, 0);
        let (rounds, gaps) = rounds(fills, 11);
        assert_eq!(gaps, 7);
        let last = rounds.view().last().unwrap();
        assert_eq!((last.number, last.slots.iter().flatten().count()), (8, 5));
    }

    #[test]
    fn a_round_that_was_missed_as_a_whole_counts_too() {
        assert_eq!(rounds(|round, _| round != 8, 20).1, 12);
        assert_eq!(rounds(|round, _| round < 8, 20).1, 36);
    }

    #[test]
    fn who_has_left_the_schedule_misses_nothing() {
        let mut rounds = Rounds::of([OURS].into());
        let mut gaps = Vec::new();
        for slot in 0..1200 {
            let producer = if slot < 240 { Name(u64::from(slot / 12 % 4) + 1) } else { Name(9) };
            gaps.extend(rounds.public(producer, Slot(slot), None));
        }
        assert_eq!(gaps, []);
    }

    #[test]
    fn who_was_cut_off_knows_of_no_gaps() {
        let mut rounds = Rounds::of([OURS].into());
        let mut gaps = Vec::new();
        for slot in (0..197).chain(1900..2400) {
            let producer = Name(u64::from(slot / 12 % 4) + 1);
            gaps.extend(rounds.public(producer, Slot(slot), None));
        }
        assert_eq!(gaps, []);
    }

    #[test]
    fn what_was_before_the_first_block_is_nobodys_fault() {
        let mut rounds = Rounds::of([OURS].into());
        let mut gaps = Vec::new();
        for slot in (7..12).chain(24..40) {
            let producer = if slot < 12 { OURS } else { Name(2) };
            gaps.extend(rounds.public(producer, Slot(slot), None));
        }
        assert_eq!(gaps, []);
    }

    #[test]
    fn a_slot_is_the_first_ones_that_filled_it() {
        let mut rounds = Rounds::of([OURS].into());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for node in [Some(&a), Some(&b), None] {
            let _ = rounds.public(OURS, Slot(3), node);
        }
        let _ = rounds.public(OURS, Slot(4), None);
        let round = rounds.view().next().unwrap();
        assert_eq!(
            (round.slots[3].as_deref(), round.slots[4].as_deref(), &round.slots[5]),
            (Some("a"), Some(""), &None)
        );
    }

    #[test]
    fn memory_is_bounded_whatever_slots_come() {
        let mut rounds = Rounds::of([OURS].into());
        for slot in (0..u32::MAX).step_by(1_000_003) {
            let _ = rounds.public(OURS, Slot(slot), None);
            let _ = rounds.public(Name(2), Slot(slot ^ 0xffff), None);
        }
        assert!(rounds.seen.len() <= KEPT && rounds.rounds.len() <= SHOWN);
    }
}

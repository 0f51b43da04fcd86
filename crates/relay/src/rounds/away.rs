//! When none of our rounds is near: what had better not happen in one, or shortly before, has its time then.
//!
//! A producer's next round is as long after its last one as that was after the one before, or as that one was: where the schedule changes either may be right, so both
//! are kept clear of. Nothing can be told of a producer of which one round is known, or none, before so long has been watched that it would have had another one
//! in the longest schedule; nor of anything while nothing public is heard.

use mainstay_antelope::{Name, Slot};

use super::Rounds;

/// Slots before a round of ours that belong to it: 10 seconds.
pub const BEFORE: u32 = 20;
/// And after it: 5 seconds.
pub const AFTER: u32 = 10;
/// Slots of the longest schedule's cycle, that of 125 producers, and what lies between two looks.
pub const WATCHED: u32 = 126 * Slot::PER_ROUND;
/// Slots without a public block that say nothing: two producers in a row that are away.
const QUIET: u32 = 2 * Slot::PER_ROUND;
/// Rounds of a producer by which the next one is told.
const ROUNDS: usize = 3;

impl Rounds {
    /// Whether a slot is well away from all rounds of ours, those that were and those that will be.
    #[must_use]
    pub fn is_away(&self, slot: Slot) -> bool {
        let Some(first) = self.first else { return false };
        let heard = (self.newest * Slot::PER_ROUND).saturating_add(Slot::PER_ROUND + QUIET) > slot.0;
        heard && self.ours.iter().all(|producer| self.is_away_from(*producer, first, slot.0))
    }

    fn is_away_from(&self, producer: Name, first: Slot, slot: u32) -> bool {
        let own = self.rounds.range((producer, 0)..=(producer, u32::MAX)).rev();
        let last: Vec<u32> = own.take(ROUNDS).map(|((_, number), _)| *number).collect();
        match last[..] {
            [] => slot.saturating_sub(first.0) >= WATCHED,
            [only] => slot.saturating_sub(end(only)) >= WATCHED,
            [last, ..] if begin(last) > slot => false,
            [newest, ..] => last.windows(2).all(|two| {
                let cycle = two[0] - two[1];
                // The first one that isn't over yet, with what belongs to it.
                let over = slot.saturating_sub(end(newest).saturating_add(AFTER)) / (cycle * Slot::PER_ROUND);
                let is_last_over = slot >= end(newest).saturating_add(AFTER);
                let next = newest.saturating_add(if is_last_over { (over + 1) * cycle } else { 0 });
                slot.saturating_add(BEFORE) <= begin(next)
            }),
        }
    }
}

fn begin(round: u32) -> u32 {
    round.saturating_mul(Slot::PER_ROUND)
}

fn end(round: u32) -> u32 {
    begin(round).saturating_add(Slot::PER_ROUND)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: Name = Name(1);

    /// What is known after all slots before `to` in a schedule of so many producers, of whom the first is ours.
    fn watched(producers: u32, from: u32, to: u32) -> Rounds {
        let mut rounds = Rounds::of([OURS].into());
        for slot in from..to {
            let producer = Name(u64::from(slot / 12 % producers) + 1);
            let _ = rounds.public(producer, Slot(slot), None);
        }
        rounds
    }

    #[test]
    fn between_two_rounds_of_ours_there_is_a_time() {
        // Rounds of ours begin at 0, 60, 120.
        let at = |slot| watched(5, 0, slot).is_away(Slot(slot));
        let away: Vec<u32> = (120..180).filter(|slot| at(*slot)).collect();
        assert_eq!(away, (132 + AFTER..=180 - BEFORE).collect::<Vec<u32>>());
        // Three have none.
        assert!((36..200).all(|slot| !watched(3, 0, slot).is_away(Slot(slot))));
    }

    #[test]
    fn with_one_round_or_none_nothing_is_known_for_as_long_as_a_cycle_may_be() {
        assert!((12..60).all(|slot| !watched(5, 0, slot).is_away(Slot(slot))), "one of ours");
        // None of ours at all.
        let others = |to| {
            let mut rounds = Rounds::of([Name(99)].into());
            for slot in 0..to {
                let _ = rounds.public(Name(u64::from(slot / 12 % 5)), Slot(slot), None);
            }
            rounds
        };
        assert!(!others(WATCHED).is_away(Slot(WATCHED - 1)));
        assert!(others(WATCHED).is_away(Slot(WATCHED)));
        assert!(!Rounds::of([OURS].into()).is_away(Slot(WATCHED)));
    }

    #[test]
    fn a_producer_that_has_left_is_waited_for_where_it_would_come() {
        let mut rounds = watched(5, 0, 72);
        for slot in 72..400 {
            let _ = rounds.public(Name(9), Slot(slot), None);
        }
        assert!(!rounds.is_away(Slot(365)), "360 would be its own");
        assert!(rounds.is_away(Slot(395)));
    }

    #[test]
    fn where_the_schedule_changes_both_may_be_right() {
        // Our rounds begin at 0, 120, 240, then at 300, as there are five producers now instead of ten.
        let mut rounds = watched(10, 0, 300);
        for slot in 300..340 {
            let producer = if slot < 312 { OURS } else { Name(2) };
            let _ = rounds.public(producer, Slot(slot), None);
        }
        assert!(rounds.is_away(Slot(330)) && !rounds.is_away(Slot(341)), "the next one may be at 360");
        for slot in 340..432 {
            let producer = if (360..372).contains(&slot) { OURS } else { Name(2) };
            let _ = rounds.public(producer, Slot(slot), None);
        }
        assert!(!rounds.is_away(Slot(415)), "the next one may be at 420");
    }

    #[test]
    fn while_nothing_is_heard_nothing_is_known() {
        let rounds = watched(5, 0, 150);
        // The newest round that was seen ends at 156.
        let (heard, cut_off) = (Slot(155), Slot(156 + QUIET + 40));
        assert!(rounds.is_away(heard) && !rounds.is_away(cut_off));
    }

    proptest! {
        /// Whatever schedule, and wherever it is joined: never in our round or near it, and where the cycle has room there is a time.
        #[test]
        fn never_near_a_round_of_ours(producers in 1..30_u32, from in 0..400_u32, length in 0..1500_u32) {
            let to = from + length;
            let rounds = watched(producers, from, to);
            let cycle = producers * 12;
            let into = to % cycle;
            let near = into < 12 + AFTER || into + BEFORE > cycle;
            prop_assert!(!(near && rounds.is_away(Slot(to))), "{into} of {cycle}");
            let known = from / cycle + 2 < to / cycle;
            prop_assert!(near || !known || rounds.is_away(Slot(to)), "{into} of {cycle}");
        }

        #[test]
        fn whatever_is_seen_it_is_told(slots in prop::collection::vec((any::<u32>(), 1..3_u64), 0..40), at in any::<u32>()) {
            let mut rounds = Rounds::of([OURS].into());
            for (slot, producer) in slots {
                let _ = rounds.public(Name(producer), Slot(slot), None);
            }
            let _ = rounds.is_away(Slot(at));
        }
    }
}

//! What is told of memory alone; what every implementation does is in `tests/claims`.

use super::*;

const CHAIN: Id = Id([9; 32]);

/// An id with a number, told from others of that number by `mark`.
fn id(number: u32, mark: u8) -> Id {
    let mut id = [mark; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Id(id)
}

/// A bid of one producer for slot `slot`, for a block on a public parent.
fn bid(slot: u32, id: Id) -> Bid {
    Bid {
        key: Key { chain: CHAIN, producer: Name(1), slot: Slot(slot) },
        id,
        previous: Id([slot as u8; 32]),
        parent_public: true,
        may_win: true,
    }
}

#[test]
fn old_claims_are_forgotten_and_stay_out_of_reach() {
    let mut ledger = Ledger::default();
    for slot in 0..10_000 {
        ledger.grant(&bid(slot, id(slot + 1, 1)));
    }
    assert_eq!(ledger.claims.len(), KEPT);
    assert_eq!(ledger.latest(), Some(Published { number: 10_000, slot: Slot(9999) }));
    assert_eq!(ledger.judge(&bid(0, id(1, 2)), true), Answer::Lost(None));
    // Longer than those are kept that others may ask for.
    assert!(KEPT as u64 * Slot::MILLIS > 2 * CLAIM_TTL.as_millis() as u64);
}

#[test]
fn the_highest_number_and_slot_count_each_for_itself() {
    let latest = Published::and(Some(Published { number: 5, slot: Slot(9) }), 7, Slot(8));
    assert_eq!(latest, Published { number: 7, slot: Slot(9) });
    for (number, slot, after) in [(8, 10, true), (7, 10, false), (8, 9, false), (6, 12, false)] {
        assert_eq!(latest.is_below(number, Slot(slot)), after);
    }
}

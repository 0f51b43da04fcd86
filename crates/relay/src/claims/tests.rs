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
fn the_first_has_the_slot_and_who_comes_again_is_told_so() {
    let claims = MemoryClaims::default();
    assert_eq!(claims.bid(&bid(7, id(100, 1))), Answer::Granted);
    assert_eq!(claims.bid(&bid(7, id(100, 1))), Answer::Same);
    assert_eq!(claims.bid(&bid(7, id(100, 2))), Answer::Lost(Some(id(100, 1))));
    // Nothing of the loser stays.
    assert_eq!(claims.bid(&bid(7, id(100, 1))), Answer::Same);
}

#[test]
fn nothing_at_or_below_the_last_published() {
    let claims = MemoryClaims::default();
    claims.bid(&bid(7, id(100, 1)));
    for (slot, number) in [(6, 101), (8, 100), (8, 99), (6, 99)] {
        assert_eq!(claims.bid(&bid(slot, id(number, 2))), Answer::Lost(None), "{slot} {number}");
    }
    assert_eq!(claims.bid(&bid(8, id(101, 2))), Answer::Granted);
    // What was claimed stays claimed.
    assert_eq!(claims.bid(&bid(7, id(100, 1))), Answer::Same);
}

#[test]
fn who_does_not_know_the_parent_needs_a_claim_of_it() {
    let claims = MemoryClaims::default();
    let unsure = |slot, own, previous| Bid { previous, parent_public: false, ..bid(slot, own) };
    assert_eq!(claims.bid(&unsure(7, id(100, 1), id(99, 1))), Answer::Orphan);
    assert_eq!(claims.bid(&bid(7, id(100, 1))), Answer::Granted);
    assert_eq!(claims.bid(&unsure(8, id(101, 1), id(100, 1))), Answer::Granted);
    // Tainted goes before lost, but not before same.
    assert_eq!(claims.bid(&unsure(8, id(101, 2), id(100, 2))), Answer::Orphan);
    assert_eq!(claims.bid(&unsure(7, id(100, 1), id(99, 1))), Answer::Same);
    // A claim of another of our producers will do, one on another chain won't.
    let mut other = unsure(9, id(102, 1), id(101, 1));
    other.key.producer = Name(2);
    assert_eq!(claims.bid(&other), Answer::Granted);
    let mut elsewhere = unsure(9, id(102, 1), id(101, 1));
    elsewhere.key.chain = Id([8; 32]);
    assert_eq!(claims.bid(&elsewhere), Answer::Orphan);
}

#[test]
fn who_may_not_win_only_asks() {
    let claims = MemoryClaims::default();
    let asking = |slot, own| Bid { may_win: false, ..bid(slot, own) };
    assert_eq!(claims.bid(&asking(7, id(100, 1))), Answer::Lost(None));
    assert_eq!(claims.bid(&bid(7, id(100, 2))), Answer::Granted);
    assert_eq!(claims.bid(&asking(7, id(100, 2))), Answer::Same);
    assert_eq!(claims.bid(&asking(7, id(100, 1))), Answer::Lost(Some(id(100, 2))));
}

#[test]
fn chains_and_producers_have_claims_of_their_own() {
    let claims = MemoryClaims::default();
    let at = |chain, producer, mark| Bid {
        key: Key { chain, producer: Name(producer), slot: Slot(7) },
        ..bid(7, id(100, mark))
    };
    for (chain, producer) in [(CHAIN, 1), (CHAIN, 2), (Id::ZERO, 1)] {
        assert_eq!(claims.bid(&at(chain, producer, 1)), Answer::Granted);
        assert_eq!(claims.bid(&at(chain, producer, 2)), Answer::Lost(Some(id(100, 1))));
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

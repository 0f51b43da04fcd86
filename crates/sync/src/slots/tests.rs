use proptest::prelude::*;

use super::*;

fn length(seconds: u64) -> NonZeroU64 {
    NonZeroU64::new(seconds).unwrap()
}

#[test]
fn the_clocks_of_networks_are_theirs() {
    // The Merge: block 15537394 in slot 4700013. Hoodi's and Sepolia's genesis from config.yaml, min genesis time + delay.
    let table = [
        ("mainnet", 1_663_224_179, 4_700_013),
        ("mainnet", 1_606_824_023, 0),
        ("hoodi", 1_742_212_800 + 600, 0),
        ("sepolia", 1_655_647_200 + 86_400, 0),
        ("gnosis", 1_638_993_340 + 5 * 7, 7),
    ];
    for (network, timestamp, slot) in table {
        let slots = Slots::of(network).unwrap();
        assert_eq!(slots.at(timestamp), slot, "{network}");
        assert_eq!(slots.start(slot), timestamp, "{network}");
    }
    assert_eq!(Slots::of("Mainnet"), None);
    assert_eq!(Slots::networks().collect::<Vec<_>>(), ["mainnet", "hoodi", "sepolia", "gnosis"]);
    assert_eq!(Slots::of("gnosis").unwrap().length(), length(5));
}

#[test]
fn a_slot_lasts_from_its_start_to_the_next_ones() {
    let slots = Slots::new(100, length(12));
    let table = [(0, 0), (99, 0), (100, 0), (111, 0), (112, 1), (123, 1), (124, 2)];
    for (seconds, slot) in table {
        assert_eq!(slots.at(seconds), slot, "{seconds}");
    }
}

#[test]
fn one_slot_ahead_is_believed_and_no_more() {
    let table =
        [(0, 0, true), (1, 0, true), (2, 0, false), (99, 100, true), (101, 100, true), (102, 100, false)];
    for (slot, clock, expected) in table {
        assert_eq!(believable(slot, clock), expected, "{slot} at {clock}");
    }
}

#[test]
fn defect_4_the_greatest_timestamp_is_a_slot_like_others_that_nobody_believes() {
    for network in Slots::networks() {
        let slots = Slots::of(network).unwrap();
        let slot = slots.at(u64::MAX);
        assert!(!believable(slot, slots.at(1_790_000_000)), "{network}");
        assert!(slots.start(slot) > u64::MAX - slots.length().get());
        assert_eq!(slots.start(u64::MAX), u64::MAX);
        assert_eq!(slots.start(1 << 62), u64::MAX, "beyond the end of time, and not round it");
    }
    assert!(believable(u64::MAX, u64::MAX));
}

#[test]
fn a_clock_is_learned_from_one_block_and_outliers_dont_move_it() {
    let mut learned = Learned::new(length(12));
    assert!(!learned.is_known());
    assert_eq!(learned.slots(), Slots::new(0, length(12)));
    learned.take(1_606_824_023 + 12 * 7);
    assert!(learned.is_known());
    let right = Slots::new(1_606_824_023 % 12, length(12));
    assert_eq!(learned.slots(), right);
    for outlier in [0, u64::MAX, 1_606_824_024, 5] {
        learned.take(1_606_824_023 + outlier % 100 * 12);
        learned.take(outlier);
        learned.take(outlier);
        assert_eq!(learned.slots(), right, "{outlier}");
    }
}

#[test]
fn a_first_block_that_is_no_slots_is_outvoted_by_two() {
    // An EL at its genesis block, whose timestamp is nobody's slot.
    let mut learned = Learned::new(length(12));
    learned.take(1_000_001);
    learned.take(1_200_003);
    learned.take(1_200_003);
    assert_eq!(learned.slots().genesis(), 1_000_001 % 12, "one against one, though told twice");
    learned.take(1_200_015);
    assert_eq!(learned.slots().genesis(), 3);
}

#[test]
fn a_stuck_node_of_another_phase_has_one_voice() {
    let mut learned = Learned::new(length(12));
    for slot in 0..100 {
        learned.take(1_200_003 + slot * 12);
        for _ in 0..10 {
            learned.take(1_000_001);
        }
        assert_eq!(learned.slots().genesis(), 3);
    }
    assert!(learned.timestamps.len() <= KEPT);
}

proptest! {
    #[test]
    fn nothing_that_is_told_breaks_a_clock(genesis: u64, seconds: u64, size in 1..u64::MAX, slot: u64) {
        let slots = Slots::new(genesis, length(size));
        prop_assert!(slots.start(slots.at(seconds)) <= seconds.max(genesis));
        prop_assert!(slots.start(slot) >= genesis);
        prop_assert!(slots.at(slots.start(slot)) <= slot);
    }

    #[test]
    fn the_phase_of_most_is_learned_whatever_the_order(
        phase in 0..12_u64,
        blocks in proptest::collection::btree_set(0..1_000_u64, 17..=20),
        outliers in proptest::collection::vec(any::<u64>(), 0..=13),
        order in any::<u64>(),
    ) {
        let mut told: Vec<u64> = blocks.iter().map(|b| 1_200_000 + b * 12 + phase).chain(outliers).collect();
        // Any order: by a hash of each and a seed.
        told.sort_by_key(|t| t.wrapping_mul(order | 1).rotate_left(17));
        let mut learned = Learned::new(length(12));
        told.iter().for_each(|t| learned.take(*t));
        prop_assert_eq!(learned.slots(), Slots::new(phase, length(12)));
    }
}

//! Two nodes with one key behind two relays that share claims, five producers, and whatever may go wrong, over many slots.
//!
//! Nodes behave as real ones were seen to: two that agree make the same blocks, transactions make them differ, the loser stays on its private
//! fork and resends it again and again for a quarter of a minute. Outer nodes follow the longest chain. Nodes are killed, frozen and
//! cut off, relays are killed, cut off from the claims either way (nothing gets there, or no answer comes back) and have clocks that are
//! wrong by up to 5 seconds, and the public side itself parts.
//!
//! What has to hold:
//!
//! 1. The public side never sees two blocks for a slot of ours.
//! 2. What is suppressed could not have filled a gap: its parent was not known public, later blocks were out, or claims or clocks were
//!    away.
//! 3. A sync answer is never suppressed.
//! 4. When all is well again for two turns of the schedule, the next round is whole, and all are on one chain.
//! 5. Memory stays bounded.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/nodes.rs"]
mod nodes;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/world.rs"]
mod world;

use world::World;

/// Slots of a run between two that are looked at in peace.
const EPOCH: u32 = 600;

fn run(seed: u64, epochs: u32) -> World {
    let mut world = World::new(seed);
    for _ in 0..epochs {
        for _ in 0..EPOCH {
            faults::strike(&mut world);
            world.slot();
        }
        faults::heal(&mut world);
        world.rest();
        world.sync_answers();
    }
    world
}

/// 25,000 slots, in runs of their own seeds: with legacy and with fast finality, with nodes that drop what comes while they produce and with
/// such that don't.
#[test]
fn two_relays_never_let_two_blocks_out_for_a_slot() {
    let mut sum = world::Count::default();
    for seed in 0..16 {
        sum.add(&run(seed, 2).count);
    }
    println!("{sum:?}");
    // That there was something to decide.
    for (what, number, least) in [
        ("slots", sum.slots, 20_000),
        ("won", sum.won, 2_000),
        ("lost", sum.lost, 100),
        ("tainted", sum.tainted, 1_000),
        ("closed", sum.closed, 50),
        ("untimely", sum.untimely, 50),
        ("history", sum.history, 1_000),
        ("restarts of relays", sum.restarts, 20),
    ] {
        assert!(number >= least, "{number} {what}");
    }
}

#[test]
fn a_seed_is_a_run() {
    assert_eq!(run(3, 1).count, run(3, 1).count);
    assert_ne!(run(3, 1).count, run(4, 1).count);
}

//! Two nodes with one key behind two relays that share claims, five producers, and whatever may go wrong, over many slots.
//!
//! Time is simulated, and in most runs the claims are in memory. In some they are in a real Redis or a real etcd, which each relay reaches through a proxy
//! that is cut.
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
#[path = "simulation/keeper.rs"]
mod keeper;
#[path = "simulation/nodes.rs"]
mod nodes;
#[path = "simulation/rng.rs"]
mod rng;
/// Real servers, as the store's own tests have them.
#[path = "../../store/tests/common/mod.rs"]
mod servers;
mod stores;
#[path = "simulation/world.rs"]
mod world;

use std::sync::Arc;

use keeper::{Keeper, Memory, Shared};
use mainstay_antelope::Id;
use servers::server::Redis;
use stores::etcd::Etcd;
use tokio::runtime::Runtime;
use world::{Count, World};

/// Slots of a run between two that are looked at in peace.
const EPOCH: u32 = 600;

/// `off`: milliseconds that the second relay's clock is off all the time, one way in one epoch and the other way in the next.
fn run(seed: u64, epochs: u32, claims: Box<dyn Keeper>, off: Option<i64>) -> World {
    let mut world = World::new(seed, claims);
    for epoch in 0..epochs {
        for _ in 0..EPOCH {
            faults::strike(&mut world);
            if let Some(off) = off {
                world.relays[1].off = if epoch % 2 == 0 { off } else { -off };
            }
            world.slot();
        }
        faults::heal(&mut world);
        world.rest();
        world.sync_answers();
    }
    world
}

fn in_memory(seed: u64, epochs: u32) -> World {
    run(seed, epochs, Box::new(Memory::default()), None)
}

/// That there was something to decide, in so many hundreds of slots.
fn was_busy(sum: &Count, hundreds: u32) {
    println!("{sum:?}");
    for (what, number, least) in [
        ("slots", sum.slots, hundreds * 100),
        ("won", sum.won, hundreds * 10),
        ("lost", sum.lost, hundreds / 2),
        ("tainted", sum.tainted, hundreds * 5),
        ("closed", sum.closed, hundreds / 4),
        ("untimely", sum.untimely, hundreds / 4),
        ("history", sum.history, hundreds * 5),
        ("restarts of relays", sum.restarts, hundreds / 10),
    ] {
        assert!(number >= least, "{number} {what}");
    }
}

/// 25,000 slots, in runs of their own seeds: with legacy and with fast finality, with nodes that drop what comes while they produce and with
/// such that don't.
#[test]
fn two_relays_never_let_two_blocks_out_for_a_slot() {
    let mut sum = Count::default();
    for seed in 0..16 {
        sum.add(&in_memory(seed, 2).count);
    }
    was_busy(&sum, 200);
}

/// More than 10,000 slots each, with a clock that is off by 5 seconds.
fn two_relays_that_share(scheme: &str, runtime: &Arc<Runtime>, port: u16) {
    let mut sum = Count::default();
    for seed in 0..8 {
        let claims = Shared::new(runtime, scheme, port, Id([seed as u8 + 1; 32]));
        sum.add(&run(100 + seed, 2, Box::new(claims), Some(5000)).count);
    }
    was_busy(&sum, 100);
}

#[test]
fn two_relays_that_share_a_real_redis_never_let_two_blocks_out_for_a_slot() {
    let runtime = Arc::new(Runtime::new().unwrap());
    let redis = runtime.block_on(Redis::start(&[]));
    two_relays_that_share("redis", &runtime, redis.port);
}

#[test]
fn two_relays_that_share_a_real_etcd_never_let_two_blocks_out_for_a_slot() {
    let runtime = Arc::new(Runtime::new().unwrap());
    let etcd = runtime.block_on(Etcd::start());
    two_relays_that_share("etcd", &runtime, etcd.port);
}

#[test]
fn a_seed_is_a_run() {
    assert_eq!(in_memory(3, 1).count, in_memory(3, 1).count);
    assert_ne!(in_memory(3, 1).count, in_memory(4, 1).count);
}

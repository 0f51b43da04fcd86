//! What goes wrong.
#![allow(unreachable_pub, clippy::unwrap_used)]

use crate::world::{Link, World};

/// Before a slot.
pub fn strike(world: &mut World) {
    for node in 0..2 {
        if world.rng.once_in(300) {
            world.nodes[node].out = 1 + world.rng.below(150);
            world.nodes[node].killed = world.rng.once_in(2);
        }
    }
    for relay in 0..2 {
        if world.rng.once_in(250) {
            world.restart(relay);
        }
        if world.rng.once_in(80) {
            let link = [Link::Up, Link::Down, Link::Deaf][world.rng.below(3) as usize];
            world.link(relay, link);
        }
        if world.rng.once_in(150) {
            let off = i64::from(world.rng.below(10_001)) - 5000;
            world.relays[relay].off = if world.rng.once_in(2) { off } else { 0 };
        }
        // One of its legs breaks; the node dials again at once.
        if world.rng.once_in(150) {
            let node = world.rng.below(2) as usize;
            world.connect(relay, node);
        }
    }
    if world.rng.once_in(400) {
        world.parted = world.rng.below(40);
    }
}

/// Nothing stays wrong.
pub fn heal(world: &mut World) {
    world.parted = 0;
    for relay in 0..2 {
        world.link(relay, Link::Up);
        world.relays[relay].off = 0;
    }
    for node in &mut world.nodes {
        node.out = node.out.min(1);
    }
}

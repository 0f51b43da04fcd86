//! Five producers, of whom one has two nodes behind a relay with two outer peers, slot by slot; time is simulated, and connections are in memory.
#![allow(clippy::disallowed_methods)] // simulated time

mod world;

use std::time::Duration;

use mainstay_antelope::{Id, Slot};
use mainstay_node::Operated as _;
use mainstay_sim::nodeos::NodeosConfig;

use self::world::{CYCLE, World};
use crate::Config;
use crate::rounds::{AFTER, BEFORE};

/// The legs' outer peers, by the names of the nodes.
fn seats(world: &World) -> Vec<(String, String)> {
    let mut seats: Vec<(String, String)> =
        world.handle().snapshot().nodes.into_iter().map(|leg| (leg.name, leg.outer)).collect();
    seats.sort();
    seats
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(node, outer)| (node.to_owned(), outer.to_owned())).to_vec()
}

/// Two cycles in which all is well, then one outer peer is away for so many slots.
async fn after_one_was_away(settings: &str, slots: u32) -> World {
    let mut world = World::start(settings).await;
    world.slots(2 * CYCLE).await;
    assert_eq!(seats(&world), pairs([("a", "c:1"), ("b", "d:1")]));
    world.away("d:1");
    world.slots(slots).await;
    assert_eq!(seats(&world), pairs([("a", "c:1"), ("b", "c:1")]));
    world.back("d:1");
    world
}

fn has_moved(world: &World) -> bool {
    seats(world) == pairs([("a", "c:1"), ("b", "d:1")])
}

/// Goes on until the second node's leg has moved, which it doesn't near a round of ours; in how many slots.
async fn until_moved(world: &mut World) -> u32 {
    let began = world.slot;
    while !has_moved(world) {
        assert!(world.slot < began + 12 * CYCLE, "in vain: {:?}", world.handle().snapshot());
        world.slots(1).await;
    }
    // Our rounds begin where the cycles do.
    let into = world.slot % CYCLE;
    assert!((12 + AFTER..=CYCLE - BEFORE + 1).contains(&into), "{into} slots into the cycle");
    world.slot - began
}

/// What is shown of an outer peer that isn't the first one.
fn trouble(world: &World) -> String {
    world.handle().snapshot().outer[1].trouble.clone()
}

/// How many slots of ours have no block, where an outer peer hangs from the fifth one of a round on.
async fn lost_where_it_hangs(world: &mut World, outer: &str, content: [u64; 2]) -> usize {
    world.until_round().await;
    world.content = content;
    let first = world.slot;
    world.slots(4).await;
    world.freeze(outer, true);
    world.slots(8).await;
    world.content = [0, 0];
    // The next producers build on what there is.
    world.slots(CYCLE - 12).await;
    12 - world.filled(first..first + 12)
}

#[tokio::test(start_paused = true)]
async fn where_both_legs_share_an_outer_peer_that_hangs_the_rest_of_the_round_is_lost() {
    let mut world = after_one_was_away("spread_after = \"0s\"", 30).await;
    world.slots(10 * CYCLE).await;
    assert_eq!(seats(&world), pairs([("a", "c:1"), ("b", "c:1")]), "nothing moves");
    assert_eq!(lost_where_it_hangs(&mut world, "c:1", [0, 0]).await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_leg_moves_to_the_outer_peer_that_is_back_and_no_slot_is_lost_where_either_hangs() {
    // It would have been fit for long enough between two rounds, or shortly before one.
    for (hangs, away) in [("c:1", 30), ("d:1", 52)] {
        let mut world = after_one_was_away("", away).await;
        let (connections, leg) = (world.nodes[1].connections(), world.handle().snapshot().nodes[1].leg);
        assert!(until_moved(&mut world).await >= 60, "not before it was fit for half a minute");
        let seen = world.handle().snapshot();
        assert_eq!((seen.nodes[1].moved_from.as_deref(), seen.nodes[1].fit), (Some("c:1"), true));
        assert!(seen.nodes[1].leg > leg);
        assert_eq!(
            (world.nodes[1].connections(), world.nodes[1].farewells()),
            (connections, 0),
            "its node saw no end"
        );
        assert_eq!((world.peers("c:1"), world.peers("d:1")), (2, 2), "the public network, and a leg");
        world.slots(CYCLE).await;
        for node in &world.nodes {
            assert_eq!(node.head(), world.public.head());
        }
        let lost = lost_where_it_hangs(&mut world, hangs, [0, 0]).await;
        assert_eq!((lost, world.most_in_a_slot()), (0, 1), "{hangs}");
        assert_eq!(world.count("tries_total", "what=\"moved\""), 1);
        assert_eq!(world.count("legs_ended_total", ""), 2, "d was away, and one of them hangs");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outer_peer_that_comes_and_goes_has_to_be_fit_for_longer_each_time() {
    let mut world = after_one_was_away("", 30).await;
    for least in [60, 120, 240] {
        let took = until_moved(&mut world).await;
        assert!(
            (least..least + 2 * CYCLE).contains(&took),
            "{took} slots, not {least} and the way to the next time"
        );
        world.slots(CYCLE).await;
        world.away("d:1");
        world.slots(30).await;
        world.back("d:1");
    }
}

/// What one that was moved still loses: the node whose blocks go out is the one whose peer hangs, and the other's are of another branch.
#[tokio::test(start_paused = true)]
async fn where_the_nodes_have_parted_it_counts_whose_outer_peer_hangs() {
    for (hangs, expected) in [("c:1", 8), ("d:1", 0)] {
        let mut world = after_one_was_away("", 30).await;
        until_moved(&mut world).await;
        let lost = lost_where_it_hangs(&mut world, hangs, [1, 2]).await;
        assert_eq!((lost, world.most_in_a_slot()), (expected, 1), "{hangs}");
    }
}

/// Its answer comes late, when our round is near by now.
#[tokio::test(start_paused = true)]
async fn a_try_that_takes_long_moves_nothing_near_a_round() {
    let mut late = 0;
    // It is first tried 22 slots into the cycle, and fit for long enough 12 later.
    for wait in 12..18 {
        let mut world = after_one_was_away("spread_after = \"6s\"", 20).await;
        world.slots(wait).await;
        let fit = world.count("tries_total", "what=\"fit\"");
        if has_moved(&world) {
            continue;
        }
        world.freeze("d:1", true);
        world.slots(7).await;
        world.freeze("d:1", false);
        world.slots(1).await;
        if !has_moved(&world) {
            late += u64::from(world.count("tries_total", "what=\"fit\"") > fit);
            until_moved(&mut world).await;
        } else {
            assert!(world.slot % CYCLE <= CYCLE - BEFORE + 1, "{}", world.slot % CYCLE);
        }
    }
    assert!(late > 0, "no answer was late");
}

#[tokio::test(start_paused = true)]
async fn an_outer_peer_that_is_not_fit_gets_nothing_and_says_why() {
    let mut world = after_one_was_away("", 30).await;
    world.away("d:1");
    world.slots(30).await;
    assert_eq!(trouble(&world), "connection refused");
    assert!(world.handle().health().1.contains(&"outer peer d:1: connection refused".to_owned()));
    // It takes connections and says nothing.
    world.back("d:1");
    world.freeze("d:1", true);
    world.slots(4 * CYCLE).await;
    assert_eq!(trouble(&world), "doesn't answer");
    // It has lost its way to the public network.
    world.freeze("d:1", false);
    world.cut_off("d:1");
    world.slots(8 * CYCLE).await;
    assert!(trouble(&world).ends_with(" blocks behind"), "{}", trouble(&world));
    // Or is on another chain.
    world.replace("d:1", NodeosConfig { chain_id: Id([1; 32]), ..NodeosConfig::new("d") });
    world.slots(8 * CYCLE).await;
    assert!(trouble(&world).starts_with("is on another chain, 0101"), "{}", trouble(&world));
    // All that time the legs were where they were, with nobody's end.
    assert_eq!(seats(&world), pairs([("a", "c:1"), ("b", "c:1")]));
    assert_eq!((world.peers("c:1"), world.peers("d:1"), world.count("legs_ended_total", "")), (3, 1, 1));
    world.replace("d:1", NodeosConfig::new("d"));
    until_moved(&mut world).await;
    assert_eq!((trouble(&world).as_str(), world.handle().snapshot().outer[1].fit_seconds), ("", None));
}

/// Where it says that it is nobody else is, and what it would be sent there helps nobody.
#[tokio::test(start_paused = true)]
async fn a_node_on_a_branch_of_its_own_is_not_moved() {
    let mut world = after_one_was_away("", 30).await;
    for node in world.nodes.clone() {
        node.chain(|chain| {
            for slot in 0..1000 {
                chain.produce("prodx".parse().unwrap(), Slot(slot), 9);
            }
        });
    }
    world.slots(3 * CYCLE).await;
    assert_eq!(seats(&world), pairs([("a", "c:1"), ("b", "c:1")]));
    assert_eq!(
        (world.count("tries_total", "what=\"moved\""), world.count("tries_total", "what=\"fit\"")),
        (0, 0)
    );
    assert!(world.count("tries_total", "what=\"unready\"") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_reload_turns_it_on_and_off() {
    let mut world = after_one_was_away("", 30).await;
    let config = |after| Config { spread_after: after, ..Config::clone(&world.core.config()) };
    let set = |config| world.handle().prepare(config).unwrap().apply();
    set(config(Duration::ZERO));
    let tries = world.count("tries_total", "");
    let on = config(Duration::from_secs(20));
    world.slots(4 * CYCLE).await;
    assert!(!has_moved(&world) && world.count("tries_total", "") <= tries + 1);
    world.handle().prepare(on).unwrap().apply();
    assert!(until_moved(&mut world).await >= 40);
}

#[tokio::test(start_paused = true)]
async fn an_outer_peer_that_is_named_no_more_gets_nothing_and_leaves_nothing_behind() {
    let mut world = after_one_was_away("", 30).await;
    let gauges = |world: &World| world.page().lines().filter(|line| line.contains("outer=\"d:1\"")).count();
    assert_eq!(gauges(&world), 2, "{}", world.page());
    let config = Config { outer: vec!["c:1".into()], ..Config::clone(&world.core.config()) };
    world.handle().prepare(config).unwrap().apply();
    let tries = world.count("tries_total", "");
    world.slots(4 * CYCLE).await;
    assert_eq!(
        (world.count("tries_total", ""), gauges(&world), world.handle().snapshot().outer.len()),
        (tries, 0, 1)
    );
}

//! What the simulation has found, as scenes by name, and each kind of fault alone.

use std::sync::Arc;

use crate::cl::Like;
use crate::el::Mode;
use crate::rng::Rng;
use crate::runner::runtime;
use crate::world::{Setup, Sim};

/// Runs `slots` slots; `happens` says what goes wrong at the beginning of each.
fn scene(setup: Setup, slots: u64, happens: impl Fn(&Arc<Sim>, u64)) {
    let (result, story) = runtime().block_on(async {
        let sim = Sim::start(setup, Rng::new(7), true);
        let result = sim.slots(slots, happens).await;
        sim.end();
        let story = sim.lock().traced.take().unwrap();
        (result, story)
    });
    if let Err(violation) = result {
        panic!("{}\n{violation}", story[story.len().saturating_sub(80)..].join("\n"));
    }
}

/// From slot 5 on.
fn once(slot: u64, what: impl FnOnce()) {
    if slot == 5 {
        what();
    }
}

#[test]
fn in_fair_weather_all_follow() {
    scene(Setup::plain(3, 3), 20, |_, _| {});
}

/// The leader turns into each kind in turn, and stays so.
#[test]
fn no_leader_of_any_kind_keeps_the_els_from_the_head() {
    for like in [
        Like::Away,
        Like::Flapping,
        Like::Behind(3),
        Like::Behind(12),
        Like::Cut,
        Like::Future,
        Like::Forger,
        Like::MadeUp,
        Like::OldHeads,
        Like::Bad,
    ] {
        scene(Setup::plain(2, 2), 40, |sim, slot| {
            once(slot, || {
                let leader = sim.leader().unwrap();
                sim.set_cl(leader, like);
            });
        });
    }
}

#[test]
fn an_el_of_any_kind_keeps_the_others_from_nothing() {
    for mode in [
        Mode::Down,
        Mode::Hung,
        Mode::Slow(3_000),
        Mode::Erring,
        Mode::Lying("INVALID"),
        Mode::Lying("SYNCING"),
    ] {
        for place in [0, 1] {
            scene(Setup::plain(2, 2), 40, |sim, slot| once(slot, || sim.set_el(place, mode)));
        }
    }
}

#[test]
fn an_only_el_that_was_away_is_led_to_the_head() {
    for mode in [Mode::Down, Mode::Hung] {
        scene(Setup::plain(1, 2), 40, |sim, slot| match slot {
            5 => sim.set_el(0, mode),
            20 => {
                sim.restart_el(0, 3);
                sim.set_el(0, Mode::Well);
            }
            _ => {}
        });
    }
}

/// Found by the simulation: what the only EL that was up called INVALID, or had an error for, was kept by nobody, and the other EL
/// could not be led over the hole.
#[test]
fn what_the_only_el_that_is_up_wont_take_leaves_no_hole() {
    for mode in [Mode::Lying("INVALID"), Mode::Erring] {
        scene(Setup::plain(2, 3), 35, |sim, slot| match slot {
            5 => sim.set_el(1, Mode::Hung),
            6 => sim.set_el(0, mode),
            9 => sim.set_el(0, Mode::Well),
            15 => sim.set_el(1, Mode::Well),
            _ => {}
        });
    }
}

/// Found by the simulation: blocks that are INVALID took the place of the true one of their number.
#[test]
fn bad_blocks_take_no_place_of_a_true_one() {
    scene(Setup::plain(2, 5), 40, |sim, slot| match slot {
        5 => {
            sim.set_el(1, Mode::Down);
            (1..4).for_each(|cl| sim.set_cl(cl, Like::Bad));
        }
        20 => sim.set_el(1, Mode::Well),
        _ => {}
    });
}

/// Found by the simulation: where an EL that was wrong was always the first to answer, nobody got on by what the others took, and
/// the one that was behind led on.
#[test]
fn an_el_that_is_wrong_and_quick_keeps_no_leader_that_is_behind() {
    let former = std::cell::Cell::new(None);
    scene(Setup::plain(2, 3), 30, |sim, slot| match slot {
        5 => {
            sim.set_el(0, Mode::Lying("INVALID"));
            sim.set_el(1, Mode::Slow(300));
            let leader = sim.leader().unwrap();
            sim.set_cl(leader, Like::Behind(8));
            former.set(Some(leader));
        }
        30 => assert_ne!(sim.leader(), former.get()),
        _ => {}
    });
}

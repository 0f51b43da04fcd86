//! A simulation of many slots with random faults: the real role, its tasks and its service, between model consensus clients (CL)
//! and model execution clients (EL). Calls go over transports that the simulation brings, so there are no sockets, and tokio's clock
//! is paused, the time of day with it, so a slot takes as long as there is something to do in it.
//!
//! What has to hold:
//!
//! 1. From the first believable call on there is exactly one leader.
//! 2. Nobody that is away, cut off, late or lying leads for longer than the rules give while a CL is well ([`world::CONVERGED`]).
//! 3. Every EL that is well has the canonical head, or that of one of the two slots before, once a CL and the EL have been well for
//!    as long as a change of the leader and a replay take ([`world::RECOVERED`], [`world::BACK`]).
//! 4. Every call is answered within `request_timeout`, with JSON-RPC.
//! 5. While all ELs are well no payload reaches one twice, replays aside.
//! 6. Queues and memories are bounded.
//!
//! What nobody could tell apart is left out: a CL on a fork of its own, but for `agreement` with more than half honest, and an EL
//! that calls VALID what isn't. What no honest CL told of, and what is older than what is kept, ELs get from their peers.
//!
//! `cargo test -p mainstay-sync --test simulation` takes runs of 500 slots from fixed seeds. Each run draws all from its seed, and one
//! thread runs all of it, so a seed is a run; `a_seed_is_a_run` proves it. Longer:
//!
//! ```text
//! MAINSTAY_SIM_SLOTS=1000000 MAINSTAY_SIM_SEED=1 cargo test --release -p mainstay-sync --test simulation random_faults -- --nocapture
//! ```
//!
//! A run that fails prints the command that repeats it, and the end of what happened in it.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub)] // a test has no outside

use std::cell::RefCell;

#[macro_use]
#[path = "../../engine/tests/simulation/runner.rs"]
mod runner;

#[path = "simulation/chain.rs"]
mod chain;
#[path = "simulation/cl.rs"]
mod cl;
#[path = "simulation/count.rs"]
mod count;
#[path = "simulation/el.rs"]
mod el;
#[path = "../../engine/tests/simulation/rng.rs"]
mod rng;
#[path = "simulation/scenes.rs"]
mod scenes;
#[path = "simulation/weather.rs"]
mod weather;
#[path = "simulation/world.rs"]
mod world;

use count::Count;
use rng::Rng;
use runner::{Attempt, Simulation};
use weather::Weather;
use world::{Setup, Sim};

/// A slot in milliseconds.
pub const SLOT: u64 = 12_000;
/// When slot 0 began, in seconds since 1970.
pub const GENESIS: u64 = 1_700_000_000;
/// Seeds of the test: always the same, so that what lands doesn't hang on luck. New ones by command.
const RUNS: u64 = 40;
/// Others that have broken something once.
const FOUND: [u64; 10] = [98, 99, 208, 240, 302, 323, 365, 479, 707, 1006];

const SIMULATION: Simulation<Count> = Simulation { package: "mainstay-sync", slots: 500, attempt };

fn attempt(seed: u64, slots: u64, traced: bool) -> Attempt<Count> {
    runner::runtime().block_on(async {
        let mut rng = Rng::new(seed);
        let setup = Setup::draw(&mut rng);
        let weather = RefCell::new(Weather::new(setup.cls, setup.els));
        let sim = Sim::start(setup.clone(), rng, traced);
        let result = sim.slots(slots, |sim, slot| weather.borrow_mut().of_slot(sim, slot)).await;
        sim.end();
        let mut world = sim.lock();
        let result = result.map_err(|violation| format!("{violation}\n{setup:?}"));
        (result, world.count, world.traced.take().unwrap_or_default())
    })
}

#[test]
fn random_faults_break_no_invariant() {
    SIMULATION.random_faults((1..=RUNS).chain(FOUND).collect(), 40);
}

#[test]
fn a_seed_is_a_run() {
    SIMULATION.a_seed_is_a_run(80);
}

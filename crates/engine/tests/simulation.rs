//! A simulation of many slots with random faults: the real engine, its tasks and its service, between a model consensus client
//! (CL) and model execution clients (EL). Calls go over transports that the simulation brings, so there are no sockets, and
//! tokio's clock is paused, so a slot takes as long as there is something to do in it.
//!
//! What has to hold:
//!
//! 1. The CL is never told VALID of a block of which, or of one that it builds on, a node with a vote has said INVALID and not
//!    taken it back (with `on_dissent = "majority"`: unless that one is outvoted by two or more), nor of a block that is invalid.
//! 2. Every answer is what the pure `ballot` says of the replies that had come, not before it says so, and of all replies unless
//!    a late INVALID, a vote that nobody waits for or the deadline makes the difference; that INVALID is then held against the
//!    block (1).
//! 3. Each EL is sent newPayload and forkchoiceUpdated in the CL's order (replaced heads and replays aside), and no payload is
//!    left out but while the node is down or drained. What is shown of a round is what came.
//! 4. Every call is answered within its deadline, and no later than the longest straggler wait allows.
//! 5. Every queue, memory and buffer stays within its bound.
//! 6. Nine slots after all faults have healed every EL is at the head, every node has its vote, and the verdict is VALID.
//! 7. No slot is missed while enough quick and honest ELs are up, and nobody with a vote lies or holds an INVALID against the
//!    chain, whatever the others do.
//! 8. getPayload goes only to who gave the id, one id a build, and the best payload wins. Merged reads hold what came, calls for
//!    one node are answered while anybody quick is up, and nodes that are taken out are asked nothing.
//!
//! `cargo test -p mainstay-engine --test simulation` runs 100,000 slots: runs of 500 from fixed seeds. Each run draws its ELs,
//! rules and weather from its seed alone, and one thread runs all of it, so a seed is a run; `a_seed_is_a_run` proves it. (Only
//! tokens and the ids of log lines come from outside, and nothing depends on them.) Longer:
//!
//! ```text
//! MAINSTAY_SIM_SLOTS=10000000 MAINSTAY_SIM_SEED=1 cargo test -p mainstay-engine --test simulation --release -- --nocapture
//! ```
//!
//! takes the seeds 1, 2, 3 and so on (without MAINSTAY_SIM_SEED: from the clock). A run that fails prints the command that
//! repeats it, and the end of what happened in it.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub)] // a test has no outside

#[macro_use]
#[path = "simulation/runner.rs"]
mod runner;

#[path = "simulation/chain.rs"]
mod chain;
#[path = "simulation/cl.rs"]
mod cl;
#[path = "simulation/count.rs"]
mod count;
#[path = "simulation/el.rs"]
mod el;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/reads.rs"]
mod reads;
#[path = "simulation/referee.rs"]
mod referee;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/scenes.rs"]
mod scenes;
#[path = "simulation/setup.rs"]
mod setup;
#[path = "simulation/speech.rs"]
mod speech;
#[path = "simulation/watch.rs"]
mod watch;
#[path = "simulation/weather.rs"]
mod weather;
#[path = "simulation/world.rs"]
mod world;

use count::Count;
use rng::Rng;
use runner::{Attempt, Simulation};
use setup::{SLOT, Setup};
use world::{Event, Sim};

/// Seeds of the test: always the same, so that what lands doesn't hang on luck. New ones by command.
const RUNS: u64 = 200;

const SIMULATION: Simulation<Count> = Simulation { package: "mainstay-engine", slots: 500, attempt };

fn attempt(seed: u64, slots: u64, traced: bool) -> Attempt<Count> {
    let runtime = runner::runtime();
    let (sim, result) = runtime.block_on(async {
        let mut rng = Rng::new(seed);
        let setup = Setup::draw(&mut rng);
        let sim = Sim::start(setup, rng, traced);
        sim.lock().at(SLOT, Event::Cl(cl::Step::Slot(1)));
        let result = sim.run_until((slots + 1) * SLOT).await;
        (sim, result)
    });
    drop(runtime);
    let mut world = sim.end();
    (result, world.oracle.count, world.traced.take().unwrap_or_default())
}

#[test]
fn random_faults_break_no_invariant() {
    SIMULATION.random_faults((1..=RUNS).collect(), 100);
}

#[test]
fn a_seed_is_a_run() {
    SIMULATION.a_seed_is_a_run(120);
}

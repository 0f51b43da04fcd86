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
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "simulation/chain.rs"]
mod chain;
#[path = "simulation/cl.rs"]
mod cl;
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

use rng::Rng;
use weather::Weather;
use world::{Count, Setup, Sim};

/// A slot in milliseconds.
pub const SLOT: u64 = 12_000;
/// When slot 0 began, in seconds since 1970.
pub const GENESIS: u64 = 1_700_000_000;
/// Slots of a run.
const RUN: u64 = 500;
/// Seeds of the test: always the same, so that what lands doesn't hang on luck. New ones by command.
const RUNS: u64 = 40;
/// Others that have broken something once.
const FOUND: [u64; 10] = [98, 99, 208, 240, 302, 323, 365, 479, 707, 1006];

fn setting(name: &str) -> Option<u64> {
    // Settings of the tests are no settings of mainstay.
    #[allow(clippy::disallowed_methods)]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} has to be a number, not {text}")))
}

/// One thread, and a clock that stands while anybody is busy.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// A run of this seed: what was violated, what was counted, what happened.
fn attempt(seed: u64, slots: u64, traced: bool) -> (Result<(), String>, Count, Vec<String>) {
    runtime().block_on(async {
        let mut rng = Rng::new(seed);
        let setup = Setup::draw(&mut rng);
        let weather = RefCell::new(Weather::new(setup.cls, setup.els));
        let sim = Sim::start(setup.clone(), rng, traced);
        let result = sim.slots(slots, |sim, slot| weather.borrow_mut().of_slot(sim, slot)).await;
        sim.end();
        let mut world = sim.lock();
        let result = result.map_err(|violation| format!("{violation}\n{setup:?}"));
        (result, world.count.clone(), world.traced.take().unwrap_or_default())
    })
}

/// One run; on failure the report.
fn run(seed: u64, slots: u64) -> Result<Count, String> {
    let attempt = |traced: bool| std::panic::catch_unwind(|| attempt(seed, slots, traced));
    let failure = match attempt(false) {
        Ok((Ok(()), count, _)) => return Ok(count),
        Ok((Err(violation), ..)) => violation,
        Err(_) => "a panic (above)".to_owned(),
    };
    // A seed is a run: once more, with its story.
    let story = attempt(true).map(|(_, _, lines)| lines).unwrap_or_default();
    let told = setting("MAINSTAY_SIM_STORY").map_or(60, |n| usize::try_from(n).unwrap());
    let end = story[story.len().saturating_sub(told)..].join("\n");
    let first = failure.lines().next().unwrap_or_default();
    Err(format!(
        "seed {seed}: {failure}\n\nThe end of it (MAINSTAY_SIM_STORY=n shows more lines):\n{end}\n\nThis very run again:\n\
         MAINSTAY_SIM_SEED={seed} MAINSTAY_SIM_SLOTS={slots} cargo test -p mainstay-sync --test simulation -- --nocapture\n\n\
         seed {seed}: {first}"
    ))
}

/// All seeds, on as many threads as there are processors. The first failure is reported in full, others in a line each.
fn run_all(seeds: &[u64], slots: u64) -> Count {
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Count::default());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let turn = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(seed) = seeds.get(turn) else { break };
                    match run(*seed, slots) {
                        Ok(count) => sum.lock().unwrap().add(&count),
                        Err(report) => failures.lock().unwrap().push(report),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    if let Some((first, others)) = failures.split_first() {
        let others: Vec<&str> = others.iter().filter_map(|report| report.lines().last()).collect();
        panic!("{} of {} runs failed\n{first}\n{}", failures.len(), seeds.len(), others.join("\n"));
    }
    sum.into_inner().unwrap()
}

#[test]
fn random_faults_break_no_invariant() {
    #[allow(clippy::disallowed_methods)]
    let started = std::time::Instant::now();
    let (seed, slots) = (setting("MAINSTAY_SIM_SEED"), setting("MAINSTAY_SIM_SLOTS"));
    let slots = slots.unwrap_or(if seed.is_some() { RUN } else { RUN * RUNS });
    let first = seed.unwrap_or(1);
    let mut seeds: Vec<u64> = (0..slots.div_ceil(RUN).max(1)).map(|i| first.wrapping_add(i)).collect();
    if seed.is_none() {
        seeds.extend(FOUND);
    }
    let each = slots.min(RUN);
    println!("{} runs of {each} slots, seeds {:?} to {:?}", seeds.len(), seeds.first(), seeds.last());
    let count = run_all(&seeds, each);
    let took = started.elapsed();
    for (what, n) in count.fields() {
        println!("{n:>10} {what}");
    }
    println!("{took:.1?}, {:.0} slots a second", count.slots as f64 / took.as_secs_f64());
    if seeds.len() >= 40 {
        // Where nothing happens nothing is proven.
        for (what, n) in count.fields() {
            assert!(n > 0, "no {what} in {} runs", seeds.len());
        }
    }
}

/// What a run does depends on nothing but its seed: not on the machine, its load or other runs.
#[test]
fn a_seed_is_a_run() {
    for seed in [3, 42, 64] {
        let (first, again) = (attempt(seed, 80, true), attempt(seed, 80, true));
        let (at, lines) = first.2.iter().zip(&again.2).enumerate().find(|(_, (a, b))| a != b).unzip();
        assert_eq!(lines, None, "line {at:?} of seed {seed}");
        assert_eq!((first.0, first.1), (again.0, again.1), "seed {seed}");
    }
}

//! A simulation of many slots with random faults: the engine's decisions, driven as its shells drive them, between a model
//! consensus client (CL) and model execution clients (EL), in virtual time. No sockets, no tokio, no clock.
//!
//! What has to hold at every event:
//!
//! 1. The CL is never told VALID of a block of which a node with a vote has said INVALID and not taken it back (with
//!    `on_dissent = "majority"`: unless that one is outvoted by two or more), nor of a block that is invalid.
//! 2. An answer given before all replies are in is what all replies give, unless a late INVALID, a vote that nobody waits for or
//!    the deadline made the difference; that INVALID is then held against the block (1).
//! 3. Each EL sees newPayload and forkchoiceUpdated in the CL's order (replaced heads and replays aside), no payload left out.
//! 4. Every call is answered within its deadline.
//! 5. Every queue, memory and buffer stays within its bound.
//! 6. Nine slots after all faults have healed every EL is at the head, every node has its vote, and the verdict is VALID.
//! 7. No slot is missed while enough quick and honest ELs are up and nobody lies, whatever the others do.
//! 8. getPayload goes only to who gave the id, one id a build, and the best payload wins.
//!
//! `cargo test -p mainstay-engine --test simulation` runs 100,000 slots: runs of 500 from fixed seeds. Each run draws its ELs,
//! rules and weather from its seed alone, so a seed is a run. Longer:
//!
//! ```text
//! MAINSTAY_SIM_SLOTS=10000000 MAINSTAY_SIM_SEED=1 cargo test -p mainstay-engine --test simulation --release -- --nocapture
//! ```
//!
//! takes the seeds 1, 2, 3 and so on (without MAINSTAY_SIM_SEED: from the clock). A run that fails prints the command that
//! repeats it, and the end of what happened in it.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub)] // a test has no outside

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "simulation/chain.rs"]
mod chain;
#[path = "simulation/cl.rs"]
mod cl;
#[path = "simulation/el.rs"]
mod el;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/reads.rs"]
mod reads;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/round.rs"]
mod round;
#[path = "simulation/setup.rs"]
mod setup;
#[path = "simulation/shell.rs"]
mod shell;
#[path = "simulation/weather.rs"]
mod weather;
#[path = "simulation/world.rs"]
mod world;

use oracle::Count;
use world::World;

/// Slots of a run.
const RUN: u64 = 500;
/// Seeds of the test: always the same, so that what lands doesn't hang on luck. New ones by command.
const RUNS: u64 = 200;

fn setting(name: &str) -> Option<u64> {
    // Settings of the tests are no settings of mainstay.
    #[allow(clippy::disallowed_methods)]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} has to be a number, not {text}")))
}

fn clock() -> u64 {
    #[allow(clippy::disallowed_methods)]
    let now = std::time::SystemTime::now();
    u64::try_from(now.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// One run; on failure the report.
fn run(seed: u64, slots: u64) -> Result<Count, String> {
    let attempt = |traced: bool| {
        std::panic::catch_unwind(|| {
            let mut world = World::new(seed, traced);
            let result = world.run(slots);
            (result, world.oracle.count, world.traced.unwrap_or_default())
        })
    };
    let failure = match attempt(false) {
        Ok((Ok(()), count, _)) => return Ok(count),
        Ok((Err(violation), ..)) => violation,
        Err(_) => "a panic (above)".to_owned(),
    };
    // A seed is a run: once more, with its story.
    let story = attempt(true).map(|(_, _, lines)| lines).unwrap_or_default();
    let told = setting("MAINSTAY_SIM_STORY").map_or(60, |n| usize::try_from(n).unwrap());
    let end = story[story.len().saturating_sub(told)..].join("\n");
    Err(format!(
        "seed {seed}: {failure}\n\nThe end of it (MAINSTAY_SIM_STORY=n shows more lines):\n{end}\n\nThis very run again:\n\
         MAINSTAY_SIM_SEED={seed} MAINSTAY_SIM_SLOTS={slots} cargo test -p mainstay-engine --test simulation -- --nocapture\n\n\
         seed {seed}: {failure}"
    ))
}

/// All seeds, on two threads. The first failure is reported in full, others in a line each.
fn run_all(seeds: &[u64], slots: u64) -> Count {
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Count::default());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
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
    let (seeds, each): (Vec<u64>, u64) = if seed.is_some() || slots.is_some() {
        let slots = slots.unwrap_or(RUN);
        let first = seed.unwrap_or_else(clock);
        ((0..slots.div_ceil(RUN).max(1)).map(|i| first.wrapping_add(i)).collect(), slots.min(RUN))
    } else {
        ((1..=RUNS).collect(), RUN)
    };
    println!("{} runs of {each} slots, seeds {:?} to {:?}", seeds.len(), seeds.first(), seeds.last());
    let mut count = run_all(&seeds, each);
    let took = started.elapsed();
    for (what, n) in count.fields() {
        println!("{n:>10} {what}");
    }
    let rate = count.slots as f64 / took.as_secs_f64();
    println!("{took:.1?}, {rate:.0} slots a second");
    if seeds.len() >= 100 {
        // Where nothing happens nothing is proven.
        for (what, n) in count.fields() {
            assert!(*n > 0, "no {what} in {} runs", seeds.len());
        }
    }
}

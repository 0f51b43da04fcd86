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

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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
use setup::{SLOT, Setup};
use world::{Event, Sim};

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

thread_local! {
    /// Panics on this thread: those of tasks would else be seen by nobody.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// One thread, and a clock that stands while anybody is busy.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// A run of this seed: what was violated, what was counted, what happened.
fn attempt(seed: u64, slots: u64, traced: bool) -> (Result<(), String>, Count, Vec<String>) {
    PANICS.set(0);
    let runtime = runtime();
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
    let result = result.and_then(|()| match PANICS.get() {
        0 => Ok(()),
        n => Err(format!("{n} panics (above)")),
    });
    (result, world.oracle.count, world.traced.take().unwrap_or_default())
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
    Err(format!(
        "seed {seed}: {failure}\n\nThe end of it (MAINSTAY_SIM_STORY=n shows more lines):\n{end}\n\nThis very run again:\n\
         MAINSTAY_SIM_SEED={seed} MAINSTAY_SIM_SLOTS={slots} cargo test -p mainstay-engine --test simulation -- --nocapture\n\n\
         seed {seed}: {failure}"
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
    let (seeds, each): (Vec<u64>, u64) = if seed.is_some() || slots.is_some() {
        let slots = slots.unwrap_or(RUN);
        let first = seed.unwrap_or_else(clock);
        ((0..slots.div_ceil(RUN).max(1)).map(|i| first.wrapping_add(i)).collect(), slots.min(RUN))
    } else {
        ((1..=RUNS).collect(), RUN)
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.set(PANICS.get() + 1);
        hook(info);
    }));
    println!("{} runs of {each} slots, seeds {:?} to {:?}", seeds.len(), seeds.first(), seeds.last());
    let count = run_all(&seeds, each);
    let took = started.elapsed();
    for (what, n) in count.fields() {
        println!("{n:>10} {what}");
    }
    let rate = count.slots as f64 / took.as_secs_f64();
    println!("{took:.1?}, {rate:.0} slots a second");
    if seeds.len() >= 100 {
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
        let (first, again) = (attempt(seed, 120, true), attempt(seed, 120, true));
        let (at, lines) = first.2.iter().zip(&again.2).enumerate().find(|(_, (a, b))| a != b).unzip();
        assert_eq!(lines, None, "line {at:?} of seed {seed}");
        assert_eq!((first.0, first.1), (again.0, again.1), "seed {seed}");
    }
}

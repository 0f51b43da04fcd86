//! Many runs of a simulation: seeds on all processors, what they add up to, and the report of one that failed. What a run is each
//! simulation says itself ([`Simulation::attempt`]).

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted in a run.
pub trait Counts: Default + Debug + PartialEq + Send {
    fn add(&mut self, other: &Self);
    /// How often, by what.
    fn fields(&self) -> Vec<(&'static str, u64)>;
    fn slots(&self) -> u64;
}

/// Counts, each with its name; `slots` is one of them.
macro_rules! counts {
    ($($field:ident: $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Count {
            $(pub $field: u64,)*
        }

        impl crate::runner::Counts for Count {
            fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            fn fields(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field),)*]
            }

            fn slots(&self) -> u64 {
                self.slots
            }
        }
    };
}

/// A run: what was violated, what was counted, what happened if it was traced.
pub type Attempt<C> = (Result<(), String>, C, Vec<String>);

pub struct Simulation<C> {
    /// The crate that it tests.
    pub package: &'static str,
    /// Slots of a run.
    pub slots: u64,
    /// The run of this seed, of so many slots, traced or not.
    pub attempt: fn(u64, u64, bool) -> Attempt<C>,
}

/// A number from the environment.
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
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

impl<C: Counts> Simulation<C> {
    /// Runs these seeds; or, where `MAINSTAY_SIM_SLOTS` or `MAINSTAY_SIM_SEED` is set, so many slots from that seed on (from
    /// one that the clock gives). From `enough` runs on everything that is counted has to have happened.
    pub fn random_faults(&self, usual: Vec<u64>, enough: usize) {
        #[allow(clippy::disallowed_methods)]
        let started = std::time::Instant::now();
        let (seed, slots) = (setting("MAINSTAY_SIM_SEED"), setting("MAINSTAY_SIM_SLOTS"));
        let (seeds, each): (Vec<u64>, u64) = if seed.is_some() || slots.is_some() {
            let slots = slots.unwrap_or(self.slots);
            let first = seed.unwrap_or_else(clock);
            let runs = slots.div_ceil(self.slots).max(1);
            ((0..runs).map(|i| first.wrapping_add(i)).collect(), slots.min(self.slots))
        } else {
            (usual, self.slots)
        };
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            hook(info);
        }));
        println!("{} runs of {each} slots, seeds {:?} to {:?}", seeds.len(), seeds.first(), seeds.last());
        let count = self.run_all(&seeds, each);
        let took = started.elapsed();
        for (what, n) in count.fields() {
            println!("{n:>10} {what}");
        }
        println!("{took:.1?}, {:.0} slots a second", count.slots() as f64 / took.as_secs_f64());
        if seeds.len() >= enough {
            // Where nothing happens nothing is proven.
            for (what, n) in count.fields() {
                assert!(n > 0, "no {what} in {} runs", seeds.len());
            }
        }
    }

    /// What a run does depends on nothing but its seed: not on the machine, its load or other runs.
    pub fn a_seed_is_a_run(&self, slots: u64) {
        for seed in [3, 42, 64] {
            let (first, again) = ((self.attempt)(seed, slots, true), (self.attempt)(seed, slots, true));
            let (at, lines) = first.2.iter().zip(&again.2).enumerate().find(|(_, (a, b))| a != b).unzip();
            assert_eq!(lines, None, "line {at:?} of seed {seed}");
            assert_eq!((first.0, first.1), (again.0, again.1), "seed {seed}");
        }
    }

    /// One run; on failure the report.
    fn run(&self, seed: u64, slots: u64) -> Result<C, String> {
        let attempt = |traced: bool| std::panic::catch_unwind(|| (self.attempt)(seed, slots, traced));
        PANICS.set(0);
        let failure = match attempt(false) {
            Ok((Ok(()), count, _)) if PANICS.get() == 0 => return Ok(count),
            Ok((Ok(()), ..)) => format!("{} panics (above)", PANICS.get()),
            Ok((Err(violation), ..)) => violation,
            Err(_) => "a panic (above)".to_owned(),
        };
        // A seed is a run: once more, with its story.
        let story = attempt(true).map(|(_, _, lines)| lines).unwrap_or_default();
        let told = setting("MAINSTAY_SIM_STORY").map_or(60, |n| usize::try_from(n).unwrap());
        let end = story[story.len().saturating_sub(told)..].join("\n");
        let first = failure.lines().next().unwrap_or_default();
        let package = self.package;
        Err(format!(
            "seed {seed}: {failure}\n\nThe end of it (MAINSTAY_SIM_STORY=n shows more lines):\n{end}\n\nThis very run again:\n\
             MAINSTAY_SIM_SEED={seed} MAINSTAY_SIM_SLOTS={slots} cargo test -p {package} --test simulation -- --nocapture\n\n\
             seed {seed}: {first}"
        ))
    }

    /// All seeds, on as many threads as there are processors. The first failure is reported in full, others in a line each.
    fn run_all(&self, seeds: &[u64], slots: u64) -> C {
        let next = AtomicU64::new(0);
        let sum = Mutex::new(C::default());
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    loop {
                        let turn = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                        let Some(seed) = seeds.get(turn) else { break };
                        match self.run(*seed, slots) {
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
}

//! What a request costs in the queue of the `rpc` role, in the shape of prio-load-balancer's own benchmark: one thread puts
//! requests in, 1 or 5 take them out, and the time ends when the last one has been taken.
//!
//! What runs is the role's queue with its lock ([`Shared`]): a reader is a slot of a node, and taking the next request is giving the slot
//! back. Threads stand in the place of tasks, and numbers, as large as the channel's end that it is else, in the place of those who
//! wait for an answer: the channel that is made for each of them isn't measured. Threads share and wake each other by the rules of a
//! runtime's workers, which is what tasks run on: one that wakes takes its share of what is to be run, and only one at a time is awake
//! and looking. The one who keeps the time sleeps, as it nearly always does, so that each request is compared with how long.

#![allow(
    clippy::disallowed_methods,
    reason = "threads without a runtime are measured, by the machine's clock"
)]

use std::num::NonZeroU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Barrier, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_rpc::{Call, Event, Lane, NodeId, Options, Shared, Submitted};

use crate::stats::median;

/// What was measured.
pub(crate) struct Series {
    pub(crate) items: usize,
    pub(crate) readers: usize,
    /// Microseconds of every run.
    pub(crate) micros: Vec<f64>,
}

impl Series {
    pub(crate) fn median(&self) -> f64 {
        median(self.micros.iter().copied())
    }

    pub(crate) fn best(&self) -> f64 {
        self.micros.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Items and readers of what is measured.
const CASES: [(usize, usize); 4] = [(10_000, 1), (10_000, 5), (100_000, 1), (100_000, 5)];

/// Measures all cases, `runs` times each.
pub(crate) fn measure(runs: usize) -> Vec<Series> {
    let mut all: Vec<Series> = CASES
        .iter()
        .map(|(items, readers)| Series { items: *items, readers: *readers, micros: Vec::new() })
        .collect();
    for series in &mut all {
        let bench = Bench::new(series.readers);
        // Once to warm up.
        bench.run(series.items);
        for _ in 0..runs {
            series.micros.push(bench.run(series.items).as_secs_f64() * 1e6);
        }
    }
    all
}

/// A table, of columns that line up.
pub(crate) fn table(all: &[Series]) -> String {
    let mut text = String::from(
        "| requests | readers | median µs | best µs | ns per request |\n|---------:|--------:|----------:|--------:|---------------:|\n",
    );
    for series in all {
        let median = series.median();
        text.push_str(&format!(
            "| {:>8} | {:>7} | {:>9.0} | {:>7.0} | {:>14.1} |\n",
            series.items,
            series.readers,
            median,
            series.best(),
            median * 1e3 / series.items as f64
        ));
    }
    text
}

/// How long an idle reader looks for work before it sleeps, as the workers of a runtime do.
const LOOKS: u32 = 100;

struct Bench {
    queue: Shared<NonZeroU64>,
    node: NodeId,
    readers: usize,
    taken: AtomicUsize,
    /// Requests that ran at once, for an idle reader to take.
    granted: AtomicUsize,
    over: AtomicBool,
    /// How many idle readers are awake: they need not be woken.
    looking: AtomicUsize,
    asleep: Mutex<Asleep>,
    bell: Condvar,
}

impl Bench {
    fn new(readers: usize) -> Self {
        let queue = Shared::new(Options::default());
        #[allow(clippy::cast_possible_truncation)] // 1 or 5
        let node = queue.change(Instant::now(), |pool| pool.add(readers as u32, true)).result;
        queue.next_wake();
        Self {
            queue,
            node,
            readers,
            taken: AtomicUsize::new(0),
            granted: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            looking: AtomicUsize::new(0),
            asleep: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    fn run(&self, items: usize) -> Duration {
        self.taken.store(0, SeqCst);
        self.over.store(false, SeqCst);
        *self.asleep() = Asleep::default();
        let ready = Barrier::new(self.readers + 1);
        std::thread::scope(|scope| {
            for _ in 0..self.readers {
                scope.spawn(|| {
                    ready.wait();
                    self.read(items);
                });
            }
            ready.wait();
            let start = Instant::now();
            for _ in 0..items {
                let mut call = Call::new(Lane::Low, start, Duration::from_secs(5), 11);
                let (submitted, _, wake) = self.queue.submit(&mut call, || NonZeroU64::MIN, start);
                if wake {
                    self.queue.next_wake();
                }
                if matches!(submitted, Submitted::Run(_)) {
                    self.granted.fetch_add(1, SeqCst);
                    self.ring();
                }
            }
            while !self.over.load(SeqCst) {
                std::thread::yield_now();
            }
            start.elapsed()
        })
    }

    fn read(&self, items: usize) {
        let now = Instant::now();
        while let Some(mut slots) = self.wait_for_grants() {
            let mut mine = 0;
            while slots > 0 {
                mine += 1;
                let mut goes_on = false;
                self.queue
                    .release(self.node, now)
                    .each(|event| goes_on |= matches!(event, Event::Run { .. }));
                slots -= usize::from(!goes_on);
            }
            if self.taken.fetch_add(mine, SeqCst) + mine == items {
                self.over.store(true, SeqCst);
                drop(self.asleep());
                self.bell.notify_all();
            }
        }
    }

    /// Waits for requests that ran at once, and gives how many; `None` at the end.
    fn wait_for_grants(&self) -> Option<usize> {
        self.looking.fetch_add(1, SeqCst);
        loop {
            let found = (0..LOOKS).find_map(|_| {
                std::hint::spin_loop();
                self.look()
            });
            let is_last = self.looking.fetch_sub(1, SeqCst) == 1;
            if let Some(found) = found {
                if is_last && self.granted.load(SeqCst) > 0 {
                    self.ring();
                }
                return found;
            }
            let mut asleep = self.asleep();
            if let Some(found) = self.look() {
                return found;
            }
            asleep.sleeping += 1;
            while asleep.rung == 0 {
                if self.over.load(SeqCst) {
                    return None;
                }
                asleep = self.bell.wait(asleep).unwrap_or_else(PoisonError::into_inner);
            }
            asleep.rung -= 1;
        }
    }

    /// Takes this reader's share of the requests that ran at once, as the workers of a runtime do; `Some(None)` at the end.
    fn look(&self) -> Option<Option<usize>> {
        if self.over.load(SeqCst) {
            return Some(None);
        }
        if self.granted.load(Relaxed) == 0 {
            return None;
        }
        let share = |granted: usize| granted.min(granted / self.readers + 1);
        let less = |granted: usize| (granted > 0).then(|| granted - share(granted));
        self.granted.fetch_update(SeqCst, SeqCst, less).ok().map(|granted| Some(share(granted)))
    }

    /// Wakes a reader that sleeps, if none is awake and looking. From then on that one is.
    fn ring(&self) {
        if self.looking.load(SeqCst) > 0 {
            return;
        }
        let mut asleep = self.asleep();
        if asleep.sleeping > 0 {
            asleep.sleeping -= 1;
            asleep.rung += 1;
            self.looking.fetch_add(1, SeqCst);
            self.bell.notify_one();
        }
    }

    fn asleep(&self) -> MutexGuard<'_, Asleep> {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The readers that sleep.
#[derive(Default)]
struct Asleep {
    sleeping: usize,
    /// How many of them have been woken and haven't got up yet.
    rung: usize,
}

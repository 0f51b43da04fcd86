//! What a request costs in the queue of the `rpc` role, in the shape of prio-load-balancer's own benchmark: one thread puts
//! requests in, 1 or 5 take them out, and the time ends when the last one has been taken.
//!
//! What runs is the role's queue with its lock ([`Shared`]): a reader is a slot of a node, and taking the next request is giving the slot
//! back. Threads stand in the place of tasks, and numbers in the place of those who wait for an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
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

/// A small table.
pub(crate) fn table(all: &[Series]) -> String {
    let mut text = String::from("   items  readers   median µs     best µs   ns per item\n");
    for series in all {
        let median = series.median();
        text.push_str(&format!(
            "{:>8} {:>8} {:>11.0} {:>11.0} {:>13.1}\n",
            series.items,
            series.readers,
            median,
            series.best(),
            median * 1e3 / series.items as f64
        ));
    }
    text
}

struct Bench {
    queue: Shared<u32>,
    node: NodeId,
    readers: usize,
    taken: AtomicUsize,
    /// Requests that ran at once, for an idle reader to take.
    granted: Mutex<Granted>,
    bell: Condvar,
}

#[derive(Default)]
struct Granted {
    slots: usize,
    over: bool,
}

impl Bench {
    fn new(readers: usize) -> Self {
        let queue = Shared::new(Options::default());
        #[allow(clippy::cast_possible_truncation)] // 1 or 5
        let node = queue.change(Instant::now(), |pool| pool.add(readers as u32, true)).result;
        Self {
            queue,
            node,
            readers,
            taken: AtomicUsize::new(0),
            granted: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    fn run(&self, items: usize) -> Duration {
        self.taken.store(0, Ordering::Relaxed);
        *self.granted() = Granted::default();
        std::thread::scope(|scope| {
            for _ in 0..self.readers {
                scope.spawn(|| self.read(items));
            }
            let start = Instant::now();
            for _ in 0..items {
                let call = Call::new(Lane::Low, start, Duration::from_secs(5), 11);
                if let (Submitted::Run { .. }, ..) = self.queue.submit(call, || 0, start) {
                    self.granted().slots += 1;
                    self.bell.notify_one();
                }
            }
            let mut granted = self.granted();
            while !granted.over {
                granted = self.bell.wait(granted).unwrap_or_else(PoisonError::into_inner);
            }
            start.elapsed()
        })
    }

    fn read(&self, items: usize) {
        let now = Instant::now();
        while self.wait_for_grant() {
            let (mut mine, mut busy) = (0, true);
            while busy {
                mine += 1;
                busy = false;
                for event in self.queue.release(self.node, now) {
                    busy |= matches!(event, Event::Run { .. });
                }
            }
            if self.taken.fetch_add(mine, Ordering::Relaxed) + mine == items {
                self.granted().over = true;
                self.bell.notify_all();
            }
        }
    }

    fn wait_for_grant(&self) -> bool {
        let mut granted = self.granted();
        loop {
            if granted.slots > 0 {
                granted.slots -= 1;
                return true;
            }
            if granted.over {
                return false;
            }
            granted = self.bell.wait(granted).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn granted(&self) -> std::sync::MutexGuard<'_, Granted> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What a request costs in the queue of the `rpc` role, in the shape of prio-load-balancer's own benchmark: one task puts requests in,
//! 1 or 5 take them out, and the time ends when the last one has been taken.
//!
//! What runs is the role's queue with its lock ([`Shared`]), on the runtime that the role runs on: as many threads as there are cores,
//! whatever the number of readers (as goroutines have it). A reader is a slot of a node, and taking the next request is giving the slot
//! back. Numbers, as large as the channel's end that it is else, stand in the place of those who wait for an answer: the channel that
//! is made for each of them isn't measured. The one who keeps the time sleeps, as it nearly always does, so that each request is
//! compared with how long.

#![allow(clippy::disallowed_methods, reason = "what is measured is measured by the machine's clock")]

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use mainstay_rpc::{Call, Event, Lane, NodeId, Options, Shared, Submitted};
use tokio::sync::{Barrier, Notify, Semaphore};
use tokio::task::JoinSet;

use crate::Result;
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

/// Measures all cases, `runs` times each, on a runtime of its own.
pub(crate) fn measure(runs: usize) -> Result<Vec<Series>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let mut all = Vec::new();
    for (items, readers) in CASES {
        let bench = Arc::new(Bench::new(readers));
        // Once to warm up.
        let run = || runtime.block_on(runtime.spawn(bench.clone().run(items)));
        run()?;
        let mut micros = Vec::new();
        for _ in 0..runs {
            micros.push(run()?.as_secs_f64() * 1e6);
        }
        all.push(Series { items, readers, micros });
    }
    Ok(all)
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

struct Bench {
    queue: Shared<NonZeroU64>,
    node: NodeId,
    readers: usize,
    /// Requests that ran at once, for an idle reader to take.
    granted: Semaphore,
    taken: AtomicUsize,
    over: Notify,
}

impl Bench {
    fn new(readers: usize) -> Self {
        let queue = Shared::new(Options::default());
        #[allow(clippy::cast_possible_truncation)] // 1 or 5
        let node = queue.change(Instant::now(), |pool| pool.add(readers as u32, true)).result;
        queue.next_wake();
        let (granted, taken, over) = (Semaphore::new(0), AtomicUsize::new(0), Notify::new());
        Self { queue, node, readers, granted, taken, over }
    }

    async fn run(self: Arc<Self>, items: usize) -> Duration {
        self.taken.store(0, SeqCst);
        let ready = Arc::new(Barrier::new(self.readers + 1));
        let mut readers = JoinSet::new();
        for _ in 0..self.readers {
            let (bench, ready) = (self.clone(), ready.clone());
            readers.spawn(async move {
                ready.wait().await;
                bench.read(items).await;
            });
        }
        ready.wait().await;
        let start = Instant::now();
        for _ in 0..items {
            let mut call = Call::new(Lane::Low, start, Duration::from_secs(5), 11);
            let (submitted, _, wake) = self.queue.submit(&mut call, || NonZeroU64::MIN, start);
            if wake {
                self.queue.next_wake();
            }
            if matches!(submitted, Submitted::Run(_)) {
                self.granted.add_permits(1);
            }
        }
        self.over.notified().await;
        let took = start.elapsed();
        readers.shutdown().await;
        took
    }

    /// Reads until it is dropped.
    async fn read(&self, items: usize) {
        let now = Instant::now();
        while let Ok(granted) = self.granted.acquire().await {
            granted.forget();
            let mut mine = 0;
            let mut goes_on = true;
            while goes_on {
                mine += 1;
                goes_on = false;
                self.queue
                    .release(self.node, now)
                    .each(|event| goes_on |= matches!(event, Event::Run { .. }));
            }
            if self.taken.fetch_add(mine, SeqCst) + mine == items {
                self.over.notify_one();
            }
        }
    }
}

//! The queue where threads meet, model-checked: the very files of the shell, over the checker's lock.
//!
//! `shuttle` runs each test many times and decides at every lock who goes on: all schedules of the small cases, random
//! ones of the larger. In each, every request is served once or cancelled, and the slots are all free at the end.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::duplicate_mod,
    dead_code,
    unreachable_pub,
    unused_imports,
    missing_docs
)]

/// The checker's lock in the place of the standard library's.
mod lock {
    #[derive(Debug)]
    pub(crate) struct Lock<T>(shuttle::sync::Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn with<R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
            run(&mut self.0.lock().unwrap())
        }
    }
}

#[path = "shared.rs"]
mod shared;

#[path = "queue.rs"]
mod queue;

use std::time::{Duration, Instant};

use shuttle::future::block_on;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

use crate::{Call, Lane, NodeId, Options};
use queue::{Place, Queue, Slot, Ticket, Unserved};

fn start(workers: &[u32]) -> (Queue, Vec<NodeId>, Instant) {
    let now = Instant::now();
    let queue = Queue::new(Options::default());
    let nodes = workers.iter().map(|workers| queue.change(now, |pool| pool.add(*workers, true))).collect();
    (queue, nodes, now)
}

fn enter(queue: &Queue, lane: Lane, now: Instant) -> Place {
    queue.enter(Call::new(lane, now, Duration::from_secs(3600), 1), now).unwrap().place
}

fn served(place: Place) -> Result<Slot, Unserved> {
    match place {
        Place::Now(slot) => Ok(slot),
        Place::Later(ticket) => block_on(ticket),
    }
}

fn all_is_free(queue: &Queue) {
    assert!(queue.loads().iter().all(|load| load.in_flight == 0), "{:?}", queue.loads());
    assert_eq!(queue.lengths(), [0; 3]);
}

/// All schedules of a small case.
fn every_schedule(case: fn()) {
    shuttle::check_dfs(case, Some(50_000));
}

/// Many random schedules, and some that are made to find rare ones.
fn many_schedules(case: fn()) {
    shuttle::check_random(case, 3000);
    shuttle::check_pct(case, 3000, 3);
}

#[test]
fn release_meets_cancel() {
    every_schedule(|| {
        let (queue, _, now) = start(&[1]);
        let slot = served(enter(&queue, Lane::Low, now)).unwrap();
        let Place::Later(ticket) = enter(&queue, Lane::Low, now) else { panic!("it waits") };
        let gone = thread::spawn(move || drop(ticket));
        slot.release(now);
        gone.join().unwrap();
        all_is_free(&queue);
    });
}

#[test]
fn release_meets_await() {
    every_schedule(|| {
        let (queue, _, now) = start(&[1]);
        let slot = served(enter(&queue, Lane::Low, now)).unwrap();
        let other = queue.clone();
        let waiter = thread::spawn(move || served(enter(&other, Lane::High, now)).unwrap().release(now));
        slot.release(now);
        waiter.join().unwrap();
        all_is_free(&queue);
    });
}

#[test]
fn expiry_meets_release() {
    every_schedule(|| {
        let (queue, _, now) = start(&[1]);
        let slot = served(enter(&queue, Lane::Low, now)).unwrap();
        let Place::Later(ticket) = enter(&queue, Lane::Low, now) else { panic!("it waits") };
        let clock = queue.clone();
        let keeper = thread::spawn(move || clock.tick(now + Duration::from_secs(7200)));
        slot.release(now);
        keeper.join().unwrap();
        match block_on(ticket) {
            Ok(slot) => slot.release(now),
            Err(why) => assert_eq!(why, Unserved::Expired),
        }
        all_is_free(&queue);
    });
}

#[test]
fn the_last_node_goes_while_one_enters() {
    every_schedule(|| {
        let (queue, nodes, now) = start(&[1]);
        let slot = served(enter(&queue, Lane::Low, now)).unwrap();
        let (other, node) = (queue.clone(), nodes[0]);
        let operator = thread::spawn(move || other.change(now, |pool| pool.remove(node)));
        let call = Call::new(Lane::Low, now, Duration::from_secs(3600), 1);
        if let Ok(entered) = queue.enter(call, now) {
            assert!(served(entered.place).is_err(), "the node has one slot, which is taken");
        }
        operator.join().unwrap();
        slot.release(now);
        all_is_free(&queue);
    });
}

#[test]
fn everything_at_once() {
    many_schedules(|| {
        let (queue, nodes, now) = start(&[1, 1]);
        let ended = Arc::new(AtomicUsize::new(0));
        let mut threads: Vec<_> = (0..4)
            .map(|n| {
                let (queue, ended) = (queue.clone(), ended.clone());
                thread::spawn(move || {
                    let slot = match enter(&queue, Lane::ALL[n % 3], now) {
                        Place::Later(ticket) if n == 3 => {
                            drop(ticket);
                            ended.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                        place => served(place).unwrap(),
                    };
                    assert!(queue.loads().iter().all(|load| load.in_flight <= load.workers));
                    let mut slot = if n == 1 { block_on(slot.retry(now)).unwrap() } else { slot };
                    let copy = (n == 2).then(|| slot.hedge(now)).flatten();
                    slot.release(now);
                    drop(copy);
                    ended.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        let (other, node) = (queue.clone(), nodes[1]);
        threads.push(thread::spawn(move || {
            other.change(now, |pool| pool.set_fit(node, false, now));
            other.change(now, |pool| pool.set_fit(node, true, now));
            other.tick(now);
        }));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(ended.load(Ordering::SeqCst), 4);
        all_is_free(&queue);
    });
}

//! Instances that share the limits of nodes: with a store in memory and paused time, and through a real Redis under load.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::server::Redis;
use common::within;
use mainstay_store::{Fleet, MemoryStore, Portion, RedisAddress, RedisStore, Share, Store};
use tokio::time::Instant;

const SLOTS: u32 = 8;
const NODE: &str = "http://node:8545";

async fn waits(fleet: &Fleet, wanted: impl FnMut(&Share) -> bool) -> Share {
    let mut watch = fleet.watch();
    match tokio::time::timeout(Duration::from_secs(30), watch.wait_for(wanted)).await {
        Ok(share) => share.unwrap().clone(),
        Err(_) => panic!("not within 30 s; it has {:?}", fleet.watch().borrow().clone()),
    }
}

/// Waits until each has its part of all.
async fn settled(fleets: &[&Fleet]) {
    for fleet in fleets {
        let live = fleets.len();
        waits(fleet, |share| share.live == live && share.portion == Portion::of(live, share.index)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn shares_follow_who_is_there() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = Fleet::join(Arc::clone(&store), |_| true);
    settled(&[&one]).await;
    let two = Fleet::join(Arc::clone(&store), |_| true);
    let three = Fleet::join(Arc::clone(&store), |_| true);
    settled(&[&one, &two, &three]).await;
    let sum: u32 =
        [&one, &two, &three].map(|fleet| fleet.watch().borrow().portion.slots(SLOTS, NODE)).iter().sum();
    assert_eq!(sum, SLOTS);
    // Who leaves is not waited for.
    let left = Instant::now();
    two.leave().await;
    settled(&[&one, &three]).await;
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    // Who dies is.
    let died = Instant::now();
    drop(one);
    settled(&[&three]).await;
    assert!(
        died.elapsed() > Duration::from_secs(5) && died.elapsed() < Duration::from_secs(9),
        "{:?}",
        died.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_passed_on_before_its_work_has_ended() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let busy = Arc::new(AtomicBool::new(false));
    let still = Arc::clone(&busy);
    let one = Fleet::join(Arc::clone(&store), move |portion| {
        portion == Portion::ALL || !still.load(Ordering::Relaxed)
    });
    settled(&[&one]).await;
    busy.store(true, Ordering::Relaxed);
    let two = Fleet::join(Arc::clone(&store), |_| true);
    // The first admits less at once, the second gets nothing for however long that takes.
    waits(&one, |share| share.portion == Portion::of(2, 0)).await;
    let joined = Instant::now();
    while joined.elapsed() < Duration::from_secs(60) {
        assert!(two.watch().borrow().portion.is_none());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    busy.store(false, Ordering::Relaxed);
    settled(&[&one, &two]).await;
}

/// A balancer that keeps a node busy, as far as it may.
#[derive(Default)]
struct Balancer {
    /// Admitted work, and how much of it there may be.
    state: Mutex<(u32, u32)>,
}

impl Balancer {
    fn limit(&self, portion: Portion) -> bool {
        let mut state = self.state.lock().unwrap();
        state.1 = portion.slots(SLOTS, NODE);
        state.0 <= state.1
    }

    fn admit(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let free = state.0 < state.1;
        state.0 += u32::from(free);
        free
    }

    fn done(&self) {
        self.state.lock().unwrap().0 -= 1;
    }
}

/// The node: how much it works on, the most that it ever did, and how much it has done.
#[derive(Default)]
struct Node(Mutex<(u32, u32, u64)>);

impl Node {
    fn change(&self, by: i32) {
        let mut state = self.0.lock().unwrap();
        state.0 = state.0.checked_add_signed(by).unwrap();
        state.1 = state.1.max(state.0);
        state.2 += u64::from(by > 0);
    }

    fn done(&self) -> u64 {
        self.0.lock().unwrap().2
    }
}

fn join(
    redis: &Redis,
    node: &Arc<Node>,
    stop: &Arc<AtomicBool>,
) -> (Fleet, Vec<tokio::task::JoinHandle<()>>) {
    let address = RedisAddress::parse(&format!("127.0.0.1:{}", redis.port)).unwrap();
    let store = RedisStore::open(address, "prio-load-balancer:").unwrap();
    let balancer = Arc::new(Balancer::default());
    let limited = Arc::clone(&balancer);
    let fleet = Fleet::join(Arc::new(store), move |portion| limited.limit(portion));
    let work = (0..SLOTS).map(|worker| {
        let (balancer, node, stop) = (Arc::clone(&balancer), Arc::clone(node), Arc::clone(stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if balancer.admit() {
                    node.change(1);
                    tokio::time::sleep(Duration::from_millis(5 + 10 * u64::from(worker))).await;
                    node.change(-1);
                    balancer.done();
                } else {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        })
    });
    (fleet, work.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_never_gets_more_than_its_slots() {
    let mut redis = Redis::start(&[]).await;
    let (node, stop) = (Arc::new(Node::default()), Arc::new(AtomicBool::new(false)));
    let (one, mut work) = join(&redis, &node, &stop);
    settled(&[&one]).await;
    let (two, more) = join(&redis, &node, &stop);
    work.extend(more);
    settled(&[&one, &two]).await;

    // It is killed and has forgotten everything: each keeps its part, and a newcomer gets one of its own.
    redis.kill();
    for fleet in [&one, &two] {
        let share = waits(fleet, |share| !share.reach.is_ok()).await;
        assert_eq!(share.portion, Portion::of(2, share.index));
    }
    let done = node.done();
    redis.restart().await;
    let (three, more) = join(&redis, &node, &stop);
    work.extend(more);
    settled(&[&one, &two, &three]).await;
    assert!(node.done() > done, "work went on");
    assert_eq!(redis.cli(&["--raw", "KEYS", "*"]).await, "prio-load-balancer:mainstay:fleet\n");

    two.leave().await;
    settled(&[&one, &three]).await;
    stop.store(true, Ordering::Relaxed);
    for task in work {
        within(5, task).await.unwrap();
    }
    let (now, most, _) = *node.0.lock().unwrap();
    assert_eq!((now, most), (0, SLOTS));
}

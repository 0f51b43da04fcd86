#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use super::*;

fn pool(workers: &[u32]) -> (Pool, Vec<NodeId>) {
    let mut pool = Pool::new(Duration::ZERO);
    let ids = workers.iter().map(|workers| pool.add(*workers, true)).collect();
    (pool, ids)
}

fn of(nodes: &[NodeId]) -> Tried {
    let mut tried = Tried::default();
    nodes.iter().for_each(|node| tried.add(*node));
    tried
}

#[test]
fn the_least_loaded_for_its_size_is_taken() {
    let (mut pool, ids) = pool(&[4, 2]);
    let taken: Vec<usize> = (0..6)
        .map(|_| {
            let id = pool.take(&Tried::default()).unwrap();
            ids.iter().position(|other| *other == id).unwrap()
        })
        .collect();
    assert_eq!(taken.iter().filter(|index| **index == 0).count(), 4);
    assert_eq!(taken.iter().filter(|index| **index == 1).count(), 2);
    assert_eq!(taken[..2], [0, 1], "an idle node comes before a busy one");
    assert!(pool.take(&Tried::default()).is_none() && !pool.has_free());
}

#[test]
fn idle_nodes_take_turns() {
    let (mut pool, ids) = pool(&[8, 8, 8]);
    let mut counts = [0; 3];
    for _ in 0..30 {
        let id = pool.take(&Tried::default()).unwrap();
        pool.give_back(id);
        counts[ids.iter().position(|other| *other == id).unwrap()] += 1;
    }
    assert_eq!(counts, [10; 3]);
}

#[test]
fn tried_nodes_are_left_out_while_another_is_usable() {
    let (mut pool, ids) = pool(&[1, 1]);
    let (a, b) = (ids[0], ids[1]);
    assert_eq!(pool.take(&of(&[a])), Some(b));
    assert!(!pool.can_take(&of(&[a])), "it waits for b, which is busy");
    assert!(pool.can_take(&of(&[a, b])));
    pool.set_draining(b, true);
    assert!(pool.can_take(&of(&[a])), "a is the only usable one");
    assert_eq!(pool.take(&of(&[a])), Some(a));
}

#[test]
fn a_removed_node_finishes_and_its_number_is_never_used_again() {
    let (mut pool, ids) = pool(&[1]);
    assert_eq!(pool.take(&Tried::default()), Some(ids[0]));
    pool.remove(ids[0]);
    assert!(pool.is_empty() && !pool.has_usable());
    assert_eq!(pool.loads().count(), 0);
    assert_eq!(pool.load(ids[0]).map(|load| load.in_flight), Some(1));
    assert!(pool.restore(ids[0]), "it still works on one");
    assert!(!pool.has_free(), "which still counts");
    pool.remove(ids[0]);
    pool.give_back(ids[0]);
    assert!(!pool.restore(ids[0]));
    assert_eq!(pool.load(ids[0]), None);
    let new = pool.add(1, true);
    assert_ne!(new, ids[0]);
    pool.give_back(ids[0]);
    pool.set_fit(ids[0], false, Instant::now());
    assert_eq!(pool.take(&Tried::default()), Some(new));
}

#[test]
fn fewer_workers_let_what_runs_finish() {
    let (mut pool, ids) = pool(&[3]);
    for _ in 0..3 {
        pool.take(&Tried::default()).unwrap();
    }
    pool.set_workers(ids[0], 1, Instant::now());
    for _ in 0..2 {
        pool.give_back(ids[0]);
        assert!(!pool.has_free());
    }
    pool.give_back(ids[0]);
    assert!(pool.has_free());
}

#[test]
fn a_node_that_rests_gets_nothing_until_it_is_over() {
    let (mut pool, ids) = pool(&[1]);
    let now = Instant::now();
    let second = Duration::from_secs(1);
    pool.rest(ids[0], now + second, now);
    pool.rest(ids[0], now + second / 2, now);
    assert!(!pool.has_usable());
    assert_eq!(pool.next_change(), Some(now + second));
    pool.advance(now + second / 2);
    assert!(!pool.has_usable());
    pool.advance(now + second);
    assert!(pool.has_free());
    assert_eq!(pool.next_change(), None);
}

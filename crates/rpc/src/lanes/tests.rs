#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use super::*;
use crate::pool::Pool;

fn call(order: u64, now: Instant, tried: &Tried) -> Call {
    let mut call = Call::new(Lane::Low, now, Duration::from_secs(1), 3);
    call.order = order;
    call.tried = tried.clone();
    call
}

#[test]
fn whatever_the_nodes_they_were_sent_to_the_order_is_that_of_arrival() {
    let now = Instant::now();
    let mut pool = Pool::new(Duration::ZERO);
    let (mut a, mut b) = (Tried::default(), Tried::default());
    a.add(pool.add(1, true));
    b.add(pool.add(1, true));
    let none = Tried::default();
    let mut lanes = Lanes::new(Rules::default());
    for (order, tried) in [(3, &none), (5, &none), (2, &a), (4, &b), (1, &b), (6, &none), (7, &a)] {
        lanes.push(&call(order, now, tried), order);
    }
    // What was sent to `a` can't run now.
    let order: Vec<u64> =
        std::iter::from_fn(|| lanes.next(|tried| *tried != a, now)).map(|(_, order)| order).collect();
    assert_eq!(order, [1, 3, 4, 5, 6]);
    let order: Vec<u64> = std::iter::from_fn(|| lanes.next(|_| true, now)).map(|(_, order)| order).collect();
    assert_eq!(order, [2, 7]);
    assert_eq!((lanes.len(), lanes.bytes()), (0, 0));
}

#[test]
fn taking_out_of_the_middle_looks_at_no_other() {
    // 100,000 of each would take minutes if every one were found by a search.
    let now = Instant::now();
    let mut lanes = Lanes::new(Rules::default());
    let keys: Vec<Key> =
        (0..100_000).map(|order| lanes.push(&call(order, now, &Tried::default()), order)).collect();
    for key in keys.iter().skip(1).step_by(2) {
        assert!(lanes.remove(*key).is_some());
    }
    let mut expired = 0;
    while let Some(order) = lanes.expired(now + Duration::from_secs(1)) {
        assert_eq!(order, expired * 2);
        expired += 1;
    }
    assert_eq!(expired, 50_000);
    assert_eq!(lanes.quiet_until(), None);
}

//! The queue as request handlers see it.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use mainstay_rpc::{Call, Lane, NodeId, Options, Place, Queue, Refusal, Slot, Ticket, Unserved};
use tokio::time::Instant as Clock;

fn now() -> Instant {
    Clock::now().into_std()
}

fn queue(workers: u32) -> (Queue, NodeId) {
    let queue = Queue::new(Options::default());
    let node = queue.change(now(), |pool| pool.add(workers, true));
    (queue, node)
}

fn enter(queue: &Queue, lane: Lane, timeout: Duration) -> Result<Place, Refusal> {
    queue.enter(Call::new(lane, now(), timeout, 10), now()).map(|entered| entered.place)
}

fn slot(queue: &Queue) -> Slot {
    match enter(queue, Lane::Low, Duration::from_secs(5)) {
        Ok(Place::Now(slot)) => slot,
        other => panic!("a slot is free: {other:?}"),
    }
}

fn ticket(queue: &Queue, lane: Lane) -> Ticket {
    match enter(queue, lane, Duration::from_secs(5)) {
        Ok(Place::Later(ticket)) => ticket,
        other => panic!("no slot is free: {other:?}"),
    }
}

fn in_flight(queue: &Queue) -> u32 {
    queue.loads().iter().map(|load| load.in_flight).sum()
}

#[tokio::test]
async fn a_slot_goes_to_the_most_urgent_when_it_is_dropped() {
    let (queue, node) = queue(1);
    let first = slot(&queue);
    let low = ticket(&queue, Lane::Low);
    let fast = ticket(&queue, Lane::FastTrack);
    assert_eq!(queue.lengths(), [1, 0, 1]);
    drop(first);
    let fast = fast.await.unwrap();
    assert_eq!((fast.node(), queue.lengths()), (node, [0, 0, 1]));
    fast.release(now());
    drop(low.await.unwrap());
    assert_eq!(in_flight(&queue), 0);
}

#[tokio::test]
async fn a_dropped_ticket_leaves_at_once_even_if_it_was_just_granted() {
    let (queue, _) = queue(1);
    let first = slot(&queue);
    drop(ticket(&queue, Lane::Low));
    assert_eq!(queue.lengths(), [0, 0, 0]);
    let granted = ticket(&queue, Lane::Low);
    drop(first);
    assert_eq!(in_flight(&queue), 1, "it has the slot, and nobody looked yet");
    drop(granted);
    assert_eq!(in_flight(&queue), 0);
}

#[tokio::test]
async fn a_retry_keeps_its_place_and_takes_another_node() {
    let (queue, _) = queue(1);
    let first = slot(&queue);
    let (was, later) = (first.node(), ticket(&queue, Lane::Low));
    let other = queue.change(now(), |pool| pool.add(1, false));
    let again = first.retry(now());
    let again = again.await.unwrap();
    assert_eq!(again.node(), was, "there is no other");
    queue.change(now(), |pool| pool.set_fit_at_once(other));
    let later = later.await.unwrap();
    assert_eq!(later.node(), other);
    drop(later);
    let again = again.retry(now()).await.unwrap();
    assert_eq!(again.node(), other);
    assert!(!again.has_untried(), "it was sent to both");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_answered_when_it_passes() {
    let (queue, _) = queue(1);
    let _busy = slot(&queue);
    let keeper = queue.clone();
    let keeper = tokio::spawn(async move { keeper.keep_time().await });
    // Let it sleep for nothing, then for the later deadline, before the earlier one comes.
    tokio::task::yield_now().await;
    let late = enter(&queue, Lane::Low, Duration::from_secs(5)).unwrap();
    tokio::task::yield_now().await;
    let soon = enter(&queue, Lane::FastTrack, Duration::from_secs(1)).unwrap();
    let start = Clock::now();
    for (place, seconds) in [(soon, 1), (late, 5)] {
        let Place::Later(ticket) = place else { panic!("no slot is free") };
        assert_eq!(ticket.await.map(|_| ()), Err(Unserved::Expired));
        let took = start.elapsed();
        assert!(
            took >= Duration::from_secs(seconds)
                && took < Duration::from_secs(seconds) + Duration::from_millis(5)
        );
    }
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn slots_of_a_node_that_is_back_open_by_the_clock() {
    let options = Options { slow_start: Duration::from_secs(2), ..Options::default() };
    let queue = Queue::new(options);
    let node = queue.change(now(), |pool| pool.add(2, false));
    let (first, second) = (ticket(&queue, Lane::Low), ticket(&queue, Lane::Low));
    let keeper = queue.clone();
    let keeper = tokio::spawn(async move { keeper.keep_time().await });
    tokio::task::yield_now().await;
    let start = Clock::now();
    queue.change(now(), |pool| pool.set_fit(node, true, now()));
    let _first = first.await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(5));
    let _second = second.await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    keeper.abort();
}

#[tokio::test]
async fn the_last_node_goes() {
    let (queue, node) = queue(1);
    let slot = slot(&queue);
    let waiting = ticket(&queue, Lane::High);
    queue.change(now(), |pool| pool.remove(node));
    assert_eq!(waiting.await.map(|_| ()), Err(Unserved::Refused(Refusal::NoNodes)));
    assert!(matches!(enter(&queue, Lane::Low, Duration::from_secs(1)), Err(Refusal::NoNodes)));
    assert_eq!(slot.retry(now()).await.map(|_| ()), Err(Unserved::Refused(Refusal::NoNodes)));
}

#[tokio::test]
async fn a_second_copy_has_a_slot_of_its_own() {
    let (queue, _) = queue(1);
    let mut first = slot(&queue);
    assert!(first.hedge(now()).is_none() && !first.has_untried());
    queue.change(now(), |pool| pool.add(1, true));
    assert!(first.has_untried());
    let second = first.hedge(now()).unwrap();
    assert_ne!(first.node(), second.node());
    assert_eq!(in_flight(&queue), 2);
    // Whichever goes on, it was sent to both: a third node comes before either.
    assert!(!first.has_untried() && !second.has_untried());
    let (_, third) = (drop(second), queue.change(now(), |pool| pool.add(1, true)));
    let again = first.retry(now()).await.unwrap();
    assert_eq!(again.node(), third);
    drop(again);
    assert_eq!(in_flight(&queue), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_from_all_sides_every_request_is_answered_once() {
    let (queue, _) = queue(4);
    let tasks: Vec<_> = (0..2000)
        .map(|n: usize| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let slot = match enter(&queue, Lane::ALL[n % 3], Duration::from_secs(30)).unwrap() {
                    Place::Now(slot) => slot,
                    Place::Later(ticket) if n.is_multiple_of(5) => {
                        drop(ticket);
                        return 0;
                    }
                    Place::Later(ticket) => ticket.await.unwrap(),
                };
                assert!(in_flight(&queue) <= 4);
                tokio::task::yield_now().await;
                if n.is_multiple_of(7) {
                    drop(slot.retry(now()).await.unwrap())
                }
                1
            })
        })
        .collect();
    let mut served = 0;
    for task in tasks {
        served += task.await.unwrap();
    }
    assert!(served >= 1600);
    assert_eq!((in_flight(&queue), queue.lengths()), (0, [0; 3]));
}

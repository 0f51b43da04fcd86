//! What one leg's node is told of what another leg's outer peer says.

use mainstay_antelope::{Blob, BlockNotice, Frame, Id, IdList, Kind, List, Message, Mode, Notice, Slot};
use mainstay_node::Operated as _;
use mainstay_relay::outers::AVOIDED;
use mainstay_sim::nodeos::{Nodeos, NodeosConfig, whole};

use crate::bed::*;

/// Two outer peers that aren't connected, each with a node behind it that is at its head.
async fn pair(settings: &str) -> (Nodeos, Nodeos, Bed, Nodeos, Nodeos) {
    let (c, d) = (sentry("c").await, sentry("d").await);
    let bed = relay(&[&c, &d], settings).await;
    let (a, b) = (bed.node("a").await, bed.node("b").await);
    for node in [&a, &b] {
        node.until("what was before", |it| it.head() == c.head()).await;
    }
    assert_eq!((c.peers(), d.peers(), c.head()), (1, 1, d.head()));
    (c, d, bed, a, b)
}

fn times(node: &Nodeos, frame: &Frame) -> usize {
    node.received().iter().filter(|received| received.bytes() == frame.bytes()).count()
}

fn trx(content: &[u8]) -> Frame {
    whole(&Message::Unknown { number: Kind::PackedTransaction.number(), data: Blob(content) })
}

#[tokio::test]
async fn a_node_whose_outer_peer_hangs_goes_on_by_what_the_others_say() {
    let (c, d, bed, a, b) = pair("outer_lag = 0").await;
    let first = round();
    d.freeze(true);
    let one = trx(b"one");
    for slot in first..first + 12 {
        c.produce(theirs(), Slot(slot), 0);
        c.say(&one);
    }
    for node in [&a, &b] {
        node.until("the round", |it| it.head() == c.head() && times(it, &one) == 1).await;
    }
    // What its own peer says later of the same is no news.
    d.chain(|chain| *chain = c.chain(|of| of.clone()));
    d.freeze(false);
    for frame in c.chain(|chain| chain.branch(2, u32::MAX)) {
        d.say(&frame);
    }
    d.say(&one);
    let last = trx(b"last");
    d.say(&last);
    b.until("what comes after", |it| times(it, &last) == 1).await;
    let slots = b.received_blocks().into_iter().map(|block| block.slot.0).filter(|slot| *slot >= first);
    assert_eq!(slots.collect::<Vec<u32>>(), (first..first + 12).collect::<Vec<u32>>());
    assert_eq!(times(&b, &one), 1);
    assert_eq!(bed.handle.snapshot().nodes.iter().map(|leg| leg.leg).collect::<Vec<_>>(), [1, 2]);
    let told = |what| bed.count("told_total", &[&format!("what=\"{what}\""), "outcome=\"told\""]);
    assert_eq!((told("signed_block"), told("packed_transaction")), (12.0, 2.0), "{}", bed.page());
}

/// It is connected still, and says nothing. The node gets the other one, and the leg that goes on stays.
#[tokio::test]
async fn a_leg_ends_whose_outer_peer_stands_still_while_another_goes_on() {
    let (c, d, bed, _a, b) = pair("fan_inward = false\nouter_lag = 5\nouter_lag_time = \"300ms\"").await;
    let first = round();
    d.freeze(true);
    for slot in first..first + 4 {
        c.produce(theirs(), Slot(slot), 0);
    }
    let behind = |bed: &Bed, leg: usize| bed.handle.snapshot().nodes[leg].behind;
    bed.until("it is behind", |it| behind(it, 1) == 4).await;
    let gauge = format!("outer=\"{}\"", d.address());
    bed.until("it is counted", |it| it.count("outer_behind", &[&gauge]) == 4.0).await;
    c.produce(theirs(), Slot(first + 4), 0);
    b.until("the other peer's", |it| it.head() == c.head()).await;
    assert_eq!((c.peers(), b.farewells()), (2, 0));
    assert_eq!(bed.count("legs_ended_total", &["side=\"outer\"", "why=\"behind\""]), 1.0);
    assert_eq!(bed.count("legs_ended_total", &[]), 1.0);
    let seen = bed.handle.snapshot();
    assert_eq!((seen.nodes[0].leg, seen.nodes[0].behind), (1, 0));
    assert_eq!(seen.outer[1].trouble, "the outer peer is 5 blocks behind");
    assert_eq!((seen.alarms[0].kind, seen.alarms[0].node.clone()), ("behind", d.address().to_string()));
    // It is avoided for longer than one that fails.
    tokio::time::pause();
    tokio::time::advance(AVOIDED * 2).await;
    assert!(!bed.handle.snapshot().outer[1].trouble.is_empty());
}

/// What a node is sent of long ago says nothing of where the others should be.
#[tokio::test]
async fn old_blocks_put_nobody_behind() {
    let (c, _d, bed, a, _b) = pair("outer_lag = 0").await;
    let first = round() - 5000;
    for slot in first..first + 6 {
        c.produce(theirs(), Slot(slot), 0);
    }
    a.until("its peer's", |it| it.head() == c.head()).await;
    assert_eq!(bed.handle.snapshot().nodes.iter().map(|leg| leg.behind).collect::<Vec<_>>(), [0, 0]);
}

/// It gets our round and sends none of it back, while another one sends what it has of it.
#[tokio::test]
async fn a_peer_that_was_given_our_blocks_is_not_behind() {
    let (c, d, bed, a, b) = pair("outer_lag = 0").await;
    let first = round();
    for slot in first..first + 6 {
        produce(&[&a], slot, 0);
    }
    c.until("ours", |it| it.head() == a.head()).await;
    for frame in c.chain(|chain| chain.branch(2, u32::MAX)) {
        d.say(&frame);
    }
    b.until("ours", |it| it.head() == a.head()).await;
    assert_eq!(bed.handle.snapshot().nodes.iter().map(|leg| leg.behind).collect::<Vec<_>>(), [0, 0]);
}

/// A node of Spring that has a block by another relay already is told of it by its id alone.
#[tokio::test]
async fn a_block_that_is_only_named_counts_as_one_that_was_sent() {
    let (c, d) = (sentry("c").await, sentry("d").await);
    let bed = relay(&[&c, &d], "outer_lag = 100").await;
    let a = bed.node("a").await;
    let _b = Nodeos::dial(NodeosConfig { version: 10, ..NodeosConfig::new("b") }, bed.address);
    bed.joined("b").await;
    let behind = |bed: &Bed| bed.handle.snapshot().nodes[1].behind;
    let first = round();
    let ids: Vec<Id> = (first..first + 6).map(|slot| c.produce(theirs(), Slot(slot), 0)).collect();
    a.until("its peer's", |it| it.head() == c.head()).await;
    bed.until("it is behind", |it| behind(it) == 6).await;
    for pair in ids.windows(2) {
        d.say(&whole(&Message::BlockNotice(BlockNotice { previous: pair[0], id: pair[1] })));
    }
    bed.until("it isn't", |it| behind(it) == 0).await;
    let newest = c.produce(theirs(), Slot(first + 6), 0);
    bed.until("it is again", |it| behind(it) == 1).await;
    // A name puts nobody behind: what it names may never come.
    let mut next = newest;
    next.0[..4].copy_from_slice(&(newest.block_num() + 1).to_be_bytes());
    d.say(&whole(&Message::BlockNotice(BlockNotice { previous: newest, id: next })));
    bed.until("it isn't", |it| behind(it) == 0).await;
    assert_eq!(bed.handle.snapshot().nodes[0].behind, 0);
}

/// What a peer says that it has counts, though it hasn't sent it.
#[tokio::test]
async fn a_peer_that_tells_its_head_is_not_behind() {
    let (c, d, bed, a, _b) = pair("outer_lag = 0").await;
    let behind = |bed: &Bed| bed.handle.snapshot().nodes[1].behind;
    let head = c.produce(theirs(), Slot(round()), 0);
    a.until("its peer's", |it| it.head() == head).await;
    bed.until("it is behind", |it| behind(it) == 1).await;
    let none = IdList { mode: Mode::NONE, pending: 0, ids: List::EMPTY };
    let known = IdList { mode: Mode::CATCH_UP, pending: head.block_num(), ids: List::Items(&[head]) };
    d.say(&whole(&Message::Notice(Notice { known_trx: none, known_blocks: known })));
    bed.until("it isn't", |it| behind(it) == 0).await;
}

#[tokio::test]
async fn if_that_is_not_wanted_each_node_hears_its_own_outer_peer() {
    let (c, d, _bed, a, b) = pair("fan_inward = false").await;
    let first = round();
    c.produce(theirs(), Slot(first), 0);
    c.say(&trx(b"one"));
    a.until("its peer's", |it| it.head() == c.head() && times(it, &trx(b"one")) == 1).await;
    d.say(&trx(b"two"));
    b.until("its peer's", |it| times(it, &trx(b"two")) == 1).await;
    assert_eq!((b.head(), times(&b, &trx(b"one")), times(&a, &trx(b"two"))), (d.head(), 0, 0));
}

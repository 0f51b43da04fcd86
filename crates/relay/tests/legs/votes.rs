//! Votes of finalizers.

use mainstay_antelope::{Fixed, Frame, Message, Slot, Vote};
use mainstay_node::Operated as _;
use mainstay_sim::nodeos::{Nodeos, NodeosConfig, whole};

use crate::bed::*;

fn spring(name: &str) -> NodeosConfig {
    NodeosConfig { version: 10, ..NodeosConfig::new(name) }
}

#[tokio::test]
async fn a_second_node_that_votes_with_the_same_key_is_refused_and_alarmed() {
    let c = Nodeos::listen(spring("c")).await.unwrap();
    c.produce(theirs(), Slot(round() - 1), 0);
    let bed = relay(&[&c], "").await;
    let (a, b) = (Nodeos::dial(spring("a"), bed.address), Nodeos::dial(spring("b"), bed.address));
    bed.joined("a").await;
    bed.joined("b").await;
    let vote = |key: u8, sig: u8| {
        whole(&Message::Vote(Vote {
            block_id: c.head(),
            strong: true,
            finalizer_key: Fixed(&[key; 96]),
            sig: Fixed(&[sig; 192]),
        }))
    };
    let came = |node: &Nodeos, frame: &Frame| {
        node.received().iter().filter(|received| received.bytes() == frame.bytes()).count()
    };
    a.say(&vote(1, 1));
    c.until("a's vote", |it| came(it, &vote(1, 1)) == 1).await;
    b.say(&vote(1, 2));
    bed.until("an alarm", |it| it.count("alarms_total", &["what=\"pinned\""]) == 1.0).await;
    let seen = bed.handle.snapshot();
    assert_eq!((seen.alarms[0].kind, &*seen.alarms[0].node), ("pinned", "b"));
    assert!(seen.alarms[0].what.contains("that a votes with"), "{:?}", seen.alarms[0]);
    // One of its own passes.
    b.say(&vote(2, 1));
    c.until("b's vote", |it| came(it, &vote(2, 1)) == 1).await;
    assert_eq!((came(&c, &vote(1, 2)), bed.count("votes_total", &[])), (0, 2.0));
    assert_eq!(bed.count("dropped_total", &["way=\"out\"", "why=\"pinned\""]), 1.0);
}

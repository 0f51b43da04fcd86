//! Which node is preferred.

use super::*;

/// The first slot of a round, counted from `FIRST`.
const ROUND: u32 = 12 - FIRST % 12;

#[test]
fn the_first_block_of_a_round_waits_for_a_better_leg() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    relay.egress.ranked(B, 1);
    let (better, worse) = (block(ROUND, parent, 1), block(ROUND, parent, 2));
    let ask = |relay: &mut Relay, leg, block: &Block, millis| {
        relay.egress.before_claim(leg, block, at(ROUND, millis))
    };
    let hold = |millis| Step::Hold(Duration::from_millis(millis));
    assert_eq!(ask(&mut relay, B, &worse, 0), hold(30));
    assert_eq!(ask(&mut relay, B, &worse, 10), hold(20));
    // The better one is there in time.
    assert_eq!(relay.send(A, &better), WIN);
    assert_eq!(ask(&mut relay, B, &worse, 11), Step::Settled(lost_to(better.id)));
    // Not the rest of the round.
    assert_eq!(relay.send(B, &block(ROUND + 1, better.id, 3)), WIN);
}

#[test]
fn nobody_waits_for_longer_than_the_hold_or_for_nobody() {
    let parent = id(99, 0);
    let first = block(ROUND, parent, 1);
    let claims = |relay: &mut Relay, millis| {
        matches!(relay.egress.before_claim(B, &first, at(ROUND, millis)), Step::Claim(_))
    };
    let mut relay = Relay::new(&[parent]);
    assert!(claims(&mut relay, 0), "both are of one rank");
    relay.egress.ranked(B, 1);
    assert!(!claims(&mut relay, 0) && !claims(&mut relay, 29) && claims(&mut relay, 30));
    // A clock that is set back.
    let mut relay = Relay::new(&[parent]);
    relay.egress.ranked(B, 1);
    assert!(!claims(&mut relay, 0) && claims(&mut relay, -1));
    // The better leg is gone, or is no longer better.
    let mut relay = Relay::new(&[parent]);
    relay.egress.ranked(B, 1);
    relay.egress.closed(A);
    assert!(claims(&mut relay, 0));
    let mut relay = Relay::new(&[parent]);
    relay.egress.ranked(B, 1);
    relay.egress.ranked(A, 2);
    assert!(claims(&mut relay, 0));
    // Another block waits anew; what needs no claim never does.
    let mut relay = Relay::new(&[parent]);
    relay.egress.ranked(B, 1);
    assert!(!claims(&mut relay, 0));
    let other = relay.egress.before_claim(B, &block(ROUND, parent, 2), at(ROUND, 40));
    assert_eq!(other, Step::Hold(Duration::from_millis(30)));
    relay.egress.make_public(first.id);
    assert_eq!(relay.send(B, &first), PUBLIC);
}

//! What the decision learns from what passes.

use super::*;

#[test]
fn what_the_outer_side_tells_is_public() {
    let told = |message: &Message<'_>, leg: Leg| {
        let mut relay = Relay::new(&[]);
        relay.outer(leg, message);
        relay.send(B, &block(1, id(99, 7), 1))
    };
    let (head, other) = (id(99, 7), id(50, 3));
    assert_eq!(told(&handshake(other, head), A), WIN);
    assert_eq!(told(&handshake(head, other), A), WIN);
    assert_eq!(told(&notice(None, Mode::CATCH_UP, &[head]), A), WIN);
    assert_eq!(told(&notice(Some(40), Mode::LAST_IRR_CATCH_UP, &[head, other]), A), WIN);
    assert_eq!(told(&Message::BlockNotice(BlockNotice { previous: id(98, 0), id: head }), A), WIN);
    // The second id of a notice is a number with zeros, a parent may be somebody's word against ours, and "none" is nothing.
    assert_eq!(told(&notice(None, Mode::CATCH_UP, &[other, head]), A), TAINTED);
    assert_eq!(told(&Message::BlockNotice(BlockNotice { previous: head, id: id(100, 0) }), A), TAINTED);
    assert_eq!(told(&notice(None, Mode::NONE, &[head]), A), TAINTED);
    assert_eq!(told(&Message::GoAway(GoAway { reason: Reason(0), node_id: head }), A), TAINTED);
    // Nor is a node of another chain of any use.
    let mut strange = handshake(other, head);
    if let Message::Handshake(handshake) = &mut strange {
        handshake.chain_id = Id::ZERO;
    }
    assert_eq!(told(&strange, A), TAINTED);
}

#[test]
fn an_inner_nodes_word_makes_nothing_public() {
    let mut relay = Relay::new(&[]);
    relay.inner(A, &handshake(id(50, 0), id(99, 7)));
    relay.inner(A, &notice(None, Mode::CATCH_UP, &[id(99, 7)]));
    assert_eq!(relay.send(A, &block(1, id(99, 7), 1)), TAINTED);
}

/// A peer that syncs asks for what is above its own last irreversible block, by any number of blocks.
#[test]
fn history_is_what_either_side_of_the_leg_holds_irreversible() {
    let old = |number: u32| block(1, id(number - 1, 4), 4);
    let late = at(900_000, 0);
    let mut relay = Relay::new(&[]);
    relay.outer(A, &handshake(id(10, 0), id(10, 0)));
    assert_eq!(relay.send_at(A, &old(10), late), HISTORY);
    assert_eq!(relay.send_at(A, &old(11), late), Verdict::Suppress(Suppress::Old));
    relay.inner(A, &handshake(id(500, 0), id(600, 0)));
    assert_eq!(relay.send_at(A, &old(500), late), HISTORY);
    assert_eq!(relay.send_at(A, &old(501), late), Verdict::Suppress(Suppress::Old));
    relay.inner(A, &notice(Some(550), Mode::LAST_IRR_CATCH_UP, &[]));
    assert_eq!(relay.send_at(A, &old(550), late), HISTORY);
    relay.outer(A, &notice(Some(560), Mode::LAST_IRR_CATCH_UP, &[]));
    assert_eq!(relay.send_at(A, &old(560), late), HISTORY);
    // It never falls, and it is this leg's only.
    relay.outer(A, &handshake(id(5, 0), id(5, 0)));
    assert_eq!(relay.send_at(A, &old(560), late), HISTORY);
    assert_eq!(relay.send_at(B, &old(10), late), Verdict::Suppress(Suppress::Old));
    // As often as it comes.
    assert_eq!(relay.send_at(A, &old(560), late), HISTORY);
    relay.egress.closed(A);
    relay.egress.opened(A);
    assert_eq!(relay.send_at(A, &old(10), late), Verdict::Suppress(Suppress::Old));
}

/// Another relay without these claims, or a node beside both.
#[test]
fn a_block_of_ours_from_outside_has_its_slot() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let (outside, own) = (block(3, parent, 1), block(3, parent, 2));
    let see = |relay: &mut Relay, block: &Block, slot| relay.egress.seen(block, at(slot, 0));
    assert_eq!(see(&mut relay, &outside, 3), None);
    assert_eq!(see(&mut relay, &outside, 3), None);
    assert_eq!(relay.send(A, &own), lost_to(outside.id));
    assert_eq!(relay.send(A, &block(4, parent, 3)), UNCLAIMED);
    assert_eq!(relay.send(A, &outside), PUBLIC);
    assert_eq!(relay.send(A, &block(4, outside.id, 4)), WIN);
    // If there are two of them that is told.
    let double = Double { producer: OURS, slot: own.slot, ids: [outside.id, own.id] };
    assert_eq!(see(&mut relay, &own, 3), Some(double));

    // Before its answer is there, after the question.
    let fifth = block(5, id(101, 4), 5);
    let Step::Claim(bid) = relay.egress.before_claim(A, &fifth, at(5, 0)) else { panic!() };
    let answer = relay.claims.bid(&bid);
    assert_eq!(answer, Answer::Granted);
    let rival = block(5, id(101, 4), 6);
    see(&mut relay, &rival, 5);
    assert_eq!(relay.answer(A, &fifth, &bid, Ok(answer)), lost_to(rival.id));
}

#[test]
fn a_peer_that_is_ahead_of_time_stops_nothing() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let far = block(100_000, id(4_000_000_000, 0), 1);
    assert_eq!(relay.egress.seen(&far, at(0, 0)), None);
    assert_eq!(relay.send(A, &block(1, parent, 1)), WIN);
}

/// A block that came from outside has its slot for a relay whose clock is behind as well, before what is irreversible is told.
#[test]
fn a_clock_that_is_behind_hides_no_winner() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let (outside, own) = (block(20, parent, 1), block(20, parent, 2));
    assert_eq!(relay.egress.seen(&outside, at(10, 0)), None);
    relay.outer(A, &handshake(id(500, 0), id(500, 0)));
    assert_eq!(relay.send_at(A, &own, at(10, 0)), Verdict::Suppress(Suppress::Future));
    assert_eq!(relay.send(A, &own), lost_to(outside.id));
}

/// Claims in memory are gone with the process; what it let out is in the head that outer peers tell.
#[test]
fn after_a_start_nothing_at_or_below_the_head_is_claimed() {
    let (parent, published) = (id(99, 0), id(100, 1));
    let mut relay = Relay::new(&[]);
    assert_eq!(relay.send(A, &block(1, parent, 2)), TAINTED);
    relay.outer(A, &handshake(id(60, 0), published));
    // Seen with another peer that is behind.
    relay.outer(B, &handshake(id(60, 0), parent));
    assert_eq!(relay.send(A, &block(1, parent, 2)), UNCLAIMED);
    let next = block(2, published, 1);
    assert_eq!(relay.send(A, &next), WIN);
    // From then on what was published is known, and a higher head is only a fork of others.
    relay.egress.opened(Leg(3));
    relay.outer(Leg(3), &handshake(id(60, 0), id(102, 5)));
    assert_eq!(relay.send(A, &block(3, next.id, 1)), WIN);
}

#[test]
fn what_cannot_be_read_teaches_nothing() {
    let mut relay = Relay::new(&[]);
    let whole = handshake(id(50, 0), id(99, 0)).frame().unwrap();
    let short = cut(&whole);
    assert!(relay.egress.hear_outer(A, &short, at(0, 0)).is_err());
    assert!(relay.egress.hear_inner(A, &short).is_err());
    assert!(!relay.egress.is_public(&id(99, 0)));
}

#[test]
fn a_block_is_read_from_its_header() {
    let text = include_str!("../../../tests/vectors/round_diverged.json");
    let round: serde_json::Value = serde_json::from_str(text).unwrap();
    let entry = &round["blocks"][0];
    let mut splitter = mainstay_antelope::Splitter::default();
    splitter.push(&const_hex::decode(entry["hex"].as_str().unwrap()).unwrap());
    let frame = splitter.split().unwrap().unwrap();
    let block = Block::from(&frame.block_header().unwrap().unwrap());
    assert_eq!(block.id.to_string(), entry["block_id"]);
    assert_eq!(block.previous.to_string(), entry["previous"]);
    assert_eq!((block.number(), block.slot.0), (1496, 1_697_094_792));
    assert_eq!(block.producer.to_string(), "prodx");

    // What comes of it from outside.
    let mut egress = Egress::new(CHAIN, Rules::of([block.producer]));
    let now = begins(block.slot);
    assert_eq!(egress.hear_outer(A, &frame, now), Ok(None));
    assert!(egress.is_public(&block.id));
    assert_eq!(egress.ours[&block.producer].latest, Some(Published { number: 1496, slot: block.slot }));
}

#[test]
fn legs_that_are_not_there_leave_nothing_behind() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let own = block(1, parent, 1);
    for leg in 100..200 {
        relay.outer(Leg(leg), &handshake(id(50, 0), parent));
        relay.inner(Leg(leg), &handshake(id(50, 0), parent));
        relay.outer(Leg(leg), &request());
        relay.outer(Leg(leg), &notice(Some(5), Mode::CATCH_UP, &[]));
        assert!(relay.send(Leg(leg), &own).passes());
    }
    assert_eq!(relay.egress.legs.len(), 2);
}

/// The frame without its last byte.
fn cut(frame: &Frame) -> Frame {
    let mut bytes = frame.bytes()[..frame.bytes().len() - 1].to_vec();
    let length = u32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    let mut splitter = mainstay_antelope::Splitter::default();
    splitter.push(&bytes);
    splitter.split().unwrap().unwrap()
}

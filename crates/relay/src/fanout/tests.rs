#![allow(clippy::disallowed_methods)] // some point in time

use std::time::Duration;

use mainstay_antelope::{GoAway, IdList, List, Mode, Notice, Reason, Request, Slot, SyncRequest};
use proptest::prelude::*;

use super::*;
use crate::frames::*;
use crate::once::TTL;

const FIRST: u32 = 1_700_000_000;
const A: Leg = Leg(1);
const B: Leg = Leg(2);
const C: Leg = Leg(3);

/// Block `number` of a chain, and the frame; `content` makes it another one.
fn at(number: u32, previous: Id, content: u8) -> (Id, Frame) {
    let (block, frame) = block(Slot(FIRST + number), previous, content);
    assert_eq!(block.number(), number);
    (block.id, frame)
}

fn genesis() -> Id {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&1000_u32.to_be_bytes());
    Id(id)
}

/// The blocks that follow.
fn chain(blocks: u32) -> Vec<(Id, Frame)> {
    let mut head = genesis();
    (1001..1001 + blocks)
        .map(|number| {
            let made = at(number, head, 0);
            head = made.0;
            made
        })
        .collect()
}

/// Legs of which both sides have said that they have the first block.
struct Bed {
    fanout: Fanout,
    now: Instant,
}

impl Bed {
    fn of(legs: &[Leg]) -> Self {
        let mut bed = Self { fanout: Fanout::default(), now: Instant::now() };
        for leg in legs {
            bed.fanout.opened(*leg);
            bed.greets(*leg, Version::NEWEST, genesis());
        }
        bed
    }

    fn greets(&mut self, leg: Leg, version: Version, head: Id) {
        self.fanout.sent(leg, &handshake(version, head), self.now);
        let heard = self.fanout.heard(leg, &handshake(Version::NEWEST, head), self.now);
        assert_eq!(heard, Heard::default());
    }

    fn sent(&mut self, leg: Leg, frame: &Frame) {
        self.fanout.sent(leg, frame, self.now);
    }

    /// Whom a frame from outside is told.
    fn heard(&mut self, leg: Leg, frame: &Frame) -> Vec<Leg> {
        let heard = self.fanout.heard(leg, frame, self.now);
        assert_eq!((heard.is_copy, heard.full), (false, vec![]));
        heard.told
    }

    fn is_copy(&mut self, leg: Leg, frame: &Frame) -> bool {
        self.fanout.heard(leg, frame, self.now).is_copy
    }
}

#[test]
fn each_leg_gets_a_block_once_whoever_is_first() {
    let mut bed = Bed::of(&[A, B, C]);
    let blocks = chain(2);
    assert_eq!(bed.heard(A, &blocks[0].1), [B, C]);
    // Its own peer's comes later, and others'.
    assert!(bed.is_copy(B, &blocks[0].1));
    assert_eq!(bed.heard(B, &blocks[1].1), [A, C]);
    assert!(bed.is_copy(A, &blocks[1].1) && bed.is_copy(C, &blocks[1].1) && bed.is_copy(C, &blocks[0].1));
    let waiting: Vec<Frame> = bed.fanout.take(C).into();
    assert_eq!(waiting, [blocks[0].1.clone(), blocks[1].1.clone()]);
    assert_eq!(Vec::from(bed.fanout.take(A)), [blocks[1].1.clone()]);
    assert!(bed.fanout.take(A).is_empty());
    // A second time by the leg's own peer it isn't another leg's copy.
    assert!(!bed.is_copy(A, &blocks[0].1));
}

#[test]
fn not_what_the_node_has_made_or_passed_on_itself() {
    let mut bed = Bed::of(&[A, B]);
    let (block, vote, trx) = (chain(1).remove(0), vote(genesis(), 1), transaction(b"one"));
    for frame in [&block.1, &vote, &trx] {
        bed.sent(B, frame);
        assert_eq!(bed.heard(A, frame), []);
    }
}

#[test]
fn a_block_goes_only_where_its_parent_was_seen() {
    let mut bed = Bed::of(&[A, B]);
    let blocks = chain(3);
    // One whose node is on another fork.
    bed.fanout.opened(C);
    bed.greets(C, Version::NEWEST, at(1001, genesis(), 5).0);
    assert_eq!(bed.heard(A, &blocks[0].1), [B]);
    // From inside will do.
    bed.sent(C, &blocks[1].1);
    assert_eq!(bed.heard(A, &blocks[1].1), [B]);
    assert_eq!(bed.heard(A, &blocks[2].1), [B, C]);
    // And what another leg told.
    let next = at(1004, blocks[2].0, 0);
    assert_eq!(bed.heard(B, &next.1), [A, C]);
}

#[test]
fn forks_of_a_round_are_live_and_older_ones_are_not() {
    let mut bed = Bed::of(&[A, B]);
    let blocks = chain(LIVE + 3);
    for (_, frame) in &blocks {
        assert_eq!(bed.heard(A, frame), [B]);
    }
    let newest = 1000 + LIVE + 3;
    let parent = |number: u32| blocks[(number - 1002) as usize].0;
    let (live, old) = (newest - LIVE, newest - LIVE - 1);
    assert_eq!(bed.heard(A, &at(live, parent(live), 1).1), [B]);
    assert_eq!(bed.heard(A, &at(old, parent(old), 1).1), []);
}

/// What its own peer sends it is for it alone, and it gets nothing that it hasn't asked for.
#[test]
fn a_node_that_syncs_is_left_alone_and_leaves_the_others_alone() {
    let blocks = chain(40);
    let mut bed = Bed::of(&[A, B]);
    for (_, frame) in &blocks[..30] {
        bed.heard(A, frame);
    }
    let _ = (bed.fanout.take(A), bed.fanout.take(B));
    bed.fanout.opened(C);
    bed.greets(C, Version::NEWEST, genesis());
    for (_, frame) in &blocks[..30] {
        assert_eq!(bed.heard(C, frame), []);
    }
    bed.fanout.closed(C);
    bed.fanout.opened(C);
    bed.greets(C, Version::NEWEST, genesis());
    for (_, frame) in &blocks[..10] {
        bed.heard(C, frame);
    }
    assert_eq!(bed.heard(A, &blocks[30].1), [B]);
    assert_eq!(bed.heard(A, &transaction(b"one")), [B]);
    assert_eq!(bed.heard(A, &vote(blocks[5].0, 1)), [B]);
    for (_, frame) in &blocks[10..31] {
        bed.heard(C, frame);
    }
    assert_eq!(bed.heard(A, &blocks[31].1), [B, C]);
    assert_eq!(bed.heard(A, &transaction(b"two")), [B, C]);
}

#[test]
fn a_node_is_in_step_that_is_a_round_behind_at_most() {
    let blocks = chain(LIVE + 2);
    for (at, told) in [(0, vec![]), (1, vec![B])] {
        let mut bed = Bed::of(&[A]);
        bed.fanout.opened(B);
        bed.greets(B, Version::NEWEST, blocks[at].0);
        // It gets none of these: their parents are others.
        let newest = at_newest(&blocks);
        assert_eq!(bed.heard(A, newest), []);
        assert_eq!(bed.heard(A, &transaction(b"one")), told);
        assert_eq!(bed.heard(A, &vote(blocks[at].0, 1)), told);
    }
}

fn at_newest(blocks: &[(Id, Frame)]) -> &Frame {
    &blocks.last().unwrap().1
}

#[test]
fn a_vote_goes_only_where_its_block_was_seen() {
    let mut bed = Bed::of(&[A, B, C]);
    let block = chain(1).remove(0);
    bed.sent(B, &block.1);
    assert_eq!(bed.heard(A, &vote(block.0, 1)), [B]);
    assert!(bed.is_copy(B, &vote(block.0, 1)));
    assert_eq!(bed.heard(A, &vote(block.0, 2)), [B]);
    assert_eq!(bed.heard(A, &vote(genesis(), 1)), [B, C]);
}

#[test]
fn a_transaction_goes_once_for_some_seconds() {
    let mut bed = Bed::of(&[A, B]);
    let trx = transaction(b"one");
    assert_eq!(bed.heard(A, &trx), [B]);
    assert!(bed.is_copy(B, &trx));
    bed.now += TTL;
    assert_eq!(bed.heard(B, &trx), [A]);
    assert_eq!(Vec::from(bed.fanout.take(A)), [trx]);
}

#[test]
fn what_a_node_asks_for_passes_though_it_was_told() {
    let list = |mode| IdList { mode, pending: 0, ids: List::EMPTY };
    let request =
        frame(Message::Request(Request { req_trx: list(Mode::NONE), req_blocks: list(Mode::CATCH_UP) }));
    let range = |end| frame(Message::SyncRequest(SyncRequest { start: 1, end }));
    for (asks, again) in [(request, true), (range(9), true), (range(0), false)] {
        let mut bed = Bed::of(&[A, B]);
        let block = chain(1).remove(0);
        bed.heard(A, &block.1);
        bed.sent(B, &asks);
        assert_eq!(bed.is_copy(B, &block.1), !again, "{asks:?}");
    }
}

#[test]
fn versions_chains_and_greetings() {
    let block = chain(1).remove(0);
    let told = |bed: &mut Bed| {
        [&block.1, &vote(genesis(), 1), &transaction(b"one")].map(|frame| bed.heard(A, frame).len())
    };
    let with = |version| {
        let mut bed = Bed::of(&[A]);
        bed.fanout.opened(B);
        bed.greets(B, version, genesis());
        bed
    };
    assert_eq!(told(&mut with(Version::NEWEST)), [1, 1, 1]);
    assert_eq!(told(&mut with(Version::LEAP_INITIAL)), [1, 0, 1]);
    // They read them in another way.
    assert_eq!(told(&mut with(Version::PRUNED_TYPES)), [0, 0, 0]);
    let mut bed = Bed::of(&[B]);
    bed.fanout.opened(A);
    bed.fanout.sent(A, &handshake(Version::NEWEST, genesis()), bed.now);
    bed.fanout.heard(A, &handshake(Version::PRUNED_TYPES, genesis()), bed.now);
    assert_eq!(told(&mut bed), [0, 0, 0]);

    // Who hasn't said who he is, on either side.
    let greeting = handshake(Version::NEWEST, genesis());
    let mut bed = Bed::of(&[A]);
    bed.fanout.opened(B);
    bed.fanout.opened(C);
    bed.fanout.sent(B, &greeting, bed.now);
    bed.fanout.heard(C, &greeting, bed.now);
    assert_eq!(told(&mut bed), [0, 0, 0]);

    // A peer of another chain.
    let Ok(Message::Handshake(mut hello)) = greeting.message() else { panic!() };
    hello.chain_id = Id([8; 32]);
    let mut bed = Bed::of(&[A, B]);
    bed.fanout.heard(A, &frame(Message::Handshake(hello)), bed.now);
    assert_eq!(told(&mut bed), [0, 0, 0]);
}

#[test]
fn what_belongs_to_a_connection_stays_there() {
    let mut bed = Bed::of(&[A, B]);
    let none = || IdList { mode: Mode::NONE, pending: 0, ids: List::EMPTY };
    let frames = [
        handshake(Version::NEWEST, genesis()),
        frame(Message::Notice(Notice { known_trx: none(), known_blocks: none() })),
        frame(Message::GoAway(GoAway { reason: Reason(1), node_id: Id::ZERO })),
    ];
    let unreadable = (0..20).map(empty).filter(|frame| frame.kind() != Kind::PackedTransaction);
    for frame in frames.into_iter().chain(unreadable) {
        assert_eq!(bed.heard(A, &frame), [], "{}", frame.kind());
    }
    assert!(bed.fanout.take(B).is_empty());
}

#[test]
fn what_does_not_fit_is_not_told_and_comes_by_its_own_peer() {
    let mut bed = Bed::of(&[A, B]);
    for number in 0..WAITING / LEAST {
        assert_eq!(bed.heard(A, &transaction(&number.to_le_bytes())), [B]);
    }
    let blocks = chain(2);
    let full = Heard { full: vec![B], ..Heard::default() };
    assert_eq!(bed.fanout.heard(A, &blocks[0].1, bed.now), full);
    assert_eq!(bed.fanout.heard(A, &transaction(b"more"), bed.now), full);
    // What builds on it doesn't either, though there is room again.
    assert_eq!(bed.fanout.take(B).len(), WAITING / LEAST);
    assert_eq!(bed.heard(A, &blocks[1].1), []);
    assert!(!bed.is_copy(B, &blocks[0].1) && !bed.is_copy(B, &transaction(b"more")));
    // One that is longer than all there is goes alone.
    let long = |content| transaction(&vec![content; WAITING - 8]);
    assert!(long(0).bytes().len() > WAITING);
    assert_eq!(bed.heard(A, &transaction(b"short")), [B]);
    assert_eq!(bed.fanout.heard(A, &long(0), bed.now), full);
    let _ = bed.fanout.take(B);
    assert_eq!(bed.heard(A, &long(1)), [B]);
    let _ = bed.fanout.take(B);
    // Then there is room for as much as ever.
    for number in 0..WAITING / LEAST {
        assert_eq!(bed.heard(A, &transaction(&(number + WAITING).to_le_bytes())), [B]);
    }
}

#[test]
fn a_leg_that_is_gone_gets_nothing_and_a_new_one_starts_anew() {
    let mut bed = Bed::of(&[A, B]);
    let blocks = chain(2);
    bed.heard(A, &blocks[0].1);
    bed.fanout.closed(B);
    assert_eq!(bed.heard(A, &blocks[1].1), []);
    assert!(bed.fanout.take(B).is_empty());
    assert_eq!(bed.fanout.heard(B, &blocks[1].1, bed.now), Heard::default());
    bed.fanout.opened(B);
    bed.greets(B, Version::NEWEST, blocks[0].0);
    bed.now += Duration::from_secs(1);
    assert_eq!(bed.heard(A, &at(1003, blocks[1].0, 0).1), []);
    assert!(!bed.is_copy(B, &blocks[1].1));
}

/// What happens: an outer peer or a node sends a block (by its place in a small tree), a node asks, a leg's writer takes what waits.
#[derive(Clone, Debug)]
enum Event {
    Heard(usize, usize),
    Sent(usize, usize),
    Asks(usize),
    Takes(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let leg = 0..3_usize;
    let event = prop_oneof![
        8 => (leg.clone(), 0..24_usize).prop_map(|(leg, block)| Event::Heard(leg, block)),
        1 => (leg.clone(), 0..24_usize).prop_map(|(leg, block)| Event::Sent(leg, block)),
        1 => leg.clone().prop_map(Event::Asks),
        3 => leg.prop_map(Event::Takes),
    ];
    prop::collection::vec(event, 0..200)
}

proptest! {
    /// As the shell writes it: what waits goes before the next frame of the leg's own peer.
    #[test]
    fn a_node_gets_no_block_before_its_parent_by_others_and_none_twice_unless_it_asks(events in events()) {
        let legs = [A, B, C];
        // A tree: each number has two blocks, on either of the two before it.
        let mut tree = vec![at(1001, genesis(), 0), at(1001, genesis(), 1)];
        for number in 1002..1013_u32 {
            let place = tree.len();
            let parents = [tree[place - 2].0, tree[place - 1].0];
            tree.push(at(number, parents[0], 2));
            tree.push(at(number, parents[(number % 2) as usize], 3));
        }
        let parent = |id: &Id| tree.iter().find(|(other, _)| other == id).unwrap().1.block_header().unwrap().unwrap().previous;
        let mut bed = Bed::of(&legs);
        // What each node has, and what it got since it asked.
        let mut has = vec![vec![genesis()]; 3];
        let mut got: Vec<Vec<Id>> = vec![vec![]; 3];
        let write = |bed: &mut Bed, has: &mut Vec<Vec<Id>>, got: &mut Vec<Vec<Id>>, leg: usize| {
            for frame in bed.fanout.take(legs[leg]) {
                let id = frame.block_header().unwrap().unwrap().id();
                assert!(has[leg].contains(&parent(&id)), "its parent hasn't passed");
                assert!(!has[leg].contains(&id), "it has it already");
                has[leg].push(id);
                got[leg].push(id);
            }
        };
        for event in events {
            match event {
                Event::Heard(leg, block) => {
                    let (id, frame) = &tree[block];
                    write(&mut bed, &mut has, &mut got, leg);
                    let heard = bed.fanout.heard(legs[leg], frame, bed.now);
                    prop_assert_eq!(heard.is_copy, got[leg].contains(id));
                    prop_assert!(!heard.told.contains(&legs[leg]));
                    if !heard.is_copy {
                        has[leg].push(*id);
                    }
                }
                Event::Sent(leg, block) => {
                    // It has got what waits first, or hasn't; that it makes a block that waits for it is no case.
                    write(&mut bed, &mut has, &mut got, leg);
                    bed.sent(legs[leg], &tree[block].1);
                    has[leg].push(tree[block].0);
                }
                Event::Asks(leg) => {
                    write(&mut bed, &mut has, &mut got, leg);
                    bed.sent(legs[leg], &frame(Message::SyncRequest(SyncRequest { start: 1, end: 2 })));
                    got[leg].clear();
                }
                Event::Takes(leg) => write(&mut bed, &mut has, &mut got, leg),
            }
        }
    }
}

#![allow(clippy::disallowed_methods)] // some point in time

use std::time::Duration;

use mainstay_antelope::{
    Blob, BlockNack, BlockNotice, ChainSize, GoAway, Gossip, Id, IdList, List, Mode, Nanos, Notice, Reason,
    Request, Slot, SyncRequest, Time, TransactionNotice,
};

use super::*;
use crate::egress::{Rules, begins};
use crate::frames::*;
use crate::greeting::CHAIN;
use crate::{Pass, Suppress, Verdict};

const SLOT: Slot = Slot(1_700_000_000);
const PARENT: Id = Id([1; 32]);

/// A relay with two legs.
struct Legs {
    shared: Shared,
    a: Filter,
    b: Filter,
    now: Now,
}

impl Legs {
    fn new() -> Self {
        let mut shared = Shared { egress: Egress::new(CHAIN, Rules::of([OURS])), votes: Votes::default() };
        let (a, b) = (shared.opened(Leg(1)), shared.opened(Leg(2)));
        Self { shared, a, b, now: Now { clock: begins(SLOT), instant: Instant::now() } }
    }

    fn out_a(&mut self, frame: &Frame) -> Outward {
        self.a.outward(frame, &mut self.shared, self.now)
    }

    fn out_b(&mut self, frame: &Frame) -> Outward {
        self.b.outward(frame, &mut self.shared, self.now)
    }

    fn in_a(&mut self, frame: &Frame) -> Inward {
        self.a.inward(frame, &mut self.shared, self.now)
    }

    fn in_b(&mut self, frame: &Frame) -> Inward {
        self.b.inward(frame, &mut self.shared, self.now)
    }
}

/// All there is to be said but handshakes, blocks, transactions, votes and farewells.
fn plain() -> Vec<Frame> {
    let none = || IdList { mode: Mode::NONE, pending: 0, ids: List::EMPTY };
    vec![
        frame(Message::ChainSize(ChainSize { lib_num: 1, lib_id: PARENT, head_num: 2, head_id: PARENT })),
        frame(Message::Time(Time { org: Nanos(0), rec: Nanos(0), xmt: Nanos(1), dst: Nanos(0) })),
        frame(Message::Notice(Notice { known_trx: none(), known_blocks: none() })),
        frame(Message::Request(Request { req_trx: none(), req_blocks: none() })),
        frame(Message::SyncRequest(SyncRequest { start: 0, end: 0 })),
        frame(Message::BlockNack(BlockNack { id: PARENT })),
        frame(Message::BlockNotice(BlockNotice { previous: PARENT, id: PARENT })),
        frame(Message::GossipBpPeers(Gossip { peers: List::EMPTY })),
        frame(Message::TransactionNotice(TransactionNotice { id: PARENT })),
        frame(Message::Unknown { number: 40, data: Blob(b"what comes next") }),
    ]
}

#[test]
fn nearly_everything_passes_both_ways_as_often_as_it_comes() {
    let mut legs = Legs::new();
    for frame in plain().iter().chain(&plain()) {
        assert_eq!((legs.out_a(frame), legs.in_a(frame)), (Outward::Pass, Inward::Pass), "{}", frame.kind());
    }
    // Readable or not.
    for kind in [0, 1, 3, 4, 5, 6, 10, 11, 12, 13, 50] {
        assert_eq!(
            (legs.out_a(&empty(kind)), legs.in_a(&empty(kind))),
            (Outward::Pass, Inward::Pass),
            "{kind}"
        );
    }
}

/// A node that may not say where it is never finds back.
#[test]
fn handshakes_always_pass() {
    let mut legs = Legs::new();
    let private = handshake(Version::LEAP_INITIAL, Id([0xee; 32]));
    for _ in 0..30 {
        assert_eq!(legs.out_a(&private), Outward::Pass);
        assert_eq!(legs.in_a(&private), Inward::Pass);
    }
}

#[test]
fn a_farewell_from_outside_never_comes_in() {
    let mut legs = Legs::new();
    for reason in 0..14 {
        let farewell = frame(Message::GoAway(GoAway { reason: Reason(reason), node_id: Id::ZERO }));
        assert_eq!(legs.in_a(&farewell), Inward::Close, "{reason}");
        assert_eq!(legs.out_a(&farewell), Outward::PassAndClose, "{reason}");
    }
    assert_eq!(legs.in_a(&empty(2)), Inward::Close);
}

#[test]
fn blocks_are_decided_about_on_their_way_out_only() {
    let mut legs = Legs::new();
    let (own, bytes) = block(SLOT, PARENT, 1);
    assert_eq!(legs.in_a(&handshake(Version::LEAP_INITIAL, PARENT)), Inward::Pass);
    let Outward::Block(read, Step::Claim(bid)) = legs.out_a(&bytes) else { panic!() };
    assert_eq!((read, bid.id, bid.parent_public), (own, own.id, true));
    // In from outside it is known from then on.
    assert_eq!(legs.in_a(&bytes), Inward::Pass);
    let public = Step::Settled(Verdict::Pass(Pass::Public));
    assert_eq!(legs.out_b(&bytes), Outward::Block(own, public));
    let (other, rival) = block(SLOT, PARENT, 2);
    let lost = Step::Settled(Verdict::Suppress(Suppress::Lost { winner: Some(own.id) }));
    assert_eq!(legs.out_b(&rival), Outward::Block(other, lost));
    let double = Double { producer: OURS, slot: SLOT, ids: [own.id, other.id] };
    assert_eq!(legs.in_b(&rival), Inward::Double(double));
    // Nobody knows whose it is.
    assert_eq!(legs.out_a(&empty(7)), Outward::Drop(Dropped::Unreadable));
    assert_eq!(legs.in_a(&empty(7)), Inward::Pass);
}

#[test]
fn what_nodes_say_of_their_chain_is_heard() {
    let mut legs = Legs::new();
    let (own, bytes) = block(SLOT, PARENT, 1);
    // From inside nothing gets public by it.
    legs.out_a(&handshake(Version::LEAP_INITIAL, PARENT));
    assert!(!legs.shared.egress.is_public(&PARENT));
    legs.in_b(&handshake(Version::LEAP_INITIAL, PARENT));
    assert!(legs.shared.egress.is_public(&PARENT));
    // An outer peer that asks gets again what it got.
    legs.shared.egress.make_public(own.id);
    let (pass, copy) = (Verdict::Pass(Pass::Public), Verdict::Suppress(Suppress::Copy));
    for verdict in [pass, copy] {
        assert_eq!(legs.out_a(&bytes), Outward::Block(own, Step::Settled(verdict)));
    }
    legs.in_a(&frame(Message::SyncRequest(SyncRequest { start: 1, end: 2 })));
    assert_eq!(legs.out_a(&bytes), Outward::Block(own, Step::Settled(pass)));
    // What a node holds irreversible is its word in a notice too.
    let (old, bytes) = block(Slot(SLOT.0 - 1_000_000), Id([0; 32]), 1);
    let none = IdList { mode: Mode::NONE, pending: 0, ids: List::EMPTY };
    let known_trx = IdList { mode: Mode::LAST_IRR_CATCH_UP, pending: 1, ids: List::EMPTY };
    legs.out_b(&frame(Message::Notice(Notice { known_trx, known_blocks: none })));
    let history = Step::Settled(Verdict::Pass(Pass::History));
    assert_eq!(legs.out_b(&bytes), Outward::Block(old, history));
}

#[test]
fn transactions_once_a_leg_and_direction_for_some_seconds() {
    let mut legs = Legs::new();
    let (one, two) = (transaction(b"one"), transaction(b"two"));
    let repeated = (Outward::Drop(Dropped::Repeated), Inward::Drop(Dropped::Repeated));
    assert_eq!(
        (legs.out_a(&one), legs.out_a(&one), legs.out_a(&two)),
        (Outward::Pass, repeated.0, Outward::Pass)
    );
    assert_eq!((legs.in_a(&one), legs.in_a(&one), legs.in_a(&two)), (Inward::Pass, repeated.1, Inward::Pass));
    assert_eq!((legs.out_b(&one), legs.in_b(&one)), (Outward::Pass, Inward::Pass));
    legs.now.instant += Duration::from_secs(60);
    assert_eq!((legs.out_a(&one), legs.in_a(&one)), (Outward::Pass, Inward::Pass));
    // It is not looked into.
    assert_eq!((legs.out_a(&empty(8)), legs.in_a(&empty(8))), (Outward::Pass, Inward::Pass));
}

#[test]
fn votes_go_out_for_public_blocks_and_one_leg_a_key() {
    let mut legs = Legs::new();
    let private = Id([0xee; 32]);
    legs.shared.egress.make_public(PARENT);
    assert_eq!(legs.out_a(&vote(private, 1)), Outward::Drop(Dropped::Private));
    // Which pins nothing.
    assert_eq!(legs.out_b(&vote(PARENT, 1)), Outward::Pass);
    assert_eq!(legs.out_a(&vote(PARENT, 1)), Outward::Drop(Dropped::Pinned(Leg(2))));
    assert_eq!(legs.out_a(&vote(PARENT, 2)), Outward::Pass);
    assert_eq!(legs.in_a(&vote(private, 3)), Inward::Pass);
    assert_eq!((legs.out_a(&vote(PARENT, 3)), legs.out_b(&vote(PARENT, 3))), (Outward::Pass, Outward::Pass));
    assert_eq!(legs.out_a(&empty(9)), Outward::Drop(Dropped::Unreadable));
    assert_eq!(legs.in_a(&empty(9)), Inward::Pass);
    legs.shared.closed(Leg(2));
    assert_eq!(legs.out_a(&vote(PARENT, 1)), Outward::Pass);
}

#[test]
fn nobody_gets_a_type_that_it_does_not_know() {
    let mut legs = Legs::new();
    legs.shared.egress.make_public(PARENT);
    let (dropped_out, dropped_in) = (Outward::Drop(Dropped::Version), Inward::Drop(Dropped::Version));
    let unknown = frame(Message::Unknown { number: 40, data: Blob(&[]) });
    // The outer side's version is for what goes out, the inner one's for what comes in.
    legs.in_a(&handshake(Version::LEAP_INITIAL, PARENT));
    assert_eq!(
        (legs.out_a(&vote(PARENT, 1)), legs.in_a(&vote(PARENT, 1))),
        (dropped_out.clone(), Inward::Pass)
    );
    assert_eq!((legs.out_a(&unknown), legs.in_a(&unknown)), (dropped_out.clone(), Inward::Pass));
    legs.out_a(&handshake(Version::SAVANNA, PARENT));
    assert_eq!((legs.in_a(&vote(PARENT, 1)), legs.in_a(&unknown)), (Inward::Pass, dropped_in));
    assert_eq!(legs.in_a(&frame(Message::BlockNack(BlockNack { id: PARENT }))), dropped_in);
    // The last one counts; one that can't be read changes nothing.
    legs.out_a(&empty(0));
    assert_eq!(legs.in_a(&unknown), dropped_in);
    legs.in_a(&handshake(Version(Version::NEWEST.0 + 1), PARENT));
    legs.in_a(&empty(0));
    assert_eq!((legs.out_a(&vote(PARENT, 7)), legs.out_a(&unknown)), (Outward::Pass, Outward::Pass));
    legs.in_a(&handshake(Version::BASE, PARENT));
    assert_eq!(legs.out_a(&vote(PARENT, 7)), dropped_out);
    for frame in &plain()[..5] {
        assert_eq!(legs.out_a(frame), Outward::Pass);
    }
    // A leg for itself.
    assert_eq!(legs.out_b(&unknown), Outward::Pass);
}

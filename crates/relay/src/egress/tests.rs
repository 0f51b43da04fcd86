use mainstay_antelope::{
    BlockNotice, Frame, GoAway, IdList, List, Message, Mode, Notice, Reason, Request, SyncRequest, Version,
};

use super::*;
use crate::claims::MemoryClaims;
use crate::greeting::{CHAIN, greeting};

mod heard;
mod ranks;

const OURS: Name = Name(1);
const THEIRS: Name = Name(2);
const A: Leg = Leg(1);
const B: Leg = Leg(2);
/// A slot to count from.
const FIRST: u32 = 1_700_000_000;

/// An id with a number, told from others of that number by `mark`.
fn id(number: u32, mark: u8) -> Id {
    let mut id = [mark; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Id(id)
}

/// A block of ours for a slot (counted from `FIRST`) on a parent.
fn block(slot: u32, previous: Id, mark: u8) -> Block {
    Block { producer: OURS, slot: Slot(FIRST + slot), id: id(previous.block_num() + 1, mark), previous }
}

/// When a slot begins, and some milliseconds.
fn at(slot: u32, millis: i64) -> SystemTime {
    let begins = begins(Slot(FIRST + slot));
    let span = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { begins - span } else { begins + span }
}

/// An egress with two legs that both know `public`, and claims in memory.
struct Relay {
    egress: Egress,
    claims: MemoryClaims,
}

impl Relay {
    fn new(public: &[Id]) -> Self {
        let mut egress = Egress::new(CHAIN, Rules::of([OURS]));
        egress.opened(A);
        egress.opened(B);
        for id in public {
            egress.make_public(*id);
        }
        Self { egress, claims: MemoryClaims::default() }
    }

    /// What becomes of a block that comes when its slot begins.
    fn send(&mut self, leg: Leg, block: &Block) -> Verdict {
        self.send_at(leg, block, begins(block.slot))
    }

    fn send_at(&mut self, leg: Leg, block: &Block, now: SystemTime) -> Verdict {
        match self.egress.before_claim(leg, block, now) {
            Step::Settled(verdict) => verdict,
            Step::Hold(wait) => panic!("held for {wait:?}"),
            Step::Claim(bid) => {
                let answer = self.claims.bid(&bid);
                self.answer(leg, block, &bid, Ok(answer))
            }
        }
    }

    /// The second half where it is the last.
    fn answer(&mut self, leg: Leg, block: &Block, bid: &Bid, answer: Result<Answer, Unavailable>) -> Verdict {
        match self.egress.after_claim(leg, block, bid, answer) {
            Step::Settled(verdict) => verdict,
            other => panic!("not settled: {other:?}"),
        }
    }

    /// The same while nobody answers.
    fn send_alone(&mut self, leg: Leg, block: &Block) -> Verdict {
        match self.egress.before_claim(leg, block, begins(block.slot)) {
            Step::Claim(bid) => self.answer(leg, block, &bid, Err(away())),
            Step::Settled(verdict) => verdict,
            Step::Hold(wait) => panic!("held for {wait:?}"),
        }
    }

    fn outer(&mut self, leg: Leg, message: &Message<'_>) {
        assert_eq!(self.egress.hear_outer(leg, &message.frame().unwrap(), at(0, 0)).unwrap(), None);
    }

    fn inner(&mut self, leg: Leg, message: &Message<'_>) {
        self.egress.hear_inner(leg, &message.frame().unwrap()).unwrap();
    }
}

fn away() -> Unavailable {
    Unavailable("no answer within 40 ms".to_owned())
}

fn handshake(lib: Id, head: Id) -> Message<'static> {
    greeting(Version::LEAP_INITIAL, lib, head)
}

fn list(mode: Mode, pending: u32, ids: &[Id]) -> IdList<'_> {
    IdList { mode, pending, ids: List::Items(ids) }
}

fn notice<'a>(lib: Option<u32>, mode: Mode, ids: &'a [Id]) -> Message<'a> {
    let known_trx = lib.map_or(list(Mode::NONE, 0, &[]), |lib| list(Mode::LAST_IRR_CATCH_UP, lib, &[]));
    Message::Notice(Notice { known_trx, known_blocks: list(mode, 0, ids) })
}

fn request() -> Message<'static> {
    Message::Request(Request { req_trx: list(Mode::NONE, 0, &[]), req_blocks: list(Mode::CATCH_UP, 0, &[]) })
}

const WIN: Verdict = Verdict::Pass(Pass::Win);
const SAME: Verdict = Verdict::Pass(Pass::Same);
const PUBLIC: Verdict = Verdict::Pass(Pass::Public);
const HISTORY: Verdict = Verdict::Pass(Pass::History);
const TAINTED: Verdict = Verdict::Suppress(Suppress::Tainted);
const COPY: Verdict = Verdict::Suppress(Suppress::Copy);
const CLOSED: Verdict = Verdict::Suppress(Suppress::Closed);
const UNCLAIMED: Verdict = Verdict::Suppress(Suppress::Lost { winner: None });

fn lost_to(winner: Id) -> Verdict {
    Verdict::Suppress(Suppress::Lost { winner: Some(winner) })
}

#[test]
fn the_table_row_by_row() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let (winner, loser) = (block(1, parent, 1), block(1, parent, 2));
    // 5, 6, 7, 4
    assert_eq!(relay.send(A, &winner), WIN);
    assert_eq!(relay.send(B, &winner), SAME);
    assert_eq!(relay.send(B, &loser), lost_to(winner.id));
    assert_eq!(relay.send(B, &block(2, loser.id, 2)), TAINTED);
    // 1
    relay.egress.make_public(id(50, 0));
    assert_eq!(relay.send(A, &Block { id: id(50, 0), ..block(900, id(49, 0), 0) }), PUBLIC);
    // 2
    relay.outer(A, &handshake(id(60, 0), parent));
    assert_eq!(relay.send_at(A, &block(0, id(59, 3), 3), at(900_000, 0)), HISTORY);
    // 3
    let next = block(3, winner.id, 1);
    assert_eq!(relay.send_at(A, &next, at(3, -1501)), Verdict::Suppress(Suppress::Future));
    assert_eq!(relay.send_at(A, &next, at(3, 60_001)), Verdict::Suppress(Suppress::Old));
    assert_eq!(relay.send_at(A, &next, at(3, 60_000)), WIN);
    // And others
    let other = Block { producer: THEIRS, ..block(5, id(7, 7), 7) };
    assert_eq!(relay.send_at(A, &other, at(0, 0)), Verdict::Pass(Pass::Other));
}

/// Where two rows would hold, the one above decides.
#[test]
fn an_earlier_row_goes_before_a_later_one() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let winner = block(1, parent, 1);
    relay.send(A, &winner);
    // 1 before 3: however old.
    assert_eq!(relay.send_at(B, &winner, at(900_000, 0)), SAME);
    // 2 before 3 and 4.
    relay.outer(A, &handshake(id(50, 0), id(50, 0)));
    assert_eq!(relay.send_at(A, &block(5, id(49, 7), 7), at(900_000, 0)), HISTORY);
    // 3 before 4 and 7.
    let future = Verdict::Suppress(Suppress::Future);
    assert_eq!(relay.send_at(B, &block(9, id(100, 8), 8), at(0, 0)), future);
    assert_eq!(relay.send_at(B, &block(1, parent, 2), at(0, -5000)), future);
    // 4 before 7: the slot is another's too.
    assert_eq!(relay.send(B, &block(1, id(99, 5), 5)), TAINTED);
}

#[test]
fn blocks_may_come_early_by_the_limit_to_the_millisecond() {
    let parent = id(99, 0);
    for (millis, verdict) in [(-1500, WIN), (-1501, Verdict::Suppress(Suppress::Future)), (0, WIN)] {
        let mut relay = Relay::new(&[parent]);
        assert_eq!(relay.send_at(A, &block(1, parent, 1), at(1, millis)), verdict, "{millis}");
    }
    // A clock at the beginning of time is no reason to panic.
    let mut relay = Relay::new(&[parent]);
    let first = Block { slot: Slot(u32::MAX), ..block(1, parent, 1) };
    assert_eq!(relay.send_at(A, &first, UNIX_EPOCH), Verdict::Suppress(Suppress::Future));
    let last = Block { slot: Slot(0), ..block(1, parent, 1) };
    assert_eq!(relay.send_at(A, &last, at(0, 0)), Verdict::Suppress(Suppress::Old));
}

#[test]
fn nothing_at_or_below_the_last_published_number_or_slot() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let fifth = block(5, parent, 1);
    assert_eq!(relay.send(A, &fifth), WIN);
    // Slot 6 on the parent of slot 5, and slot 4 on slot 5.
    assert_eq!(relay.send(B, &block(6, parent, 2)), UNCLAIMED);
    assert_eq!(relay.send(B, &block(4, fifth.id, 2)), UNCLAIMED);
    assert_eq!(relay.send(B, &block(6, fifth.id, 3)), WIN);
}

#[test]
fn a_fork_of_others_makes_no_second_block_for_a_slot() {
    let (parent, fork) = (id(99, 0), id(101, 0));
    let mut relay = Relay::new(&[parent, fork]);
    let first = block(1, parent, 1);
    assert_eq!(relay.send(A, &first), WIN);
    // A longer fork, so that the number is higher, and the slot the same.
    assert_eq!(relay.send(B, &block(1, fork, 2)), lost_to(first.id));
    assert_eq!(relay.send(B, &block(2, fork, 3)), WIN);
}

#[test]
fn once_per_outer_peer_until_it_asks() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let own = block(1, parent, 1);
    assert_eq!((relay.send(A, &own), relay.send(A, &own)), (WIN, COPY));
    assert_eq!((relay.send(B, &own), relay.send(B, &own)), (SAME, COPY));
    relay.outer(A, &request());
    assert_eq!((relay.send(A, &own), relay.send(A, &own), relay.send(B, &own)), (SAME, COPY, COPY));
    relay.outer(B, &Message::SyncRequest(SyncRequest { start: 100, end: 100 }));
    assert_eq!((relay.send(A, &own), relay.send(B, &own)), (COPY, SAME));
    // Taking a request back asks for nothing.
    relay.outer(B, &Message::SyncRequest(SyncRequest { start: 0, end: 0 }));
    assert_eq!(relay.send(B, &own), COPY);
    // A leg of a new connection knows nothing of what an earlier one got.
    relay.egress.closed(A);
    relay.egress.opened(Leg(3));
    assert_eq!(relay.send(Leg(3), &own), SAME);
    // Seen outside, it is public; that makes no difference to who has it.
    relay.egress.make_public(own.id);
    assert_eq!(relay.send(B, &own), COPY);
    relay.outer(B, &request());
    assert_eq!(relay.send(B, &own), PUBLIC);
}

/// A node that was frozen while the chain went on sends its private blocks when they are far below what is irreversible.
#[test]
fn what_has_lost_is_no_history() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let (winner, loser) = (block(1, parent, 1), block(1, parent, 2));
    let child = block(2, loser.id, 2);
    relay.send(A, &winner);
    relay.send(B, &loser);
    relay.send(B, &child);
    relay.outer(B, &handshake(id(150, 0), id(160, 0)));
    let now = at(3, 0);
    assert_eq!(relay.send_at(B, &loser, now), lost_to(winner.id));
    assert_eq!(relay.send_at(B, &child, now), TAINTED);
    // Those too that come for the first time.
    let unheard = block(1, parent, 3);
    assert_eq!(relay.send_at(B, &unheard, now), lost_to(winner.id));
    assert_eq!(relay.send_at(B, &block(3, child.id, 3), now), TAINTED);
    assert_eq!(relay.send_at(B, &winner, now), SAME);
}

/// A node that was frozen for a minute makes its next block on the head of then, and is quicker than the others.
#[test]
fn a_new_block_with_an_old_number_is_no_history() {
    let (old_head, head) = (id(99, 0), id(200, 0));
    let mut relay = Relay::new(&[old_head]);
    relay.outer(A, &handshake(id(150, 0), head));
    relay.outer(B, &handshake(id(150, 0), head));
    let (stale, own) = (block(1, old_head, 2), block(1, head, 1));
    assert_eq!(relay.send(B, &stale), UNCLAIMED);
    assert_eq!(relay.send(A, &own), WIN);
    assert_eq!(relay.send(B, &stale), lost_to(own.id));
    // Nor when it has become old.
    assert_eq!(relay.send_at(B, &stale, at(900_000, 0)), Verdict::Suppress(Suppress::Old));
}

/// By the number or slot last published, too.
#[test]
fn what_was_refused_for_good_stays_so() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    relay.send(A, &block(5, parent, 1));
    let late = block(6, parent, 2);
    assert_eq!(relay.send(B, &late), UNCLAIMED);
    relay.outer(B, &handshake(id(150, 0), id(200, 0)));
    assert_eq!(relay.send_at(B, &late, at(900_000, 0)), Verdict::Suppress(Suppress::Old));
    assert_eq!(relay.send_at(B, &block(7, late.id, 2), at(900_000, 0)), Verdict::Suppress(Suppress::Old));
}

#[test]
fn a_private_tail_stays_private_however_often_it_is_resent() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let winner = block(1, parent, 1);
    relay.send(A, &winner);
    let mut tail = vec![block(1, parent, 2)];
    for slot in 2..12 {
        tail.push(block(slot, tail[tail.len() - 1].id, 2));
    }
    for _ in 0..27 {
        let verdicts: Vec<Verdict> = tail.iter().map(|block| relay.send(B, block)).collect();
        assert_eq!(verdicts[0], lost_to(winner.id));
        assert!(verdicts[1..].iter().all(|verdict| *verdict == TAINTED));
        relay.outer(B, &request());
    }
    // The claims aren't asked of what is known to be lost.
    for block in &tail {
        assert!(matches!(relay.egress.before_claim(B, block, at(6, 0)), Step::Settled(_)));
    }
}

#[test]
fn without_an_answer_from_the_claims_nothing_goes_out() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let first = block(1, parent, 1);
    assert_eq!(relay.send_alone(A, &first), CLOSED);
    assert!(CLOSED.alarms());
    // It isn't lost: when they answer again it may go.
    assert_eq!(relay.send(A, &first), WIN);
    assert_eq!(relay.send_alone(A, &block(2, first.id, 1)), CLOSED);
    // What needs no claim goes all the same.
    assert_eq!(relay.send_alone(B, &first), SAME);
}

#[test]
fn a_claim_whose_answer_was_lost_is_found_again() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let (first, second) = (block(1, parent, 1), block(1, parent, 2));
    let Step::Claim(bid) = relay.egress.before_claim(A, &first, at(1, 0)) else { panic!() };
    assert_eq!(relay.claims.bid(&bid), Answer::Granted);
    assert_eq!(relay.answer(A, &first, &bid, Err(away())), CLOSED);
    // The other leg's copy and its child go on, another block doesn't.
    assert_eq!(relay.send(B, &second), lost_to(first.id));
    assert_eq!(relay.send(B, &block(2, first.id, 1)), WIN);
    assert_eq!(relay.send(A, &first), SAME);
}

#[test]
fn fail_open_keeps_to_what_this_process_knows() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    relay.egress.rules.fail_open = true;
    let (first, second) = (block(1, parent, 1), block(1, parent, 2));
    let open = Verdict::Pass(Pass::Open);
    assert_eq!(relay.send_alone(A, &first), open);
    assert!(open.alarms());
    assert_eq!(relay.send_alone(B, &first), SAME);
    assert_eq!(relay.send_alone(B, &second), lost_to(first.id));
    assert_eq!(relay.send_alone(B, &block(2, parent, 3)), UNCLAIMED);
    assert_eq!(relay.send_alone(B, &block(2, id(200, 1), 3)), TAINTED);
    assert_eq!(relay.send_alone(B, &block(2, first.id, 4)), open);
}

/// Two legs ask at the same time: their answers come in any order.
#[test]
fn answers_may_overtake_each_other() {
    let parent = id(99, 0);
    let ask = |relay: &mut Relay, leg, block: &Block| match relay.egress.before_claim(leg, block, at(1, 0)) {
        Step::Claim(bid) => bid,
        other => panic!("{other:?}"),
    };
    let (one, two) = (block(1, parent, 1), block(1, parent, 2));
    let child = block(2, one.id, 1);

    // The same block on both legs.
    let mut relay = Relay::new(&[parent]);
    let (first, second) = (ask(&mut relay, A, &one), ask(&mut relay, B, &one));
    let (granted, same) = (relay.claims.bid(&first), relay.claims.bid(&second));
    assert_eq!(relay.answer(B, &one, &second, Ok(same)), SAME);
    assert_eq!(relay.answer(A, &one, &first, Ok(granted)), SAME);

    // Siblings; the loser is told first.
    let mut relay = Relay::new(&[parent]);
    let (first, second) = (ask(&mut relay, A, &one), ask(&mut relay, B, &two));
    let (granted, lost) = (relay.claims.bid(&first), relay.claims.bid(&second));
    assert_eq!(relay.answer(B, &two, &second, Ok(lost)), lost_to(one.id));
    assert_eq!(relay.answer(A, &one, &first, Ok(granted)), SAME);

    // A child whose parent's answer is still on its way.
    let mut relay = Relay::new(&[parent]);
    let first = ask(&mut relay, A, &one);
    let granted = relay.claims.bid(&first);
    assert_eq!(relay.send(B, &child), WIN);
    assert_eq!(relay.answer(A, &one, &first, Ok(granted)), WIN);
}

/// A parent that comes in while the claims are asked about it.
#[test]
fn a_parent_may_become_public_on_the_way() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[]);
    let own = block(1, parent, 1);
    let Step::Claim(first) = relay.egress.before_claim(A, &own, at(1, 0)) else { panic!() };
    let orphan = relay.claims.bid(&first);
    assert_eq!(orphan, Answer::Orphan);
    relay.egress.make_public(parent);
    let again = Bid { parent_public: true, ..first };
    assert_eq!(relay.egress.after_claim(A, &own, &first, Ok(orphan)), Step::Claim(again));
    let granted = relay.claims.bid(&again);
    assert_eq!(relay.answer(A, &own, &again, Ok(granted)), WIN);
}

#[test]
fn what_another_relay_published_is_known_by_its_claim() {
    let parent = id(99, 0);
    let (mut here, mut there) = (Relay::new(&[parent]), Relay::new(&[parent]));
    let (first, sibling) = (block(1, parent, 1), block(1, parent, 2));
    assert_eq!(there.send(A, &first), WIN);
    std::mem::swap(&mut here.claims, &mut there.claims);
    assert_eq!(here.send(A, &block(2, first.id, 1)), WIN);
    assert_eq!(here.send(B, &sibling), lost_to(first.id));
    assert_eq!(here.send(B, &first), SAME);
    assert_eq!(here.send(B, &block(2, sibling.id, 2)), TAINTED);
    assert!(here.egress.is_public(&first.id) && !here.egress.is_public(&sibling.id));
}

#[test]
fn what_the_claims_say_was_published_counts() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    relay.egress.published(OURS, Published { number: 50, slot: Slot(FIRST + 1) });
    relay.egress.published(THEIRS, Published { number: 500, slot: Slot(FIRST + 9) });
    assert_eq!(relay.send(A, &block(1, parent, 1)), UNCLAIMED);
    assert_eq!(relay.send(A, &block(2, parent, 2)), WIN);
}

#[test]
fn a_store_that_forgot_makes_no_second_block_for_what_is_known_here() {
    let parent = id(99, 0);
    let mut relay = Relay::new(&[parent]);
    let own = block(1, parent, 1);
    assert_eq!(relay.send(A, &own), WIN);
    let seen = block(2, own.id, 1);
    relay.egress.seen(&seen, at(2, 0));
    relay.claims = MemoryClaims::default();
    for (slot, previous, winner) in [(1, parent, Some(own.id)), (2, own.id, Some(seen.id)), (3, own.id, None)]
    {
        let lost = Verdict::Suppress(Suppress::Lost { winner });
        assert_eq!(relay.send(B, &block(slot, previous, 2 + slot as u8)), lost, "{slot}");
    }
    assert_eq!(relay.send(B, &block(3, seen.id, 2)), WIN);
}

#[test]
fn memory_is_bounded_and_a_syncing_node_pushes_nothing_out() {
    let parent = id(1_000_000, 0);
    let mut relay = Relay::new(&[parent]);
    let mut head = parent;
    for slot in 1..=600 {
        let own = block(slot, head, 1);
        assert_eq!(relay.send(A, &own), WIN);
        assert!(matches!(relay.send(B, &block(slot, head, 2)), Verdict::Suppress(Suppress::Lost { .. })));
        head = own.id;
    }
    for number in 1..50_000 {
        relay.egress.make_public(id(number, 0));
        relay.egress.seen(&block(number, id(number, 0), 0), at(50_000, 0));
        let lost =
            Block { producer: OURS, slot: Slot(FIRST + 1), id: id(number, 9), previous: id(number - 1, 9) };
        relay.egress.bury(&lost, Suppress::Tainted);
        relay.egress.once(A, &lost, Pass::Same);
    }
    let egress = &relay.egress;
    assert_eq!((egress.public.len(), egress.dead.len()), (PUBLIC_KEPT, DEAD_KEPT));
    assert_eq!((egress.ours[&OURS].slots.len(), egress.legs[&A].sent.len()), (SLOTS_KEPT, SENT_KEPT));
    assert!(egress.is_public(&head));
    assert_eq!(egress.ours.len(), 1);
}

//! Any blocks in any order on any leg, with relays that restart and claims that are away: what holds whatever happens.
//!
//! Nodes here aren't sane: they make blocks on whatever there is, and send any block at any time. What outer peers tell is true.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{CHAIN, OURS, block, catch_up, handshake, notice, time};
use mainstay_antelope::{Id, Name, Slot};
use mainstay_relay::claims::{Answer, Bid, MemoryClaims, Published, Unavailable};
use mainstay_relay::egress::{
    Block, DEAD_KEPT, Egress, Leg, PUBLIC_KEPT, Rules, SENT_KEPT, SLOTS_KEPT, Step,
};
use mainstay_relay::{Pass, Suppress, Verdict};
use proptest::prelude::*;
use proptest::sample::Index;

const RELAYS: usize = 2;
const LEGS: usize = 2;
/// Slots are counted from here.
const FIRST: u32 = 1_700_000_000;

#[derive(Clone, Debug)]
enum Op {
    /// Some node makes a block of ours, on any block that there is.
    Make { slot: u32, parent: Index, content: u64 },
    /// Somebody else makes a block, on any public one; it is public.
    Others { slot: u32, parent: Index },
    /// A node sends any block of ours.
    Send { relay: usize, leg: usize, block: Index },
    /// A claim on its way gets where it is kept.
    Reach { relay: usize, leg: usize },
    /// And its answer back.
    Finish { relay: usize, leg: usize },
    /// An outer peer sends a public block, or names it.
    Tell { relay: usize, leg: usize, block: Index, whole: bool },
    /// An outer peer requests something.
    Ask { relay: usize, leg: usize },
    /// Claims can be asked, or not.
    Link { relay: usize, link: Link },
    /// A relay's clock, in milliseconds beside the right time.
    Clock { relay: usize, off: i64 },
    /// A relay is killed and starts again.
    Restart { relay: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    Down,
    /// Questions get there, answers don't come back.
    Deaf,
}

struct Pending {
    block: Block,
    bid: Bid,
    answer: Option<Result<Answer, Unavailable>>,
}

struct Relay {
    egress: Egress,
    legs: Vec<Leg>,
    pending: Vec<Option<Pending>>,
    link: Link,
    off: i64,
}

struct World {
    claims: MemoryClaims,
    relays: Vec<Relay>,
    next_leg: u64,
    /// Every block, private ones too.
    made: Vec<Block>,
    /// What the public side has seen, in order.
    public: Vec<Block>,
    /// Every claim that was ever granted.
    granted: BTreeMap<Slot, Id>,
    latest: Option<Published>,
}

impl World {
    fn new() -> Self {
        let genesis = block(Name(2), FIRST - 1, Id::ZERO, 0);
        let mut world = Self {
            claims: MemoryClaims::default(),
            relays: Vec::new(),
            next_leg: 0,
            made: vec![genesis],
            public: vec![genesis],
            granted: BTreeMap::new(),
            latest: None,
        };
        for _ in 0..RELAYS {
            let relay = world.started();
            world.relays.push(relay);
        }
        world
    }

    /// A relay that knows what its outer peers and the claims tell it at once.
    fn started(&mut self) -> Relay {
        let mut egress = Egress::new(CHAIN, Rules::of([OURS]));
        if let Some(latest) = self.latest {
            egress.published(OURS, latest);
        }
        let mut legs = Vec::new();
        for _ in 0..LEGS {
            self.next_leg += 1;
            legs.push(Leg(self.next_leg));
            egress.opened(Leg(self.next_leg));
            // One of them has to wait for the other.
            egress.ranked(Leg(self.next_leg), legs.len() as u8);
        }
        let head = self.public.iter().max_by_key(|block| block.number()).unwrap();
        if self.latest.is_some() {
            egress.hear_outer(legs[0], &handshake(Id::ZERO, head.id), time(FIRST, 0)).unwrap();
        } else {
            egress.make_public(head.id);
        }
        Relay { egress, legs, pending: (0..LEGS).map(|_| None).collect(), link: Link::Up, off: 0 }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Make { slot, parent, content } => {
                let parent = *parent.get(&self.made);
                self.make(OURS, *slot, parent, *content);
            }
            Op::Others { slot, parent } => {
                let parent = *parent.get(&self.public);
                if let Some(made) = self.make(Name(2), *slot, parent, 0) {
                    self.public.push(made);
                }
            }
            Op::Send { relay, leg, block } => {
                let ours: Vec<Block> =
                    self.made.iter().filter(|block| block.producer == OURS).copied().collect();
                if !ours.is_empty() {
                    self.send(*relay, *leg, *block.get(&ours));
                }
            }
            Op::Reach { relay, leg } => self.reach(*relay, *leg),
            Op::Finish { relay, leg } => self.finish(*relay, *leg),
            Op::Tell { relay, leg, block, whole } => {
                let block = *block.get(&self.public);
                let Relay { egress, legs, .. } = &mut self.relays[*relay];
                if *whole {
                    assert_eq!(egress.seen(&block, time(block.slot.0, 0)), None);
                } else {
                    egress.hear_outer(legs[*leg], &notice(block.id), time(FIRST, 0)).unwrap();
                }
            }
            Op::Ask { relay, leg } => {
                let Relay { egress, legs, .. } = &mut self.relays[*relay];
                egress.hear_outer(legs[*leg], &catch_up(), time(FIRST, 0)).unwrap();
            }
            Op::Link { relay, link } => self.relays[*relay].link = *link,
            Op::Clock { relay, off } => self.relays[*relay].off = *off,
            Op::Restart { relay } => self.relays[*relay] = self.started(),
        }
    }

    fn make(&mut self, producer: Name, slot: u32, parent: Block, content: u64) -> Option<Block> {
        let slot = FIRST + slot;
        let made = block(producer, slot, parent.id, content);
        let fresh = slot > parent.slot.0 && !self.made.contains(&made);
        fresh.then(|| self.made.push(made)).map(|()| made)
    }

    /// A leg's blocks are decided in their order, so a claim that is out is waited for.
    fn send(&mut self, relay: usize, leg: usize, block: Block) {
        self.finish(relay, leg);
        self.finish(relay, leg);
        let Relay { egress, legs, pending, off, .. } = &mut self.relays[relay];
        let mut step = egress.before_claim(legs[leg], &block, time(block.slot.0, *off));
        if let Step::Hold(wait) = step {
            step = egress.before_claim(legs[leg], &block, time(block.slot.0, *off) + wait);
        }
        match step {
            Step::Settled(verdict) => self.decided(relay, &block, verdict),
            Step::Hold(wait) => panic!("{wait:?} more"),
            Step::Claim(bid) => pending[leg] = Some(Pending { block, bid, answer: None }),
        }
    }

    fn reach(&mut self, relay: usize, leg: usize) {
        let Relay { pending, link, .. } = &mut self.relays[relay];
        let Some(Pending { block, bid, answer }) = &mut pending[leg] else { return };
        if answer.is_some() {
            return;
        }
        let away = Err(Unavailable("cut off".to_owned()));
        if *link == Link::Down {
            *answer = Some(away);
            return;
        }
        let told = self.claims.bid(bid);
        if told == Answer::Granted {
            assert_eq!(self.granted.insert(block.slot, block.id), None);
            self.latest = Some(Published::and(self.latest, block.number(), block.slot));
        }
        *answer = Some(if *link == Link::Deaf { away } else { Ok(told) });
    }

    fn finish(&mut self, relay: usize, leg: usize) {
        self.reach(relay, leg);
        let Relay { egress, legs, pending, .. } = &mut self.relays[relay];
        if let Some(Pending { block, bid, answer: Some(answer) }) = pending[leg].take() {
            match egress.after_claim(legs[leg], &block, &bid, answer) {
                Step::Settled(verdict) => self.decided(relay, &block, verdict),
                Step::Hold(wait) => panic!("held for {wait:?} after its claim"),
                Step::Claim(bid) => pending[leg] = Some(Pending { block, bid, answer: None }),
            }
        }
    }

    fn decided(&mut self, relay: usize, block: &Block, verdict: Verdict) {
        let Relay { egress, off, .. } = &mut self.relays[relay];
        let held = egress.kept();
        assert!(held <= PUBLIC_KEPT + DEAD_KEPT + SLOTS_KEPT + LEGS * SENT_KEPT);
        match verdict {
            Verdict::Pass(_) => {
                assert_eq!(self.granted.get(&block.slot), Some(&block.id), "{block:?} {verdict:?}");
                let known: BTreeSet<Id> = self.public.iter().map(|block| block.id).collect();
                let claimed = self.granted.values().any(|id| *id == block.previous);
                assert!(known.contains(&block.previous) || claimed, "{block:?} {verdict:?}");
                assert!(egress.is_public(&block.id));
                if !known.contains(&block.id) {
                    self.public.push(*block);
                }
            }
            Verdict::Suppress(Suppress::Lost { winner }) => {
                assert_eq!(
                    self.granted.get(&block.slot).copied(),
                    winner.or(self.granted.get(&block.slot).copied())
                );
                assert_ne!(self.granted.get(&block.slot), Some(&block.id), "{block:?}");
                let later = self.latest.is_some_and(|latest| !latest.is_below(block.number(), block.slot));
                assert!(later, "a gap that it could have filled: {block:?}");
            }
            Verdict::Suppress(Suppress::Tainted) => {
                assert!(!egress.is_public(&block.previous), "a gap that it could have filled: {block:?}");
            }
            Verdict::Suppress(Suppress::Future) => assert!(*off < -1500),
            Verdict::Suppress(Suppress::Old) => assert!(*off > 60_000),
            Verdict::Suppress(Suppress::Copy) => assert!(egress.is_public(&block.id)),
            Verdict::Suppress(Suppress::Closed) => {}
        }
    }

    /// Nothing is left of what was wrong, and nothing on its way.
    fn heal(&mut self) {
        for relay in 0..RELAYS {
            self.relays[relay].link = Link::Up;
            self.relays[relay].off = 0;
            for leg in 0..LEGS {
                self.finish(relay, leg);
                self.finish(relay, leg);
            }
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (relay, leg, slot) = (0..RELAYS, 0..LEGS, 0..14_u32);
    let place = (relay.clone(), leg);
    let index = any::<Index>();
    let link = prop_oneof![3 => Just(Link::Up), 1 => Just(Link::Down), 1 => Just(Link::Deaf)];
    let op = prop_oneof![
        6 => (slot.clone(), index.clone(), 0..3_u64)
            .prop_map(|(slot, parent, content)| Op::Make { slot, parent, content }),
        2 => (slot, index.clone()).prop_map(|(slot, parent)| Op::Others { slot, parent }),
        12 => (place.clone(), index.clone())
            .prop_map(|((relay, leg), block)| Op::Send { relay, leg, block }),
        3 => place.clone().prop_map(|(relay, leg)| Op::Reach { relay, leg }),
        3 => place.clone().prop_map(|(relay, leg)| Op::Finish { relay, leg }),
        3 => (place.clone(), index, any::<bool>())
            .prop_map(|((relay, leg), block, whole)| Op::Tell { relay, leg, block, whole }),
        1 => place.prop_map(|(relay, leg)| Op::Ask { relay, leg }),
        1 => (relay.clone(), link).prop_map(|(relay, link)| Op::Link { relay, link }),
        1 => (relay.clone(), prop_oneof![Just(0), -5000..5000_i64, Just(70_000)])
            .prop_map(|(relay, off)| Op::Clock { relay, off }),
        1 => relay.prop_map(|relay| Op::Restart { relay }),
    ];
    prop::collection::vec(op, 1..160)
}

/// In its time, with claims that answer at once.
fn decide(egress: &mut Egress, claims: &MemoryClaims, leg: Leg, block: &Block) -> Verdict {
    let mut step = egress.before_claim(leg, block, time(block.slot.0, 0));
    loop {
        match step {
            Step::Settled(verdict) => return verdict,
            Step::Hold(wait) => step = egress.before_claim(leg, block, time(block.slot.0, 0) + wait),
            Step::Claim(bid) => step = egress.after_claim(leg, block, &bid, Ok(claims.bid(&bid))),
        }
    }
}

fn ran(ops: &[Op]) -> World {
    let mut world = World::new();
    for op in ops {
        world.run(op);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// One id a slot on the public side, on a public parent; no gap that a block with a public parent could have filled; bounded. All of it
    /// is asserted at every verdict ([`World::decided`]).
    #[test]
    fn one_public_block_a_slot_and_no_needless_gap(ops in ops()) {
        let mut world = ran(&ops);
        world.heal();
        let mut seen = BTreeMap::new();
        for block in world.public.iter().filter(|block| block.producer == OURS) {
            prop_assert_eq!(seen.insert(block.slot, block.id), None);
        }
    }

    /// Said again, a block gets the same answer: what went out is a copy until it is asked for, what didn't go out doesn't.
    #[test]
    fn deciding_again_changes_nothing(ops in ops()) {
        let mut world = ran(&ops);
        world.heal();
        for at in 0..world.made.len() {
            let block = world.made[at];
            if block.producer != OURS {
                continue;
            }
            let verdicts: Vec<Verdict> = (0..3).map(|turn| {
                let Relay { egress, legs, .. } = &mut world.relays[0];
                if turn == 2 {
                    egress.hear_outer(legs[0], &catch_up(), time(FIRST, 0)).unwrap();
                }
                decide(egress, &world.claims, legs[0], &block)
            }).collect();
            let copy = Verdict::Suppress(Suppress::Copy);
            if verdicts[0].passes() || verdicts[0] == copy {
                prop_assert_eq!(verdicts[1], copy);
                prop_assert!(verdicts[2].passes());
            } else {
                prop_assert_eq!(verdicts[1], verdicts[0]);
                prop_assert_eq!(verdicts[2], verdicts[0]);
            }
        }
    }

    /// A peer that syncs gets all of the public chain that its node holds irreversible, or that it does itself, from any relay, after
    /// whatever happened, at any time, as often as it likes.
    #[test]
    fn a_sync_answer_is_never_suppressed(
        ops in ops(), tip in any::<Index>(), upto in any::<Index>(), relay in 0..RELAYS, own in any::<bool>(), late in 0..1_000_000_i64,
    ) {
        let mut world = ran(&ops);
        world.heal();
        let mut chain = vec![*tip.get(&world.public)];
        while let Some(parent) = world.public.iter().find(|block| block.id == chain[chain.len() - 1].previous) {
            chain.push(*parent);
        }
        let lib = upto.get(&chain).id;
        let Relay { egress, legs, .. } = &mut world.relays[relay];
        if own {
            egress.hear_inner(legs[1], &handshake(lib, lib)).unwrap();
        } else {
            egress.hear_outer(legs[1], &handshake(lib, lib), time(FIRST, 0)).unwrap();
        }
        for _ in 0..2 {
            egress.hear_outer(legs[1], &common::sync_request(1, lib.block_num()), time(FIRST, 0)).unwrap();
            for block in chain.iter().rev().filter(|block| block.number() <= lib.block_num()) {
                let before = egress.before_claim(legs[1], block, time(block.slot.0, late * 1000));
                prop_assert!(matches!(before, Step::Settled(Verdict::Pass(_))), "{:?} {:?}", block, before);
            }
        }
    }
}

/// One relay whose claims go with it, on a chain that doesn't fork but by us.
#[test]
fn claims_that_are_lost_in_a_restart_let_no_second_block_out() {
    let blocks: Vec<Block> = {
        let mut all: Vec<Block> = vec![block(Name(2), FIRST - 1, Id::ZERO, 0)];
        for slot in 0..4 {
            for parent in all.clone() {
                for content in 0..2 {
                    all.push(block(OURS, FIRST + slot, parent.id, content));
                }
            }
        }
        all
    };
    let genesis = blocks[0];
    // Every pair of a block that goes out before the restart, and one that comes after it.
    for first in blocks.iter().filter(|block| block.previous == genesis.id) {
        for second in &blocks[1..] {
            let mut head = genesis.id;
            let mut out = BTreeMap::new();
            for block in [first, second] {
                let mut egress = Egress::new(CHAIN, Rules::of([OURS]));
                egress.opened(Leg(1));
                egress.hear_outer(Leg(1), &handshake(genesis.id, head), time(FIRST, 0)).unwrap();
                egress.make_public(genesis.id);
                let verdict = decide(&mut egress, &MemoryClaims::default(), Leg(1), block);
                if verdict.passes() {
                    assert_eq!(*out.entry(block.slot).or_insert(block.id), block.id);
                    assert!(matches!(verdict, Verdict::Pass(Pass::Win | Pass::Public)), "{verdict:?}");
                    head = block.id;
                }
            }
            let follows = second.previous == first.id && second.slot > first.slot;
            assert_eq!(out.len() == 2, follows, "{first:?} {second:?}");
        }
    }
}

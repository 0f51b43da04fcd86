//! The two relays with what is around them, slot by slot.
#![allow(unreachable_pub, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use mainstay_antelope::{Id, Slot};
use mainstay_relay::claims::{Answer, Bid, Published, Unavailable};
use mainstay_relay::egress::{
    Block, DEAD_KEPT, Egress, Leg, PUBLIC_KEPT, Rules, SENT_KEPT, SLOTS_KEPT, Step,
};
use mainstay_relay::{Pass, Suppress, Verdict};

use crate::common::{CHAIN, OURS, block, catch_up, handshake, sync_request, time};
use crate::keeper::Keeper;
use crate::nodes::{Blocks, Chain, Node, scheduled};
use crate::rng::Rng;

/// The first slot; it begins a turn of the schedule.
const FIRST: u32 = 1_700_000_040;
const TURN: u32 = 60;

/// Whether a relay can ask the claims.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Up,
    Down,
    /// Questions get there, answers don't come back.
    Deaf,
}

pub struct Relay {
    egress: Egress,
    /// To each node.
    legs: [Leg; 2],
    queues: [VecDeque<Block>; 2],
    pending: [Option<(Block, Bid, Option<Answer>)>; 2],
    /// Whether the claims have been asked about that one.
    asked: [bool; 2],
    /// How long the first one in a queue has waited.
    waited: [Duration; 2],
    link: Link,
    /// Milliseconds that its clock is ahead.
    pub off: i64,
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub slots: u32,
    pub won: u32,
    pub lost: u32,
    pub tainted: u32,
    pub closed: u32,
    pub untimely: u32,
    pub history: u32,
    pub restarts: u32,
}

impl Count {
    pub fn add(&mut self, other: &Self) {
        self.slots += other.slots;
        self.won += other.won;
        self.lost += other.lost;
        self.tainted += other.tainted;
        self.closed += other.closed;
        self.untimely += other.untimely;
        self.history += other.history;
        self.restarts += other.restarts;
    }
}

pub struct World {
    pub rng: Rng,
    /// Nodes that drop what comes while they produce.
    drops: bool,
    /// The first node is preferred.
    ranks: bool,
    /// Blocks are irreversible after three slots.
    fast: bool,
    slot: u32,
    blocks: Blocks,
    /// The outer peers, one of each relay.
    outer: [Chain; 2],
    /// Slots for which they don't hear each other.
    pub parted: u32,
    pub nodes: [Node; 2],
    pub relays: [Relay; 2],
    next_leg: u64,
    claims: Box<dyn Keeper>,
    granted: BTreeMap<Slot, Id>,
    latest: Option<Published>,
    /// Blocks of ours that went out.
    out: BTreeMap<Slot, Id>,
    pub count: Count,
}

impl World {
    pub fn new(seed: u64, claims: Box<dyn Keeper>) -> Self {
        let genesis = block(scheduled(FIRST - 1), FIRST - 1, Id::ZERO, 0);
        let mut blocks = Blocks::default();
        blocks.add(genesis);
        let relay = || Relay {
            egress: Egress::new(CHAIN, Rules::of([OURS])),
            legs: [Leg(0); 2],
            queues: [const { VecDeque::new() }; 2],
            pending: [None, None],
            asked: [false; 2],
            waited: [Duration::ZERO; 2],
            link: Link::Up,
            off: 0,
        };
        let mut world = Self {
            rng: Rng::new(seed),
            drops: seed.is_multiple_of(2),
            fast: seed % 4 >= 2,
            ranks: seed % 8 >= 4,
            slot: FIRST,
            blocks,
            outer: [Chain::new(genesis.id), Chain::new(genesis.id)],
            parted: 0,
            nodes: [Node::new(genesis.id), Node::new(genesis.id)],
            relays: [relay(), relay()],
            next_leg: 0,
            claims,
            granted: BTreeMap::new(),
            latest: None,
            out: BTreeMap::new(),
            count: Count::default(),
        };
        for relay in 0..2 {
            world.connect(relay, 0);
            world.connect(relay, 1);
        }
        world
    }

    /// One slot, and all that comes of it.
    pub fn slot(&mut self) {
        let producer = scheduled(self.slot);
        self.meet();
        if producer == OURS {
            // In the middle of a round a transaction may come; what it costs a node is its own.
            let busy = self.rng.once_in(24);
            for node in 0..2 {
                self.produce(node, busy);
            }
        } else {
            let at = producer.0 as usize % 2;
            let made = block(producer, self.slot, self.outer[at].head, 0);
            self.blocks.add(made);
            self.public(at, &made);
        }
        self.drain();
        for node in 0..2 {
            self.recover(node);
        }
        self.drain();
        self.settle();
        self.slot += 1;
        self.count.slots += 1;
    }

    /// Peace, for two turns; then a round that has to be whole.
    pub fn rest(&mut self) {
        while !self.slot.is_multiple_of(TURN) {
            self.slot();
        }
        for _ in 0..2 * TURN {
            self.slot();
        }
        let round = self.slot;
        // Up to where our blocks of the round are no longer on their way.
        while scheduled(self.slot) == OURS {
            self.slot();
        }
        let made: Vec<u32> = self
            .blocks
            .back(self.outer[0].head)
            .take_while(|block| block.slot.0 >= round)
            .map(|block| block.slot.0)
            .collect();
        assert_eq!(made.len(), Slot::PER_ROUND as usize, "slots of the round from {round}: {made:?}");
        for _ in 0..TURN - Slot::PER_ROUND {
            self.slot();
        }
        for node in &self.nodes {
            assert_eq!(node.chain.head, self.outer[0].head, "a node isn't back");
        }
        assert_eq!(self.outer[1].head, self.outer[0].head);
    }

    /// A peer that has nothing asks for all that the nodes hold irreversible.
    pub fn sync_answers(&mut self) {
        for (relay, node) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let chain = &self.nodes[node].chain;
            let lib = self.blocks.back(chain.head).find(|block| block.number() <= chain.lib).unwrap().id;
            let now = self.now(relay);
            let Relay { egress, legs, .. } = &mut self.relays[relay];
            let leg = legs[node];
            egress.hear_inner(leg, &handshake(lib, chain.head)).unwrap();
            egress.hear_outer(leg, &sync_request(1, lib.block_num()), now).unwrap();
            for block in self.blocks.back(lib) {
                let step = egress.before_claim(leg, block, now);
                assert!(matches!(step, Step::Settled(Verdict::Pass(_))), "{block:?} {step:?}");
                self.count.history += u32::from(step == Step::Settled(Verdict::Pass(Pass::History)));
            }
        }
    }

    /// Kills a relay and starts it again.
    pub fn restart(&mut self, relay: usize) {
        let mut egress = Egress::new(CHAIN, Rules::of([OURS]));
        assert_eq!(self.claims.latest(), self.latest);
        if let Some(latest) = self.latest {
            egress.published(OURS, latest);
        }
        let it = &mut self.relays[relay];
        it.egress = egress;
        it.queues = [const { VecDeque::new() }; 2];
        it.pending = [None, None];
        self.count.restarts += 1;
        self.connect(relay, 0);
        self.connect(relay, 1);
    }

    /// How a relay reaches the claims from now on.
    pub fn link(&mut self, relay: usize, link: Link) {
        let it = &mut self.relays[relay];
        if (it.link == Link::Down) != (link == Link::Down) {
            self.claims.reach(relay, link != Link::Down);
        }
        it.link = link;
    }

    /// A leg, anew.
    pub fn connect(&mut self, relay: usize, node: usize) {
        let now = self.now(relay);
        self.next_leg += 1;
        let leg = Leg(self.next_leg);
        let Relay { egress, legs, queues, pending, waited, .. } = &mut self.relays[relay];
        egress.closed(legs[node]);
        legs[node] = leg;
        queues[node].clear();
        pending[node] = None;
        waited[node] = Duration::ZERO;
        egress.opened(leg);
        // In some runs one node is preferred.
        egress.ranked(leg, if self.ranks { node as u8 } else { 0 });
        let outer = &self.outer[relay];
        let lib = self.blocks.back(outer.head).find(|block| block.number() <= outer.lib);
        let lib = lib.map_or(Id::ZERO, |block| block.id);
        egress.hear_outer(leg, &handshake(lib, outer.head), now).unwrap();
        if self.nodes[node].is_up() {
            self.resend(relay, node);
        }
    }

    fn now(&self, relay: usize) -> SystemTime {
        time(self.slot, self.relays[relay].off)
    }

    /// A node makes its block of this slot, and sends it to both relays.
    fn produce(&mut self, node: usize, busy: bool) {
        if !self.nodes[node].is_up() {
            return;
        }
        let content = if busy { 1 + u64::from(self.rng.below(3)) * (node as u64 + 1) } else { 0 };
        let made = block(OURS, self.slot, self.nodes[node].chain.head, content);
        self.blocks.add(made);
        self.nodes[node].chain.take(&made);
        for relay in 0..2 {
            self.relays[relay].queues[node].push_back(made);
        }
    }

    /// An outer node has a block: the other one, its relay, and the nodes behind that hear of it.
    fn public(&mut self, at: usize, block: &Block) {
        if !self.outer[at].take(block) {
            return;
        }
        let now = self.now(at);
        assert_eq!(self.relays[at].egress.seen(block, now), None);
        for node in 0..2 {
            self.hear(node, block);
        }
        if self.parted == 0 {
            self.public(1 - at, block);
        }
    }

    fn hear(&mut self, node: usize, block: &Block) {
        let producing = scheduled(self.slot) == OURS;
        let node = &mut self.nodes[node];
        if !node.is_up() || node.chain.knows(&block.id) {
            return;
        }
        let dropped = self.drops && producing && block.producer == OURS;
        if dropped || !node.chain.take(block) {
            // It has a hole now: what follows doesn't link.
            node.lost.get_or_insert(24 + self.rng.below(8));
        }
    }

    /// A node that is on its own fork is asked for it with every block that it can't take, until it finds back.
    fn recover(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.out > 0 {
            it.out -= 1;
            if it.out > 0 {
                return;
            }
            if it.killed {
                it.chain = self.outer[0].clone();
                it.lost = None;
            } else {
                it.lost = Some(4);
            }
            it.killed = false;
            for relay in 0..2 {
                self.connect(relay, node);
            }
            return;
        }
        let Some(left) = it.lost else { return };
        if scheduled(self.slot) == OURS {
            return;
        }
        it.lost = left.checked_sub(1);
        if it.lost.is_none() {
            for at in 0..2 {
                it.chain.learn(&self.outer[at]);
            }
            return;
        }
        for relay in 0..2 {
            self.resend(relay, node);
        }
    }

    /// The outer peer asks for what it may lack; the node sends it all from what that peer holds irreversible.
    fn resend(&mut self, relay: usize, node: usize) {
        let now = self.now(relay);
        let chain = &self.nodes[node].chain;
        let lib = self.blocks.back(chain.head).find(|block| block.number() <= chain.lib);
        let Relay { egress, legs, queues, .. } = &mut self.relays[relay];
        if let Some(lib) = lib {
            egress.hear_inner(legs[node], &handshake(lib.id, chain.head)).unwrap();
        }
        egress.hear_outer(legs[node], &catch_up(), now).unwrap();
        let from = self.outer[relay].lib;
        let branch: Vec<Block> =
            self.blocks.back(chain.head).take_while(|block| block.number() > from).copied().collect();
        queues[node].extend(branch.iter().rev());
    }

    /// Relays work off what they have, in any order but that of a leg.
    fn drain(&mut self) {
        loop {
            let busy: Vec<(usize, usize)> = [(0, 0), (0, 1), (1, 0), (1, 1)]
                .into_iter()
                .filter(|(relay, node)| {
                    let relay = &self.relays[*relay];
                    relay.pending[*node].is_some() || !relay.queues[*node].is_empty()
                })
                .collect();
            if busy.is_empty() {
                return;
            }
            let (relay, node) = busy[self.rng.below(busy.len() as u32) as usize];
            self.step(relay, node);
        }
    }

    fn step(&mut self, relay: usize, node: usize) {
        let now = self.now(relay);
        let Relay { egress, legs, queues, pending, asked, waited, link, .. } = &mut self.relays[relay];
        let leg = legs[node];
        match pending[node].take() {
            None => {
                let Some(block) = queues[node].pop_front() else { return };
                match egress.before_claim(leg, &block, now + std::mem::take(&mut waited[node])) {
                    Step::Hold(wait) => {
                        waited[node] = wait;
                        queues[node].push_front(block);
                    }
                    Step::Settled(verdict) => self.decided(relay, &block, verdict),
                    Step::Claim(bid) => {
                        pending[node] = Some((block, bid, None));
                        asked[node] = false;
                    }
                }
            }
            Some((block, bid, None)) if !asked[node] => {
                let answer = self.claims.bid(relay, &bid);
                if answer == Some(Answer::Granted) {
                    assert_eq!(self.granted.insert(block.slot, block.id), None);
                    self.latest = Some(Published::and(self.latest, block.number(), block.slot));
                }
                asked[node] = true;
                pending[node] = Some((block, bid, answer));
            }
            Some((block, bid, answer)) => {
                let told = answer.filter(|_| *link == Link::Up);
                let told = told.ok_or_else(|| Unavailable("cut off".to_owned()));
                match egress.after_claim(leg, &block, &bid, told) {
                    Step::Settled(verdict) => self.decided(relay, &block, verdict),
                    Step::Hold(wait) => panic!("held for {wait:?} after its claim"),
                    Step::Claim(bid) => {
                        pending[node] = Some((block, bid, None));
                        asked[node] = false;
                    }
                }
            }
        }
    }

    fn decided(&mut self, relay: usize, block: &Block, verdict: Verdict) {
        let it = &self.relays[relay];
        assert!(it.egress.kept() <= PUBLIC_KEPT + DEAD_KEPT + SLOTS_KEPT + 2 * SENT_KEPT);
        let parent_public = it.egress.is_public(&block.previous);
        match verdict {
            Verdict::Pass(Pass::History) => {
                self.count.history += 1;
                // An outer node doesn't look at what is below its own last irreversible block.
                let known = self.outer.iter().any(|outer| outer.knows(&block.id));
                assert!(known || block.number() <= self.outer[relay].lib, "{block:?}");
                self.one_a_slot(block);
            }
            Verdict::Pass(why) => {
                self.one_a_slot(block);
                self.count.won += u32::from(why == Pass::Win);
                self.public(relay, block);
            }
            Verdict::Suppress(why) => {
                // An outer peer that asked gets what is public.
                let known = self.outer[relay].knows(&block.id);
                let timely = !matches!(why, Suppress::Future | Suppress::Old);
                assert!(
                    !known || why == Suppress::Copy || !timely || !it.egress.is_public(&block.id),
                    "{why:?} {block:?}"
                );
                match why {
                    Suppress::Lost { .. } => {
                        self.count.lost += 1;
                        let later = self.latest.is_some_and(|it| !it.is_below(block.number(), block.slot));
                        assert!(
                            later && self.granted.get(&block.slot) != Some(&block.id),
                            "{why:?} {block:?}"
                        );
                    }
                    Suppress::Tainted => {
                        self.count.tainted += 1;
                        assert!(!parent_public, "{block:?}");
                    }
                    Suppress::Closed => {
                        self.count.closed += 1;
                        assert!(it.link != Link::Up, "{block:?}");
                    }
                    Suppress::Future | Suppress::Old => {
                        self.count.untimely += 1;
                        let age = i64::from(self.slot) * 500 + it.off - i64::from(block.slot.0) * 500;
                        assert!(!(-1500..=60_000).contains(&age), "{age} {block:?}");
                    }
                    Suppress::Copy => {}
                }
            }
        }
    }

    /// Whatever an outer peer makes of it.
    fn one_a_slot(&mut self, block: &Block) {
        if block.producer == OURS {
            let first = *self.out.entry(block.slot).or_insert(block.id);
            assert_eq!(first, block.id, "two public blocks for {:?}", block.slot);
        }
    }

    /// The outer nodes find each other again.
    fn meet(&mut self) {
        self.parted = self.parted.saturating_sub(1);
        if self.parted > 0 || self.outer[0].head == self.outer[1].head {
            return;
        }
        for at in 0..2 {
            let other = self.outer[1 - at].head;
            let missing: Vec<Block> = self
                .blocks
                .back(other)
                .take_while(|block| !self.outer[at].knows(&block.id))
                .copied()
                .collect();
            for block in missing.iter().rev() {
                self.public(at, block);
            }
        }
    }

    /// At a slot's end: what is irreversible, and whether two blocks for one slot have come anywhere outside.
    fn settle(&mut self) {
        for at in 0..2 {
            let head = self.outer[at].head;
            let lib = match self.fast {
                true if self.parted > 0 => 0,
                true => head.block_num().saturating_sub(3),
                false => self.blocks.irreversible(head),
            };
            self.outer[at].lib = self.outer[at].lib.max(lib);
        }
        for node in &mut self.nodes {
            let outer = &self.outer;
            let lib = match self.fast {
                // No further than others follow.
                true => self
                    .blocks
                    .back(node.chain.head)
                    .find(|block| outer.iter().all(|it| it.knows(&block.id) && block.number() <= it.lib))
                    .map_or(0, Block::number),
                false => self.blocks.irreversible(node.chain.head),
            };
            node.chain.lib = node.chain.lib.max(lib);
        }
        if self.slot.is_multiple_of(TURN) {
            for outer in &self.outer {
                for (slot, ids) in outer.ours(&self.blocks) {
                    assert_eq!(ids, BTreeSet::from([self.out[&slot]]), "{slot:?}");
                }
            }
        }
    }
}

//! Nodes: a chain, and what a node makes of what it hears.
#![allow(unreachable_pub, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use mainstay_antelope::{Id, Name, Slot};
use mainstay_relay::egress::Block;

use crate::common::OURS;

/// Producers that have to build on a block until it is irreversible, of five.
const QUORUM: usize = 4;

/// Every block there is, private ones too.
#[derive(Default)]
pub struct Blocks(BTreeMap<Id, Block>);

impl Blocks {
    pub fn add(&mut self, block: Block) {
        self.0.insert(block.id, block);
    }

    pub fn get(&self, id: &Id) -> &Block {
        &self.0[id]
    }

    /// From a block to its ancestors, the first of all left out.
    pub fn back(&self, head: Id) -> impl Iterator<Item = &Block> {
        std::iter::successors(self.0.get(&head), |block| self.0.get(&block.previous))
    }

    /// The last block that enough producers have built on, itself among them.
    pub fn irreversible(&self, head: Id) -> u32 {
        let mut producers = BTreeSet::new();
        for block in self.back(head) {
            producers.insert(block.producer);
            if producers.len() >= QUORUM {
                return block.number();
            }
        }
        0
    }
}

/// The chain of a node.
#[derive(Clone)]
pub struct Chain {
    known: BTreeSet<Id>,
    pub head: Id,
    pub lib: u32,
}

impl Chain {
    pub fn new(genesis: Id) -> Self {
        Self { known: BTreeSet::from([genesis]), head: genesis, lib: 0 }
    }

    pub fn knows(&self, id: &Id) -> bool {
        self.known.contains(id)
    }

    /// Takes a block that links; the longest chain wins, the first of such.
    pub fn take(&mut self, block: &Block) -> bool {
        let fresh = !self.knows(&block.id) && self.knows(&block.previous) && block.number() > self.lib;
        if fresh {
            self.known.insert(block.id);
            if block.number() > self.head.block_num() {
                self.head = block.id;
            }
        }
        fresh
    }

    /// Takes over what another has.
    pub fn learn(&mut self, other: &Self) {
        self.known.extend(other.known.iter().copied());
        if other.head.block_num() > self.head.block_num() {
            self.head = other.head;
        }
    }

    /// Our blocks of each slot that it knows.
    pub fn ours(&self, blocks: &Blocks) -> BTreeMap<Slot, BTreeSet<Id>> {
        let mut slots: BTreeMap<Slot, BTreeSet<Id>> = BTreeMap::new();
        for block in self.known.iter().map(|id| blocks.get(id)).filter(|block| block.producer == OURS) {
            slots.entry(block.slot).or_default().insert(block.id);
        }
        slots
    }
}

/// An inner node.
pub struct Node {
    pub chain: Chain,
    /// Slots for which it is gone or frozen.
    pub out: u32,
    /// It comes back with nothing but what it is sent.
    pub killed: bool,
    /// On a private fork, or with a hole: slots until it finds back.
    pub lost: Option<u32>,
}

impl Node {
    pub fn new(genesis: Id) -> Self {
        Self { chain: Chain::new(genesis), out: 0, killed: false, lost: None }
    }

    pub fn is_up(&self) -> bool {
        self.out == 0
    }
}

/// Who has a slot: five producers, twelve slots each; the first are ours.
pub fn scheduled(slot: u32) -> Name {
    Name(u64::from(slot / Slot::PER_ROUND % 5) + OURS.0)
}

//! The chain of a simulated node. Pure: what comes of a block, a handshake, a request.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_antelope::{Frame, Header, Id, List, Message, Name, PublicKey, Signature, SignedBlock, Slot};

/// A block that a node has, or has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// For when.
    pub slot: Slot,
    /// Who made it.
    pub producer: Name,
    /// Its id.
    pub id: Id,
    /// Its parent's.
    pub previous: Id,
}

impl Block {
    /// That in a frame, if there is one.
    #[must_use]
    pub fn of(frame: &Frame) -> Option<Self> {
        let header = frame.block_header()?.ok()?;
        Some(Self {
            slot: header.slot,
            producer: header.producer,
            id: header.id(),
            previous: header.previous,
        })
    }
}

/// What came of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on the chain, or on a fork.
    Linked,
    /// It was there already.
    Known,
    /// Its parent isn't there.
    Unlinkable,
    /// It was thrown away, as nodes do while they produce; from now on it counts as known, and what builds on it has no parent.
    Dropped,
}

/// The blocks of one node, forks included.
#[derive(Clone, Debug)]
pub struct Chain {
    blocks: BTreeMap<Id, (Block, Frame)>,
    dropped: BTreeSet<Id>,
    genesis: Id,
    head: Id,
    lib: u32,
    producing: bool,
}

impl Chain {
    /// One with a first block and no more.
    #[must_use]
    pub fn new(genesis: Id) -> Self {
        Self {
            blocks: BTreeMap::new(),
            dropped: BTreeSet::new(),
            genesis,
            head: genesis,
            lib: genesis.block_num(),
            producing: false,
        }
    }

    /// The newest block; of forks of one length the first.
    #[must_use]
    pub fn head(&self) -> Id {
        self.head
    }

    /// The number of the last irreversible block.
    #[must_use]
    pub fn lib(&self) -> u32 {
        self.lib
    }

    /// The id of the last irreversible block.
    #[must_use]
    pub fn lib_id(&self) -> Id {
        self.ancestors(self.head).find(|id| id.block_num() <= self.lib).unwrap_or(self.genesis)
    }

    /// Says which number is irreversible.
    pub fn set_lib(&mut self, number: u32) {
        self.lib = number;
    }

    /// While it produces it throws away what comes. At the end what it threw away stays unknown until [`Chain::recover`].
    pub fn set_producing(&mut self, producing: bool) {
        self.producing = producing;
    }

    /// It takes blocks again that it has thrown away once.
    pub fn recover(&mut self) {
        self.producing = false;
        self.dropped.clear();
    }

    /// Whether a block is there.
    #[must_use]
    pub fn has(&self, id: &Id) -> bool {
        *id == self.genesis || self.blocks.contains_key(id)
    }

    /// Whether a block is on the way from the head back.
    #[must_use]
    pub fn is_ancestor(&self, id: &Id) -> bool {
        self.ancestors(self.head).any(|ancestor| ancestor == *id)
    }

    /// Takes a block that came.
    pub fn take(&mut self, frame: &Frame) -> Taken {
        let Some(block) = Block::of(frame) else { return Taken::Dropped };
        if self.has(&block.id) || self.dropped.contains(&block.id) {
            return Taken::Known;
        }
        if self.producing {
            self.dropped.insert(block.id);
            return Taken::Dropped;
        }
        if !self.has(&block.previous) {
            return Taken::Unlinkable;
        }
        self.put(block, frame);
        Taken::Linked
    }

    /// Makes a block on the head; blocks of the same content are the same.
    pub fn produce(&mut self, producer: Name, slot: Slot, content: u64) -> Frame {
        let frame = block(producer, slot, self.head, content);
        if let Some(block) = Block::of(&frame) {
            self.put(block, &frame);
        }
        frame
    }

    fn put(&mut self, block: Block, frame: &Frame) {
        self.blocks.insert(block.id, (block, frame.clone()));
        if block.id.block_num() > self.head.block_num() {
            self.head = block.id;
        }
    }

    /// The blocks above a number and up to another on the way to the head, in order.
    #[must_use]
    pub fn branch(&self, above: u32, to: u32) -> Vec<Frame> {
        let within = |id: &Id| (above + 1..=to).contains(&id.block_num());
        let on_the_way = self.ancestors(self.head).take_while(|id| id.block_num() > above);
        let mut frames: Vec<Frame> = on_the_way
            .filter(within)
            .filter_map(|id| self.blocks.get(&id))
            .map(|(_, frame)| frame.clone())
            .collect();
        frames.reverse();
        frames
    }

    /// All blocks on the way from the first to the head.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        self.branch(0, u32::MAX).iter().filter_map(Block::of).collect()
    }

    fn ancestors(&self, from: Id) -> impl Iterator<Item = Id> {
        std::iter::successors(Some(from), |id| self.blocks.get(id).map(|(block, _)| block.previous))
    }
}

/// A block in the form of the real ones, unsigned.
#[must_use]
pub fn block(producer: Name, slot: Slot, previous: Id, content: u64) -> Frame {
    let mut root = [0; 32];
    root[..8].copy_from_slice(&content.to_le_bytes());
    let header = Header {
        slot,
        producer,
        confirmed: 0,
        previous,
        transaction_mroot: Id(root),
        action_mroot: Id::ZERO,
        schedule_version: 1,
        new_producers: None,
        header_extensions: List::EMPTY,
    };
    let block = SignedBlock {
        header,
        producer_signature: Signature::EMPTY,
        transactions: List::EMPTY,
        block_extensions: List::EMPTY,
    };
    whole(&Message::SignedBlock(block))
}

/// The frame of a message that is short enough.
///
/// # Panics
/// It isn't.
#[must_use]
#[allow(clippy::expect_used, reason = "what a simulated node says is short")]
pub fn whole(message: &Message<'_>) -> Frame {
    message.frame().expect("a frame within its limit")
}

/// Nobody's key.
pub(super) const NO_KEY: PublicKey<'static> = PublicKey::EMPTY;

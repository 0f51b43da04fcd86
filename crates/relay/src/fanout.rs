//! What is heard outside on one leg and told to the nodes of the others, unless that is turned off (`fan_inward`).
//!
//! Each leg has its own outer peer's stream, so a node behind a peer that hangs stands still until its leg ends. With this the other legs'
//! live blocks, transactions and votes reach it all the same, each once on a leg, whoever is first; its own peer's copy of what it has got like that isn't passed on.
//!
//! A node behind a leg can't tell whose word it is, so nothing may come that its own outer peer couldn't have sent:
//!
//! | | goes to another leg if there |
//! |---|---|
//! | any frame | both sides have said who they are, the chain is that of whoever sent it, and the node's version knows the type |
//! | block | it hasn't passed yet, either way; its parent has, either way, or is the node's head; it is live |
//! | vote | it hasn't passed for a while, either way; its block has; the node is in step |
//! | transaction | it hasn't passed for a while, either way; the node is in step |
//! | anything else | never: handshakes, keepalives, requests and notices belong to a connection, and a `go_away` never comes in at all |
//!
//! **The parent's rule** is what keeps nodes well: thirteen times a block without its parent, and a node closes the connection. It keeps the order too:
//! a block waits behind its parent, or comes after it has passed.
//!
//! **Live** is what is at most [`LIVE`] below the highest block that was heard outside; **in step** is a node that has got as far. So what a peer sends to a
//! node that syncs is for that node alone, and a node that syncs gets nothing but what it has asked for.
//!
//! **Until it asks**: nodes drop blocks while they produce, and ask for them later. What a node requests passes, though it was told before.
//!
//! **Bounds**: what waits for a node is [`WAITING`] bytes at most. What doesn't fit isn't told and delays nobody; the node's own outer peer has it. Of blocks the
//! [`KEPT`] highest of each leg are remembered, of transactions and votes what [`Once`] does.
//!
//! What a node makes isn't told to its siblings by this: they make that slot's block themselves, and throw away what comes in the meantime.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use mainstay_antelope::{Frame, Handshake, Id, Kind, Message, Version};

use crate::egress::Leg;
use crate::highest::Highest;
use crate::once::{Mark, Once, mark};

/// Blocks: a round, so that what producers leave out of each other's rounds is within it.
pub const LIVE: u32 = 12;
/// Bytes that wait for one node: the longest frame, or some seconds of a busy chain.
pub const WAITING: usize = 8 * 1024 * 1024;
/// A short frame counts as so many bytes: it keeps what was read with it.
pub const LEAST: usize = 4096;
/// Blocks of a leg that are remembered, the highest.
pub const KEPT: usize = 1024;

/// What comes of a frame that was heard outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The node of its own leg has it already by another one: this is a copy, and not to be passed on.
    pub is_copy: bool,
    /// Legs for which it waits now.
    pub told: Vec<Leg>,
    /// Legs for which too much waited.
    pub full: Vec<Leg>,
}

/// All legs, and what waits for each. Pure.
#[derive(Clone, Debug, Default)]
pub struct Fanout {
    legs: BTreeMap<Leg, Line>,
    /// The highest block that was heard outside.
    highest: u32,
}

/// What has passed on a leg.
#[derive(Clone, Debug, Default)]
struct Line {
    inner: Option<Side>,
    outer: Option<Side>,
    /// Blocks that its node has sent, or has got from whomever, and the head that it named.
    blocks: Highest<Id, (), KEPT>,
    /// Those that it has got by another leg, since it last asked for something.
    told: Highest<Id, (), KEPT>,
    /// Transactions and votes, as with blocks.
    rest: Once,
    /// The number of the highest of the blocks.
    reached: u32,
    waiting: VecDeque<Frame>,
    bytes: usize,
}

/// What a side has said of itself.
#[derive(Clone, Copy, Debug)]
struct Side {
    chain: Id,
    version: Version,
}

/// What can be told.
#[derive(Clone, Copy, Debug)]
enum News {
    Block { id: Id, previous: Id },
    Vote { mark: Mark, block: Id },
    Transaction { mark: Mark },
}

impl News {
    /// That in a frame; `None`: it is of another kind, or can't be read.
    fn of(frame: &Frame) -> Option<Self> {
        match frame.kind() {
            Kind::SignedBlock => {
                let header = frame.block_header()?.ok()?;
                Some(Self::Block { id: header.id(), previous: header.previous })
            }
            Kind::PackedTransaction => Some(Self::Transaction { mark: mark(frame.payload()) }),
            Kind::Vote => match frame.message() {
                Ok(Message::Vote(vote)) => {
                    Some(Self::Vote { mark: mark(frame.payload()), block: vote.block_id })
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl Fanout {
    /// A leg is there.
    pub fn opened(&mut self, leg: Leg) {
        self.legs.insert(leg, Line::default());
    }

    /// A leg is gone, with what waits for it.
    pub fn closed(&mut self, leg: Leg) {
        self.legs.remove(&leg);
    }

    /// A node has sent a frame, whether it goes out or not.
    pub fn sent(&mut self, leg: Leg, frame: &Frame, now: Instant) {
        let Some(line) = self.legs.get_mut(&leg) else { return };
        if let Some(news) = News::of(frame) {
            line.has(news, now);
            return;
        }
        if !matches!(frame.kind(), Kind::Handshake | Kind::Request | Kind::SyncRequest) {
            return;
        }
        match frame.message() {
            Ok(Message::Handshake(hello)) => {
                line.inner = Some(Side::of(&hello));
                line.has_block(hello.head_id);
            }
            Ok(Message::Request(_)) => line.told.clear(),
            // An end of 0 takes a request back.
            Ok(Message::SyncRequest(request)) if request.end != 0 => line.told.clear(),
            _ => {}
        }
    }

    /// An outer peer has sent a frame that passes. What waits for its own leg by now comes before it.
    pub fn heard(&mut self, leg: Leg, frame: &Frame, now: Instant) -> Heard {
        let mut heard = Heard::default();
        let Some(line) = self.legs.get_mut(&leg) else { return heard };
        if let (Kind::Handshake, Ok(Message::Handshake(hello))) = (frame.kind(), frame.message()) {
            line.outer = Some(Side::of(&hello));
        }
        let Some(news) = News::of(frame) else { return heard };
        heard.is_copy = line.was_told(news, now);
        line.has(news, now);
        let Some(outer) = line.outer.filter(|outer| !outer.version.has_pruned_types()) else { return heard };
        if let News::Block { id, .. } = news {
            self.highest = self.highest.max(id.block_num());
        }
        for (other, line) in self.legs.iter_mut().filter(|(other, _)| **other != leg) {
            if !line.takes(outer.chain, frame.kind()) || !line.lacks(news, self.highest, now) {
                continue;
            }
            if line.wait(frame) {
                line.has(news, now);
                if let News::Block { id, .. } = news {
                    line.told.insert(id, ());
                }
                heard.told.push(*other);
            } else {
                heard.full.push(*other);
            }
        }
        heard
    }

    /// What waits for a leg's node, in its order.
    pub fn take(&mut self, leg: Leg) -> VecDeque<Frame> {
        let Some(line) = self.legs.get_mut(&leg) else { return VecDeque::new() };
        line.bytes = 0;
        std::mem::take(&mut line.waiting)
    }
}

impl Side {
    fn of(hello: &Handshake<'_>) -> Self {
        Self { chain: hello.chain_id, version: hello.version() }
    }
}

impl Line {
    /// Whether anything of a kind may come to its node, of a chain.
    fn takes(&self, chain: Id, kind: Kind) -> bool {
        let (Some(inner), Some(_)) = (self.inner, self.outer) else { return false };
        inner.chain == chain && inner.version.takes(kind) && !inner.version.has_pruned_types()
    }

    /// Whether its node lacks this, and can do something with it.
    fn lacks(&mut self, news: News, highest: u32, now: Instant) -> bool {
        let in_step = self.reached.saturating_add(LIVE) >= highest;
        match news {
            News::Block { id, previous } => {
                let is_live = id.block_num().saturating_add(LIVE) >= highest;
                is_live && self.blocks.has(&previous) && !self.blocks.has(&id)
            }
            News::Vote { mark, block } => in_step && self.blocks.has(&block) && !self.rest.has(&mark, now),
            News::Transaction { mark } => in_step && !self.rest.has(&mark, now),
        }
    }

    /// Whether its node needn't get this from its own outer peer any more.
    fn was_told(&mut self, news: News, now: Instant) -> bool {
        match news {
            News::Block { id, .. } => self.told.has(&id),
            News::Vote { mark, .. } | News::Transaction { mark } => self.rest.has(&mark, now),
        }
    }

    fn has(&mut self, news: News, now: Instant) {
        match news {
            News::Block { id, .. } => self.has_block(id),
            News::Vote { mark, .. } | News::Transaction { mark } => {
                self.rest.is_first_of(mark, now);
            }
        }
    }

    fn has_block(&mut self, id: Id) {
        self.blocks.insert(id, ());
        self.reached = self.reached.max(id.block_num());
    }

    /// Puts a frame behind the others, if there is room.
    fn wait(&mut self, frame: &Frame) -> bool {
        let bytes = self.bytes + frame.bytes().len().max(LEAST);
        if bytes > WAITING && !self.waiting.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.waiting.push_back(frame.clone());
        true
    }
}

#[cfg(test)]
mod tests;

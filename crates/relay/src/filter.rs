//! What passes on a leg, which way.
//!
//! A leg pairs an inner connection with an outer one, and nearly everything passes as it came: so handshakes, sync and keepalives are right
//! for each node with no chain here. What doesn't, or not always:
//!
//! | | outward | inward |
//! |---|---|---|
//! | `go_away` | passes, then both sides are closed | never: most reasons stop a node from ever dialing again. Both sides are closed |
//! | `signed_block` | as [`Egress`] decides | passes |
//! | `packed_transaction` | once, for some seconds | once, for some seconds |
//! | `vote` | for a public block, by a key that is not another leg's | passes |
//! | a type that the other side's version doesn't know | doesn't | doesn't |
//!
//! Handshakes always pass, untouched, whatever private head they name: a node whose handshakes were dropped never finds back, and one whose
//! head was rewritten is sent away. A version is what a side's last handshake announced; before the first one it isn't known, and
//! nothing is held back for it.
//!
//! What can't be read passes, as it would without a relay, unless it may be a block or a vote of ours: then it doesn't.

use std::time::{Instant, SystemTime};

use mainstay_antelope::{Frame, Kind, Message, Version};

use crate::egress::{Block, Double, Egress, Leg, Step};
use crate::once::Once;
use crate::votes::Votes;

/// What is to be done with a frame of an inner node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outward {
    /// Pass it on.
    Pass,
    /// Pass it on, then close both sides.
    PassAndClose,
    /// Don't.
    Drop(Dropped),
    /// It is a block: what is next for it.
    Block(Block, Step),
}

/// What is to be done with a frame of an outer peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inward {
    /// Pass it on.
    Pass,
    /// Pass it on, and alarm: the public side has two blocks for a slot of ours.
    Double(Double),
    /// Don't.
    Drop(Dropped),
    /// Close both sides, plainly.
    Close,
}

/// Why a frame that is no block isn't passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The same transaction went this way on this leg a short while ago.
    Repeated,
    /// A vote for a block that isn't public.
    Private,
    /// A vote by a key that this other leg votes with. An alarm: two nodes share it.
    Pinned(Leg),
    /// The other side's version doesn't know the type, and would close the connection.
    Version,
    /// It may be a block or a vote of ours, and can't be read. An alarm.
    Unreadable,
}

/// What a leg remembers of what passed.
#[derive(Clone, Debug)]
pub struct Filter {
    leg: Leg,
    inner: Option<Version>,
    outer: Option<Version>,
    outward: Once,
    inward: Once,
}

/// What all legs share.
#[derive(Debug)]
pub struct Shared {
    /// Which blocks go out.
    pub egress: Egress,
    /// Which votes do.
    pub votes: Votes,
}

/// The time, in both ways of telling it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of day, to hold slots against.
    pub clock: SystemTime,
    /// For what lasts some time.
    pub instant: Instant,
}

impl Shared {
    /// A leg is there.
    #[must_use]
    pub fn opened(&mut self, leg: Leg) -> Filter {
        self.egress.opened(leg);
        Filter { leg, inner: None, outer: None, outward: Once::default(), inward: Once::default() }
    }

    /// A leg is gone.
    pub fn closed(&mut self, leg: Leg) {
        self.egress.closed(leg);
        self.votes.closed(leg);
    }
}

impl Filter {
    /// An inner node sent a frame.
    pub fn outward(&mut self, frame: &Frame, shared: &mut Shared, now: Now) -> Outward {
        self.outward_alone(frame, now.instant).unwrap_or_else(|| self.outward_shared(frame, shared, now))
    }

    /// An outer peer sent a frame.
    pub fn inward(&mut self, frame: &Frame, shared: &mut Shared, now: Now) -> Inward {
        self.inward_alone(frame, now.instant).unwrap_or_else(|| self.inward_shared(frame, shared, now))
    }

    /// The first half of [`Filter::outward`], of what needs nothing that legs share; `None`: the second is needed.
    pub fn outward_alone(&mut self, frame: &Frame, now: Instant) -> Option<Outward> {
        if !takes(self.outer, frame) {
            return Some(Outward::Drop(Dropped::Version));
        }
        match frame.kind() {
            Kind::SignedBlock | Kind::Vote | Kind::Handshake | Kind::Notice => None,
            Kind::PackedTransaction if !self.outward.is_first(frame.payload(), now) => {
                Some(Outward::Drop(Dropped::Repeated))
            }
            Kind::GoAway => Some(Outward::PassAndClose),
            _ => Some(Outward::Pass),
        }
    }

    /// The first half of [`Filter::inward`].
    pub fn inward_alone(&mut self, frame: &Frame, now: Instant) -> Option<Inward> {
        if !takes(self.inner, frame) {
            return Some(Inward::Drop(Dropped::Version));
        }
        match frame.kind() {
            Kind::GoAway => Some(Inward::Close),
            Kind::PackedTransaction if !self.inward.is_first(frame.payload(), now) => {
                Some(Inward::Drop(Dropped::Repeated))
            }
            Kind::PackedTransaction | Kind::Time => Some(Inward::Pass),
            _ => None,
        }
    }

    /// The second half of [`Filter::outward`].
    pub fn outward_shared(&mut self, frame: &Frame, shared: &mut Shared, now: Now) -> Outward {
        match frame.kind() {
            Kind::SignedBlock => match frame.block_header() {
                Some(Ok(header)) => {
                    let block = Block::from(&header);
                    Outward::Block(block, shared.egress.before_claim(self.leg, &block, now.clock))
                }
                _ => Outward::Drop(Dropped::Unreadable),
            },
            Kind::Vote => self.vote(frame, shared),
            kind => {
                if kind == Kind::Handshake {
                    self.inner = announced(frame).or(self.inner);
                }
                // What can't be read teaches nothing.
                let _ = shared.egress.hear_inner(self.leg, frame);
                Outward::Pass
            }
        }
    }

    /// The second half of [`Filter::inward`].
    pub fn inward_shared(&mut self, frame: &Frame, shared: &mut Shared, now: Now) -> Inward {
        match frame.kind() {
            Kind::Vote => {
                if let Ok(Message::Vote(vote)) = frame.message() {
                    shared.votes.heard(&vote);
                }
            }
            Kind::Handshake => self.outer = announced(frame).or(self.outer),
            _ => {}
        }
        match shared.egress.hear_outer(self.leg, frame, now.clock) {
            Ok(Some(double)) => Inward::Double(double),
            // What can't be read teaches nothing.
            Ok(None) | Err(_) => Inward::Pass,
        }
    }

    fn vote(&self, frame: &Frame, shared: &mut Shared) -> Outward {
        let Ok(Message::Vote(vote)) = frame.message() else {
            return Outward::Drop(Dropped::Unreadable);
        };
        if !shared.egress.is_public(&vote.block_id) {
            return Outward::Drop(Dropped::Private);
        }
        match shared.votes.cast(self.leg, &vote) {
            Ok(()) => Outward::Pass,
            Err(pinned) => Outward::Drop(Dropped::Pinned(pinned)),
        }
    }
}

/// Whether a side takes frames of this type.
fn takes(side: Option<Version>, frame: &Frame) -> bool {
    side.is_none_or(|version| version.takes(frame.kind()))
}

/// The version that a handshake announces.
fn announced(frame: &Frame) -> Option<Version> {
    match frame.message() {
        Ok(Message::Handshake(handshake)) => Some(handshake.version()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! Which of our producers' blocks go out: a decision for each block that an inner node sends.
//!
//! Seven steps, in this order (a block of another producer passes before all of them):
//!
//! 1. Its id is known public: **pass**, once per outer peer.
//! 2. It is history: **pass** without a claim. That is what is at or below the last irreversible block that this leg's own node has told, or,
//!    if it is absurdly old, this leg's outer peer. The node's word is the one that counts for a peer that syncs, which asks for what is
//!    above what it has; it can't cover a private fork, which never becomes irreversible while others have enough of the schedule. The outer
//!    peer's isn't enough for a recent block: a node that was frozen makes its next one on an old head, with a number that
//!    has long been irreversible outside and a slot that somebody else is about to win. And what is known to have lost is no history,
//!    whatever anybody tells.
//! 3. Its slot is too far in the future, or absurdly old: suppress, and alarm.
//! 4. Its parent is not public: suppress, **tainted**.
//! 5. The slot is free, number and slot are above the last published of this producer: claim it, pass, **win**.
//! 6. The claim holds this id: pass, **same**, once per outer peer.
//! 7. Else suppress, **lost**.
//!
//! Claims may be kept elsewhere and take time to ask, so the decision has two halves: [`Egress::before_claim`] ends before step 5, and with a
//! question if it comes to that; [`Egress::after_claim`] gets the answer, or that there is none. Between the two halves of one
//! block others may be decided, those of the same leg aside, which come in their order.
//!
//! **Once per outer peer** means until it asks: what a peer requests it gets, though it was sent before. Nodes do drop blocks.
//!
//! **Public** is what any outer peer has sent, or named as its head or last irreversible block, and what we have passed or found claimed by
//! another relay. There is no chain and no signature here: outer peers are believed, which is why they are to be the operator's own.
//!
//! **Rank**: stickiness comes by itself, as who wins the first slot in which nodes differ has the only public parent. Where one node is to be
//! preferred, the others' first block of a round waits some milliseconds for its one.
//!
//! **After a start** nothing is public before an outer peer has told its head. Nor is anything claimed at or below that head until something
//! of ours has been published: what was let out before a restart, with claims that went with the process, is there.
//!
//! **Bounds**: the [`PUBLIC_KEPT`] highest public ids, of which the highest 240 would be the 120 seconds that nodes need to come back; the winners of each
//! producer's [`SLOTS_KEPT`] highest slots; [`DEAD_KEPT`] blocks that lost; for each leg [`SENT_KEPT`] ids.

mod hear;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_antelope::{Header, Id, Name, Slot};

use crate::claims::{Answer, Bid, Key, Published, Unavailable};
use crate::highest::Highest;
use crate::{Pass, Suppress, Verdict};

pub use hear::Double;

/// Public ids that are kept, the highest: 34 minutes of blocks.
pub const PUBLIC_KEPT: usize = 4096;
/// Slots of a producer of which the public block is kept, the highest.
pub const SLOTS_KEPT: usize = 512;
/// Blocks that are kept for having lost, or having one that lost before them; the highest.
pub const DEAD_KEPT: usize = 1024;
/// Ids that are kept for having been sent to an outer peer, the highest.
pub const SENT_KEPT: usize = 512;

/// A leg, by a number that no other leg of this process has or had: one inner connection with its outer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg(pub u64);

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whose blocks are decided about.
    pub producers: BTreeSet<Name>,
    /// How long before its slot a block may come. Nodes send the last ones of a round early: 0.6 s by default, 1.2 s with
    /// `cpu-effort-percent` 80.
    pub early: Duration,
    /// How long after its slot; well under [`CLAIM_TTL`](crate::claims::CLAIM_TTL).
    pub late: Duration,
    /// How long a leg's first block of a round waits for one of a leg with a better rank.
    pub rank_hold: Duration,
    /// Whether blocks go out while claims can't be asked. With two relays that risks two blocks for a slot.
    pub fail_open: bool,
}

impl Rules {
    /// Those for some producers, with what is usual.
    #[must_use]
    pub fn of(producers: impl IntoIterator<Item = Name>) -> Self {
        Self {
            producers: producers.into_iter().collect(),
            early: Duration::from_millis(1500),
            late: Duration::from_secs(60),
            rank_hold: Duration::from_millis(30),
            fail_open: false,
        }
    }
}

/// What is decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Who made it.
    pub producer: Name,
    /// For when.
    pub slot: Slot,
    /// Its id, which begins with its number.
    pub id: Id,
    /// Its parent's.
    pub previous: Id,
}

impl From<&Header<'_>> for Block {
    fn from(header: &Header<'_>) -> Self {
        Self { producer: header.producer, slot: header.slot, id: header.id(), previous: header.previous }
    }
}

impl Block {
    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.id.block_num()
    }
}

/// What is next for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// That is all.
    Settled(Verdict),
    /// Wait for so long, or until another block of its slot has been decided about, then [`Egress::before_claim`] again.
    Hold(Duration),
    /// The claims have to be asked, then [`Egress::after_claim`]; twice at most.
    Claim(Bid),
}

/// The decision for one chain.
#[derive(Clone, Debug)]
pub struct Egress {
    chain: Id,
    rules: Rules,
    /// With each whether it was seen outside, and not only let out by us.
    public: Highest<Id, bool, PUBLIC_KEPT>,
    /// Blocks that can never become public: they lost, or a parent of theirs did.
    dead: Highest<Id, (), DEAD_KEPT>,
    ours: BTreeMap<Name, Ours>,
    legs: BTreeMap<Leg, Told>,
    /// The highest head told by an outer peer before anything of ours was published.
    floor: u32,
}

/// What is known of one of our producers.
#[derive(Clone, Debug, Default)]
struct Ours {
    slots: Highest<Slot, Id, SLOTS_KEPT>,
    latest: Option<Published>,
}

/// What is known of a leg.
#[derive(Clone, Debug, Default)]
struct Told {
    /// The highest last irreversible block that its outer peer has told.
    outer: u32,
    /// And its inner node.
    inner: u32,
    /// Whether the outer peer has told its head.
    greeted: bool,
    rank: u8,
    /// The block that waits for a better leg's, and since when.
    held: Option<(Id, SystemTime)>,
    /// What the outer peer got by us since it last asked for something.
    sent: Highest<Id, (), SENT_KEPT>,
}

impl Egress {
    /// A decision for a chain of which nothing is known.
    #[must_use]
    pub fn new(chain: Id, rules: Rules) -> Self {
        let ours = rules.producers.iter().map(|producer| (*producer, Ours::default())).collect();
        Self {
            chain,
            rules,
            public: Highest::default(),
            dead: Highest::default(),
            ours,
            legs: BTreeMap::new(),
            floor: 0,
        }
    }

    /// Other rules from now on, for the same producers.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = Rules { producers: std::mem::take(&mut self.rules.producers), ..rules };
    }

    /// The first half: steps 1 to 4. `now` is the time of day.
    pub fn before_claim(&mut self, leg: Leg, block: &Block, now: SystemTime) -> Step {
        let Some(ours) = self.ours.get(&block.producer) else {
            return Step::Settled(Verdict::Pass(Pass::Other));
        };
        if let Some(known) = self.known(block) {
            return Step::Settled(self.once(leg, block, known));
        }
        let doom = self.doom(block, ours);
        let untimely = self.untimely(block.slot, now);
        if doom.is_none() && self.is_history(leg, block, untimely) {
            return Step::Settled(Verdict::Pass(Pass::History));
        }
        if let Some(untimely) = untimely {
            return Step::Settled(Verdict::Suppress(untimely));
        }
        if let Some(doom) = doom {
            return Step::Settled(self.bury(block, doom));
        }
        if let Some(wait) = self.hold(leg, block, now) {
            return Step::Hold(wait);
        }
        Step::Claim(Bid {
            key: Key { chain: self.chain, producer: block.producer, slot: block.slot },
            id: block.id,
            previous: block.previous,
            parent_public: self.public.has(&block.previous),
            may_win: self.comes_after(block) && block.number() > self.floor,
        })
    }

    /// The second half, with what came of the bid: steps 4 to 7.
    pub fn after_claim(
        &mut self,
        leg: Leg,
        block: &Block,
        bid: &Bid,
        answer: Result<Answer, Unavailable>,
    ) -> Step {
        let parent_public = self.public.has(&block.previous);
        if answer == Ok(Answer::Orphan) && parent_public && !bid.parent_public {
            // It has come in meanwhile.
            return Step::Claim(Bid { parent_public, ..*bid });
        }
        Step::Settled(self.settle(leg, block, bid, answer))
    }

    fn settle(&mut self, leg: Leg, block: &Block, bid: &Bid, answer: Result<Answer, Unavailable>) -> Verdict {
        let Some(ours) = self.ours.get(&block.producer) else { return Verdict::Pass(Pass::Other) };
        // While the claims were asked it came in by another leg, or from outside.
        if let Some(known) = self.known(block) {
            return self.once(leg, block, known);
        }
        // Or another one did for its slot, from somebody who doesn't ask these claims.
        if let Some(doom) = self.doom(block, ours) {
            return self.bury(block, doom);
        }
        match answer {
            Ok(Answer::Granted) => self.publish(leg, block, Pass::Win),
            Ok(Answer::Same) => self.publish(leg, block, Pass::Same),
            Ok(Answer::Orphan) => Verdict::Suppress(Suppress::Tainted),
            Ok(Answer::Lost(Some(winner))) => {
                self.let_out(block.producer, block.slot, winner);
                self.bury(block, Suppress::Lost { winner: Some(winner) })
            }
            // Not for good where only the floor is in its way: somebody who has been up for longer may know better.
            Ok(Answer::Lost(None)) if !bid.may_win && self.comes_after(block) => {
                Verdict::Suppress(Suppress::Lost { winner: None })
            }
            Ok(Answer::Lost(None)) => self.bury(block, Suppress::Lost { winner: None }),
            Err(_) if !self.rules.fail_open => Verdict::Suppress(Suppress::Closed),
            Err(_) if !self.public.has(&block.previous) => Verdict::Suppress(Suppress::Tainted),
            // Again, as it may have changed.
            Err(_) if !bid.may_win || !self.comes_after(block) => {
                Verdict::Suppress(Suppress::Lost { winner: None })
            }
            Err(_) => self.publish(leg, block, Pass::Open),
        }
    }

    /// Takes in what a producer has published last, by the word of shared claims.
    pub fn published(&mut self, producer: Name, latest: Published) {
        if let Some(ours) = self.ours.get_mut(&producer) {
            ours.latest = Some(Published::and(ours.latest, latest.number, latest.slot));
        }
    }

    /// There is a new leg. Blocks of one that was never opened, or is closed, are decided as if its peers had told nothing.
    pub fn opened(&mut self, leg: Leg) {
        self.legs.insert(leg, Told::default());
    }

    /// Ranks a leg; the lowest is the best, and 0 what it has by itself. Who wins a round's first differing slot has the round, so that takes hold
    /// with the next one.
    pub fn ranked(&mut self, leg: Leg, rank: u8) {
        if let Some(told) = self.legs.get_mut(&leg) {
            told.rank = rank;
        }
    }

    /// Forgets a leg that is gone.
    pub fn closed(&mut self, leg: Leg) {
        self.legs.remove(&leg);
    }

    /// How many ids are kept, of whatever kind.
    #[must_use]
    pub fn kept(&self) -> usize {
        let slots: usize = self.ours.values().map(|ours| ours.slots.len()).sum();
        let sent: usize = self.legs.values().map(|told| told.sent.len()).sum();
        self.public.len() + self.dead.len() + slots + sent
    }

    /// Whether a block is known to be public.
    #[must_use]
    pub fn is_public(&self, id: &Id) -> bool {
        self.public.has(id)
    }

    fn known(&self, block: &Block) -> Option<Pass> {
        self.public.get(&block.id).map(|outside| if *outside { Pass::Public } else { Pass::Same })
    }

    /// Step 2.
    fn is_history(&self, leg: Leg, block: &Block, untimely: Option<Suppress>) -> bool {
        self.legs.get(&leg).is_some_and(|told| {
            let old = untimely == Some(Suppress::Old);
            block.number() <= told.inner || old && block.number() <= told.outer
        })
    }

    /// Step 3.
    fn untimely(&self, slot: Slot, now: SystemTime) -> Option<Suppress> {
        match begins(slot).duration_since(now) {
            Ok(ahead) if ahead > self.rules.early => Some(Suppress::Future),
            Err(ago) if ago.duration() > self.rules.late => Some(Suppress::Old),
            _ => None,
        }
    }

    /// How long a block has to wait for that of a better leg, which may be no other.
    fn hold(&mut self, leg: Leg, block: &Block, now: SystemTime) -> Option<Duration> {
        let best = self.legs.values().map(|told| told.rank).min()?;
        let told = self.legs.get_mut(&leg)?;
        if block.slot.position() != 0 || told.rank <= best {
            return None;
        }
        let since = match told.held {
            Some((id, since)) if id == block.id => since,
            _ => {
                told.held = Some((block.id, now));
                now
            }
        };
        // A clock that was set back holds nothing up.
        let waited = now.duration_since(since).ok()?;
        self.rules.rank_hold.checked_sub(waited).filter(|left| !left.is_zero())
    }

    /// Why a block can't become public, if that is sure without the claims: its slot is another's, or that of a block before it is.
    fn doom(&self, block: &Block, ours: &Ours) -> Option<Suppress> {
        let winner = ours.slots.get(&block.slot).copied().filter(|winner| *winner != block.id);
        let lost = winner.is_some() || self.dead.has(&block.id);
        match self.public.has(&block.previous) {
            true => lost.then_some(Suppress::Lost { winner }),
            false => (lost || self.dead.has(&block.previous)).then_some(Suppress::Tainted),
        }
    }

    fn comes_after(&self, block: &Block) -> bool {
        let latest = self.ours.get(&block.producer).and_then(|ours| ours.latest);
        latest.is_none_or(|latest| latest.is_below(block.number(), block.slot))
    }

    /// Suppressed for good.
    fn bury(&mut self, block: &Block, why: Suppress) -> Verdict {
        self.dead.insert(block.id, ());
        Verdict::Suppress(why)
    }

    fn publish(&mut self, leg: Leg, block: &Block, why: Pass) -> Verdict {
        self.let_out(block.producer, block.slot, block.id);
        self.once(leg, block, why)
    }

    /// A block of ours is out.
    fn let_out(&mut self, producer: Name, slot: Slot, id: Id) {
        if !self.public.has(&id) {
            self.public.insert(id, false);
        }
        if let Some(ours) = self.ours.get_mut(&producer) {
            ours.slots.insert(slot, id);
            ours.latest = Some(Published::and(ours.latest, id.block_num(), slot));
        }
    }

    /// Once per outer peer.
    fn once(&mut self, leg: Leg, block: &Block, why: Pass) -> Verdict {
        let Some(told) = self.legs.get_mut(&leg) else { return Verdict::Pass(why) };
        if told.sent.has(&block.id) {
            return Verdict::Suppress(Suppress::Copy);
        }
        told.sent.insert(block.id, ());
        Verdict::Pass(why)
    }
}

/// The time of day at which a slot begins.
pub(crate) fn begins(slot: Slot) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(slot.unix_millis())
}

#[cfg(test)]
mod tests;

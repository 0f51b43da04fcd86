//! What became of a round of the producer whose blocks two nodes make: what each of them made, what reached the public side, and what is
//! on the chain there.

use std::collections::BTreeMap;
use std::fmt;

use crate::nodeos::chain::Block;
use crate::nodeos::frames::Header;
use crate::nodeos::key::hex;
use crate::nodeos::tap::{Passed, Tap, Way, made};
use crate::{Result, ensure};

/// Slots of a round.
pub const ROUND: u32 = 12;

/// One slot of a round.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// The block that each node made.
    pub made: [Option<Header>; 2],
    /// The block that reached the public side.
    pub public: Option<[u8; 32]>,
    /// Whether it is on the public chain.
    pub kept: bool,
}

/// A whole round.
#[derive(Clone, Debug)]
pub struct Round {
    /// Its first slot.
    pub first: u32,
    /// Its slots.
    pub slots: Vec<Slot>,
}

impl Round {
    /// Puts together what was seen of the round from slot `first` on. `inner`: the taps of each node. `outer`: those on the public side.
    pub(crate) fn of(first: u32, producer: u64, inner: [&[&Tap]; 2], outer: &[&Tap]) -> Round {
        let mut slots = vec![Slot::default(); ROUND as usize];
        for (node, taps) in inner.into_iter().enumerate() {
            for Passed { block, .. } in made(taps) {
                if let (true, Some(at)) = (block.producer == producer, place(first, block.slot)) {
                    slots[at].made[node].get_or_insert(block);
                }
            }
        }
        for Passed { block, .. } in outward(producer, outer) {
            if let Some(at) = place(first, block.slot) {
                slots[at].public.get_or_insert(block.id);
            }
        }
        Round { first, slots }
    }

    /// Looks which blocks the public chain has.
    pub(crate) fn on(&mut self, chain: &[Block]) -> Result<()> {
        for block in chain {
            if let Some(at) = place(self.first, block.slot) {
                let slot = &mut self.slots[at];
                slot.kept = slot.public.is_some_and(|id| hex(&id) == block.id);
                ensure!(
                    slot.kept,
                    "position {at}: the public chain has {block:?}, which nobody has seen come"
                );
            }
        }
        Ok(())
    }

    /// How many slots have a block on the public chain.
    pub fn filled(&self) -> usize {
        self.slots.iter().filter(|slot| slot.kept).count()
    }

    /// The positions that have none.
    pub fn gaps(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|at| !self.slots[*at].kept).collect()
    }

    /// How many blocks this node made.
    pub fn made(&self, node: usize) -> usize {
        self.slots.iter().filter(|slot| slot.made[node].is_some()).count()
    }

    /// The first position where the nodes made different blocks.
    pub fn parted(&self) -> Option<usize> {
        self.slots.iter().position(|slot| match slot.made {
            [Some(one), Some(other)] => one.id != other.id,
            _ => false,
        })
    }

    /// The node whose block reached the public side where the nodes parted.
    pub fn winner(&self) -> Option<usize> {
        let slot = &self.slots[self.parted()?];
        let public = slot.public?;
        slot.made.iter().position(|made| made.is_some_and(|made| made.id == public))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} slots, made {} and {}",
            self.filled(),
            self.slots.len(),
            self.made(0),
            self.made(1)
        )?;
        match self.parted() {
            Some(at) => write!(f, ", different from position {at} on")?,
            None => write!(f, ", all the same")?,
        }
        match self.gaps().as_slice() {
            [] => Ok(()),
            gaps => write!(f, ", gaps at {gaps:?}"),
        }
    }
}

/// The slots of `producer` of which a block has reached the public side.
pub(crate) fn public_slots(producer: u64, outer: &[&Tap]) -> Vec<u32> {
    outward(producer, outer).map(|passed| passed.block.slot).collect()
}

/// Fails where two blocks for one slot of `producer` have ever reached the public side, on whatever connection. Gives how many slots
/// there were.
///
/// # Errors
/// If so.
pub fn one_block_a_slot(producer: u64, outer: &[&Tap]) -> Result<usize> {
    let mut slots: BTreeMap<u32, [u8; 32]> = BTreeMap::new();
    for Passed { block, .. } in outward(producer, outer) {
        let known = *slots.entry(block.slot).or_insert(block.id);
        ensure!(
            known == block.id,
            "two blocks for slot {} (position {}) reached the public side: {} and {}",
            block.slot,
            block.slot % ROUND,
            hex(&known),
            hex(&block.id)
        );
    }
    Ok(slots.len())
}

/// The position of a slot in the round from slot `first` on.
fn place(first: u32, slot: u32) -> Option<usize> {
    slot.checked_sub(first).filter(|at| *at < ROUND).map(|at| at as usize)
}

fn outward(producer: u64, outer: &[&Tap]) -> impl Iterator<Item = Passed> {
    let all = outer.iter().flat_map(|tap| tap.blocks());
    all.filter(move |passed| passed.way == Way::Up && passed.block.producer == producer)
}

//! The clock of slots: which slot a timestamp is in, and whether a consensus client (CL) can have got there yet.
//!
//! Everything is whole seconds since the Unix epoch, as in payloads. A block's timestamp is the start of its slot
//! (`compute_time_at_slot` of the consensus specs). Timestamps come from strangers, so each of the 2^64 is fine.
//!
//! Where the network isn't known the clock is [`Learned`] from the blocks of the execution clients (EL): their timestamps
//! tell where in the minute slots begin. Slots are then numbered from 1970 on; to compare CLs that does as well.

use std::collections::VecDeque;
use std::num::NonZeroU64;

/// Seconds of a slot where nothing else is said.
pub const SECONDS_PER_SLOT: NonZeroU64 = NonZeroU64::new(12).expect("not zero");

/// Timestamps that a learned clock goes by.
const KEPT: usize = 33;

/// A clock of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    genesis: u64,
    length: NonZeroU64,
}

/// Networks whose clock is known: name, genesis time, seconds per slot. The times are those of the genesis states
/// (`MIN_GENESIS_TIME` and `GENESIS_DELAY` of a network's `config.yaml` give them for Hoodi and Sepolia).
const NETWORKS: [(&str, u64, u64); 4] = [
    ("mainnet", 1_606_824_023, 12),
    ("hoodi", 1_742_213_400, 12),
    ("sepolia", 1_655_733_600, 12),
    ("gnosis", 1_638_993_340, 5),
];

impl Slots {
    /// Slots of `length` seconds from `genesis` (seconds since the Unix epoch) on.
    #[must_use]
    pub const fn new(genesis: u64, length: NonZeroU64) -> Self {
        Self { genesis, length }
    }

    /// The clock of a network by name, one of [`Slots::networks`].
    #[must_use]
    pub fn of(network: &str) -> Option<Self> {
        let (_, genesis, length) = NETWORKS.into_iter().find(|(name, ..)| *name == network)?;
        Some(Self::new(genesis, NonZeroU64::new(length)?))
    }

    /// The networks whose clock is known.
    pub fn networks() -> impl Iterator<Item = &'static str> {
        NETWORKS.into_iter().map(|(name, ..)| name)
    }

    /// When slot 0 begins, in seconds since the Unix epoch.
    #[must_use]
    pub const fn genesis(&self) -> u64 {
        self.genesis
    }

    /// Seconds of a slot.
    #[must_use]
    pub const fn length(&self) -> NonZeroU64 {
        self.length
    }

    /// The slot that this time is in; 0 before genesis.
    #[must_use]
    pub const fn at(&self, seconds: u64) -> u64 {
        seconds.saturating_sub(self.genesis) / self.length.get()
    }

    /// When a slot begins, in seconds since the Unix epoch; the end of time for slots beyond it.
    #[must_use]
    pub const fn start(&self, slot: u64) -> u64 {
        self.genesis.saturating_add(slot.saturating_mul(self.length.get()))
    }
}

/// Whether a CL may speak of `slot` while the clock is in slot `clock`: at most one ahead, since clocks differ and a CL
/// has the next slot's block built before it begins.
#[must_use]
pub const fn believable(slot: u64, clock: u64) -> bool {
    slot <= clock.saturating_add(1)
}

/// A clock learned from timestamps of blocks, for slots of a known length.
///
/// The start of slots is where most of the latest different timestamps lie: a few that don't fit (the genesis block of an
/// EL, an EL of another chain, nonsense) don't move it, and one block told often counts once.
#[derive(Clone, Debug)]
pub struct Learned {
    length: NonZeroU64,
    timestamps: VecDeque<u64>,
    phase: Option<u64>,
}

impl Learned {
    /// Nothing learned yet of slots of `length` seconds.
    #[must_use]
    pub const fn new(length: NonZeroU64) -> Self {
        Self { length, timestamps: VecDeque::new(), phase: None }
    }

    /// Takes the timestamp of a block that an EL has.
    pub fn take(&mut self, timestamp: u64) {
        if self.timestamps.contains(&timestamp) {
            return;
        }
        if self.timestamps.len() == KEPT {
            self.timestamps.pop_front();
        }
        self.timestamps.push_back(timestamp);
        let votes = |phase: u64| self.timestamps.iter().filter(|t| **t % self.length == phase).count();
        let stands = self.phase.map_or(0, votes);
        let best = self.timestamps.iter().map(|t| *t % self.length).max_by_key(|phase| votes(*phase));
        // In a tie what stands stays.
        if let Some(best) = best.filter(|best| votes(*best) > stands) {
            self.phase = Some(best);
        }
    }

    /// The clock. Before anything was learned slots are counted from 1970, which is wrong by less than one slot.
    #[must_use]
    pub fn slots(&self) -> Slots {
        Slots::new(self.phase.unwrap_or(0), self.length)
    }

    /// Whether anything was learned.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.phase.is_some()
    }
}

#[cfg(test)]
mod tests;

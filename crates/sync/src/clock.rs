//! The time of day, and the slot that it is in.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::config::SlotClock;
use crate::leader::Now;
use crate::slots::Slots;

/// Where the time of day comes from: the system, or a simulation.
pub type Wall = fn() -> SystemTime;

/// The clock of slots as far as it is known.
#[derive(Debug)]
pub(crate) struct Clock {
    wall: Wall,
    slots: SlotClock,
}

impl Clock {
    pub(crate) fn new(wall: Wall, slots: SlotClock) -> Self {
        Self { wall, slots }
    }

    pub(crate) fn slots(&self) -> Slots {
        match &self.slots {
            SlotClock::Known(slots) => *slots,
            SlotClock::Learned(learned) => learned.slots(),
        }
    }

    /// The execution clients have a block of this time.
    pub(crate) fn learn(&mut self, timestamp: u64) {
        if let SlotClock::Learned(learned) = &mut self.slots {
            learned.take(timestamp);
        }
    }

    /// Whether the time of a block is worth asking for.
    pub(crate) fn wants_blocks(&self) -> bool {
        matches!(&self.slots, SlotClock::Learned(learned) if !learned.is_known())
    }

    pub(crate) fn now(&self) -> Now {
        let seconds = (self.wall)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { at: Instant::now().into_std(), slot: self.slots().at(seconds) }
    }
}

//! Which slots have blocks.

use std::fmt;
use std::time::Duration;

use crate::lodestar::{BeaconBlock, Lodestar};
use crate::{Result, ensure, until};

/// What became of a row of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The first slot looked at.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// Those without a block.
    pub missed: Vec<u64>,
}

impl Slots {
    /// How many slots these are.
    pub fn count(&self) -> u64 {
        self.last + 1 - self.first
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slots {} to {}: ", self.first, self.last)?;
        if self.missed.is_empty() {
            write!(f, "a block in each")
        } else {
            write!(f, "missed {:?}", self.missed)
        }
    }
}

/// Waits until slot `last` is over and looks which slots from `first` to `last` have no block.
///
/// # Errors
/// If Lodestar does not answer.
pub async fn slots(lodestar: &Lodestar, first: u64, last: u64) -> Result<Slots> {
    tokio::time::sleep(lodestar.time_to(last + 1)).await;
    let mut missed = Vec::new();
    for slot in first..=last {
        if lodestar.block(slot).await?.is_none() {
            missed.push(slot);
        }
    }
    Ok(Slots { first, last, missed })
}

/// Watches the next `count` whole slots and fails where one of them has no block.
///
/// # Errors
/// If a slot is missed or Lodestar does not answer.
pub async fn no_slot_missed(lodestar: &Lodestar, count: u64, during: &str) -> Result<Slots> {
    let first = lodestar.now() + 1;
    let slots = slots(lodestar, first, first + count - 1).await?;
    ensure!(slots.missed.is_empty(), "{during}: {slots}");
    Ok(slots)
}

/// Waits for a block in a slot after `slot`.
///
/// # Errors
/// If there is none before `limit` slots have passed.
pub async fn block_after(lodestar: &Lodestar, slot: u64, limit: u32) -> Result<BeaconBlock> {
    let time = lodestar.time_to(slot + 1) + lodestar.slot() * limit + Duration::from_millis(500);
    until(&format!("a block after slot {slot}"), time, async || {
        Ok(Some(lodestar.head().await?).filter(|head| head.slot > slot))
    })
    .await
}

//! What a long run has cost: slots of the producer that nobody filled, and what harm looks like at the nodes themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::nodeos::Nodeos;
use crate::nodeos::devnet::{Devnet, PRODUCER};
use crate::nodeos::frames::{GO_AWAY, HANDSHAKE, REQUEST, SYNC_REQUEST};
use crate::nodeos::round::ROUND;
use crate::nodeos::tap::Tap;
use crate::{Result, ensure};

/// In nodeos's log, and what it is called here.
const LINES: [(&str, &str); 4] = [
    ("switching forks", "forks"),
    ("unlinkable", "unlinkable"),
    ("dropped incoming block", "dropped"),
    ("error ", "errors"),
];

/// The tolls of a run since some slot.
#[derive(Debug)]
pub struct Toll {
    /// Slots of the producer in rounds that are over.
    pub slots: u32,
    /// Those of them that have no block on the public chain.
    pub missed: u32,
    /// Blocks of the producer that reached the public side, and that the public chain doesn't have.
    pub orphans: usize,
    /// Of each node what its log tells, and what it has sent.
    pub nodes: Vec<(String, BTreeMap<&'static str, u64>)>,
}

impl Toll {
    /// Since the round from slot `first` on. No slot had two public blocks, and each block of the public chain came by way of the taps.
    ///
    /// # Errors
    /// If that isn't so, or the public node or the logs can't be read.
    pub async fn since(net: &Devnet, first: u32) -> Result<Toll> {
        net.one_block_a_slot()?;
        let chain = net.public.chain().since(first).await?;
        let Some(last) = chain.last() else { return Err(crate::Failure::new("no blocks")) };
        let cycles = (last.slot - first) / (ROUND * 5);
        let is_ours = |slot: u32| {
            slot >= first && (slot - first) / (ROUND * 5) < cycles && (slot - first) % (ROUND * 5) < ROUND
        };
        let mut kept = BTreeSet::new();
        for block in chain.iter().filter(|block| block.producer == PRODUCER && is_ours(block.slot)) {
            ensure!(kept.insert(block.slot), "the public chain has slot {} twice", block.slot);
        }
        let passed: BTreeSet<u32> = net.public_slots().into_iter().filter(|slot| is_ours(*slot)).collect();
        ensure!(kept.is_subset(&passed), "the public chain has a block of ours that nobody has seen come");
        let mut nodes = Vec::new();
        for node in [&net.public, &net.sentry] {
            nodes.push((node.name().to_owned(), lines(node)?));
        }
        for (node, taps) in net.nodes.iter().zip(&net.inner) {
            let mut counts = lines(node)?;
            counts.extend(sent(taps));
            nodes.push((node.name().to_owned(), counts));
        }
        let slots = cycles * ROUND;
        let missed = slots - u32::try_from(kept.len())?;
        Ok(Toll { slots, missed, orphans: passed.len() - kept.len(), nodes })
    }
}

/// What the node's log tells.
fn lines(node: &Nodeos) -> Result<BTreeMap<&'static str, u64>> {
    let log = std::fs::read(node.log())?;
    let log = String::from_utf8_lossy(&log);
    let count = |word: &str| log.lines().filter(|line| line.contains(word)).count() as u64;
    Ok(LINES.iter().map(|(word, name)| (*name, count(word))).collect())
}

/// What the node has sent.
fn sent(taps: &[Tap]) -> BTreeMap<&'static str, u64> {
    let sum = |of: &dyn Fn(&Tap) -> u32| taps.iter().map(|tap| u64::from(of(tap))).sum();
    BTreeMap::from([
        ("connections", sum(&Tap::connections)),
        ("handshakes", sum(&|tap| tap.sent(HANDSHAKE))),
        ("go_aways", sum(&|tap| tap.sent(GO_AWAY))),
        ("requests", sum(&|tap| tap.sent(REQUEST))),
        ("sync_requests", sum(&|tap| tap.sent(SYNC_REQUEST))),
    ])
}

impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slots, {} missed, {} public and not kept", self.slots, self.missed, self.orphans)?;
        for (name, counts) in &self.nodes {
            write!(f, "\n  {name}:")?;
            for (what, count) in counts {
                write!(f, " {what} {count}")?;
            }
        }
        Ok(())
    }
}

//! The blocks that one execution client knows, bounded by number and bytes.

use std::collections::{HashMap, VecDeque};

use crate::chain::{Block, Hash};

/// What a client thinks of a block whose parent it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    Valid,
    /// With the hash of its nearest valid ancestor.
    Invalid {
        latest_valid: Hash,
    },
}

#[derive(Debug)]
struct Known {
    block: Block,
    worth: Worth,
}

/// Known blocks, of which the oldest arrivals go first.
#[derive(Debug)]
pub(crate) struct Store {
    blocks: HashMap<Hash, Known>,
    arrivals: VecDeque<Hash>,
    bytes: usize,
    most_blocks: usize,
    most_bytes: usize,
}

impl Store {
    pub(crate) fn new(most_blocks: usize, most_bytes: usize) -> Store {
        Store { blocks: HashMap::new(), arrivals: VecDeque::new(), bytes: 0, most_blocks, most_bytes }
    }

    pub(crate) fn get(&self, hash: Hash) -> Option<&Block> {
        self.blocks.get(&hash).map(|known| &known.block)
    }

    pub(crate) fn worth(&self, hash: Hash) -> Option<Worth> {
        self.blocks.get(&hash).map(|known| known.worth)
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Adds a block; drops the oldest ones over the limits, but none of `keep`.
    pub(crate) fn add(&mut self, block: Block, worth: Worth, keep: &[Hash]) {
        let hash = block.hash;
        let size = block.payload.len();
        if self.blocks.insert(hash, Known { block, worth }).is_some() {
            return;
        }
        self.arrivals.push_back(hash);
        self.bytes += size;
        // Each arrival is looked at once at most, so kept ones can't make this spin.
        for _ in 0..self.arrivals.len() {
            if self.blocks.len() <= self.most_blocks && self.bytes <= self.most_bytes {
                break;
            }
            let Some(oldest) = self.arrivals.pop_front() else {
                break;
            };
            if oldest == hash || keep.contains(&oldest) {
                self.arrivals.push_back(oldest);
            } else if let Some(gone) = self.blocks.remove(&oldest) {
                self.bytes -= gone.block.payload.len();
            }
        }
    }

    /// `head` and its known ancestors, newest first.
    pub(crate) fn line(&self, head: Hash) -> impl Iterator<Item = &Block> {
        std::iter::successors(self.get(head), |block| self.get(block.parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;

    #[test]
    fn it_drops_the_oldest_but_never_what_is_kept() {
        let mut chain = Chain::new(1);
        let first = chain.tip().clone();
        let mut store = Store::new(4, usize::MAX);
        store.add(first.clone(), Worth::Valid, &[]);
        for block in chain.grow_by(10) {
            store.add(block, Worth::Valid, &[first.hash]);
        }
        assert_eq!(store.len(), 4);
        assert!(store.get(first.hash).is_some());
        let numbers: Vec<u64> = store.line(chain.tip().hash).map(|b| b.number).collect();
        assert_eq!(numbers, [10, 9, 8]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut chain = Chain::new(1);
        let size = chain.tip().payload.len();
        let mut store = Store::new(100, size * 3);
        for block in chain.grow_by(10) {
            store.add(block, Worth::Valid, &[]);
        }
        assert!(store.len() <= 3 && store.len() >= 2, "{}", store.len());
    }
}

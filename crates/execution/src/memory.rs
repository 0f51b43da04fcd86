//! Who said INVALID of which block: what keeps a fast answer from becoming an unsafe one.
//!
//! A reply that comes after the consensus client got its VALID is kept here; the next forkchoiceUpdated to that head, or
//! newPayload of that block, is then answered SYNCING. So are those of blocks that build on it: VALID of a block says VALID of all
//! that it builds on. For the same reason a node takes its word back by saying VALID of the block or of a later one on it. It
//! loses its say when it loses its vote (see [`crate::standing`]).
//!
//! Where a *line* is asked for it is a block and those that it builds on ([`crate::blocks::Blocks::line`]).

use std::collections::{HashMap, VecDeque};

/// Blocks kept.
const LIMIT: usize = 256;

/// INVALID by block hash. Bounded: the oldest block is forgotten first.
#[derive(Debug, Default)]
pub struct InvalidMemory {
    by_block: HashMap<String, Vec<u64>>,
    order: VecDeque<String>,
}

impl InvalidMemory {
    /// `node` said INVALID of `block`.
    pub fn say(&mut self, block: &str, node: u64) {
        if let Some(nodes) = self.by_block.get_mut(block) {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
            return;
        }
        if self.order.len() == LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_block.remove(&oldest);
        }
        self.order.push_back(block.to_owned());
        self.by_block.insert(block.to_owned(), vec![node]);
    }

    /// `node` said VALID of the first block of `line`.
    pub fn take_back<'a>(&mut self, line: impl Iterator<Item = &'a str>, node: u64) {
        for block in line {
            let Some(nodes) = self.by_block.get_mut(block) else { continue };
            nodes.retain(|n| *n != node);
            if nodes.is_empty() {
                self.by_block.remove(block);
                self.order.retain(|b| b != block);
            }
        }
    }

    /// Who said INVALID of a block of `line` and didn't take it back. A node may come more than once.
    #[must_use]
    pub fn objectors<'a>(&self, line: impl Iterator<Item = &'a str>) -> Vec<u64> {
        line.filter_map(|block| self.by_block.get(block)).flatten().copied().collect()
    }

    /// Whether nothing is held against any block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_block.is_empty()
    }

    /// Forgets everything that `node` said.
    pub fn forget_node(&mut self, node: u64) {
        self.by_block.retain(|_, nodes| {
            nodes.retain(|n| *n != node);
            !nodes.is_empty()
        });
        let by_block = &self.by_block;
        self.order.retain(|block| by_block.contains_key(block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(memory: &InvalidMemory, line: &[&str]) -> Vec<u64> {
        memory.objectors(line.iter().copied())
    }

    #[test]
    fn said_taken_back_forgotten() {
        let mut memory = InvalidMemory::default();
        assert!(memory.is_empty());
        memory.say("0xa", 1);
        memory.say("0xa", 2);
        memory.say("0xb", 1);
        assert_eq!((said(&memory, &["0xa"]), said(&memory, &["0xb"])), (vec![1, 2], vec![1]));
        memory.take_back(["0xa"].into_iter(), 1);
        assert_eq!(said(&memory, &["0xa"]), [2]);
        memory.forget_node(2);
        assert_eq!((said(&memory, &["0xa"]), said(&memory, &["0xb"])), (vec![], vec![1]));
        assert_eq!(memory.order.len(), memory.by_block.len());
    }

    #[test]
    fn what_is_said_of_a_block_is_said_of_those_on_it_until_one_of_them_is_valid() {
        let mut memory = InvalidMemory::default();
        memory.say("b", 1);
        memory.say("d", 2);
        assert_eq!(said(&memory, &["c", "b", "a"]), [1]);
        assert_eq!(said(&memory, &["e", "d", "c", "b", "a"]), [2, 1]);
        assert!(said(&memory, &["x", "a"]).is_empty(), "another branch");
        memory.take_back(["c", "b", "a"].into_iter(), 1);
        memory.take_back(["c", "b", "a"].into_iter(), 2);
        assert_eq!(said(&memory, &["e", "d", "c", "b", "a"]), [2], "VALID of an ancestor takes nothing back");
        assert_eq!(memory.order.len(), memory.by_block.len());
    }

    #[test]
    fn it_is_bounded() {
        let mut memory = InvalidMemory::default();
        for i in 0..10 * LIMIT {
            memory.say(&i.to_string(), 1);
            memory.say(&i.to_string(), 1);
        }
        assert_eq!(memory.by_block.len(), LIMIT);
        assert_eq!(memory.order.len(), LIMIT);
        let last = (10 * LIMIT - 1).to_string();
        assert_eq!((said(&memory, &[&last]), said(&memory, &["0"])), (vec![1], vec![]));
    }
}

//! Who said INVALID of which block: what keeps a fast answer from becoming an unsafe one.
//!
//! A reply that comes after the consensus client got its VALID is kept here; the next forkchoiceUpdated to that head, or
//! newPayload of that block, is then answered SYNCING. A node takes it back by saying VALID of the block, and loses its say
//! when it loses its vote (see [`crate::standing`]).

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

    /// `node` said VALID of `block`.
    pub fn take_back(&mut self, block: &str, node: u64) {
        let Some(nodes) = self.by_block.get_mut(block) else { return };
        nodes.retain(|n| *n != node);
        if nodes.is_empty() {
            self.by_block.remove(block);
            self.order.retain(|b| b != block);
        }
    }

    /// Whether `node` said INVALID of `block` and didn't take it back.
    #[must_use]
    pub fn said(&self, block: &str, node: u64) -> bool {
        self.by_block.get(block).is_some_and(|nodes| nodes.contains(&node))
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

    #[test]
    fn said_taken_back_forgotten() {
        let mut memory = InvalidMemory::default();
        memory.say("0xa", 1);
        memory.say("0xa", 2);
        memory.say("0xb", 1);
        assert!(memory.said("0xa", 1) && memory.said("0xa", 2) && memory.said("0xb", 1));
        memory.take_back("0xa", 1);
        assert!(!memory.said("0xa", 1) && memory.said("0xa", 2));
        memory.forget_node(2);
        assert!(!memory.said("0xa", 2) && memory.said("0xb", 1));
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
        assert!(memory.said(&(10 * LIMIT - 1).to_string(), 1) && !memory.said("0", 1));
    }
}

//! The truth: all blocks that anybody has made, whoever knows of them.

use bytes::Bytes;
use mainstay_engine::blocks::Payload;

use crate::rng::mix;

/// A block's place in [`Chain`]; the genesis block is 0.
pub type Id = usize;

static ZEROS: [u8; 4096] = [0; 4096];

#[derive(Clone, Debug)]
pub struct Block {
    pub parent: Id,
    pub number: u64,
    pub hash: String,
    /// Whether it keeps the protocol's rules.
    pub sound: bool,
    /// A bit for each EL that wrongly finds it invalid, until that EL is mended.
    pub wronged_by: u32,
    pub size: usize,
}

pub struct Chain {
    blocks: Vec<Block>,
}

impl Chain {
    pub fn new() -> Self {
        let genesis = Block { parent: 0, number: 0, hash: hash(0), sound: true, wronged_by: 0, size: 0 };
        Self { blocks: vec![genesis] }
    }

    pub fn add(&mut self, parent: Id, sound: bool, size: usize) -> Id {
        let id = self.blocks.len();
        let number = self.blocks[parent].number + 1;
        self.blocks.push(Block { parent, number, hash: hash(id), sound, wronged_by: 0, size });
        id
    }

    pub fn get(&self, id: Id) -> &Block {
        &self.blocks[id]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Block {
        &mut self.blocks[id]
    }

    pub fn number(&self, id: Id) -> u64 {
        self.blocks[id].number
    }

    pub fn parent(&self, id: Id) -> Id {
        self.blocks[id].parent
    }

    /// The block with this hash, which only this chain makes.
    pub fn id_of(&self, hash: &str) -> Id {
        let id = usize::from_str_radix(&hash[hash.len() - 8..], 16).unwrap();
        assert_eq!(self.blocks[id].hash, hash, "a hash from nowhere");
        id
    }

    /// From `from` back to the genesis block.
    pub fn back_from(&self, from: Id) -> impl Iterator<Item = Id> + '_ {
        let mut at = Some(from);
        std::iter::from_fn(move || {
            let now = at?;
            at = (now != 0).then(|| self.blocks[now].parent);
            Some(now)
        })
    }

    pub fn is_ancestor(&self, ancestor: Id, of: Id) -> bool {
        let number = self.number(ancestor);
        self.back_from(of).take_while(|b| self.number(*b) >= number).any(|b| b == ancestor)
    }

    pub fn payload(&self, id: Id, method: &str) -> Payload {
        let block = &self.blocks[id];
        Payload {
            hash: block.hash.clone(),
            parent: self.blocks[block.parent].hash.clone(),
            number: block.number,
            method: method.to_owned(),
            request: Bytes::from_static(&ZEROS[..block.size]),
        }
    }

    pub fn len(&self) -> usize {
        self.blocks.len()
    }
}

fn hash(id: Id) -> String {
    format!("0x{:048x}{:08x}{id:08x}", 0, mix(id as u64) >> 32)
}

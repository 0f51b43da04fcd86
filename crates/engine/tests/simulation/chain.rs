//! The truth: all blocks that anybody has made, whoever knows of them.

use std::collections::HashMap;

use bytes::Bytes;
use mainstay_execution::block_hash::{self, Check};

/// A block's place in [`Chain`]; the genesis block is 0.
pub type Id = usize;

#[derive(Clone, Debug)]
pub struct Block {
    pub parent: Id,
    pub number: u64,
    pub hash: String,
    /// Whether it keeps the protocol's rules.
    pub sound: bool,
    /// A bit for each EL that wrongly finds it invalid, until that EL is mended.
    pub wronged_by: u32,
    /// The parameters of its newPayload.
    pub params: Bytes,
}

pub struct Chain {
    blocks: Vec<Block>,
    by_hash: HashMap<String, Id>,
    amsterdam: bool,
}

impl Chain {
    /// `amsterdam`: its blocks are for `engine_newPayloadV5`, else for V4.
    pub fn new(amsterdam: bool) -> Self {
        let mut chain = Self { blocks: Vec::new(), by_hash: HashMap::new(), amsterdam };
        chain.put(0, 0, true, 0);
        chain
    }

    /// A block on `parent` with a transaction of `size` bytes.
    pub fn add(&mut self, parent: Id, sound: bool, size: usize) -> Id {
        let number = self.blocks[parent].number + 1;
        self.put(parent, number, sound, size)
    }

    fn put(&mut self, parent: Id, number: u64, sound: bool, size: usize) -> Id {
        let id = self.blocks.len();
        let zero = format!("0x{}", "0".repeat(64));
        let parent_hash = self.blocks.get(parent).map_or(zero.clone(), |p| p.hash.clone());
        // The hash is not known yet: the engine's own check, which real payloads prove, says what it has to be.
        let params = self.params(id, number, &parent_hash, &zero, size);
        let Check::Mismatch { expected: hash, .. } = block_hash::check(&Bytes::from(params.clone())) else {
            panic!("a block can't be hashed: {params}")
        };
        let params =
            params.replacen(&format!(r#""blockHash":"{zero}""#), &format!(r#""blockHash":"{hash}""#), 1);
        self.by_hash.insert(hash.clone(), id);
        self.blocks.push(Block { parent, number, hash, sound, wronged_by: 0, params: params.into() });
        id
    }

    fn params(&self, id: Id, number: u64, parent: &str, hash: &str, size: usize) -> String {
        let (zeros, bloom, transaction) = ("0".repeat(64), "0".repeat(512), "ab".repeat(size));
        let amsterdam = if self.amsterdam {
            format!(r#","blockAccessList":"0xc0","slotNumber":"0x{id:x}""#)
        } else {
            String::new()
        };
        format!(
            r#"[{{"parentHash":"{parent}","feeRecipient":"0x{address}","stateRoot":"0x{zeros}","receiptsRoot":"0x{zeros}","logsBloom":"0x{bloom}","prevRandao":"0x{id:064x}","blockNumber":"0x{number:x}","gasLimit":"0x1c9c380","gasUsed":"0x0","timestamp":"0x{id:x}","extraData":"0x","baseFeePerGas":"0x7","blockHash":"{hash}","transactions":["0x02{transaction}"],"withdrawals":[],"blobGasUsed":"0x0","excessBlobGas":"0x0"{amsterdam}}},[],"0x{zeros}",[]]"#,
            address = &zeros[..40],
        )
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
        *self.by_hash.get(hash).unwrap_or_else(|| panic!("a hash from nowhere: {hash}"))
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

    pub fn len(&self) -> usize {
        self.blocks.len()
    }
}

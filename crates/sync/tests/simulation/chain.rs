//! The truth: all blocks that anybody has made, honest or not.

use std::collections::HashMap;

use bytes::Bytes;
use mainstay_execution::block_hash::{self, Check};

use crate::{GENESIS, SLOT};

/// A block's place in [`Chain`]; the genesis block is 0.
pub type Id = usize;

#[derive(Clone, Debug)]
pub struct Block {
    pub parent: Id,
    pub number: u64,
    /// The slot of its time.
    pub slot: u64,
    pub hash: String,
    /// Whether it keeps the protocol's rules.
    pub sound: bool,
    /// The parameters of its newPayload.
    pub params: Bytes,
}

pub struct Chain {
    blocks: Vec<Block>,
    by_hash: HashMap<String, Id>,
}

impl Chain {
    pub fn new() -> Self {
        let mut chain = Self { blocks: Vec::new(), by_hash: HashMap::new() };
        chain.put(0, 0, 0, true);
        chain
    }

    /// A block on `parent` with the time of `slot`.
    pub fn add(&mut self, parent: Id, slot: u64, sound: bool) -> Id {
        let number = self.blocks[parent].number + 1;
        self.put(parent, number, slot, sound)
    }

    fn put(&mut self, parent: Id, number: u64, slot: u64, sound: bool) -> Id {
        let id = self.blocks.len();
        let zero = format!("0x{}", "0".repeat(64));
        let parent_hash = self.blocks.get(parent).map_or(zero.clone(), |p| p.hash.clone());
        let time = GENESIS.saturating_add(slot.saturating_mul(SLOT / 1000));
        let params = params(id, number, time, &parent_hash, &zero);
        let Check::Mismatch { expected: hash, .. } = block_hash::check(&Bytes::from(params.clone())) else {
            panic!("a block can't be hashed: {params}")
        };
        let params =
            params.replacen(&format!(r#""blockHash":"{zero}""#), &format!(r#""blockHash":"{hash}""#), 1);
        self.by_hash.insert(hash.clone(), id);
        self.blocks.push(Block { parent, number, slot, hash, sound, params: params.into() });
        id
    }

    pub fn get(&self, id: Id) -> &Block {
        &self.blocks[id]
    }

    pub fn id_of(&self, hash: &str) -> Option<Id> {
        self.by_hash.get(hash).copied()
    }

    /// From `from` back to the genesis block.
    pub fn back_from(&self, from: Id) -> impl Iterator<Item = Id> + '_ {
        std::iter::successors(Some(from), |at| (*at != 0).then(|| self.blocks[*at].parent))
    }
}

/// Other content under the block's hash.
pub fn forged(params: &Bytes) -> Bytes {
    let text = String::from_utf8(params.to_vec()).unwrap();
    text.replacen(r#""extraData":"0x""#, r#""extraData":"0x66""#, 1).into()
}

fn params(id: Id, number: u64, time: u64, parent: &str, hash: &str) -> String {
    let (zeros, bloom) = ("0".repeat(64), "0".repeat(512));
    format!(
        r#"[{{"parentHash":"{parent}","feeRecipient":"0x{address}","stateRoot":"0x{zeros}","receiptsRoot":"0x{zeros}","logsBloom":"0x{bloom}","prevRandao":"0x{id:064x}","blockNumber":"0x{number:x}","gasLimit":"0x1c9c380","gasUsed":"0x0","timestamp":"0x{time:x}","extraData":"0x","baseFeePerGas":"0x7","blockHash":"{hash}","transactions":[],"withdrawals":[],"blobGasUsed":"0x0","excessBlobGas":"0x0"}},[],"0x{zeros}",[]]"#,
        address = &zeros[..40],
    )
}

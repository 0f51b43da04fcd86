//! The few methods outside the Engine API that a multiplexer asks for.

use bytes::Bytes;
use mainstay_wire::envelope;

use super::{Answer, El, import::hash_value, unknown_method};
use crate::{
    chain::{Block, Hash, quantity},
    fault::Fault,
};

impl El {
    pub(super) fn eth(&self, method: &str, arguments: &[Bytes], faults: &[Fault]) -> Answer {
        let chain_id = faults
            .iter()
            .find_map(|fault| match fault {
                Fault::WrongChain(id) => Some(*id),
                _ => None,
            })
            .unwrap_or(self.config.chain_id);
        match method {
            "eth_chainId" => Answer::json(format!("\"{chain_id:#x}\"")),
            "net_version" => Answer::json(format!("\"{chain_id}\"")),
            "web3_clientVersion" => {
                let client = &self.config.client;
                let (name, version) = (&client.name, &client.version);
                Answer::json(format!("\"{name}/v{version}/{}\"", self.config.name))
            }
            "eth_blockNumber" => Answer::json(format!("\"{:#x}\"", self.head().number)),
            "eth_syncing" => Answer::json(self.syncing(faults)),
            "eth_getBlockByNumber" => match arguments.first().and_then(envelope::string) {
                Some(tag) => Answer::json(shown(self.by_tag(&tag))),
                None => Answer::bad_params("missing value for required argument 0"),
            },
            "eth_getBlockByHash" => match arguments.first().and_then(hash_value) {
                Some(hash) => Answer::json(shown(self.store.get(hash))),
                None => Answer::bad_params("argument 0 is not a hash"),
            },
            "eth_sendRawTransaction" => match arguments.first() {
                Some(raw) => Answer::json(format!("\"{}\"", Hash::of(&[raw]))),
                None => Answer::bad_params("missing value for required argument 0"),
            },
            _ => unknown_method(method),
        }
    }

    fn syncing(&self, faults: &[Fault]) -> String {
        let (remaining, ahead) = if faults.contains(&Fault::Syncing) {
            (0, 64)
        } else if faults.contains(&Fault::Indexing) {
            (3, 0)
        } else {
            return "false".to_owned();
        };
        let current = self.head().number;
        format!(
            "{{\"currentBlock\":\"{current:#x}\",\"highestBlock\":\"{:#x}\",\"startingBlock\":\"0x0\",\
             \"syncedAccounts\":\"0x0\",\"txIndexFinishedBlocks\":\"0x0\",\
             \"txIndexRemainingBlocks\":\"{remaining:#x}\",\"stateIndexRemaining\":\"0x0\"}}",
            current + ahead
        )
    }

    fn by_tag(&self, tag: &str) -> Option<&Block> {
        match tag {
            "latest" | "pending" => Some(self.head()),
            "safe" => self.store.get(self.safe),
            "finalized" => self.store.get(self.finalized),
            "earliest" => Some(&self.config.genesis),
            number => {
                let number = quantity(number)?;
                let mut line = self.store.line(self.head().hash);
                line.find(|block| block.number == number)
            }
        }
    }
}

/// The part of a block that the toy chain has, with hashes of transactions left out.
fn shown(block: Option<&Block>) -> String {
    let Some(block) = block else {
        return "null".to_owned();
    };
    format!(
        "{{\"number\":\"{:#x}\",\"hash\":\"{}\",\"parentHash\":\"{}\",\"timestamp\":\"{:#x}\",\
         \"parentBeaconBlockRoot\":\"{}\",\"difficulty\":\"0x0\",\"nonce\":\"0x0000000000000000\",\
         \"gasLimit\":\"0x2aea540\",\"baseFeePerGas\":\"0x7\",\"transactions\":[],\"uncles\":[]}}",
        block.number, block.hash, block.parent, block.timestamp, block.parent_beacon_root
    )
}

//! The smallest consensus client that builds a chain: it has no validators, no slots and no peers, and
//! so it knows any fork. Each step is what a proposer does: forkchoiceUpdated with attributes, a wait,
//! getPayload, newPayload, forkchoiceUpdated.

use std::time::Duration;

use serde_json::{Value, json};

use crate::execution::{Block, Genesis, block};
use crate::rpc::{Endpoint, number, text, unix_time};
use crate::{Failure, Result, ensure};

/// What a payload gets to be built in, as a real slot has four seconds.
const BUILD_TIME: Duration = Duration::from_millis(150);
/// No zero hash: what a root looks like is nothing that a client may care about.
const ROOT: &str = "0x00000000000000000000000000000000000000000000000000000000000000b7";

/// Drives one engine endpoint.
pub struct MiniCl {
    engine: Endpoint,
    genesis: Genesis,
    first: Block,
    head: Block,
    steps: u64,
}

impl MiniCl {
    /// Begins on block 0 of the chain behind `engine`.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn new(engine: Endpoint, genesis: Genesis) -> Result<MiniCl> {
        let first = block(&engine, "0x0").await?.ok_or_else(|| Failure::new("the engine has no block 0"))?;
        Ok(MiniCl { engine, genesis, head: first.clone(), first, steps: 0 })
    }

    /// The newest block that was built.
    pub fn head(&self) -> &Block {
        &self.head
    }

    /// Builds one block upon the last, imports it and makes it the head; every status must be VALID.
    ///
    /// # Errors
    /// If the engine does not answer, gives no payload, or any status is another.
    pub async fn step(&mut self) -> Result<Block> {
        self.steps += 1;
        // After a burst of blocks the chain's clock is ahead of the real one, which no client minds here.
        let timestamp = unix_time().as_secs().max(self.head.timestamp + 1);
        let updated = self.update(&self.head.hash, self.attributes(timestamp)).await?;
        let id = text(&updated, "/payloadId")?;
        tokio::time::sleep(BUILD_TIME).await;

        let (get_payload, new_payload) = match self.genesis {
            Genesis::Shanghai => ("engine_getPayloadV2", "engine_newPayloadV2"),
            Genesis::Osaka => ("engine_getPayloadV5", "engine_newPayloadV4"),
        };
        let built = self.engine.call(get_payload, json!([id])).await?;
        let payload = &built["executionPayload"];
        let next = Block {
            number: number(payload, "/blockNumber")?,
            hash: text(payload, "/blockHash")?,
            timestamp: number(payload, "/timestamp")?,
        };
        ensure!(
            next.number == self.head.number + 1,
            "a payload of height {} upon {:?}",
            next.number,
            self.head
        );
        ensure!(next.timestamp == timestamp, "{next:?} has not the time that was asked for, {timestamp}");

        let params = match self.genesis {
            Genesis::Shanghai => json!([payload]),
            Genesis::Osaka => json!([payload, [], ROOT, built["executionRequests"]]),
        };
        let status = self.engine.call(new_payload, params).await?;
        ensure!(status["status"] == "VALID", "{new_payload} of block {}: {status}", next.number);
        ensure!(status["latestValidHash"] == next.hash.as_str(), "{new_payload} of {}: {status}", next.hash);
        self.update(&next.hash, Value::Null).await?;
        self.head = next.clone();
        Ok(next)
    }

    async fn update(&self, head: &str, attributes: Value) -> Result<Value> {
        let method = match self.genesis {
            Genesis::Shanghai => "engine_forkchoiceUpdatedV2",
            Genesis::Osaka => "engine_forkchoiceUpdatedV3",
        };
        let state = json!({
            "headBlockHash": head,
            "safeBlockHash": self.first.hash,
            "finalizedBlockHash": self.first.hash,
        });
        let updated = self.engine.call(method, json!([state, attributes])).await?;
        let status = &updated["payloadStatus"];
        ensure!(status["status"] == "VALID", "{method} to {head}: {updated}");
        Ok(updated)
    }

    /// Each block pays a withdrawal, so that each has a state of its own.
    fn attributes(&self, timestamp: u64) -> Value {
        let mut attributes = json!({
            "timestamp": format!("{timestamp:#x}"),
            "prevRandao": format!("{:#066x}", self.steps),
            "suggestedFeeRecipient": "0xfefefefefefefefefefefefefefefefefefefefe",
            "withdrawals": [{
                "index": format!("{:#x}", self.steps),
                "validatorIndex": "0x1",
                "address": "0xabababababababababababababababababababab",
                "amount": "0x64",
            }],
        });
        if self.genesis == Genesis::Osaka {
            attributes["parentBeaconBlockRoot"] = json!(ROOT);
        }
        attributes
    }
}

//! Brings an execution client that has no peers to another's tip: what a sync would do.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::execution::Execution;
use crate::{Failure, Result, ensure, fail, until};

/// What payloads call a field otherwise than blocks do.
const RENAMED: [(&str, &str); 4] =
    [("hash", "blockHash"), ("number", "blockNumber"), ("miner", "feeRecipient"), ("mixHash", "prevRandao")];
/// What both call the same.
const SAME: [&str; 11] = [
    "parentHash",
    "stateRoot",
    "receiptsRoot",
    "logsBloom",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "baseFeePerGas",
    "transactions",
    "withdrawals",
];

/// Gives `to` all blocks of `from` (a chain of Shanghai, its blocks empty) that it has not got, until its consensus client has
/// made the newest one its head.
///
/// # Errors
/// If one is not VALID to it, or if that takes longer than `limit`.
pub async fn feed(from: &Execution, to: &Execution, limit: Duration) -> Result<()> {
    let mut next = to.head().await?.number + 1;
    until(&format!("{} to be at the tip of {}", to.name(), from.name()), limit, async || {
        let tip = from.head().await?;
        while next <= tip.number {
            let number = json!([format!("{next:#x}"), true]);
            let block = from.endpoint().call("eth_getBlockByNumber", number).await?;
            let status = to.endpoint().call("engine_newPayloadV2", json!([payload(&block)?])).await?;
            ensure!(status["status"] == "VALID", "block {next} is {status} to {}", to.name());
            next += 1;
        }
        Ok((to.head().await?.number >= tip.number).then_some(()))
    })
    .await
}

/// The payload that `block`, as `eth_getBlockByNumber` gives it, came in.
///
/// # Errors
/// If it has transactions.
pub(crate) fn payload(block: &Value) -> Result<Value> {
    if block["transactions"] != json!([]) {
        fail!("the block has transactions: {block}");
    }
    let names = RENAMED.into_iter().chain(SAME.map(|name| (name, name)));
    let fields = names.map(|(of_block, of_payload)| {
        let field = block.get(of_block).ok_or_else(|| Failure::new(format!("no {of_block} in {block}")))?;
        Ok((of_payload.to_owned(), field.clone()))
    });
    Ok(Value::Object(fields.collect::<Result<Map<String, Value>>>()?))
}

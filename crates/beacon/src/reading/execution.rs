//! The execution node's answers.

use bytes::Bytes;
use mainstay_node::eth;
use mainstay_wire::envelope::{self, Outcome};

use super::UNREADABLE;
use crate::finding::Finding;

/// What an execution node said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// It says that it syncs; indexing alone isn't that.
    pub syncing: bool,
    /// Number of its head block.
    pub number: u64,
    /// That block's time, in seconds of Unix time.
    pub timestamp: u64,
}

/// Reads the answers to `eth_syncing` and to `eth_getBlockByNumber` of the latest block.
///
/// # Errors
/// What is wrong with them: unreadable, or an error of JSON-RPC with its code.
pub fn execution(syncing: &Bytes, latest: &Bytes) -> Result<Execution, Finding> {
    let unreadable = |method: &str| Finding::hard(format!("{method}: {UNREADABLE}"));
    let said = result("eth_syncing", syncing)?;
    let syncing = eth::is_syncing(&said).ok_or_else(|| unreadable("eth_syncing"))?;
    let block = result("eth_getBlockByNumber", latest)?;
    let fields = envelope::fields(&block, ["number", "timestamp"]);
    let [number, timestamp] =
        fields.ok_or_else(|| unreadable("eth_getBlockByNumber"))?.map(|field| eth::quantity(&field?));
    let (Some(number), Some(timestamp)) = (number, timestamp) else {
        return Err(unreadable("eth_getBlockByNumber"));
    };
    Ok(Execution { syncing, number, timestamp })
}

impl Execution {
    /// Judges it. `genesis` is when the beacon chain began, where that is known: block 0 of a new network may be of any time, and is as
    /// old as the chain that is to grow on it. Times in seconds of Unix time.
    #[must_use]
    pub fn judge(&self, max_age: Option<u64>, genesis: Option<u64>, now: u64) -> Finding {
        if self.syncing {
            return Finding::hard(format!("eth_syncing: it syncs, block {}", self.number));
        }
        let begun = genesis.filter(|_| self.number == 0).unwrap_or_default();
        let age = now.saturating_sub(self.timestamp.max(begun));
        match max_age {
            Some(max) if age > max => {
                Finding::soft(format!("block {} is {age} s old, at most {max} s", self.number))
            }
            _ => Finding::good(format!("in sync, block {}", self.number)),
        }
    }
}

fn result(method: &str, body: &Bytes) -> Result<Bytes, Finding> {
    let reply = envelope::parse_reply(body).map_err(|_| Finding::hard(format!("{method}: {UNREADABLE}")))?;
    match reply.outcome {
        Outcome::Result(result) => Ok(result),
        Outcome::Error { code, .. } => Err(Finding::hard(format!("{method}: error {code}"))),
    }
}

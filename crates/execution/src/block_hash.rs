//! Whether the `blockHash` of an `engine_newPayload…` is the hash of the block that it describes.
//!
//! With no vote at all mainstay may answer SYNCING only for a payload whose hash is right (engine API, paris.md,
//! "payload validation": a wrong hash is INVALID with a null `latestValidHash`). This is the one thing about a block
//! that can be judged without any chain: keccak256 over the RLP of the header that the payload stands for.
//!
//! What is hashed is decided by the fields that are there, never by the method's version: Paris, Shanghai
//! (`withdrawals`), Cancun (blob gas and the third parameter), Prague and Osaka (the fourth), Amsterdam
//! (`blockAccessList`, `slotNumber`). A payload that has anything else in it is of a fork that this build does not
//! know: it is [`Check::Unknown`], because a guess would turn a good block into INVALID.
//!
//! Costs about 2 ms for a payload of 1.5 MB: call it from a blocking thread, off the way of an answer.

mod header;
mod hex;
mod payload;
mod transactions;

use alloy_primitives::B256;
use bytes::Bytes;

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The hash is the block's hash and the expected blob hashes are those of its transactions.
    Match,
    /// It is not.
    Mismatch {
        /// What the contents give: a block hash, or a list of blob versioned hashes.
        expected: String,
        /// What the request claims.
        got: String,
    },
    /// It cannot be told, and why: malformed, or of a fork unknown here.
    Unknown(&'static str),
}

/// Judges the raw JSON array of parameters of any `engine_newPayload…` version. Never panics.
pub fn check(params: &Bytes) -> Check {
    judge(params).unwrap_or_else(Check::Unknown)
}

/// Why a payload cannot be judged; never quotes its content.
type Reason = &'static str;

fn judge(params: &[u8]) -> Result<Check, Reason> {
    let request = payload::Request::parse(params)?;
    let transactions = transactions::decode(&request.payload)?;
    let (header, claimed) = header::Header::of(&request, &transactions)?;

    let computed = header.hash();
    if computed != claimed {
        return Ok(Check::Mismatch { expected: computed.to_string(), got: claimed.to_string() });
    }

    if let Some(expected_by_caller) = request.versioned_hashes()? {
        let carried = transactions::versioned_hashes(&transactions)?;
        if carried != expected_by_caller {
            return Ok(Check::Mismatch { expected: name_all(&carried), got: name_all(&expected_by_caller) });
        }
    }
    Ok(Check::Match)
}

fn name_all(hashes: &[B256]) -> String {
    let named: Vec<String> = hashes.iter().map(B256::to_string).collect();
    format!("blob versioned hashes [{}]", named.join(", "))
}

#[cfg(test)]
mod tests;

//! Results of the `eth` methods that probes ask for (ethereum/execution-apis, `src/eth`).

use serde::Deserialize;

use crate::health::{Seen, SyncingObject};

/// A quantity: a JSON string like `"0x1f"`.
#[must_use]
pub fn quantity(json: &[u8]) -> Option<u64> {
    parse(serde_json::from_slice(json).ok()?)
}

fn parse(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Whether a node whose `eth_syncing` gave this result still lacks blocks: indexing alone isn't syncing. `None` if it can't be
/// read.
#[must_use]
pub fn is_syncing(result: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said<'a> {
        Bare(bool),
        #[serde(borrow)]
        Object(Object<'a>),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Object<'a> {
        #[serde(borrow)]
        current_block: Option<&'a str>,
        highest_block: Option<&'a str>,
        healing_trienodes: Option<&'a str>,
        healing_bytecode: Option<&'a str>,
    }
    match serde_json::from_slice(result).ok()? {
        Said::Bare(syncing) => Some(syncing),
        Said::Object(object) => {
            let heals = |left: Option<&str>| left.and_then(parse).is_some_and(|left| left > 0);
            Some(Seen::from_syncing(Some(SyncingObject {
                current_block: object.current_block.and_then(parse),
                highest_block: object.highest_block.and_then(parse),
                other_work: heals(object.healing_trienodes) || heals(object.healing_bytecode),
            })))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_syncs_and_what_only_indexes() {
        for (result, syncing) in [
            ("false", Some(false)),
            ("true", Some(true)),
            (r#"{"currentBlock":"0x5","highestBlock":"0x5","txIndexRemainingBlocks":"0x9"}"#, Some(false)),
            (r#"{"currentBlock":"0x6","highestBlock":"0x5","stateIndexRemaining":"0x1"}"#, Some(false)),
            (r#"{"currentBlock":"0x4","highestBlock":"0x5"}"#, Some(true)),
            (r#"{"currentBlock":"0x5","highestBlock":"0x5","healingTrienodes":"0x1"}"#, Some(true)),
            (r#"{"currentBlock":"0x5","highestBlock":"0x5","healingBytecode":"0x1"}"#, Some(true)),
            (r#"{"startingBlock":"0x0"}"#, Some(true)),
            ("null", None),
            (r#""false""#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(is_syncing(result.as_bytes()), syncing, "{result}");
        }
    }

    #[test]
    fn quantities() {
        for (json, number) in [
            (r#""0x1f""#, Some(31)),
            (r#""0x""#, None),
            (r#""31""#, None),
            ("31", None),
            (r#""0x10000000000000000""#, None),
        ] {
            assert_eq!(quantity(json.as_bytes()), number, "{json}");
        }
    }
}

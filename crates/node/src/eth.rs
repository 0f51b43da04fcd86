//! Results of the `eth` methods that probes ask for (ethereum/execution-apis, `src/eth`).

use serde_json::Value;

/// A quantity: a JSON string like `"0x1f"`.
#[must_use]
pub fn quantity(json: &[u8]) -> Option<u64> {
    number(serde_json::from_slice(json).ok()?)
}

/// A quantity's text, like `0x1f`.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Whether a node whose `eth_syncing` gave this result still lacks blocks. An object says so, unless its current block has
/// reached the highest one, which is how a healthy geth looks while it only indexes transactions or state. `None` if it can't be
/// read.
#[must_use]
pub fn is_syncing(result: &[u8]) -> Option<bool> {
    match serde_json::from_slice(result).ok()? {
        Value::Bool(syncing) => Some(syncing),
        Value::Object(object) => {
            let field = |name: &str| number(object.get(name)?.as_str()?);
            let heals = |name: &str| field(name).is_some_and(|left| left > 0);
            Some(match (field("currentBlock"), field("highestBlock")) {
                (Some(current), Some(highest)) => {
                    current < highest || heals("healingTrienodes") || heals("healingBytecode")
                }
                _ => true,
            })
        }
        _ => None,
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
            (r#"{"currentBlock":5,"highestBlock":5}"#, Some(true)),
            (
                r#"{"currentBlock":"0x5","highestBlock":"0x5","healingTrienodes":7,"stages":[{}]}"#,
                Some(false),
            ),
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

//! Of nodes' replies what networks, forks and clocks are told apart by.

use bytes::Bytes;
use serde::Deserialize;

/// A block of the execution layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: String,
    /// In seconds since 1970.
    pub(crate) time: u64,
}

impl Block {
    /// Reads what `eth_getBlockByNumber` gives; `None` if it is no block.
    pub(crate) fn read(result: &Bytes) -> Option<Self> {
        #[derive(Deserialize)]
        struct Form {
            number: String,
            hash: String,
            timestamp: String,
        }
        let form: Form = serde_json::from_slice(result).ok()?;
        let hash = form.hash.to_ascii_lowercase();
        let is_hash =
            hash.len() == 66 && hash.starts_with("0x") && hash.chars().skip(2).all(|c| c.is_ascii_hexdigit());
        is_hash.then_some(Self { number: quantity(&form.number)?, hash, time: quantity(&form.timestamp)? })
    }
}

/// What a node says of forks: EIP-7910.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forks {
    pub(crate) current: Option<Fork>,
    /// The next one that it knows of.
    pub(crate) next: Option<Fork>,
}

/// A fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fork {
    /// The fork's hash (EIP-6122).
    pub(crate) id: String,
    /// When it begins or began, in seconds since 1970.
    pub(crate) at: u64,
}

impl Forks {
    /// Reads what `eth_config` gives; `None` if it isn't that.
    pub(crate) fn read(result: &Bytes) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct One {
            activation_time: u64,
            #[serde(default)]
            fork_id: String,
        }
        #[derive(Deserialize)]
        struct Form {
            current: Option<One>,
            next: Option<One>,
        }
        let form: Form = serde_json::from_slice(result).ok()?;
        let fork = |one: One| Fork {
            id: one.fork_id.chars().filter(char::is_ascii_alphanumeric).take(10).collect(),
            at: one.activation_time,
        };
        Some(Self { current: form.current.map(fork), next: form.next.map(fork) })
    }
}

fn quantity(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn blocks() {
        let hash = format!("0xAB{}", "0".repeat(62));
        let block = |number: &str, hash: &str, time: &str| {
            let text = format!(r#"{{"number":"{number}","hash":"{hash}","timestamp":"{time}","more":[1]}}"#);
            Block::read(&text.into())
        };
        let read = block("0x10", &hash, "0x65").unwrap();
        assert_eq!((read.number, read.time, read.hash), (16, 101, hash.to_lowercase()));
        for (number, of, time) in [
            ("16", hash.as_str(), "0x1"),
            ("0x1", "0xab", "0x1"),
            ("0x1", "\u{1b}", "0x1"),
            ("0x1", &hash, ""),
        ] {
            assert_eq!(block(number, of, time), None, "{number} {of} {time}");
        }
        assert_eq!(Block::read(&"null".into()), None);
    }

    #[test]
    fn forks() {
        let read = |text: &'static str| Forks::read(&text.into());
        let text = r#"{"current":{"activationTime":0,"forkId":"0x00000001\u001b[2J","chainId":"0x1","precompiles":{}},"next":{"activationTime":1800000000,"forkId":"0x2"},"last":null}"#;
        let fork = |id: &str, at| Some(Fork { id: id.to_owned(), at });
        assert_eq!(
            read(text),
            Some(Forks { current: fork("0x00000001", 0), next: fork("0x2", 1_800_000_000) })
        );
        assert_eq!(
            read(r#"{"current":{"activationTime":5},"next":null}"#),
            Some(Forks { current: fork("", 5), next: None })
        );
        for text in ["null", "[]", r#"{"current":{"activationTime":"0x5"}}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

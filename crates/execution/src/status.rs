//! Reading what an execution client (EL) answers to newPayload and forkchoiceUpdated.
//!
//! `PayloadStatusV1` (paris.md) and `V2` (bogota.md, `inclusionListSatisfied`). Values are kept as the raw JSON that the EL
//! sent; only the status word is understood. Unknown fields are no problem, an unknown status word is an abstention.

use bytes::Bytes;
use mainstay_node::Cause;
use mainstay_wire::envelope::{self, Outcome, Reply};
use serde::Serialize;

use crate::verdict::Vote;

/// The status words of execution-apis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Valid.
    Valid,
    /// Invalid.
    Invalid,
    /// `INVALID_BLOCK_HASH`, used until Shanghai.
    InvalidBlockHash,
    /// Not known yet.
    Syncing,
    /// On a side chain, not executed.
    Accepted,
}

impl Status {
    /// The vote that a status is.
    #[must_use]
    pub fn vote(self) -> Vote {
        match self {
            Self::Valid => Vote::Valid,
            Self::Invalid | Self::InvalidBlockHash => Vote::Invalid,
            Self::Syncing | Self::Accepted => Vote::Syncing,
        }
    }

    /// The word itself.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Invalid => "INVALID",
            Self::InvalidBlockHash => "INVALID_BLOCK_HASH",
            Self::Syncing => "SYNCING",
            Self::Accepted => "ACCEPTED",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "VALID" => Self::Valid,
            "INVALID" => Self::Invalid,
            "INVALID_BLOCK_HASH" => Self::InvalidBlockHash,
            "SYNCING" => Self::Syncing,
            "ACCEPTED" => Self::Accepted,
            _ => return None,
        })
    }
}

/// A payload status; the optional fields are raw JSON, `None` where absent or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadStatus {
    /// The status.
    pub status: Status,
    /// `latestValidHash`.
    pub latest_valid_hash: Option<Bytes>,
    /// `validationError`.
    pub validation_error: Option<Bytes>,
    /// `inclusionListSatisfied` as it stands, null included; `None` where the EL doesn't send the field.
    pub inclusion_list_satisfied: Option<Bytes>,
}

impl PayloadStatus {
    /// SYNCING and nothing else.
    pub const SYNCING: Self = Self {
        status: Status::Syncing,
        latest_valid_hash: None,
        validation_error: None,
        inclusion_list_satisfied: None,
    };
}

/// Why a node gave no answer that says anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The call failed.
    Failed(Cause),
    /// A newer forkchoiceUpdated took this one's place before it was sent.
    Replaced,
    /// The node's queue is full or it was taken out: the call wasn't sent. What it missed is replayed later.
    NotSent,
}

/// What was heard of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A status, with the payload id if there is one.
    Status(PayloadStatus, Option<String>),
    /// A JSON-RPC error: its code and the error object as it stands.
    Error(i64, Bytes),
    /// Nothing usable.
    Silent(Silence),
}

impl Heard {
    /// The vote, if it is one.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        match self {
            Self::Status(status, _) => Some(status.status.vote()),
            _ => None,
        }
    }

    /// One word for logs, metrics and the terminal.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Status(status, _) => status.status.word(),
            Self::Error(..) => "error",
            Self::Silent(Silence::Failed(cause)) => match cause {
                Cause::Refused => "refused",
                Cause::Unreachable => "unreachable",
                Cause::Tls(_) => "tls",
                Cause::Unattested(_) => "unattested",
                Cause::Reset => "reset",
                Cause::Timeout => "timeout",
                Cause::Http(_) => "http_error",
                Cause::Unauthorized => "unauthorized",
                Cause::Unreadable => "unreadable",
            },
            Self::Silent(Silence::Replaced) => "replaced",
            Self::Silent(Silence::NotSent) => "not_sent",
        }
    }

    /// Reads the reply to a newPayload.
    #[must_use]
    pub fn new_payload(reply: &Reply) -> Self {
        match &reply.outcome {
            Outcome::Error { code, raw } => Self::Error(*code, raw.clone()),
            Outcome::Result(result) => match payload_status(result) {
                Some(status) => Self::Status(status, None),
                None => Self::Silent(Silence::Failed(Cause::Unreadable)),
            },
        }
    }

    /// Reads the reply to a forkchoiceUpdated.
    #[must_use]
    pub fn forkchoice_updated(reply: &Reply) -> Self {
        match &reply.outcome {
            Outcome::Error { code, raw } => Self::Error(*code, raw.clone()),
            Outcome::Result(result) => {
                let read = || {
                    let [status, id] = envelope::fields(result, ["payloadStatus", "payloadId"])?;
                    Some(Self::Status(payload_status(&status?)?, id.and_then(|id| envelope::string(&id))))
                };
                read().unwrap_or(Self::Silent(Silence::Failed(Cause::Unreadable)))
            }
        }
    }
}

/// Reads a payload status; `None` if it is none.
#[must_use]
pub fn payload_status(object: &Bytes) -> Option<PayloadStatus> {
    let [status, hash, error, inclusion] =
        envelope::fields(object, ["status", "latestValidHash", "validationError", "inclusionListSatisfied"])?;
    let some = |raw: Option<Bytes>| raw.filter(|raw| !envelope::is_null(raw));
    Some(PayloadStatus {
        status: Status::of(&envelope::string(&status?)?)?,
        latest_valid_hash: some(hash),
        validation_error: some(error),
        inclusion_list_satisfied: inclusion,
    })
}

/// Writes the `result` of a newPayload.
#[must_use]
pub fn write(status: &PayloadStatus) -> Vec<u8> {
    let null: &[u8] = b"null";
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"status\":\"");
    out.extend_from_slice(status.status.word().as_bytes());
    out.extend_from_slice(b"\",\"latestValidHash\":");
    out.extend_from_slice(status.latest_valid_hash.as_deref().unwrap_or(null));
    out.extend_from_slice(b",\"validationError\":");
    out.extend_from_slice(status.validation_error.as_deref().unwrap_or(null));
    if let Some(inclusion) = &status.inclusion_list_satisfied {
        out.extend_from_slice(b",\"inclusionListSatisfied\":");
        out.extend_from_slice(inclusion);
    }
    out.push(b'}');
    out
}

/// Writes the `result` of a forkchoiceUpdated.
#[must_use]
pub fn write_forkchoice(status: &PayloadStatus, payload_id: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    out.extend_from_slice(b"{\"payloadStatus\":");
    out.extend_from_slice(&write(status));
    out.extend_from_slice(b",\"payloadId\":");
    match payload_id {
        // Ours: `0x` and hex digits, so there is nothing to escape.
        Some(id) => out.extend_from_slice(format!("\"{id}\"").as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mainstay_wire::client::TlsFault;

    fn reply(result: &str) -> Reply {
        envelope::parse_reply(&Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,{result}}}"#))).unwrap()
    }

    #[test]
    fn reads_every_status_and_keeps_raw_values() {
        for (word, vote) in [
            ("VALID", Vote::Valid),
            ("INVALID", Vote::Invalid),
            ("INVALID_BLOCK_HASH", Vote::Invalid),
            ("SYNCING", Vote::Syncing),
            ("ACCEPTED", Vote::Syncing),
        ] {
            let heard = Heard::new_payload(&reply(&format!(
                r#""result":{{"status":"{word}","latestValidHash":"0xaB","validationError":null,"x":[1]}}"#
            )));
            assert_eq!(heard.vote(), Some(vote));
            assert_eq!(heard.word(), word);
            let Heard::Status(status, None) = heard else { panic!("{heard:?}") };
            assert_eq!(status.latest_valid_hash.as_deref(), Some(&b"\"0xaB\""[..]));
            assert_eq!(status.validation_error, None);
        }
    }

    #[test]
    fn inclusion_list_satisfied_survives() {
        for value in ["true", "false", "null"] {
            let text = format!(
                r#"{{"status":"VALID","latestValidHash":"0x1","validationError":null,"inclusionListSatisfied":{value}}}"#
            );
            let Heard::Status(status, _) = Heard::new_payload(&reply(&format!(r#""result":{text}"#))) else {
                panic!("no status")
            };
            assert_eq!(String::from_utf8(write(&status)).unwrap(), text);
        }
    }

    #[test]
    fn forkchoice_replies_are_read_and_written() {
        let text = r#"{"payloadStatus":{"status":"VALID","latestValidHash":"0x1","validationError":null},"payloadId":"0x0102"}"#;
        let Heard::Status(status, id) = Heard::forkchoice_updated(&reply(&format!(r#""result":{text}"#)))
        else {
            panic!("no status")
        };
        assert_eq!(id.as_deref(), Some("0x0102"));
        assert_eq!(String::from_utf8(write_forkchoice(&status, id.as_deref())).unwrap(), text);
        let null = reply(r#""result":{"payloadStatus":{"status":"SYNCING"},"payloadId":null}"#);
        assert!(matches!(Heard::forkchoice_updated(&null), Heard::Status(_, None)));
    }

    #[test]
    fn a_handshake_that_fails_has_one_word_whatever_the_reason() {
        for why in [TlsFault::Expired, TlsFault::CertificateRequired] {
            assert_eq!(Heard::Silent(Silence::Failed(Cause::Tls(why))).word(), "tls");
        }
    }

    #[test]
    fn what_cant_be_read_is_an_abstention() {
        for result in [
            r#""result":null"#,
            r#""result":"VALID""#,
            r#""result":{}"#,
            r#""result":{"status":"FINE"}"#,
            r#""result":{"status":7}"#,
            r#""result":[{"status":"VALID"}]"#,
        ] {
            assert_eq!(Heard::new_payload(&reply(result)).vote(), None, "{result}");
            assert_eq!(Heard::forkchoice_updated(&reply(result)).vote(), None, "{result}");
        }
        let error = Heard::new_payload(&reply(r#""error":{"code":-38005,"message":"Unsupported fork"}"#));
        assert!(matches!(error, Heard::Error(-38005, _)));
        assert_eq!(error.vote(), None);
    }
}

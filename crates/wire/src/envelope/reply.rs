//! Replies of nodes.

use bytes::Bytes;

use super::scan::{KeyFault, fields, members, slice_of};

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The result as the node wrote it; may be `null`.
    Result(Bytes),
    /// A JSON-RPC error.
    Error {
        /// Its code.
        code: i64,
        /// The whole error object as the node wrote it.
        raw: Bytes,
    },
}

/// A node's reply; all fields are slices sharing its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The whole object, without the space around it.
    pub raw: Bytes,
    /// The id as it was written; `None` if there was none.
    pub id: Option<Bytes>,
    /// Result or error.
    pub outcome: Outcome,
}

/// Why a node's body is no JSON-RPC reply. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    why: &'static str,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for Unreadable {}

/// Reads a node's reply to one call.
///
/// Some nodes send `"error":null` with a result and `"result":null` with an error; both are read as what they mean.
///
/// # Errors
/// [`Unreadable`] if the body is not one JSON object with either a result or an error that has an integer code, or if
/// a key occurs twice or in the wrong case.
pub fn parse_reply(body: &Bytes) -> Result<Reply, Unreadable> {
    let unreadable = |why| Unreadable { why };
    let text = std::str::from_utf8(body).map_err(|_| unreadable("the reply is not UTF-8"))?;
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let members = members(text, &["result", "error", "id", "jsonrpc"])
        .map_err(|_| unreadable("the reply is not a JSON object"))?;
    match members.fault {
        None => {}
        Some(KeyFault::CaseVariant) => {
            return Err(unreadable("a key of the reply is written in the wrong case"));
        }
        Some(KeyFault::TooMany) => return Err(unreadable("the reply has too many unknown keys")),
        Some(KeyFault::Known(_) | KeyFault::Other) => {
            return Err(unreadable("a key of the reply occurs twice"));
        }
    }
    let [result, error, id, _version] = members.values;
    let outcome = match (result, error.filter(|error| *error != "null")) {
        (Some(result), None) => Outcome::Result(slice_of(body, result)),
        (None | Some("null"), Some(error)) => {
            let raw = slice_of(body, error);
            let code = error_code(&raw).ok_or(unreadable("the reply's error has no integer code"))?;
            Outcome::Error { code, raw }
        }
        (Some(_), Some(_)) => return Err(unreadable("the reply has both a result and an error")),
        (None, None) => return Err(unreadable("the reply has neither a result nor an error")),
    };
    Ok(Reply { raw: slice_of(body, text), id: id.map(|id| slice_of(body, id)), outcome })
}

fn error_code(error: &Bytes) -> Option<i64> {
    let [code] = fields(error, ["code"])?;
    serde_json::from_slice(&code?).ok()
}

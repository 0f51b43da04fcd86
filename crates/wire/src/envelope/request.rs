//! Requests: one call or a batch of them.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::scan::{KeyFault, members, slice_of, split};
use super::{INVALID_REQUEST, PARSE_ERROR, RpcError};

/// How many calls a batch may hold.
pub const MAX_BATCH: usize = 1_000;

const NAMES: [&str; 4] = ["jsonrpc", "id", "method", "params"];
const ID: usize = 1;

/// One JSON-RPC call; all fields are slices sharing the request's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The call's whole object, without the space around it.
    pub raw: Bytes,
    /// The id as it was written (a string with its quotes, a number, `null`); `None` if there was none (a
    /// notification, which mainstay answers all the same).
    pub id: Option<Bytes>,
    /// The method, escapes undone.
    pub method: String,
    /// The params as they were written: an array, an object or `null`; `None` if absent.
    pub params: Option<Bytes>,
}

impl Call {
    /// The same, to be kept: one that is a small part of the body that it came in is copied out of it, so that whoever keeps it doesn't keep
    /// much more than it counts.
    #[must_use]
    pub fn kept(self, body: &Bytes) -> Self {
        if self.raw.len() < body.len() / 2 { self.detached() } else { self }
    }

    /// The same in memory of its own.
    fn detached(&self) -> Self {
        let raw = Bytes::copy_from_slice(&self.raw);
        let moved = |part: &Bytes| {
            let start = (part.as_ptr() as usize).checked_sub(self.raw.as_ptr() as usize);
            let range = start.map(|start| start..start.saturating_add(part.len()));
            match range {
                Some(range) if range.end <= raw.len() => raw.slice(range),
                // It was put together elsewhere.
                _ => Bytes::copy_from_slice(part),
            }
        };
        let (id, params) = (self.id.as_ref().map(moved), self.params.as_ref().map(moved));
        Self { id, method: self.method.clone(), params, raw }
    }
}

/// Well-formed JSON that is no call. Answer it with this id and this error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCall {
    /// The id, where it could be told.
    pub id: Option<Bytes>,
    /// Always −32600.
    pub error: RpcError,
}

/// What a request's body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// One call: answer with one object.
    Single(Result<Call, BadCall>),
    /// 1 to [`MAX_BATCH`] calls, each judged alone: answer with an array.
    Batch(Vec<Result<Call, BadCall>>),
}

/// Reads a request's body.
///
/// # Errors
/// −32700 if the body is not one JSON value in UTF-8; −32600 if it is an empty batch or one of more than
/// [`MAX_BATCH`] calls. Both are answered with a null id. Any other body that is no call is a [`BadCall`].
pub fn parse_request(body: &Bytes) -> Result<Message, RpcError> {
    let text = std::str::from_utf8(body).map_err(|_| not_json())?;
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    match text.as_bytes().first() {
        Some(b'{') => Ok(Message::Single(parse_call(body, text)?)),
        Some(b'[') => parse_batch(body, text),
        _ => {
            serde_json::from_str::<IgnoredAny>(text).map_err(|_| not_json())?;
            Ok(Message::Single(Err(not_an_object())))
        }
    }
}

fn parse_batch(body: &Bytes, text: &str) -> Result<Message, RpcError> {
    let split = split(text, MAX_BATCH).map_err(|_| not_json())?;
    if split.excess {
        return Err(RpcError::new(INVALID_REQUEST, "invalid request: more than 1000 calls in a batch"));
    }
    if split.elements.is_empty() {
        return Err(RpcError::new(INVALID_REQUEST, "invalid request: empty batch"));
    }
    let calls = split.elements.into_iter().map(|element| {
        if element.starts_with('{') { parse_call(body, element) } else { Ok(Err(not_an_object())) }
    });
    Ok(Message::Batch(calls.collect::<Result<_, _>>()?))
}

/// Reads one call from `text`, which starts with `{` and is part of `body`.
fn parse_call(body: &Bytes, text: &str) -> Result<Result<Call, BadCall>, RpcError> {
    let members = members(text, &NAMES).map_err(|_| not_json())?;
    let [version, id, method, params] = members.values;
    let id_usable = members.fault != Some(KeyFault::Known(ID)) && id.is_none_or(is_id);
    let id = id.filter(|_| id_usable).map(|id| slice_of(body, id));

    let judged = match members.fault {
        Some(fault) => Err(fault.text()),
        None => judge(version, id_usable, method, params),
    };
    Ok(match judged {
        Ok(method) => Ok(Call {
            raw: slice_of(body, text),
            id,
            method,
            params: params.map(|params| slice_of(body, params)),
        }),
        Err(why) => Err(BadCall { id, error: RpcError::new(INVALID_REQUEST, why) }),
    })
}

/// The method of a call whose members are what JSON-RPC wants them to be.
fn judge(
    version: Option<&str>,
    id_usable: bool,
    method: Option<&str>,
    params: Option<&str>,
) -> Result<String, &'static str> {
    if !id_usable {
        return Err("invalid request: id must be a string, a number or null");
    }
    // Absent is tolerated, as nodes do.
    if version.is_some_and(|version| serde_json::from_str::<String>(version).ok().as_deref() != Some("2.0")) {
        return Err("invalid request: jsonrpc must be \"2.0\"");
    }
    if params.is_some_and(|params| !params.starts_with(['[', '{', 'n'])) {
        return Err("invalid request: params must be an array or an object");
    }
    let method = method.ok_or("invalid request: no method")?;
    serde_json::from_str(method).map_err(|_| "invalid request: method must be a string")
}

fn is_id(id: &str) -> bool {
    id.starts_with(|first: char| matches!(first, '"' | '-' | 'n') || first.is_ascii_digit())
}

fn not_json() -> RpcError {
    RpcError::new(PARSE_ERROR, "parse error: the body is not JSON")
}

fn not_an_object() -> BadCall {
    BadCall { id: None, error: RpcError::new(INVALID_REQUEST, "invalid request: not an object") }
}

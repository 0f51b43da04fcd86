//! The JSON-RPC 2.0 envelope, read in one scan and never re-serialised.
//!
//! A body is opaque: what is read is the top-level object, and every value in it stays a slice of the buffer that
//! came from the socket. Two readers that understand one body differently are a hole (a proxy that reads one
//! `method` and a node that runs the other), so whatever JSON parsers are known to disagree about is refused:
//! duplicate keys, and keys that equal `jsonrpc`, `id`, `method` or `params` only when case is ignored (Go's
//! `encoding/json` would accept them). Keys are compared after their escapes are undone.
//!
//! Nesting can be as deep as the body is long: values that are skipped use no stack and one byte of heap for each
//! level.

mod once;
mod reply;
mod request;
mod scan;
mod write;

pub use once::is_once;
pub use reply::{Outcome, Reply, Unreadable, parse_reply};
pub use request::{BadCall, Call, MAX_BATCH, Message, parse_request};
pub use scan::{MAX_ELEMENTS, elements, fields, first_element, is_null, string};
pub use write::{error_body, raw_error_body, result_body};

use std::borrow::Cow;

/// The body is not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is not a JSON-RPC request.
pub const INVALID_REQUEST: i64 = -32600;

/// A JSON-RPC error of mainstay's own: code and message, no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// The JSON-RPC code, such as −32600.
    pub code: i64,
    /// What was wrong. Never quotes the body.
    pub message: Cow<'static, str>,
}

impl RpcError {
    /// An error with this code and message.
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

impl std::fmt::Display for RpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for RpcError {}

#[cfg(test)]
mod tests;

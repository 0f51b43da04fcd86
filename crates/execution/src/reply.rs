//! What the consensus client (CL) is told, before it becomes HTTP: the one place that turns outcomes into replies.

use std::borrow::Cow;

use bytes::Bytes;
use mainstay_wire::envelope;

use crate::round::Told;

/// execution-apis `common.md`: the payload id is unknown.
pub const UNKNOWN_PAYLOAD: i64 = -38001;
/// JSON-RPC 2.0: malformed JSON.
pub const PARSE_ERROR: i64 = -32700;
/// `common.md`: generic error; mainstay's own, when no node answers.
pub const SERVER_ERROR: i64 = -32000;
/// JSON-RPC 2.0: the parameters are no good.
pub const INVALID_PARAMS: i64 = -32602;

/// The answer to one call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A whole JSON-RPC reply with the right id, as a node sent it.
    Verbatim(Bytes),
    /// A result to be put into an envelope.
    Result(Bytes),
    /// A node's JSON-RPC error object.
    NodeError(Bytes),
    /// mainstay's own error.
    Error(i64, Cow<'static, str>),
    /// No node answered: told as an error with HTTP 503, so that the CL takes its execution client for offline.
    NoNode(&'static str),
}

impl From<Told> for Answer {
    fn from(told: Told) -> Self {
        match told {
            Told::Result(result) | Told::Unvoted { result: Some(result), .. } => Self::Result(result.into()),
            Told::Error(error) => Self::NodeError(error),
            Told::Unvoted { result: None, .. } => Self::NoNode("no execution client gave a verdict"),
        }
    }
}

impl Answer {
    /// A node's reply, for the call with this id.
    #[must_use]
    pub fn of(reply: envelope::Reply, id: Option<&Bytes>) -> Self {
        if reply.id.is_some() && reply.id.as_ref() == id {
            return Self::Verbatim(reply.raw);
        }
        match reply.outcome {
            envelope::Outcome::Result(result) => Self::Result(result),
            envelope::Outcome::Error { raw, .. } => Self::NodeError(raw),
        }
    }

    /// The JSON-RPC reply.
    #[must_use]
    pub fn body(&self, id: Option<&Bytes>) -> Bytes {
        let id = id.map(AsRef::as_ref);
        match self {
            Self::Verbatim(body) => body.clone(),
            Self::Result(result) => envelope::result_body(id, result),
            Self::NodeError(error) => envelope::raw_error_body(id, error),
            Self::Error(code, message) => envelope::error_body(id, *code, message),
            Self::NoNode(message) => envelope::error_body(id, SERVER_ERROR, message),
        }
    }

    /// The HTTP status of a single call's reply.
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::NoNode(_) => http::StatusCode::SERVICE_UNAVAILABLE,
            _ => http::StatusCode::OK,
        }
    }

    /// One word for metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Verbatim(_) | Self::Result(_) => "ok",
            Self::NodeError(_) => "node_error",
            Self::Error(..) => "error",
            Self::NoNode(_) => "no_node",
        }
    }
}

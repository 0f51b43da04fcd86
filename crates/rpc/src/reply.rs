//! Answers of the balancer's own: what went wrong, in the words that prio-load-balancer's clients match on, with the status that
//! it deserves. Never an address of a node.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use mainstay_wire::client::{CallError, Fault};
use mainstay_wire::envelope::{self, Message};
use mainstay_wire::server::Response;

use crate::dispatch::Refusal;
use crate::limits::Exceeded;
use crate::queue::Unserved;
use crate::telemetry::Outcome;

/// JSON-RPC's code for an error of the server.
const SERVER_ERROR: i64 = -32000;
/// The code for a limit that is exceeded, after EIP-1474.
const LIMIT_EXCEEDED: i64 = -32005;

/// Why a request has no answer of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The queue didn't let it in, or the last node went while it waited.
    Refused(Refusal),
    /// Its time passed in the queue, before the first try or after one.
    Expired,
    /// A node had it, and no answer came in time.
    NodeTimeout,
    /// No node answered; what the last one did.
    Node(String),
    /// A rule's rate is used up.
    RateLimited(Exceeded),
    /// Its body is too large.
    TooLarge,
    /// Too much of other bodies was coming in at the same time.
    Crowded,
    /// Its body didn't come in time.
    BodyTimeout,
    /// Its body can't be read.
    BadBody,
}

impl Failure {
    /// From a try that showed no whole answer.
    pub(crate) fn of_try(error: &CallError) -> Self {
        match error.fault {
            Fault::Timeout => Self::NodeTimeout,
            // Details of the others may name a host.
            Fault::Refused => Self::Node("connection refused".to_owned()),
            Fault::Unreachable => Self::Node("the node is unreachable".to_owned()),
            Fault::Tls(_) => Self::Node("the TLS handshake failed".to_owned()),
            Fault::Unattested => Self::Node("the node did not prove what it runs".to_owned()),
            Fault::Reset => Self::Node("connection reset".to_owned()),
            Fault::TooLarge => Self::Node("the answer is too large".to_owned()),
            Fault::Protocol => Self::Node("the answer is no HTTP".to_owned()),
            Fault::Caller | Fault::CallerTooLarge => Self::Node("the request did not come whole".to_owned()),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Refused(_) | Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Expired | Self::NodeTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Node(_) => StatusCode::BAD_GATEWAY,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BadBody => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(Refusal::Full(_)) | Self::Crowded => Outcome::QueueFull,
            Self::Refused(Refusal::NoNodes | Refusal::NoneFit) => Outcome::NoNodes,
            Self::Expired | Self::NodeTimeout => Outcome::Expired,
            Self::Node(_) => Outcome::Failed,
            Self::RateLimited(_) => Outcome::RateLimited,
            Self::TooLarge => Outcome::TooLarge,
            Self::BodyTimeout | Self::BadBody => Outcome::BadRequest,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Refused(Refusal::Full(_)) => "queue full".into(),
            Self::Refused(Refusal::NoNodes) => "no nodes available".into(),
            Self::Refused(Refusal::NoneFit) => "no nodes available: none is fit".into(),
            Self::Expired => "request timeout hit before processing".into(),
            Self::NodeTimeout => "node timeout".into(),
            Self::Node(what) => format!("proxying request failed: {what}"),
            Self::RateLimited(Exceeded::For(_)) => "rate limit exceeded".into(),
            Self::RateLimited(Exceeded::Always) => {
                "rate limit exceeded: more calls than are ever let through at once".into()
            }
            Self::TooLarge => "Payload too large".into(),
            // It begins as clients know it.
            Self::Crowded => "queue full: too many request bodies are coming in at once".into(),
            Self::BodyTimeout => "the body came too slowly".into(),
            Self::BadBody => "the body could not be read".into(),
        }
    }

    fn code(&self) -> i64 {
        match self {
            Self::Refused(Refusal::Full(_)) | Self::Crowded | Self::RateLimited(_) => LIMIT_EXCEEDED,
            _ => SERVER_ERROR,
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Refused(_) | Self::Crowded => Some(1),
            // Whole seconds, and never too early.
            Self::RateLimited(Exceeded::For(wait)) => {
                Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
            }
            _ => None,
        }
    }

    /// The answer to a request with this body: a JSON-RPC error with its id if it is JSON-RPC, text if not.
    pub(crate) fn response(&self, request: &Bytes) -> Response {
        let text = self.text();
        let mut response = match envelope::parse_request(request) {
            Ok(Message::Single(Ok(call))) => {
                json(self.status(), envelope::error_body(call.id.as_deref(), self.code(), &text))
            }
            Ok(Message::Batch(calls)) if calls.iter().any(Result::is_ok) => {
                json(self.status(), envelope::error_body(None, self.code(), &text))
            }
            _ => plain(self.status(), format!("{text}\n")),
        };
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    /// The answer to one call of a batch.
    pub(crate) fn of_call(&self, id: Option<&[u8]>) -> Bytes {
        envelope::error_body(id, self.code(), &self.text())
    }
}

impl From<Unserved> for Failure {
    fn from(unserved: Unserved) -> Self {
        match unserved {
            Unserved::Expired => Self::Expired,
            Unserved::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response {
    respond(status, "application/json", body)
}

/// A plain text response.
pub(crate) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = respond(status, "text/plain; charset=utf-8", body.into());
    if !status.is_success() {
        response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    }
    response
}

/// 405.
pub(crate) fn not_allowed(allow: &'static str) -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

//! What a tracing system is told of a consensus client's calls, and of the tries on execution clients that come of them. No body, no token, no
//! URL of a node is among it. A node's voted call has a span of its own, which may end after the answer has been given.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use mainstay_node::Cause;
use mainstay_otel::{Span, Trace};
use mainstay_wire::envelope::{self, Call, Reply};

use crate::core::Core;
use crate::method::{Family, Method, label};
use crate::node::{Caller, Failed, Node};
use crate::reply::Answer;

/// The span of one request, with one call in it or many; nothing while traces are off.
#[derive(Debug, Default)]
pub struct Request(Option<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    span: Span,
    calls: u32,
}

impl Request {
    /// A request that came with these header fields.
    #[must_use]
    pub fn open(core: &Core, headers: &HeaderMap) -> Self {
        let tracer = core.telemetry.tracer();
        if !tracer.is_on() {
            return Self(None);
        }
        let mut span = tracer.request("POST", headers);
        let (kind, name) = core.telemetry.kind_and_name();
        span.set("mainstay.role", kind);
        span.set_with("mainstay.name", || name.to_owned());
        span.set("http.request.method", "POST");
        span.set("rpc.system.name", "jsonrpc");
        Self(Some(Mutex::new(Open { span, calls: 0 })))
    }

    /// Where its calls stand in its trace.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.with(|open| open.span.trace()).unwrap_or_default()
    }

    /// One of its calls was answered.
    pub fn answered(&self, call: &Call, answer: &Answer) {
        self.with(|open| {
            open.calls += 1;
            if open.calls > 1 {
                open.span.rename(|| "batch".into());
                return;
            }
            let name = label(&call.method).to_owned();
            open.span.set("rpc.method", name.clone());
            open.span.rename(|| name.into());
            open.span.set("mainstay.outcome", answer.word());
            if let Some(verdict) = verdict(&call.method, answer) {
                open.span.set("mainstay.verdict", verdict);
            }
            if matches!(answer, Answer::Error(..) | Answer::NoNode(_)) {
                open.span.fail(answer.word());
            }
        });
    }

    /// It was answered with this status, and is over.
    pub fn ended(self, status: u16) {
        self.with(|open| open.span.set("http.response.status_code", i64::from(status)));
    }

    fn with<T>(&self, see: impl FnOnce(&mut Open) -> T) -> Option<T> {
        let open = self.0.as_ref()?;
        Some(see(&mut open.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What a voted call was told.
fn verdict(method: &str, answer: &Answer) -> Option<&'static str> {
    let Answer::Result(result) = answer else { return None };
    let status =
        |of: &Bytes| envelope::fields(of, ["status"]).and_then(|[status]| envelope::string(&status?));
    let word = match Method::of(method).family {
        Family::NewPayload => status(result),
        Family::ForkchoiceUpdated => {
            let [payload] = envelope::fields(result, ["payloadStatus"])?;
            status(&payload?)
        }
        _ => None,
    }?;
    ["VALID", "INVALID", "SYNCING", "ACCEPTED"].into_iter().find(|known| *known == word)
}

/// Why a node gave no answer, in a word: what it said itself may be anything.
fn word(cause: &Cause) -> &'static str {
    match cause {
        Cause::Refused => "refused",
        Cause::Unreachable => "unreachable",
        Cause::Tls(why) => why.error_type(),
        Cause::Unattested(_) => "unattested",
        Cause::Reset => "reset",
        Cause::Timeout => "timeout",
        Cause::Http(_) => "http",
        Cause::Unauthorized => "unauthorized",
        Cause::Unreadable => "unreadable",
    }
}

/// A try on a node, and the caller whose calls are part of it.
pub(crate) fn attempt<'a>(caller: &'a Caller, node: &Node, method: &str) -> (Span, Cow<'a, Caller>) {
    if !caller.trace.is_on() {
        return (Span::default(), Cow::Borrowed(caller));
    }
    let name = label(method).to_owned();
    let mut span = caller.trace.call(|| name.clone().into());
    if span.is_recorded() {
        span.set("mainstay.node", node.name().to_owned());
        span.set("rpc.system.name", "jsonrpc");
        span.set("rpc.method", name);
        span.set("http.request.method", "POST");
        if let Some(host) = node.spec.url.host_str() {
            span.set("server.address", host.to_owned());
        }
        if let Some(port) = node.spec.url.port_or_known_default() {
            span.set("server.port", i64::from(port));
        }
    }
    let mut own = caller.clone();
    own.trace = span.trace();
    (span, Cow::Owned(own))
}

/// How a try ended.
pub(crate) fn attempt_ended(span: &mut Span, outcome: &Result<Reply, Failed>) {
    if !span.is_recorded() {
        return;
    }
    match outcome {
        Ok(reply) if matches!(reply.outcome, envelope::Outcome::Error { .. }) => {
            span.set("mainstay.outcome", "node_error");
        }
        Ok(_) => span.set("mainstay.outcome", "answered"),
        Err(failed) => {
            span.set("mainstay.outcome", "failed");
            span.fail(word(&failed.cause));
        }
    }
}

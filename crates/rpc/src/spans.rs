//! What a tracing system is told of requests and of their tries. No body, no header, no URL of a node is among it.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use mainstay_otel::{Span, TRACEPARENT, TRACESTATE, Trace};
use mainstay_wire::client::Lines;

use crate::core::Core;
use crate::lane::Lane;
use crate::nature::Methods;
use crate::node::Node;
use crate::telemetry::{Outcome, TryEnd};

/// The longest method that is told; longer ones are none.
const LONGEST_METHOD: usize = 64;

/// A client's request to this path, which is one of ours.
pub(crate) fn request(core: &Core, path: &str, headers: &HeaderMap) -> Span {
    let mut span = core.telemetry.tracer().request("POST", headers);
    if span.is_recorded() {
        span.set("mainstay.role", "rpc");
        span.set("mainstay.name", core.telemetry.name().to_owned());
        span.set("http.request.method", "POST");
        span.set("http.route", path.to_owned());
        span.set("rpc.system.name", "jsonrpc");
    }
    span
}

/// Its body is there.
pub(crate) fn request_read(span: &mut Span, body: &Bytes) {
    if !span.is_recorded() {
        return;
    }
    let methods = Methods::read(body).names;
    span.set("http.request.body.size", body.len() as i64);
    match methods.as_slice() {
        [] => {}
        [method] if is_name(method) => {
            span.set("rpc.method", method.clone());
            span.rename(|| method.clone().into());
        }
        [_] => {}
        many => {
            span.set("mainstay.calls", many.len() as i64);
            span.rename(|| "batch".into());
        }
    }
}

/// Methods are the client's words: what isn't one is no name for a span.
fn is_name(method: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=LONGEST_METHOD).contains(&method.len()) && method.bytes().all(is_part)
}

/// It was answered with this status, or is over without.
pub(crate) fn request_ended(span: &mut Span, lane: Lane, outcome: Outcome, status: u16, tries: u32) {
    if !span.is_recorded() {
        return;
    }
    span.set("mainstay.lane", lane.word());
    span.set("mainstay.outcome", outcome.word());
    span.set("mainstay.tries", i64::from(tries));
    answered(span, status);
    if status >= 500 || matches!(outcome, Outcome::Gone | Outcome::Broken) {
        span.fail(outcome.word());
    }
}

/// A batch whose calls were requests of their own.
pub(crate) fn batch_ended(span: &mut Span, lane: Lane) {
    if span.is_recorded() {
        span.set("mainstay.lane", lane.word());
        answered(span, 200);
    }
}

fn answered(span: &mut Span, status: u16) {
    if status > 0 {
        span.set("http.response.status_code", i64::from(status));
    }
}

/// A try on a node.
pub(crate) fn attempt(trace: &Trace, node: &Node, body: &Bytes) -> Span {
    let mut span = trace.call(|| "POST".into());
    if span.is_recorded() {
        let uris = node.uris();
        let url = &uris.upstream.url;
        span.set("mainstay.node", node.name.clone());
        span.set("http.request.method", "POST");
        if let Some(host) = url.host_str() {
            span.set("server.address", host.to_owned());
        }
        if let Some(port) = url.port_or_known_default() {
            span.set("server.port", i64::from(port));
        }
        if let [method] = Methods::read(body).names.as_slice()
            && is_name(method)
        {
            span.set("rpc.system.name", "jsonrpc");
            span.set("rpc.method", method.clone());
            span.rename(|| method.clone().into());
        }
    }
    span
}

/// The header fields of a try: those of the request, and where it stands in its trace.
pub(crate) fn lines<'a>(given: &'a Lines, span: &Span) -> Cow<'a, Lines> {
    let mut lines = Cow::Borrowed(given);
    let mut fields = span.fields().peekable();
    if fields.peek().is_some() {
        // The client's own state goes on with its own trace alone.
        lines = Cow::Owned(given.without(&TRACEPARENT).without(&TRACESTATE));
    }
    for (name, value) in fields {
        lines.to_mut().add(&name, &value);
    }
    lines
}

/// How a try ended; one that is dropped before, as its client went or another was faster, is told without.
pub(crate) fn attempt_ended(span: &mut Span, end: TryEnd, status: Option<u16>) {
    if !span.is_recorded() {
        return;
    }
    span.set("mainstay.outcome", end.word());
    answered(span, status.unwrap_or_default());
    if end != TryEnd::Answered {
        span.fail(end.word());
    }
}

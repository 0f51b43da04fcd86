//! What a tracing system is told of requests. No body, query or header, and no URL of a node is among it.

use http::header::HeaderMap;
use http::{Method, Request};
use mainstay_otel::{Span, TRACEPARENT, TRACESTATE};
use mainstay_wire::client::{CallError, Fault, StreamedReply};

use crate::core::Post;
use crate::pattern::Pattern;
use crate::telemetry::By;

/// A client's request.
pub(crate) fn request<B>(post: &Post, pattern: Pattern, request: &Request<B>) -> Span {
    let mut span = post.telemetry.tracer().request("request", request.headers());
    if span.is_recorded() {
        let (role, guard) = post.telemetry.names();
        span.set("mainstay.role", "beacon");
        span.set("mainstay.name", role.to_owned());
        span.set("mainstay.node", guard.to_owned());
        of_http(&mut span, pattern, request.method());
    }
    span
}

/// The method, and the path as metrics show it.
fn of_http(span: &mut Span, pattern: Pattern, method: &Method) {
    let route = pattern.label();
    // Any word may be one.
    let is_known =
        matches!(method.as_str(), "GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "PATCH");
    let method = if is_known { method.to_string() } else { "_OTHER".to_owned() };
    span.rename(|| format!("{method} {route}").into());
    span.set("http.request.method", method);
    span.set("http.route", route);
}

/// Its answer's head is there.
pub(crate) fn request_ended(span: &mut Span, status: u16, by: By) {
    if !span.is_recorded() {
        return;
    }
    span.set("mainstay.outcome", by.word());
    span.set("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.fail(status.to_string());
    }
}

/// The request on its way to the node, which is told of that in `headers`.
pub(crate) fn attempt(
    of: &Span,
    post: &Post,
    pattern: Pattern,
    method: &Method,
    headers: &mut HeaderMap,
) -> Span {
    let mut span = of.trace().call(|| "request".into());
    if span.is_recorded() {
        let node = &post.config.beacon_node;
        of_http(&mut span, pattern, method);
        span.set("mainstay.node", post.telemetry.names().1.to_owned());
        if let Some(host) = node.host_str() {
            span.set("server.address", host.to_owned());
        }
        if let Some(port) = node.port_or_known_default() {
            span.set("server.port", i64::from(port));
        }
    }
    let mut fields = span.fields().peekable();
    if fields.peek().is_some() {
        // The client's own state goes on with its own trace alone.
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
    headers.extend(fields);
    span
}

/// How that ended; one that is dropped before, as its client went or the guard closed, is told without.
pub(crate) fn attempt_ended(span: &mut Span, passed: &Result<StreamedReply, CallError>) {
    if !span.is_recorded() {
        return;
    }
    match passed {
        Ok(reply) => {
            span.set("mainstay.outcome", "answered");
            span.set("http.response.status_code", i64::from(reply.status.as_u16()));
            if reply.status.is_server_error() {
                span.fail(reply.status.as_u16().to_string());
            }
        }
        Err(error) => {
            span.set("mainstay.outcome", "failed");
            span.fail(word(error.fault));
        }
    }
}

fn word(fault: Fault) -> &'static str {
    match fault {
        Fault::Refused => "refused",
        Fault::Unreachable => "unreachable",
        Fault::Tls(why) => why.error_type(),
        Fault::Unattested => "unattested",
        Fault::Reset => "reset",
        Fault::Timeout => "timeout",
        Fault::TooLarge | Fault::Protocol => "unreadable",
        Fault::Caller | Fault::CallerTooLarge => "caller",
    }
}

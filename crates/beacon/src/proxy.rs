//! One request's way through an open guard.
//!
//! 1. The gate says open or closed; closed is a 503 of mainstay's, and the node never hears of the request.
//! 2. Hop-by-hop header fields are taken out, the rest goes as it is; the body streams to the node while it comes.
//! 3. The reply streams back, untouched but for hop-by-hop fields and `X-Mainstay-Node`.
//! 4. If the node refuses, resets or times out, the guard closes with this very request, which gets a 503 as those after it do.
//!    It isn't sent anywhere else.
//! 5. If the guard closes for a hard reason while the request waits for its reply, it waits no more.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use hyper::body::Body;
use mainstay_otel::Span;
use mainstay_wire::client::{CallError, Fault, Pass, StreamedReply};
use mainstay_wire::hop;
use mainstay_wire::server::{ReplyBody, Response};

use crate::clock;
use crate::core::{Core, Post};
use crate::gate::{Gate, Opening, Refusal};
use crate::pattern::Pattern;
use crate::refusal::error;
use crate::rounds::fault;
use crate::spans;
use crate::stream::EventStream;
use crate::telemetry::By;

const NODE: HeaderName = HeaderName::from_static("x-mainstay-node");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How long the body of a reply may make no progress, event streams excepted.
const STALL: Duration = Duration::from_secs(30);

/// Answers a request.
pub(crate) async fn request<B>(core: &Core, post: &Arc<Post>, request: Request<B>) -> Response
where
    B: Body<Data = bytes::Bytes> + Unpin,
{
    let pattern = Pattern::of(request.uri().path());
    let mut span = spans::request(post, pattern, &request);
    let (response, by) = answer(core, post, request, pattern, &span).await;
    let status = response.status().as_u16();
    post.telemetry.answered(pattern, status, by);
    spans::request_ended(&mut span, status, by);
    response
}

/// The answer, and whose it is.
async fn answer<B>(
    core: &Core,
    post: &Arc<Post>,
    request: Request<B>,
    pattern: Pattern,
    span: &Span,
) -> (Response, By)
where
    B: Body<Data = bytes::Bytes> + Unpin,
{
    let opening = match post.gates.now() {
        Gate::Open(opening) => opening,
        Gate::Closed(refusal) => return (refused(&refusal), By::Mainstay),
    };
    let streams = is_event_stream(&request);
    let mut request = match onward(post, request) {
        Ok(request) => request,
        Err((status, what)) => return (own(status, what), By::Mainstay),
    };
    let method = request.method().clone();
    let mut attempt = spans::attempt(span, post, pattern, &method, request.headers_mut());
    let limits = Pass {
        head_within: post.settings.request_timeout.filter(|_| !streams),
        read_stall: (!streams).then_some(STALL),
        body_limit: post.settings.body_max,
        ..Pass::default()
    };
    let began = clock::now();
    let passed = tokio::select! {
        biased;
        passed = post.node.pass(request, limits) => passed,
        () = opening.lost.cancelled() => return (closed(post), By::Mainstay),
    };
    spans::attempt_ended(&mut attempt, &passed);
    match passed {
        Ok(reply) => {
            post.telemetry.took(clock::now().saturating_duration_since(began));
            (back(post, &opening, reply), By::Node)
        }
        Err(error) => (failed(core, post, &error), By::Mainstay),
    }
}

/// The request as the node gets it.
fn onward<B>(post: &Post, request: Request<B>) -> Result<Request<B>, (StatusCode, &'static str)> {
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "CONNECT: this is no proxy of that kind"));
    }
    hop::strip(&mut parts.headers);
    if !post.prefix.is_empty() {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let target = format!("{}{target}", post.prefix);
        parts.uri = target.parse::<Uri>().map_err(|_| (StatusCode::URI_TOO_LONG, "the path is too long"))?;
    }
    Ok(Request::from_parts(parts, body))
}

/// The node's reply as the client gets it.
fn back(post: &Arc<Post>, opening: &Arc<Opening>, reply: StreamedReply) -> Response {
    let mut headers = reply.headers();
    let StreamedReply { status, body, .. } = reply;
    hop::strip(&mut headers);
    if let Some(name) = &post.served_by {
        headers.insert(NODE, name.clone());
    }
    let is_stream = headers.get(CONTENT_TYPE).is_some_and(is_event_stream_type);
    let body = if is_stream {
        ReplyBody::streamed(EventStream::new(body, opening.closed.clone(), post.clone()))
    } else {
        ReplyBody::streamed(body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn failed(core: &Core, post: &Post, error: &CallError) -> Response {
    match error.fault {
        Fault::CallerTooLarge => own(StatusCode::PAYLOAD_TOO_LARGE, "request body too large"),
        Fault::Caller => own(StatusCode::BAD_REQUEST, "the request's body did not come whole"),
        Fault::Refused
        | Fault::Reset
        | Fault::Timeout
        | Fault::Unreachable
        | Fault::Tls(_)
        | Fault::Unattested => {
            core.broke(post, &fault(error.fault));
            closed(post)
        }
        Fault::TooLarge | Fault::Protocol => {
            own(StatusCode::BAD_GATEWAY, "what the beacon node answers is no HTTP")
        }
    }
}

/// The 503 of a guard that has just closed.
fn closed(post: &Post) -> Response {
    match post.gates.now() {
        Gate::Closed(refusal) => refused(&refusal),
        // It opened again meanwhile, or stays open as the last one: this request still has no answer.
        Gate::Open(_) => own(StatusCode::SERVICE_UNAVAILABLE, "the beacon node did not answer, try again"),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = Response::new(refusal.body.clone().into());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(RETRY_AFTER, refusal.retry_after.clone());
    response
}

fn own(status: StatusCode, what: &str) -> Response {
    let mut response = Response::new(error(status.as_u16(), what).into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Some nodes send the head of an event stream with its first event only, so it isn't waited for.
fn is_event_stream<B>(request: &Request<B>) -> bool {
    request.uri().path().ends_with("/events")
        || request.headers().get(ACCEPT).is_some_and(is_event_stream_type)
}

fn is_event_stream_type(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    let name = b"text/event-stream";
    value.len() >= name.len() && value[..name.len()].eq_ignore_ascii_case(name)
}

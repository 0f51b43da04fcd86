//! The listener's side: who may call, what the body says, which part of the role answers.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, StatusCode};
use hyper::body::Incoming;
use mainstay_wire::body::{self, BodyError};
use mainstay_wire::envelope::{self, BadCall, Call, Message};
use mainstay_wire::jwt::{self, Claims, TokenError};
use mainstay_wire::local;
use mainstay_wire::server::{Handler, Response};

use crate::core::Core;
use crate::dropin;
use crate::forward::forward;
use crate::method::{Family, Method};
use crate::node::Caller;
use crate::reads;
use crate::reply::{Answer, SERVER_ERROR};
use crate::round::{self, Told};

/// Answers the consensus client (CL).
#[derive(Clone)]
pub struct Service {
    core: Arc<Core>,
}

impl Service {
    /// A service of this engine.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn rpc(&self, request: Request<Incoming>) -> Response {
        // Before the body is read: strangers get no memory.
        let claims = match self.authorize(request.headers()) {
            Ok(claims) => claims,
            Err(error) => return text(StatusCode::UNAUTHORIZED, error.to_string()),
        };
        let caller = Caller { id: claims.id, clv: claims.clv };
        let body = match body::read(request.into_body(), self.core.config.max_body).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => {
                let limit = self.core.config.max_body;
                return text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"));
            }
            Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let (status, reply) = self.body(&body, &caller).await;
        json(status, reply)
    }

    /// Answers a body whose sender may call.
    pub async fn body(&self, body: &Bytes, caller: &Caller) -> (StatusCode, Bytes) {
        match envelope::parse_request(body) {
            Err(error) => (StatusCode::BAD_REQUEST, envelope::error_body(None, error.code, &error.message)),
            Ok(Message::Single(Err(bad))) => (StatusCode::BAD_REQUEST, refusal(&bad)),
            Ok(Message::Single(Ok(call))) => {
                let answer = self.answer(&call, caller).await;
                (answer.status(), answer.body(call.id.as_ref()))
            }
            Ok(Message::Batch(calls)) => {
                let answers = calls.into_iter().map(|call| self.one_of_batch(call, caller));
                let bodies = Box::pin(all(answers.collect())).await;
                (StatusCode::OK, crate::merge::array(bodies.iter().map(AsRef::as_ref)))
            }
        }
    }

    async fn one_of_batch(&self, call: Result<Call, BadCall>, caller: &Caller) -> Bytes {
        match call {
            Ok(call) => self.answer(&call, caller).await.body(call.id.as_ref()),
            Err(bad) => refusal(&bad),
        }
    }

    async fn answer(&self, call: &Call, caller: &Caller) -> Answer {
        let core = &self.core;
        if call.method.starts_with("engine_") {
            for mirror in &core.mirrors {
                mirror.copy(&call.raw, caller);
            }
        }
        let method = Method::of(&call.method);
        if method.is_voted() {
            return match round::begin(core, call, method, caller).await {
                Ok(Told::Result(result)) => Answer::Result(result.into()),
                Ok(Told::Error(error)) => Answer::NodeError(error),
                Ok(Told::Nothing) => Answer::NoNode("no execution client gave a verdict"),
                Err(_) => Answer::Error(SERVER_ERROR, "mainstay is stopping".into()),
            };
        }
        let started = tokio::time::Instant::now();
        // Boxed: each is as large as all that it awaits, and the small calls below would be moved about with room for it.
        let answer = match method.family {
            Family::GetPayload => Box::pin(reads::get_payload(core, call, method, caller)).await,
            Family::GetBlobs => Box::pin(reads::get_blobs(core, call, method, caller)).await,
            Family::PayloadBodies => Box::pin(reads::get_bodies(core, call, method, caller)).await,
            Family::ClientVersion => Box::pin(reads::client_version(core, call, method, caller)).await,
            Family::Capabilities => Box::pin(reads::capabilities(core, call, method, caller)).await,
            _ => forward(core, call, method, caller, started).await,
        };
        core.telemetry.answered(&call.method, answer.word(), started.elapsed());
        answer
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<Claims, TokenError> {
        let token = jwt::bearer(headers.get(AUTHORIZATION))?;
        jwt::verify(&self.core.config.secret, token, crate::clock::wall())
    }

    async fn operator(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        // To look from here is open as ever; to change something, only to who isn't a proxy or a browser's page.
        let open = match *request.method() {
            HttpMethod::POST => local::is_own_process(peer.ip(), request.uri(), request.headers()),
            _ => peer.ip().to_canonical().is_loopback(),
        };
        if !open && let Err(error) = self.authorize(request.headers()) {
            return text(StatusCode::UNAUTHORIZED, error.to_string());
        }
        dropin::answer(&self.core, request).await
    }
}

impl Handler for Service {
    async fn call(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        match (request.uri().path(), request.method()) {
            ("/", &HttpMethod::POST) => self.rpc(request).await,
            ("/", _) => not_allowed("POST"),
            ("/metrics" | "/recheck", &HttpMethod::GET | &HttpMethod::HEAD) => {
                Box::pin(self.operator(request, peer)).await
            }
            ("/metrics" | "/recheck", _) => not_allowed("GET,HEAD"),
            ("/add_nodes", &HttpMethod::POST) => Box::pin(self.operator(request, peer)).await,
            ("/add_nodes", _) => not_allowed("POST"),
            // The REST-SSZ transport (`/engine/v1/…`) isn't spoken: a consensus client that asks stays on JSON-RPC.
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}

fn refusal(bad: &BadCall) -> Bytes {
    envelope::error_body(bad.id.as_deref(), bad.error.code, &bad.error.message)
}

/// Runs the calls of a batch at once. Each is polled first in the order given, so that voted calls reach the queues in the
/// batch's order.
async fn all<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.into_iter().map(|c| (Box::pin(c), None)).collect();
    std::future::poll_fn(|cx| {
        let mut ready = true;
        for (call, output) in &mut calls {
            if output.is_none() {
                match call.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    calls.into_iter().filter_map(|(_, output)| output).collect()
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response {
    respond(status, "application/json", body)
}

/// A plain text response.
pub(crate) fn text(status: StatusCode, body: String) -> Response {
    respond(status, "text/plain; charset=utf-8", Bytes::from(body))
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Default::default());
    *response.status_mut() = status;
    response
}

fn not_allowed(allow: &'static str) -> Response {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

//! The listener's side: who may call, what the body says, which part of the role answers.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method as HttpMethod, Request, StatusCode};
use mainstay_execution::Core;
use mainstay_execution::calls::{self, Answers, answer_body};
use mainstay_execution::http::{empty, json, not_allowed, read_body, text};
use mainstay_execution::node::Caller;
use mainstay_execution::reply::Answer;
use mainstay_execution::spans;
use mainstay_wire::envelope::Call;
use mainstay_wire::jwt::{self, Claims, Secret, TokenError};
use mainstay_wire::local;
use mainstay_wire::server::{Handler, RequestBody, Response};
use prometheus_client::registry::Registry;

use crate::dropin;
use crate::tokens::Refusals;

/// Answers the consensus client (CL).
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

/// What of the listener's settings a reload may change.
#[derive(Clone)]
pub(crate) struct Live {
    /// What the consensus client signs with.
    pub(crate) secret: Secret,
    /// Largest request body in bytes.
    pub(crate) max_body: usize,
}

/// What all connections use.
pub struct Shared {
    /// The execution clients.
    pub core: Arc<Core>,
    /// What a reload may change.
    pub(crate) live: ArcSwap<Live>,
    /// Counts calls without a good token.
    pub(crate) refusals: Refusals,
    /// The role's own metrics, for scrapers of the engine port.
    pub registry: Registry,
}

impl Service {
    /// A service of this engine.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn rpc(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        // Before the body is read: strangers get no memory.
        let live = self.shared.live.load_full();
        let claims = match self.authorize(&live.secret, request.headers(), peer) {
            Ok(claims) => claims,
            Err(error) => return text(StatusCode::UNAUTHORIZED, error.to_string()),
        };
        let span = spans::Request::open(&self.shared.core, request.headers());
        let mut caller = Caller::new(claims.id, claims.clv, None);
        caller.trace = span.trace();
        match read_body(&self.shared.core.arriving, request.into_body(), live.max_body).await {
            Ok(body) => {
                let calls = Calls { core: &self.shared.core, caller: &caller, span: &span };
                let (status, reply) = answer_body(&calls, &body).await;
                span.ended(status.as_u16());
                json(status, reply)
            }
            Err(refusal) => {
                span.ended(refusal.status().as_u16());
                refusal
            }
        }
    }

    /// Answers a body whose sender may call.
    pub async fn body(&self, body: &Bytes, caller: &Caller) -> (StatusCode, Bytes) {
        answer_body(&Calls { core: &self.shared.core, caller, span: &spans::Request::default() }, body).await
    }

    fn authorize(
        &self,
        secret: &Secret,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Claims, TokenError> {
        let verify = |token| jwt::verify(secret, token, mainstay_execution::clock::wall());
        let verified = jwt::bearer(headers.get(AUTHORIZATION)).and_then(verify);
        verified.inspect_err(|error| self.shared.refusals.refused(peer, error))
    }

    async fn operator(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        // To look from here is open as ever; to change something, only to who isn't a proxy or a browser's page.
        let open = match *request.method() {
            HttpMethod::POST => local::is_own_process(peer.ip(), request.uri(), request.headers()),
            _ => peer.ip().to_canonical().is_loopback(),
        };
        let live = self.shared.live.load_full();
        if !open && let Err(error) = self.authorize(&live.secret, request.headers(), peer) {
            return text(StatusCode::UNAUTHORIZED, error.to_string());
        }
        dropin::answer(&self.shared, request).await
    }
}

impl Handler for Service {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        match (request.uri().path(), request.method()) {
            ("/", &HttpMethod::POST) => self.rpc(request, peer).await,
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

/// The calls of one body, with who sent it.
struct Calls<'a> {
    core: &'a Arc<Core>,
    caller: &'a Caller,
    span: &'a spans::Request,
}

impl Answers for Calls<'_> {
    async fn answer(&self, call: &Call) -> Answer {
        self.core.copy(call, self.caller, |_| {});
        let answer = calls::ask(self.core, call, self.caller).await;
        self.span.answered(call, &answer);
        answer
    }
}

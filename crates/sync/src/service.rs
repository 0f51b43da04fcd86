//! The listener's side: who may call, who it is, and what a call's body says.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method as HttpMethod, Request, StatusCode};
use mainstay_execution::calls::{Answers, answer_body};
use mainstay_execution::clock::wall;
use mainstay_execution::http::{empty, json, read_body, text};
use mainstay_execution::node::Caller;
use mainstay_execution::reply::Answer;
use mainstay_execution::spans;
use mainstay_wire::envelope::Call;
use mainstay_wire::jwt::{self, Claims, Secret, TokenError};
use mainstay_wire::server::{Handler, RequestBody, Response};
use tokio::sync::Semaphore;

use crate::client::Proxies;
use crate::core::{Arrived, Core, Who};
use crate::tokens::Tokens;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Calls under way that nobody waits for any more; more are refused.
pub(crate) const MIRRORED: usize = 256;

/// Answers consensus clients (CL).
#[derive(Clone)]
pub struct Service {
    pub(crate) shared: Arc<Shared>,
}

/// What of the listener's settings a reload may change.
pub(crate) struct Live {
    pub(crate) secret: Option<Secret>,
    pub(crate) trusted_proxies: Proxies,
    pub(crate) max_body: usize,
}

/// What all connections use.
pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    /// What a reload may change.
    pub(crate) live: ArcSwap<Live>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) mirror_mode: bool,
    /// Who is treated in mirror mode.
    pub(crate) mirrored: Arc<Semaphore>,
}

/// The calls of one body, with who sent it.
struct Calls<'a> {
    core: &'a Arc<Core>,
    who: Who,
    span: &'a spans::Request,
}

impl Answers for Calls<'_> {
    async fn answer(&self, call: &Call) -> Answer {
        let answer = self.core.answer(call, &self.who).await;
        self.span.answered(call, &answer);
        answer
    }
}

impl Service {
    async fn rpc(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        let shared = &self.shared;
        let live = shared.live.load_full();
        let mut who = match who(&live, request.headers(), peer) {
            Ok(who) => who,
            Err(error) => return text(StatusCode::UNAUTHORIZED, error.to_string()),
        };
        shared.core.called(peer, &who.client);
        let span = spans::Request::open(&shared.core.execution, request.headers());
        who.caller.trace = span.trace();
        let (head, body) = request.into_parts();
        if shared.core.has_links() {
            let (target, headers) = (head.uri.into_parts().path_and_query, head.headers);
            who.arrived = Some(Arc::new(Arrived { target, headers, peer: peer.ip() }));
        }
        let body = match read_body(&shared.core.execution.arriving, body, live.max_body).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        if shared.mirror_mode {
            return self.mirror(body, who, span).await;
        }
        let calls = Calls { core: &shared.core, who, span: &span };
        let (status, reply) = answer_body(&calls, &body).await;
        span.ended(status.as_u16());
        json(status, reply)
    }

    /// Answers a body.
    pub async fn body(&self, body: &Bytes, who: Who) -> (StatusCode, Bytes) {
        answer_body(&Calls { core: &self.shared.core, who, span: &spans::Request::default() }, body).await
    }

    /// Does what the body asks for, and answers before that is done.
    async fn mirror(&self, body: Bytes, who: Who, span: spans::Request) -> Response {
        let Ok(permit) = self.shared.mirrored.clone().try_acquire_owned() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many calls are under way".into());
        };
        let service = self.clone();
        let mut work = Box::pin(async move {
            answer_body(&Calls { core: &service.shared.core, who, span: &span }, &body).await;
            drop(permit);
        });
        // Begun here: calls of one connection stay in order.
        if !begin(&mut work).await {
            tokio::spawn(work);
        }
        empty(StatusCode::OK)
    }
}

/// Who calls: by a verified token's claim, else by address.
fn who(live: &Live, headers: &HeaderMap, peer: SocketAddr) -> Result<Who, TokenError> {
    let forwarded = headers.get_all(X_FORWARDED_FOR);
    let forwarded: Vec<&[u8]> = forwarded.iter().map(http::HeaderValue::as_bytes).collect();
    let client = |id: Option<&str>| live.trusted_proxies.client(id, peer.ip(), forwarded.iter().copied());
    let Some(secret) = &live.secret else {
        let token = jwt::bearer(headers.get(AUTHORIZATION)).ok().map(Arc::from);
        return Ok(Who::new(client(None), Caller::new(None, None, token)));
    };
    let token = jwt::bearer(headers.get(AUTHORIZATION))?;
    let Claims { id, clv, .. } = jwt::verify(secret, token, wall())?;
    Ok(Who::new(client(id.as_deref()), Caller::new(id, clv, None)))
}

/// Lets work begin; whether it is done already.
async fn begin(work: &mut (impl Future<Output = ()> + Unpin)) -> bool {
    let mut work = pin!(work);
    poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_ready())).await
}

impl Handler for Service {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        if let (Some(tokens), Some(target)) = (&self.shared.tokens, request.uri().path_and_query())
            && Tokens::is_at(target.path())
        {
            return tokens.answer(peer.ip(), target, wall()).map(Into::into);
        }
        match *request.method() {
            // Whatever the path, as sync-proxy does: health checks ask for any.
            HttpMethod::GET | HttpMethod::HEAD => empty(StatusCode::OK),
            _ => self.rpc(request, peer).await,
        }
    }

    fn closed(&self, peer: SocketAddr) {
        self.shared.core.closed(peer);
    }
}

//! The listener: `mainstay_wire`'s server with its bounds, and in it the router.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use mainstay_wire::server::{self, Handler, Options, ReplyBody, RequestBody, Response, Tls};
use mainstay_wire::socket::Listener;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::explain::Explain;
use crate::live::{self, Live};
use crate::reload::Reload;
use crate::reply::Error;
use crate::{Lifecycle, Page, Roles, Token, endpoints};

/// From a request's head to its reply.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For what is in flight when the listener stops.
const GRACE: Duration = Duration::from_secs(2);
const MAX_CONNECTIONS: usize = 256;

/// What the admin listener shows and changes.
pub struct Admin {
    /// All roles of the process.
    pub roles: Roles,
    /// What `/metrics` gives.
    pub page: Page,
    /// For changes from elsewhere than this machine.
    pub token: Option<Token>,
    /// The version of mainstay.
    pub version: String,
    /// Whether the process is starting, serving or stopping.
    pub lifecycle: Lifecycle,
    /// Plays cases that somebody thinks up; `None`: nothing does.
    pub explain: Option<Explain>,
    /// Reads the settings anew; `None`: nothing does.
    pub reload: Option<Arc<dyn Reload>>,
}

/// What the process gave, and what is kept beside it.
pub(crate) struct Site {
    pub(crate) admin: Admin,
    pub(crate) live: Live,
}

impl Deref for Site {
    type Target = Admin;

    fn deref(&self) -> &Admin {
        &self.admin
    }
}

/// On a reply: its body is passed on as it comes.
#[derive(Clone, Copy)]
pub(crate) struct Streamed;

/// Serves until `stop`, over TLS if there is a certificate; what is in flight then has 2 s to end. Health endpoints answer until then, so
/// stop it last.
pub async fn serve(listener: impl Into<Listener>, tls: Option<Tls>, admin: Admin, stop: CancellationToken) {
    let listener = listener.into();
    let site = Arc::new(Site { admin, live: Live::new(stop.clone()) });
    let watching = tokio::spawn(live::watch(site.clone()));
    serve_router(listener, tls, endpoints::router(site), stop).await;
    // It ends by `stop` too.
    let _ = watching.await;
}

/// Serves `/metrics` and nothing else until `stop`: whoever may see figures needs no way to the API.
pub async fn serve_metrics(
    listener: impl Into<Listener>,
    tls: Option<Tls>,
    page: Page,
    stop: CancellationToken,
) {
    serve_router(listener.into(), tls, endpoints::metrics_router(page), stop).await;
}

async fn serve_router(listener: Listener, tls: Option<Tls>, router: Router, stop: CancellationToken) {
    let handler = Shell { router };
    let options = Options { max_connections: MAX_CONNECTIONS, tls, ..Options::default() };
    server::serve(listener, handler, options, stop, GRACE).await;
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

#[derive(Clone)]
struct Shell {
    router: Router,
}

impl Handler for Shell {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let mut router = self.router.clone();
        let answer = async move {
            // A router is always ready and never fails.
            let response = router.call(request).await.unwrap_or_else(|never| match never {});
            if response.extensions().get::<Streamed>().is_some() {
                return response.map(ReplyBody::streamed);
            }
            whole(response).await
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(response) => response,
            Err(_) => {
                whole(Error::new(StatusCode::GATEWAY_TIMEOUT, "not answered in time").into_response()).await
            }
        }
    }
}

/// The reply with its body in one piece: all but events are made so.
async fn whole(response: axum::response::Response) -> Response {
    let (head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return http::Response::new(Default::default()),
    };
    http::Response::from_parts(head, body.into())
}

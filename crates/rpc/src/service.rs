//! The listener's side: routes.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::LOCATION;
use http::{HeaderValue, Method, Request, StatusCode};
use mainstay_wire::server::{Handler, RequestBody, Response};

use crate::api;
use crate::config::Api;
use crate::core::Core;
use crate::proxy;
use crate::reply::{not_allowed, plain};

/// Answers clients.
#[derive(Clone)]
pub(crate) struct Service {
    core: Arc<Core>,
}

impl Service {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl Handler for Service {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        match (request.uri().path(), request.method()) {
            ("/" | "/sim", &Method::POST) => proxy::request(&self.core, request).await,
            ("/", &Method::GET) => plain(StatusCode::OK, "prio-load-balancer\n"),
            ("/", _) => not_allowed("GET, POST"),
            ("/sim", _) => not_allowed("POST"),
            ("/nodes", method) if self.core.live().config.api == Api::Open => match *method {
                Method::GET | Method::POST | Method::DELETE => {
                    Box::pin(api::nodes(&self.core, request, peer)).await
                }
                _ => not_allowed("GET, POST, DELETE"),
            },
            ("/debug/testLogLevels", &Method::GET) if self.core.live().config.error_test_api => {
                one_line_of_each_level()
            }
            (path, _) => elsewhere(path, request.uri().query()),
        }
    }
}

/// What is at no path of ours. A path with a slash too many is redirected, as there; not one with a backslash, which browsers take for
/// a slash and what follows two of them for a host.
fn elsewhere(path: &str, query: Option<&str>) -> Response {
    let mut clean = String::with_capacity(path.len());
    for char in path.chars() {
        if char != '/' || !clean.ends_with('/') {
            clean.push(char);
        }
    }
    if clean == path || path.contains('\\') {
        return plain(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    if let Some(query) = query {
        clean.push('?');
        clean.push_str(query);
    }
    let mut response = Response::default();
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::try_from(clean) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// For whoever tries out what reads the log.
fn one_line_of_each_level() -> Response {
    tracing::debug!("a line of level debug, as it was asked for");
    tracing::info!("a line of level info, as it was asked for");
    tracing::warn!("a line of level warn, as it was asked for");
    tracing::error!("a line of level error, as it was asked for");
    let mut response = Response::default();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

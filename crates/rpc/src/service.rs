//! The listener's side: routes.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use mainstay_wire::server::{Handler, Response};

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
    async fn call(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        match (request.uri().path(), request.method()) {
            ("/" | "/sim", &Method::POST) => proxy::request(&self.core, request).await,
            ("/", &Method::GET) => plain(StatusCode::OK, "prio-load-balancer\n"),
            ("/", _) => not_allowed("GET, POST"),
            ("/sim", _) => not_allowed("POST"),
            ("/nodes", method) if self.core.config.api == Api::Open => match *method {
                Method::GET | Method::POST | Method::DELETE => {
                    Box::pin(api::nodes(&self.core, request, peer)).await
                }
                _ => not_allowed("GET, POST, DELETE"),
            },
            _ => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }
}

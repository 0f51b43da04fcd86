//! A guard's listener.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use mainstay_wire::server::{Handler, Response};

use crate::core::{Core, Post};
use crate::proxy;

/// Answers a guard's clients.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) core: Arc<Core>,
    pub(crate) post: Arc<Post>,
}

impl Handler for Service {
    async fn call(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response {
        proxy::request(&self.core, &self.post, request).await
    }
}

//! A guard's listener.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use mainstay_wire::server::{Handler, RequestBody, Response};

use crate::core::Core;
use crate::proxy;

/// Answers a guard's clients.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) core: Arc<Core>,
    /// Which guard.
    pub(crate) guard: usize,
}

impl Handler for Service {
    async fn call(&self, request: Request<RequestBody>, _peer: SocketAddr) -> Response {
        let post = self.core.post(self.guard);
        proxy::request(&self.core, &post, request).await
    }
}

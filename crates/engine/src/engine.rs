//! Building and running the role.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use mainstay_wire::server;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::core::{Connect, Core, over_http};
use crate::handle::Handle;
use crate::node::Caller;
use crate::service::Service;
use crate::telemetry::{Metrics, Telemetry};

/// The role, built.
pub struct Engine {
    core: Arc<Core>,
}

impl Engine {
    /// Builds the role and starts its nodes' tasks; needs a runtime. `metrics` are those of all engines of the process.
    ///
    /// # Errors
    /// A node that no client can be made for (for instance `https` on a system without trusted roots).
    pub fn build(config: Config, metrics: &Metrics) -> Result<Self, String> {
        Self::build_over(config, metrics, over_http())
    }

    /// As [`Engine::build`], with the calls to nodes and mirrors going over what `connect` makes instead of HTTP clients: for
    /// transports of another kind, and for simulations, which need neither sockets nor a clock that runs.
    ///
    /// # Errors
    /// What `connect` says of a node.
    pub fn build_over(config: Config, metrics: &Metrics, connect: Connect) -> Result<Self, String> {
        let mut own = Registry::default();
        metrics.register(&mut own);
        let telemetry = Telemetry::new(&config.name, metrics.clone());
        Ok(Self { core: Core::start_over(config, telemetry, Arc::new(own), connect)? })
    }

    /// Answers one body of the consensus client, whose token its listener has verified: HTTP status and JSON. [`Engine::serve`]
    /// does the same for bodies that come over HTTP.
    pub async fn answer(&self, body: &Bytes, caller: &Caller) -> (StatusCode, Bytes) {
        Service::new(self.core.clone()).body(body, caller).await
    }

    /// The shared state, for whoever has to look inside.
    #[must_use]
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Serves until `stop`; then answers what is in flight for as long as `grace`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken, grace: Duration) {
        let options = server::Options {
            max_connections: self.core.config.max_connections,
            ..server::Options::default()
        };
        server::serve(listener, Service::new(self.core.clone()), options, stop, grace).await;
    }

    /// A handle for whoever watches and operates it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.core.clone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

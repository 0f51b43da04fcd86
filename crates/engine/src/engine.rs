//! Building and running the role.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::StatusCode;
use mainstay_execution::core::{Connect, over_http};
use mainstay_execution::node::Caller;
use mainstay_execution::telemetry::Telemetry;
use mainstay_execution::{Core, telemetry};
use mainstay_otel::Tracer;
use mainstay_wire::server::{self, Tls};
use mainstay_wire::socket::Listener;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, SECTION};
use crate::handle::Handle;
use crate::service::{Live, Service, Shared};
use crate::tokens::{self, Refusals};

/// The metrics of all engines of a process. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    execution: telemetry::Metrics,
    tokens: tokens::Metrics,
}

impl Metrics {
    /// Registers them. Once a process.
    pub fn new(registry: &mut Registry) -> Self {
        let execution = telemetry::Metrics::new(registry, SECTION.name);
        let tokens = tokens::Metrics::default();
        tokens.register(registry);
        Self { execution, tokens }
    }

    /// Puts them into another registry too.
    fn register(&self, registry: &mut Registry) {
        self.execution.register(registry);
        self.tokens.register(registry);
    }

    /// The same, with calls and tries told as spans too.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { execution: self.execution.traced(tracer), ..self }
    }

    /// What the engine called `name` tells its events to.
    #[must_use]
    pub fn of(&self, name: &str) -> Telemetry {
        self.tokens.prepare(name);
        Telemetry::new(name, self.execution.clone())
    }
}

/// The role, built.
pub struct Engine {
    shared: Arc<Shared>,
    listen: String,
    tls: Option<Tls>,
    max_connections: usize,
}

impl Engine {
    /// Builds the role and starts its nodes' tasks; needs a runtime. `metrics` are those of all engines of the process.
    ///
    /// # Errors
    /// A node that no client can be made for (for instance `https` on a system without trusted roots).
    pub fn build(config: Config, metrics: &Metrics) -> Result<Self, String> {
        let connect = over_http(config.execution.attest.clone(), config.execution.tls.clone());
        Self::build_over(config, metrics, connect)
    }

    /// As [`Engine::build`], with the calls to nodes and mirrors going over what `connect` makes instead of HTTP clients: for
    /// transports of another kind, and for simulations, which need neither sockets nor a clock that runs.
    ///
    /// # Errors
    /// What `connect` says of a node.
    pub fn build_over(config: Config, metrics: &Metrics, connect: Connect) -> Result<Self, String> {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let telemetry = metrics.of(&config.execution.name);
        let refusals = Refusals::new(&config.execution.name, &metrics.tokens);
        let Config { listen, tls, secret, execution, max_body, max_connections } = config;
        let core = Core::start(execution, telemetry, connect)?;
        let live = ArcSwap::from_pointee(Live { secret, max_body });
        let shared = Arc::new(Shared { core, live, refusals, registry });
        Ok(Self { shared, listen: listen.to_string(), tls, max_connections })
    }

    /// Answers one body of the consensus client, whose token its listener has verified: HTTP status and JSON. [`Engine::serve`]
    /// does the same for bodies that come over HTTP.
    pub async fn answer(&self, body: &Bytes, caller: &Caller) -> (StatusCode, Bytes) {
        self.service().body(body, caller).await
    }

    /// What its listener serves.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(self.shared.clone())
    }

    /// The shared state, for whoever has to look inside.
    #[must_use]
    pub fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    /// Serves until `stop`; then answers what is in flight for as long as `grace`.
    pub async fn serve(self, listener: impl Into<Listener>, stop: CancellationToken, grace: Duration) {
        let options = server::Options {
            max_connections: self.max_connections,
            tls: self.tls.clone(),
            ..server::Options::default()
        };
        server::serve(listener, self.service(), options, stop, grace).await;
    }

    /// A handle for whoever watches and operates it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.shared.clone(), self.listen.clone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.core.stop.cancel();
    }
}

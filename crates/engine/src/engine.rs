//! Building and running the role.

use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::server;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::core::Core;
use crate::handle::Handle;
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
        let mut own = Registry::default();
        metrics.register(&mut own);
        let telemetry = Telemetry::new(&config.name, metrics.clone());
        Ok(Self { core: Core::start(config, telemetry, Arc::new(own))? })
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

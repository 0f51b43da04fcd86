//! Building and running the role.

use std::sync::Arc;
use std::time::Duration;

use mainstay_store::{FileStore, Fleet, MemoryStore, RedisStore, Store};
use mainstay_wire::server;
use mainstay_wire::socket::Listener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::core::{Core, Verify};
use crate::handle::Handle;
use crate::members::Members;
use crate::service::Service;
use crate::telemetry::{Metrics, Telemetry};

/// The role, built.
pub struct Rpc {
    core: Arc<Core>,
    /// The place among the instances that share the nodes' slots.
    fleet: Option<Fleet>,
}

impl Rpc {
    /// Builds the role and starts its tasks; needs a runtime. `metrics` are those of all such roles of the process. `verify` says
    /// whether a text is the admin token; without it only loopback peers may change nodes on the role's own port.
    ///
    /// # Errors
    /// Redis's address can't be read, or the state's folder can't be written. A node or Redis that doesn't answer is no error.
    pub fn build(config: Config, metrics: &Metrics, verify: Option<Verify>) -> Result<Self, String> {
        let store = store(&config)?;
        Ok(Self::on(store, config, metrics, verify))
    }

    /// Builds the role on a store of the caller's.
    pub fn on(store: Arc<dyn Store>, config: Config, metrics: &Metrics, verify: Option<Verify>) -> Self {
        let telemetry = Telemetry::new(&config.name, metrics.clone());
        let shared = config.redis.as_ref().is_some_and(|redis| redis.shared_limits);
        let members = Members::new(store, config.nodes.clone(), shared);
        let core = Arc::new(Core::new(config, telemetry, members, verify));
        core.telemetry.show(&core);
        let (queue, stop) = (core.queue.clone(), core.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = queue.keep_time() => {}
                () = stop.cancelled() => {}
            }
        });
        tokio::spawn(Members::follow(core.clone()));
        let fleet = shared.then(|| Members::join(&core));
        Self { core, fleet }
    }

    /// Serves until `stop`, as soon as the list of nodes was read, or could not be; then answers what is in flight and what waits,
    /// for as long as `grace`.
    pub async fn serve(mut self, listener: impl Into<Listener>, stop: CancellationToken, grace: Duration) {
        self.core.members.opened().await;
        let options = server::Options {
            max_connections: self.core.fixed.max_connections,
            tls: self.core.fixed.tls.clone(),
            ..server::Options::default()
        };
        server::serve(listener, Service::new(self.core.clone()), options, stop, grace).await;
        if let Some(fleet) = self.fleet.take() {
            fleet.leave().await;
        }
    }

    /// A handle for whoever watches and operates it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.core.clone())
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

fn store(config: &Config) -> Result<Arc<dyn Store>, String> {
    if let Some(redis) = &config.redis {
        let opened = RedisStore::open(redis.address.clone(), &redis.prefix);
        let store = opened.map_err(|error| format!("redis: {error}"))?;
        return Ok(Arc::new(store));
    }
    Ok(match &config.state_dir {
        Some(dir) => Arc::new(FileStore::open(dir).map_err(|error| format!("state_dir: {error}"))?),
        None => Arc::new(MemoryStore::new()),
    })
}

//! Building and running the role.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::StatusCode;
use mainstay_execution::clock::wall;
use mainstay_execution::core::{Connect, over_http};
use mainstay_wire::server::{self, Tls};
use mainstay_wire::socket::Listener;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Wall};
use crate::config::Config;
use crate::core::{Core, Who};
use crate::handle::Handle;
use crate::service::{Live, MIRRORED, Service, Shared};
use crate::telemetry::{Metrics, Telemetry};

/// The role, built.
pub struct Sync {
    service: Service,
    listen: String,
    tls: Option<Tls>,
    max_connections: usize,
}

impl Sync {
    /// Builds the role and starts its tasks; needs a runtime. `metrics` are those of all roles of this kind of the process.
    ///
    /// # Errors
    /// A node that no client can be made for (for instance `https` on a system without trusted roots).
    pub fn build(config: Config, metrics: &Metrics) -> Result<Self, String> {
        let connect = over_http(config.execution.attest.clone(), config.execution.tls.clone());
        Self::build_over(config, metrics, connect, wall)
    }

    /// As [`Sync::build`], with the calls to nodes and proxies going over what `connect` makes, and another time of day: for
    /// simulations.
    ///
    /// # Errors
    /// What `connect` says of a node.
    pub fn build_over(
        config: Config,
        metrics: &Metrics,
        connect: Connect,
        wall: Wall,
    ) -> Result<Self, String> {
        let name = config.execution.name.clone();
        let telemetry = mainstay_execution::telemetry::Telemetry::new(&name, metrics.execution.clone());
        let execution = mainstay_execution::Core::start(config.execution, telemetry, connect)?;
        let telemetry = Telemetry::new(&name, metrics.clone());
        let clock = Clock::new(wall, config.slots);
        let slot = config.leader.slot;
        let core = Arc::new(Core::new(execution, config.names, telemetry, clock, config.leader));
        tokio::spawn(judge(core.clone()));
        tokio::spawn(watch(core.clone(), slot));
        let stop = core.stop().clone();
        tokio::spawn(stop.run_until_cancelled_owned(core.clone().learn_slots()));
        let shared = Shared {
            core,
            live: ArcSwap::from_pointee(Live {
                secret: config.secret,
                trusted_proxies: config.trusted_proxies,
                max_body: config.max_body,
            }),
            tokens: config.tokens,
            mirror_mode: config.mirror_mode,
            mirrored: Arc::new(Semaphore::new(MIRRORED)),
        };
        let service = Service { shared: Arc::new(shared) };
        Ok(Self {
            service,
            listen: config.listen.to_string(),
            tls: config.tls,
            max_connections: config.max_connections,
        })
    }

    /// Answers one body: HTTP status and JSON. [`Sync::serve`] does the same for bodies that come over HTTP.
    pub async fn answer(&self, body: &Bytes, who: Who) -> (StatusCode, Bytes) {
        self.service.body(body, who).await
    }

    /// The execution clients, for whoever has to look inside.
    #[must_use]
    pub fn execution(&self) -> &Arc<mainstay_execution::Core> {
        &self.service.shared.core.execution
    }

    /// Serves until `stop`; then answers what is in flight for as long as `grace`.
    pub async fn serve(self, listener: impl Into<Listener>, stop: CancellationToken, grace: Duration) {
        let options = server::Options {
            max_connections: self.max_connections,
            tls: self.tls.clone(),
            // nginx and others look for tokens by names as jwt-tokens-service writes them.
            title_case: self.service.shared.tokens.is_some(),
            ..server::Options::default()
        };
        server::serve(listener, self.service.clone(), options, stop, grace).await;
    }

    /// A handle for whoever watches and operates it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.service.shared.clone(), self.listen.clone())
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        self.service.shared.core.stop().cancel();
    }
}

/// Tells of each block whether the execution clients take it.
async fn judge(core: Arc<Core>) {
    let stop = core.stop().clone();
    let (mut rounds, mut taken) = (core.execution.rounds.subscribe(), core.execution.taken.subscribe());
    let judging = async {
        loop {
            let told = tokio::select! {
                biased;
                round = rounds.recv() => round.map(|round| core.judge(&round)),
                block = taken.recv() => block.map(|(block, is_valid)| core.taken_in_replay(&block, is_valid)),
            };
            if matches!(told, Err(RecvError::Closed)) {
                break;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = judging => {}
    }
}

/// Looks at the consensus clients when time alone changes something, and every slot to show them as they are.
async fn watch(core: Arc<Core>, slot: Duration) {
    let stop = core.stop().clone();
    let looking = async {
        loop {
            let due = core.look(Instant::now() + slot);
            core.view(|leader| core.telemetry.clients(&core.names, leader));
            tokio::select! {
                biased;
                () = core.wake.notified() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = looking => {}
    }
}

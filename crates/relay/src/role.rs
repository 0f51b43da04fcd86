//! Building and running the role.

use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::socket::Listener;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::claims::Claims;
use crate::clock::{Wall, wall};
use crate::config::Config;
use crate::core::Core;
use crate::handle::Handle;
use crate::inner::Inner;
use crate::leg;
use crate::peer::Peer;
use crate::telemetry::{Metrics, Telemetry};

/// The role, built.
pub struct Relay {
    core: Arc<Core>,
}

impl Relay {
    /// Builds the role; needs a runtime. `metrics` are those of all such roles of the process.
    ///
    /// # Errors
    /// Claims can't be kept where the settings say or the audit log can't be written. Outer peers that don't answer, and claims that don't yet, are no error.
    pub fn build(config: Config, metrics: &Metrics) -> Result<Self, String> {
        let place = config.claims.clone();
        let claims = place.open(config.claims_timeout).map_err(|why| format!("claims: {why}"))?;
        Self::over(config, metrics, claims, wall)
    }

    /// As [`Relay::build`], with other claims than the settings name and another time of day: for tests and simulations.
    ///
    /// # Errors
    /// The audit log can't be written.
    pub fn over(
        config: Config,
        metrics: &Metrics,
        claims: Arc<dyn Claims>,
        wall: Wall,
    ) -> Result<Self, String> {
        let producers = config.rules.producers.iter().copied().collect();
        let audit = match &config.audit {
            Some(path) => Some(
                Audit::open(path, config.audit_bytes, producers)
                    .map_err(|why| format!("audit: cannot write {}: {why}", path.display()))?,
            ),
            None => None,
        };
        let telemetry = Telemetry::new(&config.name, &config.rules.producers, metrics);
        Ok(Self { core: Core::start(config, claims, audit, telemetry, wall) })
    }

    /// Serves inner nodes until `stop`; then closes all legs, plainly, for which `grace` is the longest. `listeners`: of `listen`, and
    /// of `unix` if there is one.
    pub async fn serve(self, listeners: Vec<Listener>, stop: CancellationToken, grace: Duration) {
        let mut legs = Legs { core: self.core.clone(), serving: JoinSet::new() };
        let config = self.core.config();
        let mut inner =
            Inner::new(listeners, config.admission.clone(), config.tls.clone(), config.first_frame_timeout);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = legs.serving.join_next() => {}
                arrival = inner.next() => match arrival {
                    Ok((stream, peer)) => legs.admit(stream, peer),
                    Err((peer, why)) => self.core.telemetry.refused(&peer, why.word(), &why.to_string()),
                },
            }
        }
        drop(inner);
        self.core.stop.cancel();
        legs.end(grace).await;
        if let Some(audit) = &self.core.audit {
            audit.finish().await;
        }
    }

    /// A handle for whoever watches and operates it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.core.clone())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

/// The inner connections of a relay.
struct Legs {
    core: Arc<Core>,
    serving: JoinSet<()>,
}

impl Legs {
    /// Serves a connection of somebody who may connect, over whatever it comes.
    fn admit<S>(&mut self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(place) = self.core.places.clone().try_acquire_owned() else {
            self.core.telemetry.refused(&peer, "max_legs", "max_legs are connected already");
            return;
        };
        let core = self.core.clone();
        self.serving.spawn(async move {
            leg::serve(core, stream, peer).await;
            drop(place);
        });
    }

    /// Waits until the last one has ended.
    async fn end(mut self, grace: Duration) {
        let ended = async { while self.serving.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, ended).await;
        self.serving.shutdown().await;
    }
}

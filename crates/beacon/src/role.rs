//! Building and running the role.

use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::client::{BadEndpoint, Client};
use mainstay_wire::server;
use mainstay_wire::socket::Listener;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent;
use crate::config::Config;
use crate::core::Core;
use crate::handle::Handle;
use crate::own::Connect;
use crate::rounds;
use crate::service::Service;
use crate::telemetry::Metrics;

/// The role, built.
pub struct Beacon {
    core: Arc<Core>,
}

/// The listeners of one guard.
pub struct Listeners {
    /// Where validator clients connect.
    pub clients: Listener,
    /// Where HAProxy's agent checks connect.
    pub agent: Option<TcpListener>,
}

impl Beacon {
    /// Builds the role and starts its checks; needs a runtime. `metrics` are those of all such roles of the process.
    ///
    /// # Errors
    /// The system's certificates can't be read, and a node is reached by TLS. A node that doesn't answer is no error.
    pub fn build(config: Config, metrics: &Metrics) -> Result<Self, String> {
        Self::over(config, metrics, &Client::new).map_err(|error| error.to_string())
    }

    /// As [`Beacon::build`], with clients for the guards' nodes that `connect` makes.
    fn over(config: Config, metrics: &Metrics, connect: Connect<'_>) -> Result<Self, BadEndpoint> {
        let core = Arc::new(Core::new(config, metrics, connect)?);
        rounds::start(&core);
        tokio::spawn(core.clone().keep_time());
        Ok(Self { core })
    }

    /// Serves until `stop`, then lets what is in flight be answered for as long as `grace`; event streams end at once. Listeners are
    /// those of the guards, in their order.
    pub async fn serve(self, listeners: Vec<Listeners>, stop: CancellationToken, grace: Duration) {
        let mut serving = JoinSet::new();
        for (post, listeners) in self.core.posts().into_iter().zip(listeners) {
            let options = server::Options {
                max_connections: post.settings.max_connections,
                tls: post.config.tls.clone(),
                ..server::Options::default()
            };
            let service = Service { core: self.core.clone(), guard: post.index };
            serving.spawn(server::serve(listeners.clients, service, options, stop.clone(), grace));
            if let Some(listener) = listeners.agent {
                serving.spawn(agent::serve(self.core.clone(), post.index, listener, stop.clone()));
            }
        }
        let ends_streams = async {
            stop.cancelled().await;
            self.core.end_streams();
        };
        tokio::join!(ends_streams, async { while serving.join_next().await.is_some() {} });
    }

    /// A handle for whoever watches and operates it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.core.clone())
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

#[cfg(test)]
mod tests;

//! Fits the `engine` role into the process, and shows it to the admin listener.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_admin::{ActError, Action, BoxFuture, Level, Role, Token};
use mainstay_engine::config::NodeConfig;
use mainstay_engine::{Config, Engine, Handle};
use mainstay_settings::{Problem, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::dropin::Extra;
use crate::probe::{Asked, Target};
use crate::roles::{Built, Configured, Metrics, RoleKind};

/// The engine among the roles; with ExecutionBackup's flags, as it stands in for that.
pub(crate) const KIND: RoleKind = RoleKind {
    section: &mainstay_engine::SECTION,
    extra: &[
        Extra::Alias { key: "majority", flag: "fcu-majority", short: 'f' },
        Extra::PortAndAddress { port: 7000 },
        Extra::Idle { flag: "holesky" },
        Extra::Idle { flag: "sepolia" },
    ],
    configure,
};

fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Box<dyn Configured>> {
    Some(Box::new(Config::from_settings(settings, problems)?))
}

/// Builds an engine as part of a process.
pub(crate) fn build(config: Config, metrics: &mut Metrics) -> Result<Engine, String> {
    let registry = &mut metrics.registry;
    let metrics = metrics.engine.get_or_insert_with(|| mainstay_engine::Metrics::new(registry));
    Engine::build(config, metrics)
}

impl Configured for Config {
    fn name(&self) -> &str {
        &self.name
    }

    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn summary(&self) -> String {
        match self.nodes.len() {
            1 => "1 node".to_owned(),
            count => format!("{count} nodes"),
        }
    }

    fn targets(&self) -> Vec<Target> {
        let target = |node: &NodeConfig| Target {
            group: self.name.clone(),
            name: node.spec.name.clone(),
            url: node.spec.url.clone(),
            asked: Asked::Engine(node.secret.clone()),
        };
        self.nodes.iter().map(target).collect()
    }

    fn build(self: Box<Self>, metrics: &mut Metrics, _: Option<&Token>) -> Result<Box<dyn Built>, String> {
        Ok(Box::new(build(*self, metrics)?))
    }
}

impl Built for Engine {
    fn admin(&self) -> Arc<dyn Role> {
        Arc::new(Shown(self.handle()))
    }

    fn serve(
        self: Box<Self>,
        listener: TcpListener,
        stop: CancellationToken,
        grace: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { Engine::serve(*self, listener, stop, grace).await })
    }
}

/// What the admin listener sees of an engine.
struct Shown(Handle);

impl Role for Shown {
    fn kind(&self) -> &'static str {
        "engine"
    }

    fn name(&self) -> String {
        self.0.name().to_owned()
    }

    fn health(&self) -> (Level, Vec<String>) {
        self.0.health()
    }

    fn state(&self) -> serde_json::Value {
        serde_json::to_value(self.0.snapshot()).unwrap_or_default()
    }

    fn act(&self, action: Action) -> BoxFuture<'static, Result<(), ActError>> {
        let handle = self.0.clone();
        Box::pin(async move {
            let done = match action {
                Action::Add { uri, .. } => handle.add(vec![uri]).await,
                Action::Remove { node } => handle.remove(&node),
                Action::Drain { node } => handle.drain(&node),
                Action::Cordon { node } => handle.cordon(&node),
                Action::Uncordon { node } => handle.uncordon(&node),
                Action::Recheck => {
                    handle.recheck().await;
                    Ok(())
                }
            };
            done.map_err(ActError::from)
        })
    }
}

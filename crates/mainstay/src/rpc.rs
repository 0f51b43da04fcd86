//! Fits the `rpc` role into the process, and shows it to the admin listener.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_admin::{ActError, Action, BoxFuture, Caller, Level, Role, Token, judge};
use mainstay_rpc::config::Probes;
use mainstay_rpc::{Config, Handle, Rpc, Upstream, Verify};
use mainstay_settings::{Problem, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::dropin::Extra;
use crate::dropin::prio::NO_REDIS;
use crate::probe::{Asked, Target};
use crate::roles::{Built, Configured, Metrics, RoleKind};

/// The rpc role among the roles; with prio-load-balancer's flags and variables, as it stands in for that.
pub(crate) const KIND: RoleKind =
    RoleKind { section: &mainstay_rpc::SECTION, extra: &[Extra::PrioLoadBalancer], configure };

fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Box<dyn Configured>> {
    let mut config = Config::from_settings(settings, problems)?;
    if let Some(shared) = config.redis.take_if(|redis| redis.address == NO_REDIS)
        && shared.shared_limits
    {
        let what = "instances find each other through Redis, name one";
        problems.push(settings.problem("redis", what));
    }
    Some(Box::new(config))
}

impl Configured for Config {
    fn name(&self) -> &str {
        &self.name
    }

    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn summary(&self) -> String {
        let kept = if self.redis.is_some() {
            ", more from Redis"
        } else if self.state_dir.is_some() {
            ", more from the state directory"
        } else {
            ""
        };
        match self.nodes.len() {
            1 => format!("1 node{kept}"),
            count => format!("{count} nodes{kept}"),
        }
    }

    fn targets(&self) -> Vec<Target> {
        let asked = match self.probes {
            Probes::Ethereum => Asked::Ethereum,
            Probes::NetVersion | Probes::None => Asked::NetVersion,
        };
        let target = |node: &Upstream| Target {
            group: self.name.clone(),
            name: node.name(),
            url: node.url.clone(),
            asked: asked.clone(),
        };
        self.nodes.iter().map(target).collect()
    }

    fn build(
        self: Box<Self>,
        metrics: &mut Metrics,
        token: Option<&Token>,
    ) -> Result<Box<dyn Built>, String> {
        let registry = &mut metrics.registry;
        let metrics = metrics.rpc.get_or_insert_with(|| mainstay_rpc::Metrics::new(registry));
        Ok(Box::new(Rpc::build(*self, metrics, token.cloned().map(verify))?))
    }
}

/// Who may change nodes on the role's own port from elsewhere.
fn verify(token: Token) -> Verify {
    Arc::new(move |bearer| {
        let caller = Caller {
            // Nobody's address: the token alone decides.
            peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            host: None,
            origin: None,
            proxied: false,
            bearer: Some(bearer.to_owned()),
        };
        judge(&caller, Some(&token)).is_ok()
    })
}

impl Built for Rpc {
    fn admin(&self) -> Arc<dyn Role> {
        Arc::new(Shown(self.handle()))
    }

    fn serve(
        self: Box<Self>,
        listener: TcpListener,
        stop: CancellationToken,
        grace: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { Rpc::serve(*self, listener, stop, grace).await })
    }
}

/// What the admin listener sees of the role.
struct Shown(Handle);

impl Role for Shown {
    fn kind(&self) -> &'static str {
        "rpc"
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
                Action::Add { uri, force } => handle.add(&uri, force).await,
                Action::Remove { node } => handle.remove(&node).await,
                // Requests are all that a node of this role gets.
                Action::Drain { node } | Action::Cordon { node } => handle.drain(&node),
                Action::Uncordon { node } => handle.undrain(&node),
                Action::Recheck => {
                    handle.recheck().await;
                    Ok(())
                }
            };
            done.map_err(ActError::from)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_admin_token_and_nothing_else_is_taken() {
        let text = "correct-horse-battery-staple";
        let verify = verify(Token::new(text).unwrap());
        assert!(verify(text));
        for wrong in ["", "correct-horse-battery", "correct-horse-battery-staples"] {
            assert!(!verify(wrong));
        }
    }
}

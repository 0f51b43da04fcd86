//! Fits the `rpc` role into the process.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mainstay_admin::{Caller, Token, judge};
use mainstay_rpc::config::Probes;
use mainstay_rpc::{Config, Rpc, Upstream, Verify};
use mainstay_settings::{Listen, Problem, Settings};
use mainstay_store::{Name, RedisStore, Store as _};
use mainstay_wire::Watched;
use mainstay_wire::client::Attestation;
use url::Url;

use crate::dropin::Extra;
use crate::dropin::prio::NO_REDIS;
use crate::probe::{Asked, Target};
use crate::roles::{Built, Configured, Kept, Metrics, RoleKind, certificates, count};

/// The rpc role among the roles; with prio-load-balancer's flags and variables, as it stands in for that.
pub(crate) const KIND: RoleKind =
    RoleKind { section: &mainstay_rpc::SECTION, extra: &[Extra::PrioLoadBalancer], configure };

/// Nobody's document: whether it is there makes no difference.
const NOBODYS: Name = Name::new("mainstay:doctor", "doctor");

fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Box<dyn Configured>> {
    let mut config = Config::from_settings(settings, problems)?;
    if settings.text("redis") == Some(NO_REDIS)
        && let Some(nowhere) = config.redis.take()
        && nowhere.shared_limits
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

    fn listens(&self) -> Vec<Listen> {
        vec![self.listen.clone()]
    }

    fn certificates(&self) -> Vec<(String, Watched)> {
        certificates(&self.listen, self.tls.as_ref(), self.node_tls.as_ref())
    }

    fn summary(&self) -> String {
        let kept = if self.redis.is_some() {
            ", more from Redis"
        } else if self.state_dir.is_some() {
            ", more from the state directory"
        } else {
            ""
        };
        format!("{}{kept}", count(self.nodes.len()))
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
            tls: self.node_tls.clone(),
        };
        self.nodes.iter().map(target).collect()
    }

    fn called(&self) -> Vec<(&'static str, String, &Url)> {
        self.nodes.iter().map(|node| ("nodes", node.name(), &node.url)).collect()
    }

    fn kept(&self) -> Vec<Kept> {
        let Some(redis) = self.redis.clone() else { return Vec::new() };
        let place = redis.address.to_string();
        let ask = async move {
            let store = RedisStore::open(redis.address, &redis.prefix).map_err(|why| why.to_string())?;
            store.read(&NOBODYS).await.map(|_| ()).map_err(|why| why.to_string())
        };
        vec![Kept { place, ask: Box::pin(ask) }]
    }

    fn attest_by(&mut self, attest: Attestation) {
        self.attest = Some(attest);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn build(self: Box<Self>, metrics: &mut Metrics) -> Result<Built, String> {
        let traced = mainstay_rpc::Metrics::new(&mut metrics.registry).traced(metrics.means.tracer.clone());
        let rpc = Rpc::build(*self, &traced, metrics.means.token.clone().map(verify))?;
        let (shown, handle) = (rpc.handle(), rpc.handle());
        let built = Built::new(shown, |listener, stop, grace| rpc.serve(listener, stop, grace));
        Ok(built.reloads(move |config: Self| handle.prepare(config)))
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

//! Fits the `relay` role into the process.

use std::any::Any;
use std::time::Duration;

use mainstay_antelope::Id;
use mainstay_relay::{Config, Relay};
use mainstay_settings::{Listen, Problem, SOCKET_MODE, Settings};
use mainstay_wire::Watched;
use mainstay_wire::client::Attestation;
use url::Url;

use crate::probe::Target;
use crate::roles::{Built, Configured, Kept, Metrics, RoleKind, certificates};

/// The relay role among the roles.
pub(crate) const KIND: RoleKind = RoleKind { section: &mainstay_relay::SECTION, extra: &[], configure };

/// For a question that nobody's block waits for: connecting is part of it.
const UNHURRIED: Duration = Duration::from_secs(3);

fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Box<dyn Configured>> {
    Some(Box::new(Config::from_settings(settings, problems)?))
}

impl Configured for Config {
    fn name(&self) -> &str {
        &self.name
    }

    /// `listen`, and `unix` if it is set.
    fn listens(&self) -> Vec<Listen> {
        let unix = self.unix.clone().map(|path| Listen::Unix { path, mode: SOCKET_MODE });
        std::iter::once(self.listen.clone()).chain(unix).collect()
    }

    fn listen_problem(&self, settings: &Settings, nth: usize, what: String) -> Problem {
        settings.problem(if nth == 0 { "listen" } else { "unix" }, what)
    }

    fn certificates(&self) -> Vec<(String, Watched)> {
        certificates(&self.listen, self.tls.as_ref(), None)
    }

    fn summary(&self) -> String {
        let producers: Vec<String> = self.rules.producers.iter().map(ToString::to_string).collect();
        let s = if self.outer.len() == 1 { "" } else { "s" };
        format!("{} outer peer{s} for {}", self.outer.len(), producers.join(", "))
    }

    /// Nodes of this protocol aren't asked: a connection to one may take the place of a leg.
    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    /// Nobody over HTTP who could attest.
    fn called(&self) -> Vec<(&'static str, String, &Url)> {
        Vec::new()
    }

    fn peers(&self) -> Vec<String> {
        self.outer.iter().map(ToString::to_string).collect()
    }

    fn kept(&self) -> Vec<Kept> {
        let (Some(producer), true) = (self.rules.producers.first().copied(), self.claims.is_shared()) else {
            return Vec::new();
        };
        let (claims, chain) = (self.claims.clone(), self.chain_id.unwrap_or(Id([0; 32])));
        let place = claims.to_string();
        let ask = async move {
            let claims = claims.open(UNHURRIED).map_err(|why| why.to_string())?;
            claims.latest(chain, producer).await.map(|_| ()).map_err(|why| why.to_string())
        };
        vec![Kept { place, ask: Box::pin(ask) }]
    }

    fn attest_by(&mut self, _: Attestation) {}

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn build(self: Box<Self>, metrics: &mut Metrics) -> Result<Built, String> {
        let relay = Relay::build(*self, &mainstay_relay::Metrics::new(&mut metrics.registry))?;
        // Legs of both would ask claims of their own, if those are in memory.
        let handle = relay.handle();
        let serve = |listeners, stop, grace| relay.serve(listeners, stop, grace);
        let built = Built::with_many(handle.clone(), serve).alone();
        Ok(built.reloads(move |config: Self| handle.prepare(config)))
    }
}

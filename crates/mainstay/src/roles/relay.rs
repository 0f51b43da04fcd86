//! Fits the `relay` role into the process.

use std::any::Any;
use std::net::SocketAddr;

use mainstay_admin::Token;
use mainstay_relay::{Config, Relay};
use mainstay_settings::{Problem, Settings};
use mainstay_wire::client::Attestation;
use url::Url;

use crate::probe::Target;
use crate::roles::{Built, Configured, Metrics, RoleKind};

/// The relay role among the roles.
pub(crate) const KIND: RoleKind = RoleKind { section: &mainstay_relay::SECTION, extra: &[], configure };

fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Box<dyn Configured>> {
    Some(Box::new(Config::from_settings(settings, problems)?))
}

impl Configured for Config {
    fn name(&self) -> &str {
        &self.name
    }

    fn listens(&self) -> Vec<SocketAddr> {
        vec![self.listen]
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

    fn attest_by(&mut self, _: Attestation) {}

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn build(self: Box<Self>, metrics: &mut Metrics, _: Option<&Token>) -> Result<Built, String> {
        let relay = Relay::build(*self, &metrics.of(mainstay_relay::Metrics::new))?;
        // Legs of both would ask claims of their own, if those are in memory.
        let handle = relay.handle();
        let built =
            Built::new(relay.handle(), |listener, stop, grace| relay.serve(listener, stop, grace)).alone();
        Ok(built.reloads(move |config: Self| handle.prepare(config)))
    }
}

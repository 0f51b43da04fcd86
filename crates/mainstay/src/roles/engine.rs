//! Fits the `engine` role into the process.

use std::any::Any;

use mainstay_engine::{Config, Engine};
use mainstay_settings::{Listen, Problem, Settings};
use mainstay_wire::Watched;
use mainstay_wire::client::Attestation;
use url::Url;

use crate::dropin::Extra;
use crate::probe::{Asked, Target};
use crate::roles::{Built, Configured, Metrics, RoleKind, called, certificates, count, targets};

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

impl Configured for Config {
    fn name(&self) -> &str {
        &self.execution.name
    }

    fn listens(&self) -> Vec<Listen> {
        vec![self.listen.clone()]
    }

    fn certificates(&self) -> Vec<(String, Watched)> {
        certificates(&self.listen, self.tls.as_ref(), self.execution.tls.as_ref())
    }

    fn summary(&self) -> String {
        count(self.execution.nodes.len())
    }

    fn targets(&self) -> Vec<Target> {
        targets(&self.execution, Asked::Ethereum)
    }

    fn called(&self) -> Vec<(&'static str, String, &Url)> {
        called(&self.execution, "mirror")
    }

    fn attest_by(&mut self, attest: Attestation) {
        self.execution.attest = Some(attest);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn build(self: Box<Self>, metrics: &mut Metrics) -> Result<Built, String> {
        let traced =
            mainstay_engine::Metrics::new(&mut metrics.registry).traced(metrics.means.tracer.clone());
        let engine = Engine::build(*self, &traced)?;
        let (shown, handle) = (engine.handle(), engine.handle());
        let built = Built::new(shown, |listener, stop, grace| engine.serve(listener, stop, grace));
        Ok(built.reloads(move |config: Self| handle.prepare(config)))
    }
}

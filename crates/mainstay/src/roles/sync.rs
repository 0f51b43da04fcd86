//! Fits the `sync` role into the process.

use std::any::Any;

use mainstay_settings::{Listen, Problem, Settings};
use mainstay_sync::{Config, Sync};
use mainstay_wire::Watched;
use mainstay_wire::client::Attestation;
use url::Url;

use crate::dropin::Extra;
use crate::probe::{Asked, Target};
use crate::roles::{Built, Configured, Metrics, RoleKind, called, certificates, count, targets};

/// The sync role among the roles; with sync-proxy's flags and variables, as it stands in for that.
pub(crate) const KIND: RoleKind =
    RoleKind { section: &mainstay_sync::SECTION, extra: &[Extra::SyncProxy], configure };

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
        let nodes = count(self.execution.nodes.len());
        let proxies = match self.execution.links.len() {
            0 => String::new(),
            1 => ", 1 proxy".to_owned(),
            many => format!(", {many} proxies"),
        };
        let mirror = if self.mirror_mode { ", in mirror mode" } else { "" };
        format!("{nodes}{proxies}{mirror}")
    }

    fn targets(&self) -> Vec<Target> {
        targets(&self.execution, Asked::Passage)
    }

    fn called(&self) -> Vec<(&'static str, String, &Url)> {
        called(&self.execution, "proxies")
    }

    fn attest_by(&mut self, attest: Attestation) {
        self.execution.attest = Some(attest);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn build(self: Box<Self>, metrics: &mut Metrics) -> Result<Built, String> {
        let forwards = metrics.means.forwards.clone();
        let own = mainstay_sync::Metrics::forwarding(&mut metrics.registry, forwards);
        let traced = own.traced(metrics.means.tracer.clone());
        let sync = Sync::build(*self, &traced)?;
        let (shown, handle) = (sync.handle(), sync.handle());
        let built = Built::new(shown, |listener, stop, grace| sync.serve(listener, stop, grace));
        Ok(built.reloads(move |config: Self| handle.prepare(config)))
    }
}

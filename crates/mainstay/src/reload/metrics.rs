//! What Prometheus is told of reloads, under the names that it has for its own.

use std::sync::atomic::AtomicU64;

use mainstay_admin::{Outcome, Reloaded};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How the last reload went.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    successful: Gauge,
    at: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Registers them, once a process: its settings have just been read.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.read_at(super::wall_ms());
        let registry = registry.sub_registry_with_prefix("mainstay_config");
        let help =
            "Whether the settings were taken over when they were last read: 1; 0: refused, those before hold";
        registry.register("last_reload_successful", help, metrics.successful.clone());
        let help = "When settings were last read that hold, in Unix time: at the start, or by a reload";
        registry.register("last_reload_success_timestamp_seconds", help, metrics.at.clone());
        metrics
    }

    /// The settings were read anew.
    pub(super) fn told(&self, reloaded: &Reloaded) {
        match reloaded.outcome {
            Outcome::Applied => self.read_at(reloaded.at_ms),
            Outcome::Wrong | Outcome::NotNow => {
                self.successful.set(0);
            }
        }
    }

    #[allow(clippy::cast_precision_loss)] // milliseconds since 1970 fit for a long time
    fn read_at(&self, ms: u64) {
        self.successful.set(1);
        self.at.set(ms as f64 / 1000.0);
    }
}

//! The certificates that a process serves with and shows: looked at every few seconds, and their ends told as metrics.
//!
//! Whoever renews them writes files. That they have changed is seen here too, and not only when somebody connects, so that an operator
//! who has renewed one learns at once what became of it.

use std::fmt;
use std::time::Duration;

use mainstay_wire::Watched;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::admin::AdminConfig;
use crate::roles::Configured;
use crate::sections::ADMIN;
use crate::shared::Shared;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(3);

/// The files of one certificate, and what it is for.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    labels: [(&'static str, String); 3],
    watched: Watched,
}

/// All of a process: the admin listener's, and those of the roles that serve. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    of_admin: Option<Certificate>,
    of_roles: Shared<Vec<Certificate>>,
}

impl Certificate {
    fn new(role: &str, name: &str, listener: String, watched: Watched) -> Self {
        let labels = [("role", role.to_owned()), ("name", name.to_owned()), ("listener", listener)];
        Self { labels, watched }
    }

    /// Those of a role.
    pub(crate) fn of(kind: &str, config: &dyn Configured) -> Vec<Self> {
        let certificate = |(listener, watched)| Self::new(kind, config.name(), listener, watched);
        config.certificates().into_iter().map(certificate).collect()
    }
}

impl Certificates {
    /// The admin listener's, if it has one.
    pub(crate) fn of(admin: Option<&AdminConfig>) -> Self {
        let of_admin = admin.and_then(|admin| {
            let listen = admin.listen.as_ref().or(admin.metrics_listen.as_ref())?;
            let watched = admin.tls.as_ref()?.watched();
            Some(Certificate::new(ADMIN.name, ADMIN.name, listen.to_string(), watched))
        });
        Self { of_admin, of_roles: Shared::default() }
    }

    /// From now on those of roles are these.
    pub(crate) fn set(&self, of_roles: Vec<Certificate>) {
        *self.of_roles.lock() = of_roles;
    }

    fn all(&self) -> Vec<Certificate> {
        self.of_roles.lock().iter().chain(&self.of_admin).cloned().collect()
    }

    /// Tells of them in `registry`; nothing as long as there is none.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Looks at their files for as long as the process lives.
    pub(crate) async fn keep(self) {
        let mut due = tokio::time::interval(EVERY);
        loop {
            due.tick().await;
            for certificate in self.all() {
                certificate.watched.look();
            }
        }
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.all();
        if all.is_empty() {
            return Ok(());
        }
        let name = "mainstay_tls_certificate_expiry_timestamp_seconds";
        let help = "When the certificate that is in use ends, in Unix time; listener is nodes for one that nodes are shown.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for Certificate { labels, watched } in &all {
            if let Some(expires) = watched.expires() {
                ConstGauge::new(expires as f64).encode(family.encode_family(labels)?)?;
            }
        }
        let name = "mainstay_tls_reload_failures";
        let help =
            "How often files of TLS that had changed could not be used, so that what was in use stayed.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for Certificate { labels, watched } in &all {
            ConstCounter::new(watched.failures()).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

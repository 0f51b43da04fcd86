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

use crate::plan::Plan;
use crate::sections::ADMIN;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(3);

/// The files of one certificate, and what it is for.
#[derive(Clone, Debug)]
struct Certificate {
    labels: [(&'static str, String); 3],
    watched: Watched,
}

/// All of a process.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(Vec<Certificate>);

impl Certificates {
    /// Those that the plan names.
    pub(crate) fn of(plan: &Plan) -> Self {
        let certificate = |role: &str, name: &str, listener: String, watched| Certificate {
            labels: [("role", role.to_owned()), ("name", name.to_owned()), ("listener", listener)],
            watched,
        };
        let mut all = Vec::new();
        for role in &plan.roles {
            let Some(config) = &role.config else { continue };
            let of_role = config.certificates().into_iter();
            let kind = role.kind.section.name;
            all.extend(
                of_role.map(|(listener, watched)| certificate(kind, config.name(), listener, watched)),
            );
        }
        if let Some(admin) = &plan.admin_config
            && let Some(tls) = &admin.tls
            && let Some(listen) = admin.listen.as_ref().or(admin.metrics_listen.as_ref())
        {
            all.push(certificate(ADMIN.name, ADMIN.name, listen.to_string(), tls.watched()));
        }
        Self(all)
    }

    /// Tells of them in `registry`; nothing if there is none.
    pub(crate) fn register(&self, registry: &mut Registry) {
        if !self.0.is_empty() {
            registry.register_collector(Box::new(self.clone()));
        }
    }

    /// Looks at their files for as long as the process lives.
    pub(crate) async fn keep(self) {
        if self.0.is_empty() {
            return;
        }
        let mut due = tokio::time::interval(EVERY);
        loop {
            due.tick().await;
            for certificate in &self.0 {
                certificate.watched.look();
            }
        }
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = "mainstay_tls_certificate_expiry_timestamp_seconds";
        let help = "When the certificate that is in use ends, in Unix time; listener is nodes for one that nodes are shown.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for Certificate { labels, watched } in &self.0 {
            if let Some(expires) = watched.expires() {
                ConstGauge::new(expires as f64).encode(family.encode_family(labels)?)?;
            }
        }
        let name = "mainstay_tls_reload_failures";
        let help =
            "How often files of TLS that had changed could not be used, so that what was in use stayed.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for Certificate { labels, watched } in &self.0 {
            ConstCounter::new(watched.failures()).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

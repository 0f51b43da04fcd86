//! What the role says of the consensus clients (CL): metrics, and events that log and count at once. Of the execution clients and
//! their calls `mainstay_execution` tells.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_execution::forwards::Forwards;
use mainstay_execution::{method, telemetry};
use mainstay_otel::Tracer;
use mainstay_wire::envelope::Call;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::client::Names;
use crate::config::SECTION;
use crate::leader::{Change, Leader, State};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClientLabels {
    sync: String,
    client: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    sync: String,
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    sync: String,
    method: String,
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabels {
    sync: String,
}

/// The metrics of roles of this kind. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    pub(crate) execution: telemetry::Metrics,
    leader: Family<ClientLabels, Gauge>,
    client_slot: Family<ClientLabels, Gauge<u64, AtomicU64>>,
    client_well: Family<ClientLabels, Gauge>,
    leader_changes: Family<ChangeLabels, Counter>,
    client_calls: Family<CallLabels, Counter>,
    turned_away: Family<SyncLabels, Gauge<u64, AtomicU64>>,
}

impl Metrics {
    /// The same, with calls and tries told as spans too.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { execution: self.execution.traced(tracer), ..self }
    }

    /// Registers the metrics. Once a registry: a second registration would show each of them twice.
    pub fn new(registry: &mut Registry) -> Self {
        let forwards = Forwards::new(registry);
        Self::forwarding(registry, forwards)
    }

    /// The same, with calls to nodes under sync-proxy's names told to `forwards`, which may be registered elsewhere: those names have no
    /// label that tells roles apart.
    pub fn forwarding(registry: &mut Registry, forwards: Forwards) -> Self {
        let metrics = Self {
            execution: telemetry::Metrics::new(registry, SECTION.name).with_forwards(forwards),
            leader: Family::default(),
            client_slot: Family::default(),
            client_well: Family::default(),
            leader_changes: Family::default(),
            client_calls: Family::default(),
            turned_away: Family::default(),
        };
        let m = metrics.clone();
        let r = registry.sub_registry_with_prefix("mainstay_sync");
        r.register("client_leads", "1 if the consensus client leads", m.leader);
        r.register("client_slot", "The highest believed slot of the consensus client", m.client_slot);
        r.register("client_well", "1 if the consensus client could lead", m.client_well);
        r.register("leader_changes", "Changes of the leader, by reason", m.leader_changes);
        r.register(
            "client_calls",
            "newPayload and forkchoiceUpdated of consensus clients, by where the answer came from: asked (the nodes), known, or \
             late (the nodes' answer came too late for who doesn't lead)",
            m.client_calls,
        );
        r.register(
            "clients_turned_away",
            "Calls of consensus clients beyond those that are remembered",
            m.turned_away,
        );
        metrics
    }
}

/// What one role says.
#[derive(Clone)]
pub struct Telemetry {
    name: String,
    metrics: Metrics,
    /// The CLs that have gauges.
    shown: Arc<Mutex<HashSet<ClientLabels>>>,
}

impl Telemetry {
    /// That of the role called `name`.
    pub fn new(name: &str, metrics: Metrics) -> Self {
        Self { name: name.to_owned(), metrics, shown: Arc::default() }
    }

    /// Another CL leads.
    pub(crate) fn changed(&self, names: &Names, change: &Change, leader: &Leader) {
        let labels = ChangeLabels { sync: self.name.clone(), why: change.why.word() };
        self.metrics.leader_changes.get_or_create(&labels).inc();
        let from = change.from.as_ref().map_or_else(|| "none".to_owned(), |client| names.of(client));
        let (to, why) = (names.of(&change.to), &change.why);
        if change.why.is_fault() {
            tracing::warn!(sync = self.name, from, to, %why, "the leader changed");
        } else {
            tracing::info!(sync = self.name, from, to, %why, "the leader changed");
        }
        self.clients(names, leader);
    }

    /// A voted call of a CL was answered.
    pub(crate) fn answered(&self, call: &Call, by: &'static str) {
        let method = method::label(&call.method).to_owned();
        let labels = CallLabels { sync: self.name.clone(), method, by };
        self.metrics.client_calls.get_or_create(&labels).inc();
    }

    /// Brings the CLs' gauges up to date; those of who is forgotten go.
    pub(crate) fn clients(&self, names: &Names, leader: &Leader) {
        let m = &self.metrics;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = std::mem::take(&mut *shown);
        for seen in leader.view() {
            let labels = ClientLabels { sync: self.name.clone(), client: names.of(seen.client) };
            m.leader.get_or_create(&labels).set(i64::from(seen.leads));
            m.client_slot.get_or_create(&labels).set(seen.slot.unwrap_or_default());
            m.client_well.get_or_create(&labels).set(i64::from(seen.state == State::Well));
            shown.insert(labels);
        }
        for labels in forgotten.difference(&shown) {
            m.leader.remove(labels);
            m.client_slot.remove(labels);
            m.client_well.remove(labels);
        }
        let sync = SyncLabels { sync: self.name.clone() };
        m.turned_away.get_or_create(&sync).set(leader.turned_away());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::client::Client;
    use crate::leader::{Heard, Now, Rules};

    #[test]
    #[allow(clippy::disallowed_methods)] // where time starts
    fn strangers_leave_no_labels_behind() {
        let mut registry = Registry::default();
        let telemetry = Telemetry::new("sync", Metrics::new(&mut registry));
        let mut now = Now { at: Instant::now(), slot: 7 };
        let rules = Rules { max_strangers: 2, ..Rules::new(Duration::from_secs(12)) };
        let mut leader = Leader::new(rules, now);
        for stranger in 0..50 {
            leader.heard(&Client::id(&format!("s{stranger}")).unwrap(), Heard::Call, now);
            telemetry.clients(&Names::default(), &leader);
            now.at += Duration::from_secs(60);
            leader.look(now);
        }
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        assert_eq!(page.matches("mainstay_sync_client_well{").count(), 2, "{page}");
        assert!(page.contains(r#"client="s49""#), "{page}");
    }
}

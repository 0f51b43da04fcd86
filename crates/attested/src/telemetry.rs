//! What is counted: verdicts and fetches, and for each node that attests what is known of it.
//!
//! A node's label is what may be shown of its URL. Two nodes at one address that have to prove different things share it; its gauges then
//! show the worse.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_attest::Kind;
use mainstay_attest::uri::AttestedUri;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::keeper::{Known, Nodes};
use crate::{Judged, Missing};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    form: &'static str,
    /// `held`, or the step that refused.
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    outcome: &'static str,
}

/// The metrics of all nodes that attest. Clones share their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telemetry {
    verdicts: Family<VerdictLabels, Counter>,
    fetches: Family<FetchLabels, Counter>,
    collateral: Arc<Mutex<BTreeMap<Missing, SystemTime>>>,
}

impl Telemetry {
    /// Registers the metrics, once a process; gauges are of `nodes`.
    pub(crate) fn register(&self, nodes: Arc<Mutex<Nodes>>, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("mainstay_attest");
        registry.register(
            "verdicts",
            "Connections to nodes that attest, by form and by what came of the evidence: held, or the check that refused it",
            self.verdicts.clone(),
        );
        registry.register(
            "collateral_fetches",
            "Fetches of Intel's collateral, by what came of them",
            self.fetches.clone(),
        );
        registry.register_collector(Box::new(Gauges { nodes, collateral: self.collateral.clone() }));
    }

    pub(crate) fn judged(&self, judged: &Judged<'_>) {
        let verdict = judged.verdict.map_or_else(|refusal| refusal.step, |_| "held");
        let form = form(judged.expectation.kind());
        self.verdicts.get_or_create(&VerdictLabels { form, verdict }).inc();
    }

    pub(crate) fn fetched(&self, well: bool) {
        let outcome = if well { "ok" } else { "failed" };
        self.fetches.get_or_create(&FetchLabels { outcome }).inc();
    }

    /// Until when collateral lasts that is at hand.
    pub(crate) fn collateral(&self, of: Missing, until: SystemTime) {
        self.collateral.lock().unwrap_or_else(PoisonError::into_inner).insert(of, until);
    }
}

fn form(kind: Kind) -> &'static str {
    match kind {
        Kind::Sgx => "sgx",
        Kind::Sev => "sev",
        Kind::Tdx => "tdx",
    }
}

/// Read when somebody asks.
struct Gauges {
    nodes: Arc<Mutex<Nodes>>,
    collateral: Arc<Mutex<BTreeMap<Missing, SystemTime>>>,
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

/// A gauge's samples: labels and value.
type Samples = BTreeMap<Vec<(&'static str, String)>, i64>;

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let nodes: Vec<(String, Arc<Known>)> = {
            let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let shown = |url: &str| AttestedUri::parse(url).ok().flatten().map(|uri| uri.to_string());
            nodes.iter().filter_map(|(url, known)| Some((shown(url.as_str())?, known.clone()))).collect()
        };
        let of_nodes = |value: fn(&Known) -> i64, worse: fn(i64, i64) -> i64| {
            let mut samples = Samples::new();
            for (node, known) in &nodes {
                let labels = vec![("node", node.clone()), ("form", form(known.form).to_owned())];
                let value = value(known);
                samples.entry(labels).and_modify(|had| *had = worse(*had, value)).or_insert(value);
            }
            samples
        };
        let mut family = |name: &str, help: &str, samples: Samples| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in samples {
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        family(
            "node_held",
            "1 if the last evidence of the node held, 0 if it was refused",
            of_nodes(|known| (known.verdict == "held").into(), i64::min),
        )?;
        family(
            "node_warnings",
            "What of the node's last evidence doesn't hold and is allowed not to",
            of_nodes(|known| i64::try_from(known.warnings.len()).unwrap_or(i64::MAX), i64::max),
        )?;
        family(
            "node_until_timestamp_seconds",
            "When the first thing expires that the node's last evidence rests on; 0 if it was refused",
            of_nodes(|known| known.until.map_or(0, seconds), i64::min),
        )?;
        let collateral = self.collateral.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let labels = |of: Missing| {
            vec![
                ("form", form(of.kind).to_owned()),
                ("fmspc", of.platform.fmspc.to_string()),
                ("authority", of.platform.authority.to_owned()),
            ]
        };
        family(
            "collateral_until_timestamp_seconds",
            "When the collateral expires that is at hand, by the platforms that it is for",
            collateral.into_iter().map(|(of, until)| (labels(of), seconds(until))).collect(),
        )
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

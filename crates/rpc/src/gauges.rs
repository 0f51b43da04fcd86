//! Gauges that are read when somebody asks for them: what is asked of the queue once in a scrape isn't counted with each request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::lane::Lane;
use crate::telemetry::Rpc;

/// A node's gauges.
pub(crate) struct NodeGauges {
    pub(crate) node: String,
    pub(crate) in_flight: u32,
    /// Slots that may be used now.
    pub(crate) open: u32,
    pub(crate) fit: bool,
}

/// What a role's gauges show now.
pub(crate) struct Shown {
    /// Waiting requests by [`Lane::index`].
    pub(crate) lengths: [usize; 3],
    pub(crate) nodes: Vec<NodeGauges>,
    /// Whether the list of nodes can be reached.
    pub(crate) store: bool,
}

/// Has gauges.
pub(crate) trait Source: Send + Sync + 'static {
    fn gauges(&self) -> Shown;
}

type Sources = Arc<Mutex<Vec<(Rpc, Weak<dyn Source>)>>>;

/// The gauges of all `rpc` roles of a process.
#[derive(Clone, Default)]
pub(crate) struct Gauges(Sources);

impl Gauges {
    pub(crate) fn add(&self, rpc: &Rpc, source: &Arc<impl Source>) {
        let source: Arc<dyn Source> = source.clone();
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|(_, source)| source.strong_count() > 0);
        sources.push((rpc.clone(), Arc::downgrade(&source)));
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shown: Vec<(Rpc, Shown)> = sources
            .iter()
            .filter_map(|(rpc, source)| Some((rpc.clone(), source.upgrade()?.gauges())))
            .collect();
        let mut family = |name: &str, help: &str, samples: Vec<(Vec<(&str, String)>, i64)>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in samples {
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        let lane = |rpc: &Rpc, lane: Lane| vec![("rpc", rpc.to_string()), ("lane", lane.word().to_owned())];
        let lengths = shown.iter().flat_map(|(rpc, shown)| {
            #[allow(clippy::cast_possible_wrap)] // a queue has a bound
            Lane::ALL.map(|of| (lane(rpc, of), shown.lengths[of.index()] as i64))
        });
        family("queue_length", "Requests that wait, by lane", lengths.collect())?;
        let nodes = |value: fn(&NodeGauges) -> i64| {
            let mut samples = Vec::new();
            for (rpc, shown) in &shown {
                for node in &shown.nodes {
                    samples.push((vec![("rpc", rpc.to_string()), ("node", node.node.clone())], value(node)));
                }
            }
            samples
        };
        family("node_in_flight", "Requests that the node works on", nodes(|node| node.in_flight.into()))?;
        family(
            "node_slots",
            "Requests that the node may work on at once, now",
            nodes(|node| node.open.into()),
        )?;
        family("node_fit", "1 if the node is fit", nodes(|node| node.fit.into()))?;
        let store = shown.iter().map(|(rpc, shown)| (vec![("rpc", rpc.to_string())], shown.store.into()));
        family("store_up", "1 if the list of nodes can be reached", store.collect())
    }
}

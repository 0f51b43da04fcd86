//! What the role says of itself: metrics, and the events of its nodes. The line of each request is [`crate::account`]'s.
//!
//! Labels are bounded: lanes and outcomes are words, nodes are those that an operator named. What every request touches is
//! looked up once, here and for each node in [`NodeMetrics`]; gauges are read when somebody asks ([`crate::gauges`]).

use std::sync::Arc;
use std::time::Duration;

use mainstay_node::Condition;
use mainstay_otel::Tracer;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::gauges::{Gauges, Source};
use crate::lane::Lane;

/// The role's name, shared by all its labels.
pub(crate) type Rpc = std::borrow::Cow<'static, str>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    rpc: Rpc,
    lane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    rpc: Rpc,
    lane: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabels {
    rpc: Rpc,
    node: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TryLabels {
    rpc: Rpc,
    node: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc: Rpc,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A node's answer below 400 was passed on.
    Ok,
    /// A node's 4xx was passed on.
    ClientError,
    /// A node's 5xx was passed on.
    NodeError,
    /// No node answered.
    Failed,
    /// The queue was full.
    QueueFull,
    /// There was no node.
    NoNodes,
    /// Its time passed before a node answered.
    Expired,
    /// Its body was too large.
    TooLarge,
    /// A rule's rate was used up.
    RateLimited,
    /// Its body couldn't be read.
    BadRequest,
    /// Its client went away.
    Gone,
    /// The node broke off in the middle of its answer.
    Broken,
}

impl Outcome {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Ok, "ok"),
        (Self::ClientError, "client_error"),
        (Self::NodeError, "node_error"),
        (Self::Failed, "failed"),
        (Self::QueueFull, "queue_full"),
        (Self::NoNodes, "no_nodes"),
        (Self::Expired, "expired"),
        (Self::TooLarge, "too_large"),
        (Self::RateLimited, "rate_limited"),
        (Self::BadRequest, "bad_request"),
        (Self::Gone, "gone"),
        (Self::Broken, "broken"),
    ];

    /// The word of labels and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryEnd {
    /// An answer below 400.
    Answered,
    /// 4xx, but not 429.
    ClientError,
    /// 429.
    RateLimited,
    /// 5xx.
    ServerError,
    /// Nobody listens.
    Refused,
    /// No connection for another reason.
    Unreachable,
    /// No TLS handshake; the node's state says why.
    Tls,
    /// It didn't prove that it runs what it is to run.
    Unattested,
    /// The connection broke.
    Reset,
    /// No answer in time.
    Timeout,
    /// What came is no HTTP.
    Protocol,
}

impl TryEnd {
    const ALL: [&'static str; 11] = [
        "answered",
        "client_error",
        "rate_limited",
        "server_error",
        "refused",
        "unreachable",
        "tls",
        "unattested",
        "reset",
        "timeout",
        "protocol",
    ];

    /// The word of labels and spans.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of all `rpc` roles of a process. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<OutcomeLabels, Counter>,
    request_seconds: Seconds<LaneLabels>,
    wait_seconds: Seconds<LaneLabels>,
    tries: Family<TryLabels, Counter>,
    node_seconds: Seconds<NodeLabels>,
    node_changes: Family<NodeLabels, Counter>,
    hedges: Family<RpcLabels, Counter>,
    gauges: Gauges,
    tracer: Tracer,
}

impl Metrics {
    /// Registers the metrics. Once a process: a second registration would show each of them twice.
    pub fn new(registry: &mut Registry) -> Self {
        let m = Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            wait_seconds: Family::new_with_constructor(seconds),
            tries: Family::default(),
            node_seconds: Family::new_with_constructor(seconds),
            node_changes: Family::default(),
            hedges: Family::default(),
            gauges: Gauges::default(),
            tracer: Tracer::off(),
        };
        let t = m.clone();
        let r = registry.sub_registry_with_prefix("mainstay_rpc");
        r.register("requests", "Requests by lane and by what became of them", t.requests);
        r.register_with_unit(
            "request",
            "From a request's arrival to the end of its answer",
            Unit::Seconds,
            t.request_seconds,
        );
        r.register_with_unit("wait", "Time in the queue before the first try", Unit::Seconds, t.wait_seconds);
        r.register("tries", "Tries by node and by what became of them", t.tries);
        r.register_with_unit("node", "Time to the head of a node's answer", Unit::Seconds, t.node_seconds);
        r.register("node_changes", "Changes of the node's condition", t.node_changes);
        r.register("hedges", "Second copies sent because the first try took long", t.hedges);
        r.register_collector(Box::new(t.gauges));
        m
    }

    /// The same, with requests and tries told as spans too.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }
}

/// What one role says of itself.
pub struct Telemetry {
    rpc: Rpc,
    metrics: Metrics,
    lanes: [LaneMetrics; 3],
    hedges: Counter,
}

struct LaneMetrics {
    seconds: Histogram,
    wait: Histogram,
    outcomes: [Counter; Outcome::ALL.len()],
}

/// The metrics of one node.
pub struct NodeMetrics {
    tries: [Counter; TryEnd::ALL.len()],
    seconds: Histogram,
    changes: Counter,
}

impl NodeMetrics {
    /// All tries so far.
    #[must_use]
    pub fn tries(&self) -> u64 {
        self.tries.iter().map(|counter| counter.get()).sum()
    }

    /// A try ended.
    pub fn tried(&self, end: TryEnd, took: Duration) {
        self.tries[end as usize].inc();
        if matches!(end, TryEnd::Answered | TryEnd::ClientError | TryEnd::ServerError) {
            self.seconds.observe(took.as_secs_f64());
        }
    }
}

impl Telemetry {
    /// That of the role called `name`.
    pub fn new(name: &str, metrics: Metrics) -> Self {
        let rpc: Rpc = name.to_owned().into();
        let lanes = Lane::ALL.map(|lane| {
            let lane = lane.word();
            let labels = LaneLabels { rpc: rpc.clone(), lane };
            LaneMetrics {
                seconds: metrics.request_seconds.get_or_create_owned(&labels),
                wait: metrics.wait_seconds.get_or_create_owned(&labels),
                outcomes: Outcome::ALL.map(|(_, outcome)| {
                    let labels = OutcomeLabels { rpc: rpc.clone(), lane, outcome };
                    metrics.requests.get_or_create_owned(&labels)
                }),
            }
        });
        let hedges = metrics.hedges.get_or_create_owned(&RpcLabels { rpc: rpc.clone() });
        Self { rpc, metrics, lanes, hedges }
    }

    /// Shows this role's gauges for as long as it is there.
    pub(crate) fn show(&self, source: &Arc<impl Source>) {
        self.metrics.gauges.add(&self.rpc, source);
    }

    /// A node's metrics.
    pub fn node(&self, node: &str) -> NodeMetrics {
        let tries = TryEnd::ALL.map(|outcome| {
            let labels = TryLabels { rpc: self.rpc.clone(), node: node.to_owned(), outcome };
            self.metrics.tries.get_or_create_owned(&labels)
        });
        let labels = self.node_labels(node);
        NodeMetrics {
            tries,
            seconds: self.metrics.node_seconds.get_or_create_owned(&labels),
            changes: self.metrics.node_changes.get_or_create_owned(&labels),
        }
    }

    /// What makes spans of requests.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.metrics.tracer
    }

    /// A request has waited for its first try.
    pub fn waited(&self, lane: Lane, wait: Duration) {
        self.lanes[lane.index()].wait.observe(wait.as_secs_f64());
    }

    /// A request has ended.
    pub fn ended(&self, lane: Lane, outcome: Outcome, took: Duration) {
        let lane = &self.lanes[lane.index()];
        lane.outcomes[outcome as usize].inc();
        lane.seconds.observe(took.as_secs_f64());
    }

    /// A second copy was sent.
    pub fn hedged(&self) {
        self.hedges.inc();
    }

    /// A node's condition changed.
    pub fn condition(&self, node: &str, metrics: &NodeMetrics, before: &Condition, now: &Condition) {
        // Not if it is down for another reason. And not by its name: a node that was removed would have its labels back.
        if before.word() != now.word() {
            metrics.changes.inc();
        }
        let rpc = &self.rpc;
        match now {
            Condition::Fit => tracing::info!(%rpc, node, before = before.word(), now = %now, "node changed"),
            _ => tracing::warn!(%rpc, node, before = before.word(), now = %now, "node changed"),
        }
    }

    /// A node came or went.
    pub fn membership(&self, node: &str, uri: &str, what: &'static str) {
        tracing::info!(rpc = %self.rpc, node, uri, "node {what}");
    }

    /// A node left: its labels go with it.
    pub fn forget(&self, node: &str) {
        let labels = self.node_labels(node);
        self.metrics.node_seconds.remove(&labels);
        self.metrics.node_changes.remove(&labels);
        for outcome in TryEnd::ALL {
            self.metrics.tries.remove(&TryLabels { rpc: self.rpc.clone(), node: node.to_owned(), outcome });
        }
    }

    /// The role's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.rpc
    }

    fn node_labels(&self, node: &str) -> NodeLabels {
        NodeLabels { rpc: self.rpc.clone(), node: node.to_owned() }
    }
}

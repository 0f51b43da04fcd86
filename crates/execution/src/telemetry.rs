//! What a role says of its execution clients and of the calls to them: metrics, and events that log and count at once.
//!
//! Labels are bounded: method names by [`crate::method::label`], nodes by their number, the rest are words.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mainstay_node::Condition;
use mainstay_otel::Tracer;
use mainstay_wire::envelope::Reply;
use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::forwards::Forwards;
use crate::links::{self, Watch};
use crate::node::{Failed, Node};
use crate::records::{LATE_DISSENT, SPLIT_VOTE};
use crate::verdict::Verdict;

/// Which role of the process it is, as the first label of every metric: its kind (`engine`) and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Of {
    kind: &'static str,
    name: Cow<'static, str>,
}

impl EncodeLabelSet for Of {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        (self.kind, self.name.as_ref()).encode(encoder.encode_label())
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind == self.name {
            true => f.write_str(self.kind),
            false => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    #[prometheus(flatten)]
    of: Of,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    #[prometheus(flatten)]
    of: Of,
    method: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabels {
    #[prometheus(flatten)]
    of: Of,
    node: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VoteLabels {
    #[prometheus(flatten)]
    of: Of,
    node: String,
    method: String,
    vote: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeMethodLabels {
    #[prometheus(flatten)]
    of: Of,
    node: String,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    #[prometheus(flatten)]
    of: Of,
    cause: String,
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0])
}

/// The metrics of all roles of one kind of a process. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    kind: &'static str,
    requests: Family<OutcomeLabels, Counter>,
    request_seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
    verdicts: Family<OutcomeLabels, Counter>,
    early: Family<Of, Counter>,
    votes: Family<VoteLabels, Counter>,
    node_seconds: Family<NodeMethodLabels, Histogram, fn() -> Histogram>,
    node_fit: Family<NodeLabels, Gauge>,
    node_head: Family<NodeLabels, Gauge<u64, AtomicU64>>,
    node_changes: Family<NodeLabels, Counter>,
    primary: Family<NodeLabels, Gauge>,
    late_invalid: Family<NodeLabels, Counter>,
    replayed: Family<NodeLabels, Counter>,
    evidence: Family<CauseLabels, Counter>,
    mirror_dropped: Family<NodeLabels, Counter>,
    forwards: Option<Forwards>,
    tracer: Tracer,
}

impl Metrics {
    /// Registers the metrics as `mainstay_{kind}_…`, with the role's name in a label that is called `kind`. Once a process and kind:
    /// a second registration would show each of them twice.
    pub fn new(registry: &mut Registry, kind: &'static str) -> Self {
        let m = Self {
            kind,
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            verdicts: Family::default(),
            early: Family::default(),
            votes: Family::default(),
            node_seconds: Family::new_with_constructor(seconds),
            node_fit: Family::default(),
            node_head: Family::default(),
            node_changes: Family::default(),
            primary: Family::default(),
            late_invalid: Family::default(),
            replayed: Family::default(),
            evidence: Family::default(),
            mirror_dropped: Family::default(),
            forwards: None,
            tracer: Tracer::off(),
        };
        m.register(registry);
        m
    }

    /// The same, with calls and tries told as spans too.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// With calls to nodes under sync-proxy's names too.
    #[must_use]
    pub fn with_forwards(self, forwards: Forwards) -> Self {
        Self { forwards: Some(forwards), ..self }
    }

    /// Puts them into another registry too, for another page that shows them.
    pub fn register(&self, registry: &mut Registry) {
        let t = self.clone();
        let r = registry.sub_registry_with_prefix(format!("mainstay_{}", self.kind));
        r.register("requests", "Requests of the consensus client, by outcome", t.requests);
        r.register_with_unit("request", "Time to the answer", Unit::Seconds, t.request_seconds);
        r.register("verdicts", "Verdicts told", t.verdicts);
        r.register("early_answers", "Answers given while a reply was still out", t.early);
        r.register("votes", "What nodes answered to voted calls", t.votes);
        r.register_with_unit(
            "node",
            "Time that a node took to answer a voted call",
            Unit::Seconds,
            t.node_seconds,
        );
        r.register("node_fit", "1 if the node is fit", t.node_fit);
        r.register("node_head", "Number of the node's head block", t.node_head);
        r.register("node_changes", "Changes of the node's condition", t.node_changes);
        r.register("node_primary", "1 if the node is the primary", t.primary);
        r.register("late_invalid", "INVALID that came after the answer was given", t.late_invalid);
        r.register("replayed_payloads", "Payloads sent again to a node that missed them", t.replayed);
        r.register("evidence", "Records of disagreement, by cause", t.evidence);
        r.register("mirror_dropped", "Copies that a mirror's full queue refused", t.mirror_dropped);
    }
}

/// What one role says: events that log and count at once.
#[derive(Clone)]
pub struct Telemetry {
    of: Of,
    metrics: Metrics,
    answers: Arc<RwLock<HashMap<String, Counted>>>,
    /// By node, then by method.
    votes: Arc<RwLock<HashMap<String, HashMap<String, Counted>>>>,
}

/// The metrics of one method's answers or votes, looked up once: every call needs them.
struct Counted {
    seconds: Histogram,
    by_word: HashMap<&'static str, Counter>,
}

impl Counted {
    fn of(seconds: Histogram) -> Self {
        Self { seconds, by_word: HashMap::new() }
    }

    /// Counts one more, if its counter was looked up before.
    fn count(&self, word: &str, took: Duration) -> bool {
        let Some(counter) = self.by_word.get(word) else { return false };
        counter.inc();
        self.seconds.observe(took.as_secs_f64());
        true
    }
}

impl Telemetry {
    /// That of the role called `name`.
    pub fn new(name: &str, metrics: Metrics) -> Self {
        let of = Of { kind: metrics.kind, name: name.to_owned().into() };
        for cause in [SPLIT_VOTE, LATE_DISSENT] {
            // There before the first: who watches for an increase would miss that one.
            let _ = metrics.evidence.get_or_create(&CauseLabels { of: of.clone(), cause: cause.to_owned() });
        }
        Self { of, metrics, answers: Arc::default(), votes: Arc::default() }
    }

    fn node_labels(&self, node: &str) -> NodeLabels {
        NodeLabels { of: self.of.clone(), node: node.to_owned() }
    }

    /// The consensus client got its answer.
    pub fn answered(&self, method: &str, outcome: &'static str, took: Duration) {
        let method = crate::method::label(method);
        if !self.count_answer(method, outcome, took) {
            self.prepare_answer(method, outcome);
            self.count_answer(method, outcome, took);
        }
        tracing::debug!(role = %self.of, method, outcome, took_ms = ms(took), "answered");
    }

    fn count_answer(&self, method: &str, outcome: &str, took: Duration) -> bool {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(method).is_some_and(|answers| answers.count(outcome, took))
    }

    fn prepare_answer(&self, method: &str, outcome: &'static str) {
        let (of, method) = (self.of.clone(), method.to_owned());
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        let answers = answers.entry(method.clone()).or_insert_with(|| {
            let labels = MethodLabels { of: of.clone(), method: method.clone() };
            Counted::of(self.metrics.request_seconds.get_or_create_owned(&labels))
        });
        let labels = OutcomeLabels { of, method, outcome: outcome.to_owned() };
        answers.by_word.insert(outcome, self.metrics.requests.get_or_create_owned(&labels));
    }

    /// A verdict was told.
    pub fn verdict(&self, method: &str, verdict: Verdict, early: bool) {
        let method = crate::method::label(method).to_owned();
        self.metrics
            .verdicts
            .get_or_create(&OutcomeLabels { of: self.of.clone(), method, outcome: verdict.word().to_owned() })
            .inc();
        if early {
            self.metrics.early.get_or_create(&self.of).inc();
        }
    }

    /// A node answered a voted call.
    pub fn vote(&self, node: &str, method: &str, vote: &'static str, took: Duration) {
        let method = crate::method::label(method);
        if !self.count_vote(node, method, vote, took) {
            self.prepare_vote(node, method, vote);
            self.count_vote(node, method, vote, took);
        }
    }

    fn count_vote(&self, node: &str, method: &str, vote: &str, took: Duration) -> bool {
        let votes = self.votes.read().unwrap_or_else(PoisonError::into_inner);
        let votes = votes.get(node).and_then(|methods| methods.get(method));
        votes.is_some_and(|votes| votes.count(vote, took))
    }

    fn prepare_vote(&self, node: &str, method: &str, vote: &'static str) {
        let mut votes = self.votes.write().unwrap_or_else(PoisonError::into_inner);
        let votes = votes.entry(node.to_owned()).or_default().entry(method.to_owned()).or_insert_with(|| {
            let labels = self.method_labels(node, method);
            Counted::of(self.metrics.node_seconds.get_or_create_owned(&labels))
        });
        let counter = self.metrics.votes.get_or_create_owned(&self.vote_labels(node, method, vote));
        votes.by_word.insert(vote, counter);
    }

    fn method_labels(&self, node: &str, method: &str) -> NodeMethodLabels {
        NodeMethodLabels { of: self.of.clone(), node: node.to_owned(), method: method.to_owned() }
    }

    fn vote_labels(&self, node: &str, method: &str, vote: &str) -> VoteLabels {
        let (node, method, vote) = (node.to_owned(), method.to_owned(), vote.to_owned());
        VoteLabels { of: self.of.clone(), node, method, vote }
    }

    /// A call that was handed on to a node ended.
    pub fn forwarded(&self, node: &Node, method: &str, outcome: &Result<Reply, Failed>, took: Duration) {
        if let Some(forwards) = &self.metrics.forwards {
            forwards.ended(method, node.spec.shown_url(), outcome, took);
        }
    }

    /// A node's condition changed.
    pub fn condition(&self, node: &str, before: &Condition, now: &Condition) {
        let labels = self.node_labels(node);
        self.metrics.node_fit.get_or_create(&labels).set(i64::from(*now == Condition::Fit));
        // Not if it is down for another reason.
        if before.word() != now.word() {
            self.metrics.node_changes.get_or_create(&labels).inc();
        }
        let role = &self.of;
        match now {
            Condition::Unfit(_) | Condition::Misconfigured { .. } => {
                tracing::warn!(%role, node, before = before.word(), now = %now, "node changed");
            }
            _ => tracing::info!(%role, node, before = before.word(), now = %now, "node changed"),
        }
    }

    /// A node's head was seen.
    pub fn head(&self, node: &str, head: u64) {
        self.metrics.node_head.get_or_create(&self.node_labels(node)).set(head);
    }

    /// Another node is the primary.
    pub fn primary(&self, before: Option<&str>, now: Option<&str>) {
        for (node, value) in [(before, 0), (now, 1)] {
            if let Some(node) = node {
                self.metrics.primary.get_or_create(&self.node_labels(node)).set(value);
            }
        }
        tracing::info!(role = %self.of, before = before.unwrap_or("none"), now = now.unwrap_or("none"), "primary changed");
    }

    /// INVALID came after VALID had been told.
    pub fn late_invalid(&self, node: &str, block: &str) {
        self.metrics.late_invalid.get_or_create(&self.node_labels(node)).inc();
        tracing::warn!(role = %self.of, node, block, "late INVALID: the block is SYNCING until it is taken back");
    }

    /// A node's vote changed its worth.
    pub fn standing(&self, node: &str, now: &str, why: &str) {
        tracing::info!(role = %self.of, node, now, why, "standing changed");
    }

    /// A replay to a node ended.
    pub fn replayed(&self, node: &str, payloads: usize, end: &str) {
        self.metrics.replayed.get_or_create(&self.node_labels(node)).inc_by(payloads as u64);
        tracing::info!(role = %self.of, node, payloads, end, "replayed what it missed");
    }

    /// A disagreement was recorded (or would have been: `saved` is `None` without a folder).
    pub fn evidence(&self, cause: &str, block: &str, saved: Option<&Result<String, String>>) {
        self.metrics
            .evidence
            .get_or_create(&CauseLabels { of: self.of.clone(), cause: cause.to_owned() })
            .inc();
        match saved {
            Some(Ok(id)) => {
                tracing::warn!(role = %self.of, cause, block, id, "nodes disagree; evidence saved")
            }
            Some(Err(error)) => {
                tracing::error!(role = %self.of, cause, block, error, "nodes disagree; evidence could not be saved");
            }
            None => {
                tracing::warn!(role = %self.of, cause, block, "nodes disagree; set evidence_dir to keep records")
            }
        }
    }

    /// A node left: its labels go with it.
    pub fn forget(&self, node: &str) {
        let labels = self.node_labels(node);
        self.metrics.node_fit.remove(&labels);
        self.metrics.node_head.remove(&labels);
        self.metrics.node_changes.remove(&labels);
        self.metrics.primary.remove(&labels);
        self.metrics.late_invalid.remove(&labels);
        self.metrics.replayed.remove(&labels);
        let votes = self.votes.write().unwrap_or_else(PoisonError::into_inner).remove(node);
        for (method, votes) in votes.unwrap_or_default() {
            self.metrics.node_seconds.remove(&self.method_labels(node, &method));
            for vote in votes.by_word.keys() {
                self.metrics.votes.remove(&self.vote_labels(node, &method, vote));
            }
        }
    }

    /// What makes spans of calls.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.metrics.tracer
    }

    /// The role's kind and its name.
    pub(crate) fn kind_and_name(&self) -> (&'static str, &str) {
        (self.of.kind, self.of.name.as_ref())
    }

    /// The kind and name of the role, for events that others log.
    #[must_use]
    pub fn role(&self) -> impl fmt::Display {
        &self.of
    }
}

#[allow(clippy::cast_possible_truncation)] // whole milliseconds of at most some seconds
fn ms(took: Duration) -> u64 {
    took.as_millis() as u64
}

impl Watch for Telemetry {
    fn ended(&self, _: &str, _: &links::Call, _: &links::End, _: Duration) {}

    fn dropped(&self, link: &str, _: &links::Call) {
        self.metrics.mirror_dropped.get_or_create(&self.node_labels(link)).inc();
    }
}

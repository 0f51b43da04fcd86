//! What the role says of itself: metrics, and the lines of its changes.
//!
//! Labels are bounded: guards and checks are those that an operator named, paths are patterns ([`crate::pattern`]). Handles of what every
//! request touches are looked up once for each kind of request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_otel::Tracer;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::pattern::Pattern;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GuardLabels {
    beacon: String,
    guard: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    beacon: String,
    guard: String,
    check: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    beacon: String,
    guard: String,
    path: String,
    status: u32,
    by: &'static str,
}

/// Who gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum By {
    Node,
    Mainstay,
}

impl By {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Mainstay => "mainstay",
        }
    }
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

/// The metrics of all `beacon` roles of a process. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    guard_fit: Family<GuardLabels, Gauge>,
    guard_since: Family<GuardLabels, Gauge>,
    guard_flips: Family<GuardLabels, Counter>,
    check_holds: Family<CheckLabels, Gauge>,
    check_since: Family<CheckLabels, Gauge>,
    check_flips: Family<CheckLabels, Counter>,
    check_seconds: Seconds<CheckLabels>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Seconds<GuardLabels>,
    open_streams: Family<GuardLabels, Gauge>,
    tracer: Tracer,
}

impl Metrics {
    /// The same, with requests told as spans too.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// Registers the metrics. Once a process: a second registration would show each of them twice.
    pub fn new(registry: &mut Registry) -> Self {
        let m = Self {
            guard_fit: Family::default(),
            guard_since: Family::default(),
            guard_flips: Family::default(),
            check_holds: Family::default(),
            check_since: Family::default(),
            check_flips: Family::default(),
            check_seconds: Family::new_with_constructor(seconds),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            open_streams: Family::default(),
            tracer: Tracer::off(),
        };
        let t = m.clone();
        let r = registry.sub_registry_with_prefix("mainstay_beacon");
        r.register("guard_fit", "1 if requests get through to the guard's beacon node", t.guard_fit);
        r.register(
            "guard_changed_timestamp_seconds",
            "When the guard opened or closed last, in Unix time",
            t.guard_since,
        );
        r.register("guard_flips", "How often the guard opened or closed", t.guard_flips);
        r.register("check_holds", "1 if the check holds", t.check_holds);
        r.register(
            "check_changed_timestamp_seconds",
            "When the check began or ceased to hold last, in Unix time",
            t.check_since,
        );
        r.register("check_flips", "How often the check began or ceased to hold", t.check_flips);
        r.register_with_unit("check", "Time of a round of the check", Unit::Seconds, t.check_seconds);
        r.register("requests", "Requests by path pattern, status and who gave the answer", t.requests);
        r.register_with_unit(
            "request",
            "Time to the head of the node's answer",
            Unit::Seconds,
            t.request_seconds,
        );
        r.register("open_streams", "Event streams that are open", t.open_streams);
        m
    }
}

/// What one guard says of itself.
pub(crate) struct Telemetry {
    beacon: String,
    guard: String,
    metrics: Metrics,
    fit: Gauge,
    since: Gauge,
    flips: Counter,
    checks: Vec<CheckMetrics>,
    requests: Mutex<HashMap<(Pattern, u16, By), Counter>>,
    request_seconds: Histogram,
    pub(crate) open_streams: Gauge,
}

struct CheckMetrics {
    name: Arc<str>,
    holds: Gauge,
    since: Gauge,
    flips: Counter,
    seconds: Histogram,
}

impl Telemetry {
    /// That of a guard with these checks.
    pub(crate) fn new(beacon: &str, guard: &str, checks: &[Arc<str>], metrics: &Metrics) -> Self {
        let labels = GuardLabels { beacon: beacon.to_owned(), guard: guard.to_owned() };
        let checks = checks
            .iter()
            .map(|check| {
                let labels = CheckLabels {
                    beacon: beacon.to_owned(),
                    guard: guard.to_owned(),
                    check: check.to_string(),
                };
                CheckMetrics {
                    name: check.clone(),
                    holds: metrics.check_holds.get_or_create_owned(&labels),
                    since: metrics.check_since.get_or_create_owned(&labels),
                    flips: metrics.check_flips.get_or_create_owned(&labels),
                    seconds: metrics.check_seconds.get_or_create_owned(&labels),
                }
            })
            .collect();
        Self {
            beacon: beacon.to_owned(),
            guard: guard.to_owned(),
            fit: metrics.guard_fit.get_or_create_owned(&labels),
            since: metrics.guard_since.get_or_create_owned(&labels),
            flips: metrics.guard_flips.get_or_create_owned(&labels),
            checks,
            requests: Mutex::default(),
            request_seconds: metrics.request_seconds.get_or_create_owned(&labels),
            open_streams: metrics.open_streams.get_or_create_owned(&labels),
            metrics: metrics.clone(),
        }
    }

    /// The guard begins, closed. `holds` says of each check whether it holds before its first round.
    pub(crate) fn begins(&self, holds: impl Iterator<Item = bool>, unix: Duration) {
        self.since.set(whole(unix));
        for (check, holds) in self.checks.iter().zip(holds) {
            check.holds.set(holds.into());
            check.since.set(whole(unix));
        }
    }

    /// It follows another of the same guard: checks that are no more are forgotten. `holds` as in [`Telemetry::begins`].
    pub(crate) fn follows(&self, old: &Self, holds: impl Iterator<Item = bool>, unix: Duration) {
        for gone in old.checks.iter().filter(|old| !self.checks.iter().any(|check| check.name == old.name)) {
            let labels = CheckLabels {
                beacon: self.beacon.clone(),
                guard: self.guard.clone(),
                check: gone.name.to_string(),
            };
            self.metrics.check_holds.remove(&labels);
            self.metrics.check_since.remove(&labels);
            self.metrics.check_flips.remove(&labels);
            self.metrics.check_seconds.remove(&labels);
        }
        for (check, holds) in self.checks.iter().zip(holds) {
            let is_new = !old.checks.iter().any(|old| old.name == check.name);
            if check.holds.set(holds.into()) != i64::from(holds) || is_new {
                check.since.set(whole(unix));
            }
        }
    }

    /// A round of a check ended.
    pub(crate) fn round(&self, check: usize, took: Duration) {
        self.checks[check].seconds.observe(took.as_secs_f64());
    }

    /// A check began or ceased to hold.
    pub(crate) fn check_flipped(&self, check: usize, holds: bool, saw: &str, unix: Duration) {
        let metrics = &self.checks[check];
        metrics.holds.set(holds.into());
        metrics.since.set(whole(unix));
        metrics.flips.inc();
        let (beacon, guard, check) = (&self.beacon, &self.guard, &metrics.name);
        if holds {
            tracing::info!(%beacon, %guard, %check, saw, "check holds");
        } else {
            tracing::warn!(%beacon, %guard, %check, saw, "check fails");
        }
    }

    /// The guard opened or closed.
    pub(crate) fn guard_flipped(&self, fit: bool, why: &str, unix: Duration) {
        self.fit.set(fit.into());
        self.since.set(whole(unix));
        self.flips.inc();
        let (beacon, guard) = (&self.beacon, &self.guard);
        if fit {
            tracing::info!(%beacon, %guard, why, "guard opened");
        } else {
            tracing::warn!(%beacon, %guard, why, "guard closed");
        }
    }

    /// What makes spans of requests.
    pub(crate) fn tracer(&self) -> &Tracer {
        &self.metrics.tracer
    }

    /// The role's name, and the guard's.
    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.beacon, &self.guard)
    }

    /// A request was answered.
    pub(crate) fn answered(&self, pattern: Pattern, status: u16, by: By) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = requests.entry((pattern, status, by)).or_insert_with(|| {
            self.metrics.requests.get_or_create_owned(&RequestLabels {
                beacon: self.beacon.clone(),
                guard: self.guard.clone(),
                path: pattern.label(),
                status: status.into(),
                by: by.word(),
            })
        });
        counter.inc();
    }

    /// The head of a node's answer came.
    pub(crate) fn took(&self, took: Duration) {
        self.request_seconds.observe(took.as_secs_f64());
    }
}

fn whole(unix: Duration) -> i64 {
    i64::try_from(unix.as_secs()).unwrap_or(i64::MAX)
}

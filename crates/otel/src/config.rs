//! What the `OTEL_…` variables ask for. Pure, but for reading certificates.

mod read;

use std::time::Duration;

use http::HeaderMap;
use mainstay_settings::{Problem, Variables};
use mainstay_wire::client::Tls;
use url::Url;

use read::Read;

/// What is exported; something of it, else there is none.
#[derive(Clone, Debug)]
pub struct Config {
    /// What tells this process from others, `service.name` first.
    pub resource: Vec<(String, String)>,
    /// Whether spans are.
    pub traces: Option<Traces>,
    /// Whether metrics are.
    pub metrics: Option<Metrics>,
}

/// Where to, and how.
#[derive(Clone)]
pub struct Target {
    /// May hold credentials: not to be shown.
    pub url: Url,
    /// Secrets, mostly.
    pub headers: HeaderMap,
    /// For one message, all tries together.
    pub timeout: Duration,
    /// Whether messages are compressed.
    pub gzip: bool,
    /// Whom to trust instead of the system's authorities, and the certificate to show.
    pub tls: Option<Tls>,
}

/// How spans are exported.
#[derive(Clone, Debug)]
pub struct Traces {
    /// Where to.
    pub target: Target,
    /// Which are.
    pub sampler: Sampler,
    /// Whether a caller's decision counts more.
    pub by_parent: bool,
    /// Spans that may wait.
    pub queue: usize,
    /// Spans of one message.
    pub batch: usize,
    /// The longest that a span waits for others.
    pub delay: Duration,
    /// For one batch, all tries together.
    pub export_within: Duration,
}

/// How metrics are exported.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where to.
    pub target: Target,
    /// How often.
    pub interval: Duration,
    /// For one message, all tries together.
    pub export_within: Duration,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// All.
    Always,
    /// None.
    Never,
    /// This share of them, between 0 and 1.
    Ratio(f64),
}

/// Whether a variable may be for us.
#[must_use]
pub fn is_known_variable(name: &str) -> bool {
    name.starts_with("OTEL_")
}

impl Config {
    /// Reads the variables; an empty one is as good as none. What is wrong is added to `problems`. `None`: nothing is asked for.
    pub fn read(variables: &Variables, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut read = Read { variables, problems };
        if read.flag("OTEL_SDK_DISABLED") {
            return None;
        }
        let traces = read.target("TRACES", "traces");
        let metrics = read.target("METRICS", "metrics");
        if traces.is_none() && metrics.is_none() {
            return None;
        }
        let resource = read.resource();
        let traces = traces.map(|target| read.traces(target));
        let metrics = metrics.map(|target| Metrics {
            target,
            interval: read.time("OTEL_METRIC_EXPORT_INTERVAL", 60_000),
            export_within: read.time("OTEL_METRIC_EXPORT_TIMEOUT", 30_000),
        });
        Some(Self { resource, traces, metrics })
    }
}

impl Read<'_> {
    fn traces(&mut self, target: Target) -> Traces {
        let (sampler, by_parent) = self.sampler();
        let queue = self.count("OTEL_BSP_MAX_QUEUE_SIZE", 2048);
        let batch = self.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512);
        if batch > queue && self.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").is_some() {
            let what = format!(
                "{batch} spans are more than the queue of {queue} can hold (OTEL_BSP_MAX_QUEUE_SIZE)"
            );
            self.wrong("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", what);
        }
        Traces {
            target,
            sampler,
            by_parent,
            queue,
            batch: batch.min(queue),
            delay: self.time("OTEL_BSP_SCHEDULE_DELAY", 5_000),
            export_within: self.time("OTEL_BSP_EXPORT_TIMEOUT", 30_000),
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

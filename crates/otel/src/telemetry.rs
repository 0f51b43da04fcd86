//! What is exported, from the process's start to its end.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler as Sample, SdkTracerProvider};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, Sampler, Traces};
use crate::metrics::Counts;
use crate::post::Post;
use crate::push::{Page, Push};
use crate::queue::queue;
use crate::trace::Tracer;

/// What spans and metrics are said to come from.
pub(crate) const SCOPE: &str = "mainstay";
/// What is left at the end has this long to be told, whatever the collector does.
const FLUSH: Duration = Duration::from_secs(3);

/// The exporting tasks of a process.
pub struct Telemetry {
    tracer: Tracer,
    /// Until there is a page.
    push: Option<Box<Push>>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Telemetry {
    /// Starts exporting spans; needs a runtime. What becomes of them is counted in `registry`.
    ///
    /// # Errors
    /// An endpoint that can't be called at all, as `https` on a system without trusted roots; which signal's, and why.
    pub fn start(config: Config, registry: &mut Registry) -> Result<Self, String> {
        let Config { resource, traces, metrics } = config;
        let counts = Counts::register(registry);
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let tracer = match traces {
            Some(traces) => {
                let post = Post::new(&traces.target).map_err(|why| format!("OpenTelemetry traces: {why}"))?;
                let attributes =
                    resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
                let all = Resource::builder_empty().with_attributes(attributes).build();
                let (entry, exit) = queue(&traces, post, &all, counts.clone());
                let provider = SdkTracerProvider::builder()
                    .with_resource(all)
                    .with_sampler(sampler(&traces))
                    .with_span_processor(entry)
                    .build();
                tasks.spawn(exit.run(stop.clone(), FLUSH));
                Tracer::over(provider.tracer_with_scope(InstrumentationScope::builder(SCOPE).build()))
            }
            None => Tracer::off(),
        };
        let push = match metrics {
            Some(metrics) => {
                let post =
                    Post::new(&metrics.target).map_err(|why| format!("OpenTelemetry metrics: {why}"))?;
                let (interval, export_within) = (metrics.interval, metrics.export_within);
                let since = crate::clock::wall();
                Some(Box::new(Push { post, resource, interval, export_within, since, counts }))
            }
            None => None,
        };
        info!(traces = tracer.is_on(), metrics = push.is_some(), "exporting by OTLP");
        Ok(Self { tracer, push, tasks, stop })
    }

    /// What roles make spans with.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Tells this page from now on, if metrics are asked for. Its counters began to count with [`Telemetry::start`], or later.
    pub fn push(&mut self, page: Page) {
        if let Some(push) = self.push.take() {
            self.tasks.spawn(push.run(page, self.stop.clone(), FLUSH));
        }
    }

    /// Tells what is left: three seconds at most.
    pub async fn end(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FLUSH + Duration::from_millis(500), ended).await.is_err() {
            warn!("not all spans and metrics could be exported before the end");
        }
    }
}

fn sampler(traces: &Traces) -> Sample {
    let own = match traces.sampler {
        Sampler::Always => Sample::AlwaysOn,
        Sampler::Never => Sample::AlwaysOff,
        Sampler::Ratio(ratio) => Sample::TraceIdRatioBased(ratio),
    };
    if traces.by_parent { Sample::ParentBased(Box::new(own)) } else { own }
}

/// Says once that a signal doesn't get through, and once that it does again.
pub(crate) struct Complaint {
    signal: &'static str,
    made: bool,
}

impl Complaint {
    pub(crate) fn new(signal: &'static str) -> Self {
        Self { signal, made: false }
    }

    pub(crate) fn make(&mut self, why: &str) {
        if !std::mem::replace(&mut self.made, true) {
            warn!(
                signal = self.signal,
                why, "the OTLP endpoint does not take what is exported; what finds no room is dropped"
            );
        }
    }

    pub(crate) fn over(&mut self) {
        if std::mem::take(&mut self.made) {
            info!(signal = self.signal, "the OTLP endpoint takes what is exported again");
        }
    }
}

//! What is told of the telling itself. Registered only where something is exported.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The collector has it.
    Exported,
    /// The queue was full.
    QueueFull,
    /// The collector could not be reached, or didn't want it.
    Undelivered,
    /// The collector took the batch, and refused this one.
    Refused,
}

const FATES: [(Fate, &str); 4] = [
    (Fate::Exported, "exported"),
    (Fate::QueueFull, "queue_full"),
    (Fate::Undelivered, "undelivered"),
    (Fate::Refused, "refused"),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Export {
    signal: &'static str,
    outcome: &'static str,
}

/// Counts spans and exports.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    spans: [Counter; 4],
    exports: Family<Export, Counter>,
}

impl Counts {
    pub(crate) fn register(registry: &mut Registry) -> Arc<Self> {
        let spans = Family::<Outcome, Counter>::default();
        let exports = Family::default();
        let of = |(_, outcome): (Fate, &'static str)| spans.get_or_create_owned(&Outcome { outcome });
        let counts = Self { spans: FATES.map(of), exports: exports.clone() };
        let registry = registry.sub_registry_with_prefix("mainstay_otel");
        registry.register(
            "spans",
            "Spans that ended, by what became of them: all but exported ones were dropped",
            spans,
        );
        registry.register(
            "exports",
            "Batches of spans and pages of metrics that were sent by OTLP, by outcome",
            exports,
        );
        Arc::new(counts)
    }

    /// So many spans ended so.
    pub(crate) fn spans(&self, fate: Fate, count: usize) {
        let counter = FATES.iter().zip(&self.spans).find(|((one, _), _)| *one == fate);
        if let Some((_, counter)) = counter {
            counter.inc_by(count as u64);
        }
    }

    /// A batch of spans, or a page of metrics, was sent or not.
    pub(crate) fn export(&self, signal: &'static str, is_taken: bool) {
        let outcome = if is_taken { "taken" } else { "failed" };
        self.exports.get_or_create(&Export { signal, outcome }).inc();
    }
}

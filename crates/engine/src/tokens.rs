//! Calls whose token isn't good. Who has the wrong secret, or a clock that is off, loses duties: that is logged and counted.

use std::net::SocketAddr;

use mainstay_wire::jwt::TokenError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::config::SECTION;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    engine: String,
    why: &'static str,
}

/// The metric of all engines of a process. Clones share its values.
#[derive(Clone, Default)]
pub(crate) struct Metrics(Family<Labels, Counter>);

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix(format!("mainstay_{}", SECTION.name));
        let help = "Calls refused because their token is not good, by reason: clock is an iat that is more than 60 s off";
        registry.register("refused_tokens", help, self.0.clone());
    }

    /// Lets the counters of an engine be there before the first refusal: who watches for an increase would miss that one.
    pub(crate) fn prepare(&self, engine: &str) {
        for why in TokenError::WORDS {
            let _ = self.of(engine, why);
        }
    }

    fn of(&self, engine: &str, why: &'static str) -> Counter {
        self.0.get_or_create_owned(&Labels { engine: engine.to_owned(), why })
    }
}

/// What one engine says of them.
pub(crate) struct Refusals {
    engine: String,
    metrics: Metrics,
}

impl Refusals {
    /// Those of the engine called `name`.
    pub(crate) fn new(name: &str, metrics: &Metrics) -> Self {
        Self { engine: name.to_owned(), metrics: metrics.clone() }
    }

    /// A call was refused. Lines of one cause are limited where logs are written.
    pub(crate) fn refused(&self, peer: SocketAddr, error: &TokenError) {
        self.metrics.of(&self.engine, error.word()).inc();
        tracing::warn!(engine = self.engine, peer = %peer.ip(), why = %error, "call refused");
    }
}

//! Traces and metrics by OTLP, as the standard `OTEL_…` variables ask; nothing of it exists unless they name an endpoint or an exporter.
//!
//! Two ways lead out of the process. Spans end in a bounded [`queue`], which one task empties in batches; a span that finds it full is dropped
//! and counted, so a request never waits for a collector. Metrics are the page that Prometheus gets, read ([`page`]) and told anew
//! ([`told`]) every interval. Both go out by [`post`], which tries again as OTLP says.
//!
//! Roles know [`Tracer`], [`Trace`] and [`Span`] alone. A tracer that is off makes spans that are nothing: one branch each.
//!
//! Ids, samplers and the limits of a span are the SDK's, messages are `opentelemetry-proto`'s. Queue, retries and the HTTP client are ours, as the
//! exporters of the project bring reqwest or tonic, and tell nobody what they drop. `traceparent` is read here too, as strictly as W3C has it.

mod clock;
mod config;
mod metrics;
mod page;
mod parent;
mod post;
mod push;
mod queue;
mod telemetry;
mod told;
mod trace;

pub use config::{Config, Metrics as MetricsConfig, Sampler, Target, Traces, is_known_variable};
pub use page::{Family, Kind, Label, Sample, read as read_page};
pub use parent::{Parent, TRACEPARENT, TRACESTATE};
pub use push::Page;
pub use telemetry::Telemetry;
pub use told::{Told, tell};
pub use trace::{Key, Span, Trace, Tracer};

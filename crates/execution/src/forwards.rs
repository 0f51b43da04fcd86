//! Calls handed on to execution clients, under the names that sync-proxy has announced for them (flashbots/sync-proxy#24). Dashboards
//! made for it go on working.
//!
//! They have no label for the role: sync-proxy is one process.

use std::time::Duration;

use mainstay_node::Cause;
use mainstay_wire::envelope::Reply;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::node::Failed;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: String,
    backend: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    method: String,
    backend: String,
    result: &'static str,
}

/// The buckets that clients of Prometheus have where they aren't told others, sync-proxy's too.
fn seconds() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

/// Their metrics. Clones share their values.
#[derive(Clone)]
pub struct Forwards {
    total: Family<ResultLabels, Counter>,
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Forwards {
    /// Registers them. Once a process.
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self { total: Family::default(), seconds: Family::new_with_constructor(seconds) };
        let (r, m) = (registry.sub_registry_with_prefix("syncproxy"), new.clone());
        r.register(
            "forwards",
            "Calls handed on to execution clients, by result: success, http_error or error (none came in time)",
            m.total,
        );
        r.register_with_unit(
            "forward_duration",
            "Time that an execution client took to answer",
            Unit::Seconds,
            m.seconds,
        );
        new
    }

    /// A call ended. `backend`: the URL of the execution client, without credentials.
    pub(crate) fn ended(
        &self,
        method: &str,
        backend: String,
        outcome: &Result<Reply, Failed>,
        took: Duration,
    ) {
        let method = crate::method::label(method).to_owned();
        let result = result(outcome);
        if result != "error" {
            let labels = Labels { method: method.clone(), backend: backend.clone() };
            self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        }
        self.total.get_or_create(&ResultLabels { method, backend, result }).inc();
    }
}

fn result(outcome: &Result<Reply, Failed>) -> &'static str {
    match outcome {
        Ok(_) => "success",
        Err(Failed { cause: Cause::Unauthorized | Cause::Http(_), .. }) => "http_error",
        Err(_) => "error",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use mainstay_wire::client::Delivered;
    use mainstay_wire::envelope::parse_reply;
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn failed(cause: Cause) -> Result<Reply, Failed> {
        Err(Failed { detail: cause.to_string(), cause, delivered: Delivered::Maybe })
    }

    #[test]
    fn they_are_counted_under_the_announced_names() {
        let mut registry = Registry::default();
        let forwards = Forwards::new(&mut registry);
        let reply = parse_reply(&Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":null}"#));
        let ended = |outcome| {
            let took = Duration::from_millis(20);
            forwards.ended("engine_newPayloadV4", "http://el:8551".into(), &outcome, took);
        };
        ended(Ok(reply.unwrap()));
        ended(failed(Cause::Unauthorized));
        ended(failed(Cause::Http(503)));
        ended(failed(Cause::Timeout));
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        let of = r#"method="engine_newPayloadV4",backend="http://el:8551""#;
        for line in [
            format!(r#"syncproxy_forwards_total{{{of},result="success"}} 1"#),
            format!(r#"syncproxy_forwards_total{{{of},result="http_error"}} 2"#),
            format!(r#"syncproxy_forwards_total{{{of},result="error"}} 1"#),
            // Of those that never came there is no time.
            format!("syncproxy_forward_duration_seconds_count{{{of}}} 3"),
            format!(r#"syncproxy_forward_duration_seconds_bucket{{le="0.025",{of}}} 3"#),
        ] {
            assert!(page.contains(&line), "{line}: {page}");
        }
    }
}

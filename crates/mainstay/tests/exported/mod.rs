//! What mainstay exports, and whether an expression asks for anything else.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

use crate::metrics::{self, Metric};
use crate::promql::Query;

/// The roles, each with its catalogue in `docs`.
pub(crate) const ROLES: [&str; 5] = ["engine", "sync", "rpc", "beacon", "relay"];

/// What Prometheus itself adds to every sample.
const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];

/// What `docs` says that this part exports: a role, or the process.
pub(crate) fn catalogue_of(part: &str) -> BTreeMap<String, Metric> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/metrics-{part}.txt"));
    metrics::read(&std::fs::read_to_string(file).unwrap())
}

/// What `docs` says that the roles export.
pub(crate) fn catalogue() -> BTreeMap<String, Metric> {
    ROLES.iter().flat_map(|role| catalogue_of(role)).collect()
}

/// By the name that samples of it have: counters end with `_total`, histograms have three.
pub(crate) fn find<'a>(all: &'a BTreeMap<String, Metric>, sample: &str) -> Option<&'a Metric> {
    let of = |end: &str, kind: &str| all.get(sample.strip_suffix(end)?).filter(|metric| metric.kind == kind);
    of("_total", "counter")
        .or_else(|| ["_bucket", "_sum", "_count"].iter().find_map(|end| of(end, "histogram")))
        .or_else(|| of("", "gauge"))
}

/// Everything that is named in the query, and `used` besides, is in `all`. Values are compared where samples show which there are.
pub(crate) fn check(place: &str, query: &Query, used: &[&str], all: &BTreeMap<String, Metric>) {
    assert!(!query.metrics.is_empty(), "{place}: no metric");
    for (metric, matchers) in &query.metrics {
        let found = find(all, metric).unwrap_or_else(|| panic!("{place}: nothing exports {metric}"));
        let has = |label: &str| {
            !found.is_told
                || OF_THE_SCRAPE.contains(&label)
                || (label == "le" && metric.ends_with("_bucket"))
                || found.labels.contains_key(label)
        };
        let named = query.labels.iter().map(String::as_str).chain(used.iter().copied());
        for label in named.chain(matchers.iter().map(|(label, _)| label.as_str())) {
            let labels = found.labels.keys();
            assert!(has(label), "{place}: {metric} has no label {label}, it has {labels:?}");
        }
        for (label, pattern) in matchers.iter().filter(|(_, pattern)| !pattern.contains('$')) {
            let Some(values) = found.labels.get(label).filter(|values| !values.is_empty()) else {
                continue;
            };
            for value in pattern.split('|') {
                assert!(values.contains(value), "{place}: no {metric} has {label}={value:?}: {values:?}");
            }
        }
    }
}

//! What a page of metrics names: for the golden catalogues (`docs/metrics-*.txt`), and for those who check against them.
//!
//! A catalogue has the HELP and TYPE lines of a page, and a LABELS line for each metric in place of its samples.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};

/// One metric.
#[derive(Default)]
pub struct Metric {
    /// counter, gauge or histogram.
    pub kind: String,
    /// Names of its labels, and the values seen; `le` is none of them.
    pub labels: BTreeMap<String, BTreeSet<String>>,
    /// Whether a sample or a LABELS line told of labels.
    pub is_told: bool,
}

/// The metrics of a page, or of a catalogue.
pub fn read(text: &str) -> BTreeMap<String, Metric> {
    let mut all: BTreeMap<String, Metric> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            last = name.to_owned();
            let is_new =
                all.insert(last.clone(), Metric { kind: kind.to_owned(), ..Metric::default() }).is_none();
            assert!(is_new, "{line}: twice");
        } else if let Some(rest) = line.strip_prefix("# LABELS ") {
            let (name, labels) = rest.split_once(' ').unwrap_or((rest, ""));
            let metric = all.get_mut(name).unwrap_or_else(|| panic!("{line}: no such metric"));
            metric.is_told = true;
            let labels = labels.split(' ').filter(|label| !label.is_empty());
            metric.labels.extend(labels.map(|label| (label.to_owned(), BTreeSet::new())));
        } else if !line.starts_with('#') {
            let metric = all.get_mut(&last).unwrap_or_else(|| panic!("{line}: before its TYPE"));
            metric.is_told = true;
            let labels = line.split_once('{').map(|(_, labels)| pairs(labels));
            for (label, value) in labels.into_iter().flatten() {
                metric.labels.entry(label).or_default().insert(value);
            }
            metric.labels.remove("le");
        }
    }
    all
}

/// `a="x",b="y"} 1` as names and values; a value may hold anything but a bare quote.
fn pairs(mut text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.unwrap_or_else(|| panic!("{text}: a value without an end"));
        pairs.push((name.trim_start_matches(',').to_owned(), rest[..end].to_owned()));
        text = &rest[end + 1..];
        if !text.starts_with(',') {
            break;
        }
    }
    pairs
}

/// Compares the catalogue of a page, in which each metric has a sample, to `docs/FILE`. `UPDATE_GOLDEN=1` writes that anew.
pub fn check(page: &str, file: &str) {
    let metrics = read(page);
    let mut catalogue = String::new();
    for line in page.lines().filter(|line| line.starts_with("# HELP") || line.starts_with("# TYPE")) {
        catalogue.push_str(&format!("{line}\n"));
        if let Some((name, _)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let metric = &metrics[name];
            assert!(metric.is_told, "{name} has no sample: let it happen in this test");
            let labels: Vec<&str> = metric.labels.keys().map(String::as_str).collect();
            let line = format!("# LABELS {name} {}", labels.join(" "));
            catalogue.push_str(&format!("{}\n", line.trim_end()));
        }
    }
    let file = format!("{}/../../docs/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &catalogue).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    assert_eq!(catalogue, golden, "run with UPDATE_GOLDEN=1 if the change is meant");
}

//! The catalogue of metrics. Each role's is a golden file that its own crate's test holds; here are the process's own (`docs/metrics-process.txt`)
//! and the page that shows them all, `docs/metrics.md`. `UPDATE_GOLDEN=1` writes both anew.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../../../tests/authority.rs"]
mod authority;
#[path = "../../../tests/metrics.rs"]
mod metrics;
mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use support::Place;
use support::http::{Node, ask};

/// What has a catalogue, in the page's order, and how its heading goes on.
const PARTS: [(&str, &str); 8] = [
    ("engine", "One consensus client, many execution clients"),
    ("sync", "Many consensus clients, many execution clients"),
    ("rpc", "JSON-RPC clients before many nodes"),
    ("beacon", "Guards before beacon nodes"),
    ("relay", "Nodes of an Antelope producer"),
    ("attest", "Nodes that prove what they run, whatever the role"),
    ("otel", "Of what is exported by OTLP, where `OTEL_…` variables ask for it"),
    ("process", "Of the process, whatever its roles"),
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// The lines of a page about these metrics.
fn only(page: &str, prefixes: &[&str]) -> String {
    let is_one = |line: &&str| {
        let name = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    page.lines().filter(is_one).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_process_tells_of_itself_and_that_is_what_the_golden_file_says() {
    let node = Node::start("one");
    let flags = ["rpc", "--nodes", &node.url, "--health", "net_version", "--log-format", "logfmt"];
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let authority = authority::Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let tls = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut running = Place::new().start(&[&flags[..], &ports, &tls].concat(), &[]);
    let admin = running.address("admin");
    let page = only(
        &ask(&admin, "GET", "/metrics", "").fine(),
        &["process_", "mainstay_build", "mainstay_config", "mainstay_tls_"],
    );
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse::<f64>().unwrap()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let up = now - value("process_start_time_seconds");
    assert!((0.0..3600.0).contains(&up), "{up}");
    assert!(value("process_resident_memory_bytes") > 1e6, "{page}");
    let (open, most) = (value("process_open_fds"), value("process_max_fds"));
    assert!(open > 4.0 && open < most, "{page}");
    assert!(value("process_cpu_seconds_total") > 0.0, "{page}");
    let version = format!("mainstay_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(page.lines().any(|line| line == version), "{page}");
    metrics::check(&page, "metrics-process.txt");
}

/// A table of a catalogue: what samples are called, what their labels are, and what they mean.
fn table(catalogue: &str) -> String {
    let mut text = String::from("| metric | type | labels | |\n|---|---|---|---|\n");
    let all = metrics::read(catalogue);
    let helps = catalogue.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    for (name, help) in helps {
        let metric = &all[name];
        let end = match metric.kind.as_str() {
            "counter" => "_total",
            "histogram" => "_bucket`, `_sum`, `_count",
            "info" => "_info",
            _ => "",
        };
        let labels: Vec<String> = metric.labels.keys().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(text, "| `{name}{end}` | {} | {} | {help} |", metric.kind, labels.join(", "));
    }
    text
}

#[test]
fn the_page_shows_every_metric() {
    let mut page = String::from(
        "# Metrics\n\nWhat `/metrics` of the admin listener has: one table for each role, and one of the process. Written by a test, from the catalogues that\n\
         hold what is exported (`docs/metrics-*.txt`). A role's label is its `name` in the settings. Dashboards:\n\
         [deploy/grafana](../deploy/grafana/README.md); alert rules: [deploy/prometheus](../deploy/prometheus/README.md).\n",
    );
    for (part, about) in PARTS {
        let catalogue = std::fs::read_to_string(docs().join(format!("metrics-{part}.txt"))).unwrap();
        let _ = write!(page, "\n## {part}\n\n{about}.\n\n{}", table(&catalogue));
    }
    let files = std::fs::read_dir(docs()).unwrap().map(|file| file.unwrap().file_name());
    let catalogues = files.filter(|name| name.to_string_lossy().starts_with("metrics-")).count();
    assert_eq!(catalogues, PARTS.len(), "each catalogue has its table");
    let file = docs().join("metrics.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    assert_eq!(
        page,
        std::fs::read_to_string(&file).unwrap(),
        "run with UPDATE_GOLDEN=1 if the change is meant"
    );
}

//! The alert rules of `deploy/prometheus`: promtool takes them, their unit tests hold, they ask for what is exported, and each has its page in
//! `docs/runbook.md`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod exported;
#[path = "../../../tests/metrics.rs"]
mod metrics;
mod promql;
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::Place;
use support::http::{ask, eventually};

const RUNBOOK: &str = "https://github.com/mainstay-rs/mainstay/blob/main/docs/runbook.md#";
const RULES: &str = "mainstay.rules.yml";
const TESTS: &str = "mainstay.rules.test.yml";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap()
}

#[derive(Default, Debug)]
struct Alert {
    name: String,
    expr: String,
    severity: String,
    summary: String,
    description: String,
    runbook: String,
}

/// The alerts. This isn't YAML but the one form that the file has: a key and its value on a line. promtool counts them too.
fn alerts() -> Vec<Alert> {
    let text = read(&format!("deploy/prometheus/{RULES}"));
    let mut all: Vec<Alert> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(": ") else { continue };
        let value = match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
            Some(quoted) => quoted.replace("\'\'", "\'"),
            None => value.to_owned(),
        };
        if key == "- alert" {
            all.push(Alert { name: value, ..Alert::default() });
            continue;
        }
        let Some(alert) = all.last_mut() else { continue };
        match key {
            "expr" => alert.expr = value,
            "severity" => alert.severity = value,
            "summary" => alert.summary = value,
            "description" => alert.description = value,
            "runbook_url" => alert.runbook = value,
            "for" | "- name" => {}
            _ => panic!("{line}: what is {key}?"),
        }
    }
    all
}

/// Labels that a text shows.
fn shown(text: &str) -> Vec<&str> {
    let end = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    text.split("$labels.").skip(1).map(|rest| &rest[..end(rest)]).collect()
}

#[test]
fn they_ask_for_what_is_exported_and_say_what_to_do() {
    let mut all = exported::catalogue();
    for part in ["attest", "process"] {
        all.extend(exported::catalogue_of(part));
    }
    all.extend(metrics::read("# TYPE up gauge\nup{job=\"mainstay\"} 1\n"));
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let place = &alert.name;
        assert!(names.insert(place.clone()) && place.starts_with("Mainstay"), "{place}");
        assert!(["critical", "warning"].contains(&alert.severity.as_str()), "{alert:?}");
        assert!(!alert.summary.is_empty() && alert.description.len() > 40, "{alert:?}");
        let query = promql::read(&alert.expr).unwrap_or_else(|why| panic!("{place}: {why}"));
        let texts = format!("{} {}", alert.summary, alert.description);
        exported::check(place, &query, &shown(&texts), &all);
        // What is summed up keeps the labels that it is summed up by, and no others.
        for label in shown(&texts) {
            let is_kept = query.labels.is_empty()
                || alert.expr.contains("group_right")
                || query.labels.iter().any(|kept| kept == label);
            assert!(is_kept, "{place}: {label} is not there any more: {}", alert.expr);
        }
    }
    for role in exported::ROLES {
        let prefix = format!("Mainstay{}{}", role[..1].to_uppercase(), &role[1..]);
        assert!(names.iter().any(|name| name.starts_with(&prefix)), "no alert for {role}");
    }
}

#[test]
fn each_has_a_page_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let alerts = alerts();
    let pages: Vec<(&str, &str)> = runbook
        .split("\n### ")
        .skip(1)
        .map(|page| page.split_once('\n').unwrap())
        .map(|(name, page)| (name, page.split("\n## ").next().unwrap()))
        .collect();
    let names: Vec<&str> = pages.iter().map(|(name, _)| *name).collect();
    for alert in &alerts {
        assert!(names.contains(&alert.name.as_str()), "docs/runbook.md has no page for {}", alert.name);
        assert_eq!(alert.runbook, format!("{RUNBOOK}{}", alert.name.to_lowercase()));
    }
    for (name, page) in pages {
        assert!(alerts.iter().any(|alert| alert.name == name), "a page of no alert: {name}");
        assert!(page.contains("**Means**: "), "{name}");
        let says = |what: &str| page.contains(&format!("**{what}**"));
        assert!((says("See") && says("Do")) || says("See and do"), "{name}");
    }
    for link in runbook.split("](#").skip(1).map(|rest| rest.split_once(')').unwrap().0) {
        let heading = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        let is_there = runbook.lines().any(|line| line.starts_with("##") && heading(line) == link);
        assert!(is_there, "docs/runbook.md: #{link} leads nowhere");
    }
}

/// What an alert compares a label with is there from the first moment, so that the first increase is seen.
#[test]
fn values_that_are_waited_for_are_there_before_they_happen() {
    let place = Place::new();
    place.file(
        "mainstay.toml",
        r#"
[log]
format = "logfmt"
[admin]
listen = "127.0.0.1:0"
[engine]
listen = "127.0.0.1:0"
nodes = ["http://127.0.0.1:1"]
jwt_secret = "jwt.hex"
[sync]
listen = "127.0.0.1:0"
nodes = ["http://127.0.0.1:1"]
jwt_secret = "jwt.hex"
[rpc]
listen = "127.0.0.1:0"
nodes = ["http://127.0.0.1:1"]
[relay]
listen = "127.0.0.1:0"
outer = ["127.0.0.1:1"]
producer = ["prodx"]
"#,
    );
    let mut running = place.start(&["run", "-c", "mainstay.toml"], &[]);
    let admin = running.address("admin");
    // Whose other values come with the calls that they are about.
    let with_calls = ["verdicts", "votes", "request_seconds", "blocks", "legs_ended", "told"];
    let alerts = alerts();
    let waited: Vec<(String, String, String)> = alerts
        .iter()
        .flat_map(|alert| promql::read(&alert.expr).unwrap().metrics)
        .flat_map(|(metric, matchers)| {
            matchers.into_iter().map(move |(label, values)| (metric.clone(), label, values))
        })
        .filter(|(metric, label, _)| label != "job" && !with_calls.iter().any(|one| metric.contains(one)))
        .collect();
    assert!(waited.len() > 10, "{waited:?}");
    let mut page = String::new();
    let missing = |page: &str| {
        let all = metrics::read(page);
        let is_there = |metric: &str, label: &str, value: &str| {
            let found = exported::find(&all, metric).and_then(|metric| metric.labels.get(label));
            found.is_some_and(|values| values.contains(value))
        };
        let is_missing = |(metric, label, values): &&(String, String, String)| {
            !values.split('|').all(|value| is_there(metric, label, value))
        };
        waited.iter().filter(is_missing).cloned().collect::<Vec<_>>()
    };
    eventually("all of them", || {
        page = ask(&admin, "GET", "/metrics", "").fine();
        let missing = missing(&page);
        if !missing.is_empty() {
            eprintln!("missing: {missing:?}");
        }
        missing.is_empty()
    });
}

/// promtool: of the system, or the one that `tests/tools.sh` has installed.
fn promtool(arguments: &[&str]) -> String {
    let tools = std::env::var_os("E2E_TOOLS").filter(|folder| !folder.is_empty());
    let tools = tools.map_or_else(|| top().join("target/tools"), PathBuf::from);
    let installed = tools.join("promtool/promtool");
    let program = if installed.exists() { installed } else { "promtool".into() };
    let done = Command::new(program).args(arguments).current_dir(top().join("deploy/prometheus")).output();
    let done =
        done.unwrap_or_else(|why| panic!("cannot run promtool ({why}): install it with tests/tools.sh"));
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert!(done.status.success(), "promtool {arguments:?}: {said}");
    said
}

#[test]
fn promtool_takes_them() {
    let said = promtool(&["check", "rules", RULES]);
    let count = alerts().len();
    assert!(said.contains(&format!("SUCCESS: {count} rules found")), "{count} here: {said}");
}

#[test]
fn each_fires_where_it_should_and_nowhere_else() {
    let tests = read(&format!("deploy/prometheus/{TESTS}"));
    for Alert { name, .. } in alerts() {
        let of = format!("- name: {name}\n");
        let test = tests.split(&of).nth(1).unwrap_or_else(|| panic!("{TESTS} has no test of {name}"));
        let test = test.split("\n  - name: ").next().unwrap();
        let fired = format!("alertname=\"{name}\",alertstate=\"firing\"");
        assert!(test.contains("- labels: 'ALERTS{") && test.contains(&fired), "{name} never fires");
        assert!(test.contains("instance=\"good\""), "{name} has nothing that it doesn't fire for");
    }
    promtool(&["test", "rules", TESTS]);
}

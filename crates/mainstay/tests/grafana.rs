//! The dashboards of `deploy/grafana`: what they ask for is what the binary exports, and they can be laid out.
#![allow(clippy::unwrap_used)]

mod exported;
mod lab;
#[path = "../../../tests/metrics.rs"]
mod metrics;
mod promql;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use exported::{catalogue, find};
use lab::{Lab, from, head, payload, wall};
use mainstay_antelope::{Blob, GoAway, Id, Message, Name, Reason, Slot};
use mainstay_sim::Fault;
use mainstay_sim::beacon::{BeaconServer, BeaconState};
use mainstay_sim::nodeos::{Nodeos, NodeosConfig, block, whole};
use metrics::Metric;
use promql::Query;
use serde_json::Value;
use support::http::{Node, ask, eventually};
use support::{Place, dev};

/// Names that sync-proxy has announced. They have no label for the role.
const ANNOUNCED: &str = "syncproxy_";

struct Board {
    file: String,
    json: Value,
}

fn boards() -> Vec<Board> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana");
    let mut boards = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            boards.push(Board { file: path.file_name().unwrap().to_string_lossy().into_owned(), json });
        }
    }
    assert_eq!(boards.len(), 6, "one for each role, one for nodes that attest");
    boards
}

impl Board {
    fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().unwrap()
    }

    fn variables(&self) -> &[Value] {
        self.json["templating"]["list"].as_array().unwrap()
    }

    /// Each expression with the place that it is in, and the legend that goes with it.
    fn queries(&self) -> Vec<(String, Query, String)> {
        let mut all = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let place = format!("{}: {}: {}", self.file, panel["title"], target["expr"]);
                let query = promql::read(target["expr"].as_str().unwrap())
                    .unwrap_or_else(|why| panic!("{place}: {why}"));
                all.push((place, query, target["legendFormat"].as_str().unwrap().to_owned()));
            }
        }
        for variable in self.variables().iter().filter(|variable| variable["type"] == "query") {
            let text = variable["query"]["query"].as_str().unwrap();
            let place = format!("{}: variable {}: {text}", self.file, variable["name"]);
            let inside = text.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (selector, label) = inside.rsplit_once(", ").unwrap();
            let query = promql::read(selector).unwrap_or_else(|why| panic!("{place}: {why}"));
            all.push((place, query, format!("{{{{{label}}}}}")));
        }
        all
    }
}

/// The labels between double braces.
fn of_legend(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).map(|rest| rest.split_once("}}").unwrap().0.trim()).collect()
}

/// Everything that is named in each query is in `all`, and each range is one that follows what is shown.
fn check(boards: &[Board], all: &BTreeMap<String, Metric>) {
    for (place, query, legend) in boards.iter().flat_map(Board::queries) {
        exported::check(&place, &query, &of_legend(&legend), all);
        let follows = |range: &String| matches!(range.as_str(), "$__rate_interval" | "$__range");
        assert!(query.ranges.iter().all(follows), "{place}: {:?}", query.ranges);
    }
}

#[test]
fn every_metric_and_label_is_in_the_catalogue() {
    let (mut all, boards) = (catalogue(), boards());
    all.append(&mut exported::catalogue_of("attest"));
    check(&boards, &all);
    // No metric is left out, so that a new one gets its panel.
    let shown: BTreeSet<String> = boards
        .iter()
        .flat_map(Board::queries)
        .flat_map(|(_, query, _)| query.metrics.into_iter().map(|(metric, _)| metric))
        .collect();
    for (name, metric) in &all {
        let shows = |sample: &String| find(&all, sample).is_some_and(|found| std::ptr::eq(found, metric));
        assert!(shown.iter().any(shows), "no panel shows {name}");
    }
}

/// The catalogue is what the binary exports, of which `rare` needs more than a test of this size lets happen.
fn compare(page: &str, role: &str, rare: &[&str]) -> Option<BTreeMap<String, Metric>> {
    let live = metrics::read(page);
    let ours = format!("mainstay_{role}_");
    let of_role = |name: &str| name.starts_with(&ours) || (role == "sync" && name.starts_with(ANNOUNCED));
    for (name, metric) in catalogue().iter().filter(|(name, _)| of_role(name)) {
        let Some(found) = live.get(name).filter(|found| found.is_told) else {
            if rare.iter().any(|rare| name.ends_with(rare)) {
                continue;
            }
            return None;
        };
        assert_eq!(found.kind, metric.kind, "{name}");
        assert!(found.labels.keys().eq(metric.labels.keys()), "{name}: {:?}", found.labels.keys());
    }
    Some(live)
}

#[test]
fn the_binary_exports_what_the_rpc_dashboard_asks_for() {
    let place = Place::new();
    let node = Node::start("one");
    let flags = ["rpc", "--nodes", &node.url, "--health", "net_version", "--log-format", "logfmt"];
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut running = place.start(&[&flags[..], &ports].concat(), &[]);
    let admin = running.address("admin");
    let mut live = None;
    eventually("every metric has a sample", || {
        live = compare(&ask(&admin, "GET", "/metrics", "").fine(), "rpc", &[]);
        live.is_some()
    });
    let boards = boards().into_iter().filter(|board| board.file == "mainstay-rpc.json");
    check(&boards.collect::<Vec<_>>(), &live.unwrap());
}

#[test]
fn the_binary_exports_what_the_engine_dashboard_asks_for() {
    let place = Place::new();
    let folder = place.path().to_str().unwrap().to_owned();
    let mut running = place.start(&dev(&["--slot", "1s"]), &[("TMPDIR", &folder)]);
    let (admin, control) = (running.heading("admin"), running.heading("control"));
    running.line(&["el2 VALID", "→ VALID"]);
    // Nobody waits for a node that hangs, so an answer is early; and somebody disagrees, so that there is evidence.
    ask(&control, "POST", "/sim/nodes/el3/hang", "").fine();
    running.line(&["[hang]", "→ VALID"]);
    ask(&control, "POST", "/sim/nodes/el2/lie", "").fine();
    eventually("every metric has a sample", || {
        let page = ask(&admin, "GET", "/metrics", "").fine();
        compare(&page, "engine", &["late_invalid", "replayed_payloads", "mirror_dropped"]).is_some()
    });
}

#[test]
fn the_binary_exports_what_the_sync_dashboard_asks_for() {
    let mut lab = Lab::new(2);
    // It is waited for by nobody, and disagrees.
    lab.els[1].set(Fault::Lie);
    lab.els[1].add(Fault::Lag(Duration::from_millis(20)));
    let builders = lab.builders();
    let flags = ["sync", "--builders", &builders, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut running = Place::new().start(&[&flags[..], &["--log-format", "logfmt"]].concat(), &[]);
    let (sync, admin) = (running.address("sync"), running.address("admin"));
    let block = lab.chain.grow();
    for client in ["10.0.0.1", "10.0.0.2"] {
        from(&sync, client, None, &payload(&block)).fine();
        from(&sync, client, None, &head(&block)).fine();
    }
    let rare = ["late_invalid", "replayed_payloads", "mirror_dropped"];
    eventually("every metric has a sample", || {
        compare(&ask(&admin, "GET", "/metrics", "").fine(), "sync", &rare).is_some()
    });
}

#[test]
fn the_binary_exports_what_the_beacon_dashboard_asks_for() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(BeaconServer::start("one", BeaconState::default())).unwrap();
    let place = Place::new();
    // Its chain is long over.
    let flags = ["beacon", "--beacon-node", &node.url(), "--min-peers", "1", "--max-sync-distance", "off"];
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "logfmt"];
    let mut running = place.start(&[&flags[..], &ports].concat(), &[]);
    let (guard, admin) = (running.address("beacon"), running.address("admin"));
    let is_answered_by = |who: &str| {
        ask(&guard, "GET", "/eth/v1/node/version", "");
        ask(&admin, "GET", "/metrics", "").fine().contains(&format!("by=\"{who}\""))
    };
    eventually("the node answers", || is_answered_by("node"));
    ask(&admin, "POST", "/api/v1/beacon/beacon/nodes/beacon-1/drain", "").fine();
    eventually("mainstay answers for it", || is_answered_by("mainstay"));
    let mut live = None;
    eventually("every metric has a sample", || {
        live = compare(&ask(&admin, "GET", "/metrics", "").fine(), "beacon", &[]);
        live.is_some()
    });
    let boards = boards().into_iter().filter(|board| board.file == "mainstay-beacon.json");
    check(&boards.collect::<Vec<_>>(), &live.unwrap());
}

#[test]
fn the_binary_exports_what_the_relay_dashboard_asks_for() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let [ours, theirs]: [Name; 2] = ["prodx", "prody"].map(|name| name.parse().unwrap());
    let now = u32::try_from(wall().duration_since(UNIX_EPOCH).unwrap().as_secs() - 946_684_800).unwrap() * 2;
    let outer = runtime.block_on(Nodeos::listen(NodeosConfig::new("outer"))).unwrap();
    outer.produce(theirs, Slot(now - 20), 0);
    let place = Place::new();
    let outer_at = outer.address().to_string();
    let flags = ["relay", "--outer", &outer_at, "--producer", "prodx", "--max-legs", "2"];
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "logfmt"];
    let mut running = place.start(&[&flags[..], &ports].concat(), &[]);
    let (relay, admin) = (running.address("relay"), running.address("admin"));
    let page = || ask(&admin, "GET", "/metrics", "").fine();
    let shows = |parts: &[&str]| page().lines().any(|line| parts.iter().all(|part| line.contains(part)));

    let dial = |name| Nodeos::dial(NodeosConfig::new(name), relay.parse().unwrap());
    let [a, b] = ["a", "b"].map(dial);
    for node in [&a, &b] {
        runtime.block_on(node.until("what was before", |it| it.head() == outer.head()));
        node.chain(|chain| chain.set_producing(true));
    }
    eventually("two legs", || shows(&["mainstay_relay_legs{", " 2"]));
    let _refused = std::net::TcpStream::connect(&relay).unwrap();
    a.produce(ours, Slot(now - 19), 0);
    eventually("a wins its slot", || shows(&["verdict=\"win\""]));
    // An alarm, a transaction twice, the end of a leg.
    b.say(&block(ours, Slot(u32::MAX), outer.head(), 0));
    for _ in 0..2 {
        a.say(&whole(&Message::Unknown { number: 8, data: Blob(&[1, 2, 3]) }));
    }
    eventually("the second is dropped", || shows(&["why=\"repeated\""]));
    a.say(&whole(&Message::GoAway(GoAway { reason: Reason(3), node_id: Id::ZERO })));
    let rare = ["outer_behind", "told"];
    eventually("every metric has a sample", || compare(&page(), "relay", &rare).is_some());
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap() {
    for board in boards() {
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
        for panel in board.panels() {
            let title = panel["title"].as_str().filter(|title| !title.is_empty()).unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}: {title}: its id is taken", board.file);
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{}: {title} is not on the grid", board.file);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                if let Some(other) = taken.insert(cell, title) {
                    panic!("{}: {title} overlaps {other}", board.file);
                }
            }
            // Panels without a description explain nothing to who looks at them at night.
            if panel["type"] != "row" {
                assert!(!panel["description"].as_str().unwrap().is_empty(), "{}: {title}", board.file);
            }
        }
    }
}

#[test]
fn variables_are_those_that_queries_use() {
    let mut uids = BTreeSet::new();
    for board in boards() {
        assert!(uids.insert(board.json["uid"].as_str().unwrap().to_owned()));
        assert!(board.json["id"].is_null(), "an id is given by whoever imports it");
        assert_eq!(board.json["schemaVersion"], 39);
        let names: Vec<&str> = board.variables().iter().map(|one| one["name"].as_str().unwrap()).collect();
        let role = board.file.strip_prefix("mainstay-").and_then(|rest| rest.strip_suffix(".json")).unwrap();
        // A node attests to a process, whichever role asks it.
        let of_process = role == "attest";
        let expected: &[&str] =
            if of_process { &["datasource", "instance"] } else { &["datasource", role, "instance"] };
        assert_eq!(names, expected);
        for panel in board.panels().iter().filter(|panel| panel["type"] != "row") {
            let targets = panel["targets"].as_array().unwrap();
            for source in targets.iter().chain([panel]).map(|one| &one["datasource"]) {
                assert_eq!(source["uid"], "${datasource}", "{}: {}", board.file, panel["title"]);
            }
            let refs: BTreeSet<&str> = targets.iter().map(|one| one["refId"].as_str().unwrap()).collect();
            assert_eq!(refs.len(), targets.len());
        }
        for (place, query, _) in board.queries() {
            for (metric, matchers) in query.metrics {
                if role == "sync" && metric.starts_with(ANNOUNCED) {
                    continue;
                }
                assert!(metric.starts_with(&format!("mainstay_{role}_")), "{place}");
                let by = if of_process { "instance" } else { role };
                let by_role = matchers.iter().any(|(label, value)| label == by && *value == format!("${by}"));
                assert!(by_role || place.contains("variable"), "{place}: {metric} is of all roles");
            }
        }
    }
}

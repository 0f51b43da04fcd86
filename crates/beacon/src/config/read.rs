//! From checked values to what the role works with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_node::NodeSpec;
use mainstay_settings::{Problem, Settings, tls};
use mainstay_wire::client;
use mainstay_wire::jwt::Secret;
use mainstay_wire::server::Tls;
use url::Url;

use super::{Builtin, Config, Execution, Guarded, Timing, Tuning};
use crate::check::Rules;
use crate::own::OwnCheck;
use crate::reading::{Subnets, SyncRules};

/// Where a single guard listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5062);

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
pub(super) fn config(s: &Settings, problems: &mut Vec<Problem>) -> Option<Config> {
    not_zero(s, &["interval", "timeout", "request_timeout", "max_block_age"], problems);
    let before = problems.len();
    let mut guards = listed(s, problems);
    for table in s.tables("guard") {
        let first = guards.len() + 1;
        guards.extend(guard(s, table, first, problems));
    }
    if guards.is_empty() && problems.is_empty() {
        problems.push(s.problem("beacon_node", "name at least one beacon node, here or in [[beacon.guard]]"));
    }
    check_names(s, &guards, problems);
    let whole = (problems.len() == before).then_some(&guards[..]);
    let checks = OwnCheck::from_tables(s.tables("check"), whole, problems);
    let timing = Timing {
        interval: s.duration("interval")?,
        timeout: s.duration("timeout")?,
        rules: Rules { rise: s.integer("rise")? as u32, fall: s.integer("fall")? as u32 },
    };
    let keep = if s.switch("keep_last") { s.integer("min_fit")? as usize } else { 0 };
    if s.is_set("min_fit") && keep == 0 {
        problems.push(s.problem("min_fit", "is for keep_last, which is off"));
    }
    Some(Config {
        name: s.text("name")?.to_owned(),
        guards,
        checks,
        timings: timings(s, timing, problems),
        timing,
        warm_up: s.duration("warm_up")?,
        sync: SyncRules {
            max_distance: s.integer("max_sync_distance").map(|slots| slots as u64),
            optimistic: s.text("optimistic") == Some("allow"),
        },
        max_block_age: s.duration("max_block_age"),
        max_lag: s.integer("max_lag")? as u64,
        min_fit: keep,
        body_max: s.size("body_max")?,
        request_timeout: s.duration("request_timeout"),
        node_idle_timeout: s.duration("node_idle_timeout").unwrap_or(Duration::from_secs(4)),
        max_connections: s.integer("max_connections")? as usize,
        attest: None,
        node_tls: tls::NODES
            .read(s, problems, |files| client::Tls::of_files(files.authorities, files.identity)),
    })
}

/// Times that can't be nothing.
pub(super) fn not_zero(s: &Settings, keys: &[&'static str], problems: &mut Vec<Problem>) {
    for key in keys {
        if s.duration(key).is_some_and(|duration| duration.is_zero()) {
            problems.push(s.problem(key, "has to be longer than nothing"));
        }
    }
}

/// The guards of the lists.
fn listed(s: &Settings, problems: &mut Vec<Problem>) -> Vec<Guarded> {
    let nodes = s.list("beacon_node");
    let count = nodes.len();
    let in_step = |key: &'static str, one_for_all: bool, problems: &mut Vec<Problem>| {
        let items = s.list(key);
        let fits = items.is_empty() || items.len() == count || (one_for_all && items.len() == 1);
        if !fits {
            let what =
                format!("{} for {count} of beacon_node: give one for each, in the same order", items.len());
            problems.push(s.problem(key, what));
        }
        items
    };
    let mut listen = in_step("listen", false, problems);
    let execution = in_step("execution_node", false, problems);
    let peers = in_step("min_peers", true, problems);
    let agents = in_step("agent_check", false, problems);
    if listen.is_empty() && count == 1 {
        listen.push(LISTEN.to_string());
    } else if listen.is_empty() && count > 1 {
        problems.push(
            s.problem("listen", "needed with several beacon nodes: one address for each, in the same order"),
        );
    }
    let attnets = attnets(s, problems);
    let tls = if count > 0 { tls(s, problems) } else { None };
    let mut guards = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        let Some((beacon_node, name)) =
            beacon_node(node, |what| s.item_problem("beacon_node", i, what), problems)
        else {
            continue;
        };
        let secret_file = s.path("jwt_secret").map(|path| (path.to_owned(), s));
        let problem = |what: String| s.item_problem("execution_node", i, what);
        let execution_node =
            execution.get(i).and_then(|text| execution_node(text, secret_file, problem, problems));
        // What can't be read is a problem already.
        let Some(listen) = listen.get(i).and_then(|text| text.parse().ok()) else { continue };
        guards.push(Guarded {
            name: name.unwrap_or_else(|| format!("beacon-{}", i + 1)),
            listen,
            beacon_node,
            execution_node,
            min_peers: peers.get(i).or(peers.first()).and_then(|text| text.parse().ok()).unwrap_or(0),
            attnets,
            agent_check: agents.get(i).and_then(|text| text.parse().ok()),
            tls: tls.clone(),
        });
    }
    guards
}

/// The guard of a table; `number` is its place among all.
#[allow(clippy::cast_sign_loss)] // bounded by the table
fn guard(s: &Settings, table: &Settings, number: usize, problems: &mut Vec<Problem>) -> Option<Guarded> {
    let own = attnets(table, problems);
    let (beacon_node, name) =
        beacon_node(table.text("beacon_node")?, |what| table.problem("beacon_node", what), problems)?;
    let tls = tls(if tls::LISTENER.any_set(table) { table } else { s }, problems);
    let owner = if table.path("jwt_secret").is_some() { table } else { s };
    let secret_file = owner.path("jwt_secret").map(|path| (path.to_owned(), owner));
    let problem = |what: String| table.problem("execution_node", what);
    let execution_node =
        table.text("execution_node").and_then(|text| execution_node(text, secret_file, problem, problems));
    Some(Guarded {
        name: table.text("name").map(str::to_owned).or(name).unwrap_or_else(|| format!("beacon-{number}")),
        listen: table.listen("listen")?,
        beacon_node,
        execution_node,
        min_peers: table.integer("min_peers").unwrap_or(0) as u64,
        attnets: own.or_else(|| attnets(s, &mut Vec::new())),
        agent_check: table.address("agent_check"),
        tls,
    })
}

fn attnets(s: &Settings, problems: &mut Vec<Problem>) -> Option<Subnets> {
    match s.text("attnets")?.parse() {
        Ok(subnets) => Some(subnets),
        Err(what) => {
            problems.push(s.problem("attnets", what));
            None
        }
    }
}

/// What clients are served TLS with, if they are.
fn tls(s: &Settings, problems: &mut Vec<Problem>) -> Option<Tls> {
    tls::LISTENER.read_served(s, problems, Tls::of_files)
}

/// The URL of a beacon node, and the name that it gives to its guard.
fn beacon_node(
    text: &str,
    problem: impl Fn(String) -> Problem,
    problems: &mut Vec<Problem>,
) -> Option<(Url, Option<String>)> {
    let spec = match NodeSpec::parse(text) {
        Ok(spec) => spec,
        Err(error) => {
            problems.push(problem(error.to_string()));
            return None;
        }
    };
    if spec.jwt_secret.is_some() || spec.timeout.is_some() || spec.do_not_use || text.contains("#tier=") {
        problems.push(problem("a beacon node takes no option but #name=".to_owned()));
        return None;
    }
    if spec.url.query().is_some() {
        problems.push(problem(
            "the address of a beacon node has no query, leave out what follows the ?".to_owned(),
        ));
        return None;
    }
    let name = text.contains("#name=").then_some(spec.name);
    Some((spec.url, name))
}

fn execution_node(
    text: &str,
    secret_file: Option<(PathBuf, &Settings)>,
    problem: impl Fn(String) -> Problem,
    problems: &mut Vec<Problem>,
) -> Option<Execution> {
    let spec = match NodeSpec::parse(text) {
        Ok(spec) => spec,
        Err(error) => {
            problems.push(problem(error.to_string()));
            return None;
        }
    };
    let read = |path: &Path| Secret::from_file(path).map_err(|error| error.to_string());
    let secret = match (&spec.jwt_secret, secret_file) {
        (Some(path), _) => read(path).map_err(problem),
        (None, Some((path, owner))) => read(&path).map_err(|what| owner.problem("jwt_secret", what)),
        (None, None) => return Some(Execution { url: spec.url, secret: None }),
    };
    match secret {
        Ok(secret) => Some(Execution { url: spec.url, secret: Some(secret) }),
        Err(told) => {
            if !problems.contains(&told) {
                problems.push(told);
            }
            None
        }
    }
}

fn timings(s: &Settings, common: Timing, problems: &mut Vec<Problem>) -> [Timing; Builtin::ALL.len()] {
    let mut timings = [common; Builtin::ALL.len()];
    let mut seen: Vec<Builtin> = Vec::new();
    for table in s.tables("tune") {
        let Some(check) = Builtin::ALL.into_iter().find(|check| table.text("check") == Some(check.word()))
        else {
            continue;
        };
        if seen.contains(&check) {
            problems.push(table.problem("check", format!("{} is tuned above already", check.word())));
        }
        seen.push(check);
        for key in ["interval", "timeout"] {
            if table.is_set(key) && check == Builtin::Lag {
                problems.push(
                    table
                        .problem(key, "lag is judged with every round of syncing, it has rise and fall only"),
                );
            }
        }
        timings[check.index()] = Tuning::read(table, problems).over(common);
    }
    timings
}

/// Metrics, the API and validator clients tell guards apart by name.
fn check_names(s: &Settings, guards: &[Guarded], problems: &mut Vec<Problem>) {
    let tables = s.tables("guard");
    let listed = guards.len().saturating_sub(tables.len());
    for (i, guard) in guards.iter().enumerate() {
        let problem = |what: String| match i.checked_sub(listed).and_then(|i| tables.get(i)) {
            Some(table) => table.problem("name", what),
            None => s.item_problem("beacon_node", i, what),
        };
        if !guard.name.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.push(problem(
                "a guard's name stands in a header: letters, digits and signs of ASCII".to_owned(),
            ));
        }
        if guards[..i].iter().any(|other| other.name == guard.name) {
            problems.push(problem(format!("another guard is called \"{}\" too", guard.name)));
        }
    }
}

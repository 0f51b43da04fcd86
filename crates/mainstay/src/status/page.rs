//! The admin API's roles as text for a terminal. Pure.

mod process;

use std::fmt::Write as _;

use serde_json::Value;

/// Draws the process and all roles: a table of nodes for each, what is wrong with them, what changed last; of `sync` who leads, too.
pub(super) fn draw(answer: &Value) -> String {
    let mut page = String::new();
    process::draw(&mut page, &answer["process"]);
    for role in items(answer, "roles") {
        if !page.is_empty() {
            page.push('\n');
        }
        let _ = writeln!(page, "{} {}: {}", text(role, "role"), text(role, "name"), text(role, "status"));
        clients(&mut page, &role["state"]);
        nodes(&mut page, items(&role["state"], "nodes"));
        relay(&mut page, &role["state"]);
        flips(&mut page, items(&role["state"], "nodes"));
    }
    if items(answer, "roles").is_empty() {
        page.push_str("no role runs there\n");
    }
    // Texts may come from a node: what could steer the terminal is left out.
    page.retain(|c| c == '\n' || !c.is_control());
    page
}

/// Whether a role can't serve.
pub(super) fn any_down(answer: &Value) -> bool {
    items(answer, "roles").iter().any(|role| role["status"] == "down")
}

/// The consensus clients of a role that has several, and who of them leads.
fn clients(page: &mut String, state: &Value) {
    if !state["clients"].is_array() {
        return;
    }
    let slot = number(state, "slot");
    let _ = match state["leader"].as_str() {
        Some(leader) => writeln!(page, "  leader {leader}, slot {slot}, head {}", short(text(state, "head"))),
        None => writeln!(page, "  no consensus client has called yet, slot {slot}"),
    };
    let clients = items(state, "clients");
    if clients.is_empty() {
        return;
    }
    let row = |client: &Value| {
        let leads = if client["leads"] == true { "leads" } else { "" };
        [
            text(client, "name").to_owned(),
            leads.to_owned(),
            text(client, "state").to_owned(),
            number(client, "slot"),
            age(client, "silent_seconds"),
            short(text(client, "head")),
        ]
    };
    let rows: Vec<_> = clients.iter().map(row).collect();
    let lines = table(["CLIENT", "", "STATE", "SLOT", "SILENT", "HEAD"], &rows);
    for (at, line) in lines.iter().enumerate() {
        let _ = writeln!(page, "{line}");
        let reason = at.checked_sub(1).and_then(|row| clients.get(row)).map_or("", |it| text(it, "reason"));
        if !reason.is_empty() {
            let _ = writeln!(page, "      {reason}");
        }
    }
}

fn nodes(page: &mut String, nodes: &[Value]) {
    // Only of nodes that are compared with each other.
    let shows_lag = nodes.iter().any(|node| !node["lag"].is_null());
    let row = |node: &Value| {
        let place = ["uri", "url", "outer"].iter().map(|key| text(node, key)).find(|place| !place.is_empty());
        [
            text(node, "name").to_owned(),
            text(node, "condition").to_owned(),
            age(node, "since_seconds"),
            number(node, "head"),
            if shows_lag { number(node, "lag") } else { String::new() },
            place.unwrap_or("").to_owned(),
        ]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    let titles = ["NAME", "STATE", "SINCE", "HEAD", if shows_lag { "LAG" } else { "" }, "NODE"];
    let lines = table(titles, &rows);
    let (titles, lines) = lines.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let _ = writeln!(page, "{titles}");
    for (node, line) in nodes.iter().zip(lines) {
        let _ = writeln!(page, "{line}");
        let checks = items(node, "checks");
        for check in checks {
            let (name, holds, since) =
                (text(check, "name"), check["holds"] == true, age(check, "since_seconds"));
            let does = if holds { "holds" } else { "FAILS" };
            let saw = match text(check, "saw") {
                // Nothing has spoken against it, that is: traffic.
                "" if holds => "",
                "" => ": not yet checked",
                saw => &format!(": {saw}"),
            };
            let _ = writeln!(page, "      {name} {does} for {since}{saw}");
        }
        let reason = text(node, "reason");
        if checks.is_empty() && !reason.is_empty() && node["fit"] == false {
            let _ = writeln!(page, "      {reason}");
        }
        attestation(page, &node["attestation"]);
        if let Some(gap) = node["gap"].as_u64() {
            let _ =
                writeln!(page, "      {gap} blocks are missing that are kept no more: left to its own sync");
        }
    }
}

/// What a node has proved of itself, or why it wasn't taken.
fn attestation(page: &mut String, known: &Value) {
    if !known.is_object() {
        return;
    }
    let form = text(known, "form");
    if text(known, "verdict") != "held" {
        let (at, step, reason) = (text(known, "at"), text(known, "step"), text(known, "reason"));
        let _ = writeln!(page, "      {form}: REFUSED at {at} for its {step}: {reason}");
        return;
    }
    let tcb = match text(known, "tcb_status") {
        "" => String::new(),
        status => format!(", {status}"),
    };
    let (at, until) = (text(known, "at"), text(known, "until"));
    let _ = writeln!(page, "      {form}: held at {at}, until {until}{tcb}");
    for one in items(known, "measured") {
        // What nothing is expected of is in the API.
        if !one["expected"].is_null() {
            let _ = writeln!(page, "        {} {}", text(one, "name"), text(one, "value"));
        }
    }
    for warning in items(known, "warnings") {
        let _ = writeln!(page, "        warning: {}", warning.as_str().unwrap_or(""));
    }
}

/// What a relay has besides nodes: whose the last rounds were, where claims are, what to look at.
fn relay(page: &mut String, state: &Value) {
    if !state["claims"].is_object() {
        return;
    }
    if let Some(preferred) = state["preferred"].as_str() {
        let _ = writeln!(page, "  preferred: {preferred}");
    }
    for outer in items(state, "outer").iter().filter(|outer| !text(outer, "trouble").is_empty()) {
        let _ = writeln!(page, "  outer {}: {}", text(outer, "name"), text(outer, "trouble"));
    }
    for outer in items(state, "outer").iter().filter(|outer| !text(outer, "shared_with").is_empty()) {
        let _ = writeln!(page, "  outer {}: used by {} too", text(outer, "name"), text(outer, "shared_with"));
    }
    let rounds = items(state, "rounds");
    if !rounds.is_empty() {
        page.push_str("  rounds:\n");
    }
    for round in rounds {
        let won: Vec<String> = round["won"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|won| match won[0].as_str() {
                Some("") | None => format!("elsewhere {}", won[1]),
                Some(node) => format!("{node} {}", won[1]),
            })
            .collect();
        let gaps = match round["gaps"].as_u64() {
            None => ", not over yet".to_owned(),
            Some(0) => String::new(),
            Some(gaps) => format!(", {gaps} MISSED"),
        };
        let won = if won.is_empty() { "nobody".to_owned() } else { won.join(", ") };
        let _ =
            writeln!(page, "      {} slot {}: {won}{gaps}", text(round, "producer"), number(round, "slot"));
    }
    let claims = &state["claims"];
    let ready = if claims["ready"] == true { "" } else { ", not asked yet" };
    let failed = match claims["failed_ago_seconds"].as_u64() {
        Some(ago) => format!(", no answer {} ago: {}", span(ago), text(claims, "failure")),
        None => String::new(),
    };
    let _ = writeln!(page, "  claims: {}{ready}{failed}", text(claims, "place"));
    let alarms = items(state, "alarms");
    if !alarms.is_empty() {
        page.push_str("  alarms:\n");
    }
    for alarm in alarms {
        let ago = span(alarm["ago_seconds"].as_u64().unwrap_or(0));
        let (kind, node, what) = (text(alarm, "kind"), text(alarm, "node"), text(alarm, "what"));
        let times = match alarm["times"].as_u64() {
            Some(times) if times > 1 => format!(", {times} times"),
            _ => String::new(),
        };
        let _ = writeln!(page, "  {ago:>6} ago  {kind} {node}: {what}{times}");
    }
}

/// The titles and a line for each row, in columns. A column that is empty from top to bottom isn't there.
fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let all: Vec<[&str; N]> = std::iter::once(titles)
        .chain(rows.iter().map(|row| std::array::from_fn(|column| row[column].as_str())))
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let line = |cells: &[&str; N]| {
        let mut line = String::from(" ");
        for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| *width > 0) {
            let _ = write!(line, " {cell:width$} ");
        }
        line.trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

/// The flips of all nodes, the latest last.
fn flips(page: &mut String, nodes: &[Value]) {
    let mut flips: Vec<(u64, String)> = Vec::new();
    for node in nodes {
        for flip in items(node, "flips") {
            let holds = flip["holds"] == true;
            let what = match (flip["check"].as_str(), holds) {
                (None, true) => "opened".to_owned(),
                (None, false) => "closed".to_owned(),
                (Some(check), true) => format!("{check} holds"),
                (Some(check), false) => format!("{check} fails"),
            };
            let ago = flip["ago_seconds"].as_u64().unwrap_or(0);
            flips.push((ago, format!("{} {what}: {}", text(node, "name"), text(flip, "saw"))));
        }
    }
    // Stable: what happened at once stays in its order.
    flips.sort_by_key(|(ago, _)| std::cmp::Reverse(*ago));
    if !flips.is_empty() {
        page.push_str("  changes:\n");
    }
    for (ago, what) in flips {
        let _ = writeln!(page, "  {:>6} ago  {what}", span(ago));
    }
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

fn number(value: &Value, key: &str) -> String {
    value[key].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The ends of a hash, which tell it from others.
fn short(hash: &str) -> String {
    match (hash.get(..6), hash.get(hash.len().saturating_sub(4)..)) {
        (Some(start), Some(end)) if hash.len() > 10 => format!("{start}…{end}"),
        _ if hash.is_empty() => "-".to_owned(),
        _ => hash.to_owned(),
    }
}

fn age(value: &Value, key: &str) -> String {
    value[key].as_u64().map_or_else(|| "-".to_owned(), span)
}

/// `59s`, `3m12s`, `5h2m`, `3d4h`.
pub(crate) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{}s", seconds % 60),
        3600..86400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nodes_have_proved_is_under_them() {
        let known = |known: Value| {
            let node = json!({"name": "n", "condition": "fit", "fit": true, "attestation": known});
            draw(
                &json!({"roles": [{"role": "rpc", "name": "rpc", "status": "well", "state": {"nodes": [node]}}]}),
            )
        };
        let held = known(json!({
            "form": "sev", "verdict": "held", "at": "2026-11-15T00:00:00Z", "until": "2026-12-01T00:00:00Z", "tcb_status": "SNP 8",
            "measured": [{"name": "PCR 4", "value": "0404", "expected": "0404"}, {"name": "PCR 0", "value": "00", "expected": null}],
            "warnings": ["PCR 14 is another"],
        }));
        let lines: Vec<&str> = held.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "      sev: held at 2026-11-15T00:00:00Z, until 2026-12-01T00:00:00Z, SNP 8",
                "        PCR 4 0404",
                "        warning: PCR 14 is another",
            ]
        );
        let refused = known(json!({
            "form": "sgx", "verdict": "refused", "at": "2026-11-15T00:00:00Z", "step": "enclave", "reason": "MRENCLAVE is another",
        }));
        assert!(
            refused.ends_with(
                "      sgx: REFUSED at 2026-11-15T00:00:00Z for its enclave: MRENCLAVE is another\n"
            ),
            "{refused}"
        );
        assert_eq!(known(Value::Null).lines().count(), 3);
    }

    #[test]
    fn a_page_of_guards_and_of_nodes() {
        let answer = json!({"roles": [
            {"role": "beacon", "name": "home", "status": "degraded", "state": {"nodes": [
                {"name": "beacon-1", "condition": "fit", "fit": true, "since_seconds": 192, "head": 1234,
                 "uri": "http://10.0.0.1:5052", "checks": [
                    {"name": "syncing", "holds": true, "saw": "in sync", "since_seconds": 192},
                    {"name": "traffic", "holds": true, "saw": "", "since_seconds": 200},
                 ],
                 "flips": [{"ago_seconds": 192, "check": null, "holds": true, "saw": "all checks hold"}]},
                {"name": "b2", "condition": "unfit", "fit": false, "since_seconds": 5, "head": null,
                 "uri": "http://10.0.0.2:5052", "reason": "peers: 3 peers, at least 64",
                 "checks": [
                    {"name": "peers", "holds": false, "saw": "3 peers, at least 64", "since_seconds": 5},
                    {"name": "chain", "holds": false, "saw": "", "since_seconds": 90061},
                 ],
                 "flips": [
                    {"ago_seconds": 5, "check": "peers", "holds": false, "saw": "3 peers, at least 64"},
                    {"ago_seconds": 5, "check": null, "holds": false, "saw": "peers: 3 peers, at least 64"},
                 ]},
            ]}},
            {"role": "rpc", "name": "rpc", "status": "down", "state": {"nodes": [
                {"name": "geth", "condition": "unfit", "fit": false, "reason": "connection refused", "since_seconds": 7325, "uri": "http://g"},
            ]}},
        ]});
        let expected = "\
beacon home: degraded
  NAME      STATE  SINCE  HEAD  NODE
  beacon-1  fit    3m12s  1234  http://10.0.0.1:5052
      syncing holds for 3m12s: in sync
      traffic holds for 3m20s
  b2        unfit  5s     -     http://10.0.0.2:5052
      peers FAILS for 5s: 3 peers, at least 64
      chain FAILS for 1d1h: not yet checked
  changes:
   3m12s ago  beacon-1 opened: all checks hold
      5s ago  b2 peers fails: 3 peers, at least 64
      5s ago  b2 closed: peers: 3 peers, at least 64

rpc rpc: down
  NAME  STATE  SINCE  HEAD  NODE
  geth  unfit  2h2m   -     http://g
      connection refused
";
        assert_eq!(draw(&answer), expected);
        assert!(any_down(&answer));
        assert_eq!(draw(&json!({"roles": []})), "no role runs there\n");
    }

    #[test]
    fn a_page_of_who_leads() {
        let head = format!("0xf9c0{}8f33", "0".repeat(56));
        let answer = json!({"roles": [
            {"role": "sync", "name": "sync", "status": "degraded", "state": {
                "leader": "lodestar-1", "slot": 1234, "head": head,
                "clients": [
                    {"name": "lodestar-1", "leads": true, "state": "well", "reason": "", "slot": 1234, "head": head, "silent_seconds": 3},
                    {"name": "10.0.0.7", "leads": false, "state": "suspect", "reason": "it names slots ahead of the clock",
                     "slot": null, "head": null, "silent_seconds": 75},
                ],
                "nodes": [
                    {"name": "el1", "condition": "fit", "fit": true, "since_seconds": 60, "head": 99, "lag": 0, "gap": null, "url": "http://el1:8551"},
                    {"name": "el2", "condition": "lagging", "fit": false, "reason": "90 blocks behind", "since_seconds": 5, "head": 9,
                     "lag": 90, "gap": 26, "url": "http://el2:8551"},
                ]}},
            {"role": "sync", "name": "new", "status": "down", "state": {
                "leader": null, "slot": 7, "head": null, "clients": [], "nodes": []}},
        ]});
        let expected = "\
sync sync: degraded
  leader lodestar-1, slot 1234, head 0xf9c0…8f33
  CLIENT             STATE    SLOT  SILENT  HEAD
  lodestar-1  leads  well     1234  3s      0xf9c0…8f33
  10.0.0.7           suspect  -     1m15s   -
      it names slots ahead of the clock
  NAME  STATE    SINCE  HEAD  LAG  NODE
  el1   fit      1m0s   99    0    http://el1:8551
  el2   lagging  5s     9     90   http://el2:8551
      90 blocks behind
      26 blocks are missing that are kept no more: left to its own sync

sync new: down
  no consensus client has called yet, slot 7
  NAME  STATE  SINCE  HEAD  NODE
";
        assert_eq!(draw(&answer), expected);
    }

    #[test]
    fn a_page_of_a_relay() {
        let answer = json!({"roles": [{"role": "relay", "name": "relay", "status": "degraded", "state": {
            "preferred": "b",
            "nodes": [
                {"name": "a", "condition": "fit", "fit": true, "since_seconds": 60, "head": 1234, "outer": "sentry-1:9876"},
                {"name": "b", "condition": "joining", "fit": false, "since_seconds": 1, "head": null, "outer": "sentry-2:9876"},
            ],
            "outer": [
                {"name": "sentry-1:9876", "legs": 2, "trouble": "", "shared_with": "relay-2 on b"},
                {"name": "sentry-2:9876", "legs": 0, "trouble": "connection refused"},
            ],
            "rounds": [
                {"producer": "prodx", "slot": 1200, "won": [["a", 11], ["b", 1]], "gaps": 0},
                {"producer": "prodx", "slot": 1452, "won": [["", 3]], "gaps": 9},
                {"producer": "prodx", "slot": 1704, "won": [["a", 2]], "gaps": null},
            ],
            "claims": {"place": "redis://h:6379/0", "shared": true, "ready": true, "failed_ago_seconds": 75, "failure": "no answer within 40ms"},
            "alarms": [{"kind": "closed", "node": "a", "what": "block 7: the claims could not be asked", "times": 3, "ago_seconds": 75}],
        }}]});
        let expected = "\
relay relay: degraded
  NAME  STATE    SINCE  HEAD  NODE
  a     fit      1m0s   1234  sentry-1:9876
  b     joining  1s     -     sentry-2:9876
  preferred: b
  outer sentry-2:9876: connection refused
  outer sentry-1:9876: used by relay-2 on b too
  rounds:
      prodx slot 1200: a 11, b 1
      prodx slot 1452: elsewhere 3, 9 MISSED
      prodx slot 1704: a 2, not over yet
  claims: redis://h:6379/0, no answer 1m15s ago: no answer within 40ms
  alarms:
   1m15s ago  closed a: block 7: the claims could not be asked, 3 times
";
        assert_eq!(draw(&answer), expected);
    }

    #[test]
    fn what_a_node_says_does_nothing_to_the_terminal() {
        let answer = json!({"roles": [{"role": "rpc", "name": "rpc", "status": "down", "state": {"nodes": [
            {"name": "geth", "fit": false, "reason": "HTTP 500: \u{1b}[2Jgone\r"},
        ]}}]});
        let page = draw(&answer);
        assert!(page.contains("      HTTP 500: [2Jgone\n"), "{page:?}");
    }
}

//! The admin API's roles as text for a terminal. Pure.

use std::fmt::Write as _;

use serde_json::Value;

/// Draws all roles: a table of nodes for each, what is wrong with them, what changed last.
pub(super) fn draw(answer: &Value) -> String {
    let mut page = String::new();
    for role in items(answer, "roles") {
        if !page.is_empty() {
            page.push('\n');
        }
        let _ = writeln!(page, "{} {}: {}", text(role, "role"), text(role, "name"), text(role, "status"));
        nodes(&mut page, items(&role["state"], "nodes"));
        flips(&mut page, items(&role["state"], "nodes"));
    }
    if page.is_empty() {
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

fn nodes(page: &mut String, nodes: &[Value]) {
    let rows: Vec<[String; 5]> = nodes
        .iter()
        .map(|node| {
            let head = node["head"].as_u64().map_or_else(|| "-".to_owned(), |head| head.to_string());
            let place = ["uri", "url"].iter().map(|key| text(node, key)).find(|place| !place.is_empty());
            let condition = text(node, "condition").to_owned();
            [
                text(node, "name").to_owned(),
                condition,
                age(node, "since_seconds"),
                head,
                place.unwrap_or("").to_owned(),
            ]
        })
        .collect();
    let titles = ["NAME", "STATE", "SINCE", "HEAD", "NODE"];
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        widest.max(titles[column].len())
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    let line = |cells: [&str; 5]| {
        let mut line = String::from(" ");
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(line, " {cell:width$} ");
        }
        line.trim_end().to_owned()
    };
    let _ = writeln!(page, "{}", line(titles));
    for (node, row) in nodes.iter().zip(&rows) {
        let _ = writeln!(page, "{}", line([&row[0], &row[1], &row[2], &row[3], &row[4]]));
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
    }
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

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

fn age(value: &Value, key: &str) -> String {
    value[key].as_u64().map_or_else(|| "-".to_owned(), span)
}

/// `59s`, `3m12s`, `5h2m`, `3d4h`.
fn span(seconds: u64) -> String {
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
    fn what_a_node_says_does_nothing_to_the_terminal() {
        let answer = json!({"roles": [{"role": "rpc", "name": "rpc", "status": "down", "state": {"nodes": [
            {"name": "geth", "fit": false, "reason": "HTTP 500: \u{1b}[2Jgone\r"},
        ]}}]});
        let page = draw(&answer);
        assert!(page.contains("      HTTP 500: [2Jgone\n"), "{page:?}");
    }
}

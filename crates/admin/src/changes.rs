//! What changed of late: states of roles, nodes and whoever leads, told apart by what [`crate::Role::state`] showed before and
//! shows now, and what was asked for through the API. Bounded. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::Value;

/// Changes that are kept.
const KEPT: usize = 128;
/// States that are compared, of all roles together.
const STATES: usize = 4096;
/// The longest text that is kept of a reason, in characters.
const LONGEST: usize = 300;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// In milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The role's kind and name.
    pub(crate) role: String,
    pub(crate) name: String,
    /// What changed in it, a node mostly; empty: the role itself.
    pub(crate) of: String,
    /// What it was; empty where something was done.
    pub(crate) before: String,
    /// What it is, or what was done.
    pub(crate) now: String,
    /// Why, or by whom.
    pub(crate) why: String,
}

/// The last changes, and what there was to compare with.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    known: BTreeMap<Key, String>,
    ring: VecDeque<Change>,
}

/// Kind and name of a role, and what in it.
type Key = (String, String, String);

impl Changes {
    /// Compares with what was seen before. `roles` are as the API shows them.
    pub(crate) fn look(&mut self, at_ms: u64, roles: &[Value]) {
        let mut seen = BTreeMap::new();
        for role in roles {
            let (kind, name) = (text(&role["role"]), text(&role["name"]));
            for (of, now, why) in states(role) {
                if seen.len() == STATES {
                    break;
                }
                let key = (kind.to_owned(), name.to_owned(), of);
                // Who is there from the start is no news, who comes later is.
                let before = self.known.get(&key).map(String::as_str).unwrap_or_default();
                if before != now && !(self.known.is_empty() && before.is_empty()) {
                    let (role, name, of) = key.clone();
                    let (before, why) = (before.to_owned(), short(&why));
                    self.add(Change { at_ms, role, name, of, before, now: now.clone(), why });
                }
                seen.insert(key, now);
            }
        }
        let gone: Vec<Key> = self.known.keys().filter(|key| !seen.contains_key(*key)).cloned().collect();
        for key in gone {
            let before = self.known.remove(&key).unwrap_or_default();
            let (role, name, of) = key;
            self.add(Change { at_ms, role, name, of, before, now: "gone".to_owned(), why: String::new() });
        }
        self.known = seen;
    }

    /// Keeps a change.
    pub(crate) fn add(&mut self, change: Change) {
        if self.ring.len() == KEPT {
            self.ring.pop_front();
        }
        self.ring.push_back(change);
    }

    /// The last ones, the oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Change> {
        self.ring.iter()
    }
}

/// What of a role has a state: name, state, reason.
fn states(role: &Value) -> Vec<(String, String, String)> {
    let reasons = role["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reasons: Vec<&str> = reasons.iter().filter_map(Value::as_str).collect();
    let mut all = vec![(String::new(), text(&role["status"]).to_owned(), reasons.join("; "))];
    let state = &role["state"];
    for chosen in ["primary", "leader", "preferred"] {
        if let Some(who) = state.get(chosen) {
            all.push((chosen.to_owned(), who.as_str().unwrap_or("none").to_owned(), String::new()));
        }
    }
    let of = |key: &str| state[key].as_array().map(Vec::as_slice).unwrap_or_default();
    for node in of("nodes") {
        let mut words = vec![text(&node["condition"])];
        words.extend(node["standing"].as_str().filter(|standing| *standing != "votes"));
        words.extend(node["draining"].as_bool().filter(|draining| *draining).map(|_| "draining"));
        all.push((text(&node["name"]).to_owned(), words.join(", "), text(&node["reason"]).to_owned()));
    }
    for client in of("clients") {
        all.push((
            text(&client["name"]).to_owned(),
            text(&client["state"]).to_owned(),
            text(&client["reason"]).to_owned(),
        ));
    }
    all
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role(status: &str, nodes: &Value) -> Value {
        json!({"role": "engine", "name": "engine", "status": status, "reasons": ["a", "b"],
               "state": {"primary": nodes[0]["name"], "nodes": nodes}})
    }

    fn told(changes: &Changes) -> Vec<String> {
        let line =
            |one: &Change| format!("{} {}: {} > {} ({})", one.at_ms, one.of, one.before, one.now, one.why);
        changes.all().map(line).collect()
    }

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let mut changes = Changes::default();
        let el = |name: &str, condition: &str, standing: &str| json!({"name": name, "condition": condition, "standing": standing, "reason": "as it is", "since_seconds": 5});
        changes.look(1, &[role("well", &json!([el("el1", "fit", "votes"), el("el2", "fit", "votes")]))]);
        assert_eq!(told(&changes), [""; 0], "what is there at the start is no change");
        changes.look(2, &[role("well", &json!([el("el1", "fit", "votes"), el("el2", "unfit", "muted")]))]);
        changes
            .look(3, &[role("degraded", &json!([el("el3", "fit", "votes"), el("el2", "unfit", "muted")]))]);
        assert_eq!(
            told(&changes),
            [
                "2 el2: fit > unfit, muted (as it is)",
                "3 : well > degraded (a; b)",
                "3 primary: el1 > el3 ()",
                "3 el3:  > fit (as it is)",
                "3 el1: fit > gone ()",
            ]
        );
        changes
            .look(4, &[role("degraded", &json!([el("el3", "fit", "votes"), el("el2", "unfit", "muted")]))]);
        assert_eq!(changes.all().count(), 5);
    }

    #[test]
    fn clients_leaders_and_draining_nodes_count() {
        let mut changes = Changes::default();
        let sync = |state: &str, leader: Value, draining: bool| {
            json!({"role": "sync", "name": "s", "status": "well", "reasons": [], "state": {"leader": leader,
                "clients": [{"name": "cl1", "state": state, "reason": ""}],
                "nodes": [{"name": "n", "condition": "fit", "draining": draining}]}})
        };
        changes.look(1, &[sync("well", Value::Null, false)]);
        changes.look(2, &[sync("silent", json!("cl2"), true)]);
        assert_eq!(
            told(&changes),
            ["2 leader: none > cl2 ()", "2 n: fit > fit, draining ()", "2 cl1: well > silent ()"]
        );
    }

    #[test]
    fn it_is_bounded() {
        let mut changes = Changes::default();
        for at in 0..1000 {
            let condition = if at % 2 == 0 { "fit" } else { "unfit" };
            let reason = "x".repeat(5000);
            changes.look(
                at,
                &[role("well", &json!([{"name": "el1", "condition": condition, "reason": reason}]))],
            );
        }
        assert_eq!(changes.all().count(), KEPT);
        assert!(changes.all().all(|change| change.why.chars().count() <= LONGEST + 1));
    }
}

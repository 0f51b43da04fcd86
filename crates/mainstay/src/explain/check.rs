//! `mainstay explain check`: an answer, and what an own check's expression makes of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use mainstay_beacon::expect::Facts;
use mainstay_beacon::explain::{Case, Told, explain};
use mainstay_settings::{Key, Kind, Problem, Section, Settings};
use serde_json::json;

use super::{Decision, Played};

static CASE: Section = Section::role(
    "check",
    "An answer to a check",
    &[
        Key::new(
            "expect",
            Kind::Text,
            "The expression in CEL, as in [[beacon.check]] (docs/beacon-checks.md)",
        ),
        Key::new("status", Kind::Integer { min: -1_000, max: 1_000 }, "Status of the reply, or of a program")
            .default("200"),
        Key::new("headers", Kind::List(&Kind::Text), "Headers of the reply, each as \"name: value\""),
        Key::new("body", Kind::Text, "What the reply has: JSON, else text"),
        Key::new("min_peers", Kind::Integer { min: 0, max: 1_000_000 }, "guard.min_peers").default("0"),
    ],
);

pub(super) const DECISION: Decision = Decision {
    case: &CASE,
    needs: &["expect"],
    about: "Whether an own check holds by this answer, and which of its conditions say so",
    play,
};

fn play(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Played> {
    let mut headers = BTreeMap::new();
    for (nth, header) in settings.list("headers").iter().enumerate() {
        match header.split_once(':') {
            Some((name, value)) => {
                headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
            None => problems.push(settings.item_problem("headers", nth, "has to be \"name: value\"")),
        }
    }
    let case = Case {
        expect: settings.text("expect").unwrap_or_default().to_owned(),
        status: settings.integer("status").unwrap_or_default(),
        headers,
        body: settings.text("body").unwrap_or_default().to_owned(),
        now: now(),
        guard: Facts {
            name: "guard".to_owned(),
            min_peers: settings
                .integer("min_peers")
                .and_then(|peers| u64::try_from(peers).ok())
                .unwrap_or_default(),
            ..Facts::default()
        },
    };
    match explain(&case) {
        Ok(told) => Some(Played { text: text(&told), told: json!(told) }),
        Err(bad) => {
            problems.push(settings.problem("expect", bad.to_string()));
            None
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "expressions may compare with the time of day")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn text(told: &Told) -> String {
    let word = |met| if met { "met    " } else { "NOT met" };
    let mut out = String::new();
    for condition in &told.conditions {
        let _ = writeln!(out, "{}  {}  ({})", word(condition.met), condition.text, condition.saw);
    }
    let holds = if told.met { "a good round" } else { "a bad round" };
    let _ = writeln!(out, "\nthe check: {holds}\nsaw: {}", told.saw);
    out
}

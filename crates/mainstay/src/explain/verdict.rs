//! `mainstay explain verdict`: votes of execution clients, and what the engine answers.

use std::fmt::Write;
use std::time::Duration;

use mainstay_execution::ballot::Part;
use mainstay_execution::explain::{Case, Node, Reply, Told, explain};
use mainstay_execution::keys;
use mainstay_execution::status::Status;
use mainstay_execution::verdict::{OnDissent, Reason, Rules, Verdict};
use mainstay_settings::{Key, Kind, Problem, Section, Settings, parse_duration};
use serde_json::json;

use super::{Decision, Played};

/// Nodes of a round that somebody types in.
const NODES: usize = 64;

static CASE: Section = Section::role(
    "verdict",
    "A round of votes",
    &[
        Key::new(
            "votes",
            Kind::Text,
            "What each node says, in their order: V (VALID), I (INVALID), S (SYNCING), A (ACCEPTED), E (a JSON-RPC error) or - (nothing); \
             @200ms when it does so; ? if it isn't waited for, being thought out of sync; ! if it said INVALID of this block before. \
             For example V,V@20ms,I@250ms",
        ),
        keys::MAJORITY,
        keys::MIN_VOTES,
        keys::ON_DISSENT,
        keys::ON_SHORTFALL,
        keys::TIMEOUT,
        Key::new(
            "straggler_wait",
            Kind::Duration,
            "How long others are waited for once VALID stands; by itself mainstay takes 1.5 times each node's 95th percentile, within 20 to 500 ms",
        )
        .default("300ms"),
    ],
);

pub(super) const DECISION: Decision = Decision {
    case: &CASE,
    needs: &["votes"],
    about: "What the engine answers to these votes, when, and by which rule",
    play,
};

fn play(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Played> {
    let nodes = match votes(settings.text("votes").unwrap_or_default()) {
        Ok(nodes) => nodes,
        Err(what) => {
            problems.push(settings.problem("votes", what));
            return None;
        }
    };
    let on_dissent = settings.text("on_dissent");
    let rules = Rules {
        majority: settings.number("majority").unwrap_or_default(),
        min_votes: settings.integer("min_votes").and_then(|votes| u32::try_from(votes).ok()).unwrap_or(1),
        on_dissent: if on_dissent == Some("majority") { OnDissent::Majority } else { OnDissent::Syncing },
    };
    let duration = |key| settings.duration(key).unwrap_or_default();
    let case =
        Case { rules, timeout: duration("timeout"), straggler_wait: duration("straggler_wait"), nodes };
    let told = explain(&case);
    let (answer, why) = (answer(&told, settings.text("on_shortfall") == Some("error")), why(&case, &told));
    let text = text(&told, answer, &why);
    let mut told = json!(told);
    told["answer"] = answer.into();
    told["why"] = why.into();
    Some(Played { told, text })
}

fn votes(text: &str) -> Result<Vec<Node>, String> {
    let nodes: Vec<Node> =
        text.split(',').enumerate().map(|(nth, vote)| one(nth + 1, vote.trim())).collect::<Result<_, _>>()?;
    if nodes.len() > NODES { Err(format!("{} votes, {NODES} at most", nodes.len())) } else { Ok(nodes) }
}

fn one(nth: usize, text: &str) -> Result<Node, String> {
    let wrong = |why: &str| format!("vote {nth}, \"{text}\": {why}");
    let (what, at) = match text.split_once('@') {
        Some((what, at)) => (what, parse_duration(at).map_err(|why| wrong(&why))?),
        None => (text, Duration::ZERO),
    };
    let marks = what.trim_start_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '-');
    let word = &what[..what.len() - marks.len()];
    let status = match word.to_ascii_uppercase().as_str() {
        "V" | "VALID" => Some(Some(Status::Valid)),
        "I" | "INVALID" => Some(Some(Status::Invalid)),
        "S" | "SYNCING" => Some(Some(Status::Syncing)),
        "A" | "ACCEPTED" => Some(Some(Status::Accepted)),
        "E" | "ERROR" => Some(None),
        "-" => None,
        _ => {
            return Err(wrong(
                "expected V, I, S, A, E or -, then maybe ?, ! and @ with a time, as in V?@200ms",
            ));
        }
    };
    if let Some(other) = marks.chars().find(|mark| !"?!".contains(*mark)) {
        return Err(wrong(&format!("\"{other}\" is neither ? nor !")));
    }
    Ok(Node {
        part: if marks.contains('?') { Part::Maybe } else { Part::Voter },
        reply: status.map(|status| Reply { status, at }),
        said_invalid: marks.contains('!'),
    })
}

fn text(told: &Told, answer: &str, why: &str) -> String {
    let mut out = String::new();
    for step in &told.steps {
        let who = step.node.map_or_else(String::new, |node| format!("node {node} "));
        let says = step.says.unwrap_or("-");
        let tally = step.tally;
        let counts = format!("{} VALID, {} INVALID, {} SYNCING", tally.valid, tally.invalid, tally.syncing);
        let _ = writeln!(out, "{:>6} ms  {who:<8}{says:<9} {counts}; {}", step.at_ms, step.then);
    }
    let _ = writeln!(out, "\nanswer: {answer} after {} ms\nwhy: {why}", told.at_ms);
    out
}

fn answer(told: &Told, shortfall_is_error: bool) -> &'static str {
    match told.verdict {
        Verdict::Shortfall if shortfall_is_error => "an error (on_shortfall)",
        Verdict::Shortfall => "SYNCING, for newPayload after the block's hash was checked (on_shortfall)",
        other => other.word(),
    }
}

fn why(case: &Case, told: &Told) -> String {
    let needed = told.needed;
    let share = case.rules.majority;
    if told.contradicted {
        return "the votes say VALID, but one with a vote said INVALID of this block before, and hasn't taken it back".into();
    }
    match told.reason {
        Reason::NoVotes => "nobody voted".into(),
        Reason::TooFew => format!("fewer votes than min_votes = {}", case.rules.min_votes),
        Reason::InvalidMajority => {
            format!("INVALID is the largest group and has the {needed} that a majority of {share} needs")
        }
        Reason::Dissent => {
            "somebody says INVALID and has no majority for it: VALID is never told then (on_dissent)".into()
        }
        Reason::Outvoted => format!(
            "VALID has the {needed} that a majority of {share} needs, the one INVALID is outvoted (on_dissent)"
        ),
        Reason::ValidMajority => format!("VALID has the {needed} that a majority of {share} needs"),
        Reason::NoMajority => {
            format!("VALID has not the {needed} that a majority of {share} needs, or SYNCING has more")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn votes_are_read() {
        let nodes = votes("V, i?@1s,Syncing!@20ms,-").unwrap();
        let read = |node: &Node| {
            (node.part, node.reply.map(|reply| (reply.status, reply.at.as_millis())), node.said_invalid)
        };
        assert_eq!(
            nodes.iter().map(read).collect::<Vec<_>>(),
            [
                (Part::Voter, Some((Some(Status::Valid), 0)), false),
                (Part::Maybe, Some((Some(Status::Invalid), 1000)), false),
                (Part::Voter, Some((Some(Status::Syncing), 20)), true),
                (Part::Voter, None, false),
            ]
        );
    }

    #[test]
    fn what_is_no_vote_is_told_by_its_number() {
        for (text, told) in [
            ("V,,V", "vote 2, \"\": expected V, I, S, A, E or -"),
            ("V,X", "vote 2, \"X\": expected"),
            ("V#", "vote 1, \"V#\": \"#\" is neither"),
            ("V@soon", "vote 1, \"V@soon\":"),
        ] {
            let why = votes(text).unwrap_err();
            assert!(why.starts_with(told), "{text}: {why}");
        }
        assert!(votes(&["V"; NODES + 1].join(",")).unwrap_err().contains("64 at most"));
    }
}

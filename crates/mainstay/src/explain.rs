//! `mainstay explain`: what mainstay would do, and why, by its own decisions and without a node. The admin API plays the same cases.

mod check;
mod lanes;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_admin::{Explain, Unexplained};
use mainstay_settings::{Flags, Problem, Section, Settings, Sources, resolve};
use serde_json::{Map, Value, json};

use crate::cli;
use crate::run::refuse;
use crate::show::print;

/// Something that is decided.
struct Decision {
    /// What a case is made of; its name is the subcommand's.
    case: &'static Section,
    /// Keys that no case is without.
    needs: &'static [&'static str],
    about: &'static str,
    /// Plays a case. What is wrong with it is added to the problems.
    play: fn(&Settings, &mut Vec<Problem>) -> Option<Played>,
}

/// What comes of a case.
struct Played {
    told: Value,
    /// The same for people.
    text: String,
}

static DECISIONS: &[Decision] = &[verdict::DECISION, lanes::DECISION, check::DECISION];

/// Its command line.
pub(crate) fn subcommand() -> Command {
    let command = Command::new("explain")
        .about("Say what mainstay would do, and why: its decisions put to a case that you think up")
        .subcommand_required(true)
        .arg_required_else_help(true);
    let decision = |decision: &Decision| {
        let arg = |key| cli::flag_only(decision.case, key).required(decision.needs.contains(&key.name));
        Command::new(decision.case.name)
            .about(decision.about)
            .after_help("Exit status: 0, or 2 if the case can't be read.")
            .args(decision.case.keys.iter().map(arg))
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON"))
    };
    command.subcommands(DECISIONS.iter().map(decision))
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches) -> ExitCode {
    let Some((name, matches)) = matches.subcommand() else { return ExitCode::from(crate::WRONG_CONFIG) };
    let Some(decision) = DECISIONS.iter().find(|decision| decision.case.name == name) else {
        return ExitCode::from(crate::WRONG_CONFIG);
    };
    match play(decision, &cli::flags(decision.case, matches)) {
        Ok(played) if matches.get_flag("json") => print(&format!("{:#}\n", played.told)),
        Ok(played) => print(&played.text),
        Err(problems) => refuse(&problems),
    }
}

/// The same for the admin API.
pub(crate) fn for_admin() -> Explain {
    Arc::new(|what, case| {
        let decision = DECISIONS.iter().find(|decision| decision.case.name == what).ok_or_else(|| {
            let known: Vec<&str> = DECISIONS.iter().map(|decision| decision.case.name).collect();
            Unexplained::Unknown(format!("{what} is nothing that is decided: {}", known.join(", ")))
        })?;
        let flags = flags(decision, case).map_err(Unexplained::Bad)?;
        match play(decision, &flags) {
            Ok(Played { told, text }) => {
                Ok(json!({"command": command_line(decision, case), "text": text, "told": told}))
            }
            Err(problems) => Err(Unexplained::Bad(problems.iter().map(ToString::to_string).collect())),
        }
    })
}

fn play(decision: &Decision, flags: &Flags) -> Result<Played, Vec<Problem>> {
    let mut problems = Vec::new();
    let settings = resolve(decision.case, &Sources { flags, ..Sources::default() }, &mut problems);
    // Even so: what is wrong is told together.
    let played = (decision.play)(&settings, &mut problems);
    played.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The keys of a JSON object as if they were flags.
fn flags(decision: &Decision, case: &Map<String, Value>) -> Result<Flags, Vec<String>> {
    let (mut flags, mut wrong) = (Flags::default(), Vec::new());
    for (name, value) in case {
        let Some(key) = decision.case.key(name) else {
            wrong.push(format!("{name}: there is no such key"));
            continue;
        };
        match texts(value) {
            Some(values) => flags.set(key.name, format!("--{}", decision.case.flag(key.name)), values),
            None => wrong.push(format!("{name}: give a text, a number, true, false, or a list of texts")),
        }
    }
    let missing = decision.needs.iter().filter(|key| !case.contains_key(**key));
    wrong.extend(missing.map(|key| format!("{key}: is needed")));
    if wrong.is_empty() { Ok(flags) } else { Err(wrong) }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => Some(vec![text(value)?]),
    }
}

/// What to type to have the same told by a terminal.
fn command_line(decision: &Decision, case: &Map<String, Value>) -> String {
    let mut line = format!("mainstay explain {}", decision.case.name);
    for key in decision.case.keys {
        for value in case.get(key.name).and_then(texts).unwrap_or_default() {
            // A switch takes its value with a `=` only, and others may.
            line.push_str(&format!(" --{}={}", decision.case.flag(key.name), quoted(&value)));
        }
    }
    line
}

/// As a shell reads one word.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:/@%+=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(what: &str, case: &Value) -> Result<Value, Unexplained> {
        for_admin()(what, case.as_object().unwrap())
    }

    #[test]
    fn the_api_tells_what_the_command_line_does() {
        let played = told("verdict", &json!({"votes": "V,V,I@5ms", "majority": 0.5})).unwrap();
        assert_eq!(played["told"]["verdict"], "SYNCING");
        assert_eq!(played["command"], "mainstay explain verdict --votes=V,V,I@5ms --majority=0.5");
        assert!(played["text"].as_str().unwrap().contains("answer: SYNCING after 5 ms"));
        let played = told("lanes", &json!({"arrivals": "L,H,F", "fast_track_drain_first": true})).unwrap();
        assert_eq!(
            played["command"],
            "mainstay explain lanes --arrivals=L,H,F --fast-track-drain-first=true"
        );
        let played = told("check", &json!({"expect": "body == 'it''s'", "body": "x y", "headers": ["a: b"]}));
        assert!(played.is_err());
        let played =
            told("check", &json!({"expect": "status == 200 && body == 'x y'", "body": "x y"})).unwrap();
        assert_eq!(
            played["command"],
            r"mainstay explain check --expect='status == 200 && body == '\''x y'\''' --body='x y'"
        );
        assert_eq!(played["told"]["met"], true);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_key() {
        let bad = |what, case: Value| match told(what, &case).unwrap_err() {
            Unexplained::Bad(problems) => problems.join("; "),
            Unexplained::Unknown(known) => known,
        };
        assert_eq!(bad("weather", json!({})), "weather is nothing that is decided: verdict, lanes, check");
        assert_eq!(bad("verdict", json!({"vote": "V"})), "vote: there is no such key; votes: is needed");
        assert_eq!(
            bad("verdict", json!({"votes": {"el1": "V"}})),
            "votes: give a text, a number, true, false, or a list of texts"
        );
        assert_eq!(
            bad("verdict", json!({"votes": "V", "majority": 2})),
            "--majority: 2 is not between 0 and 1"
        );
    }
}

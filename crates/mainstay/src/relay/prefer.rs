//! `mainstay relay prefer`: a planned switch.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use mainstay_relay::SECTION;
use serde_json::Value;
use url::Url;

use crate::plan::Environment;
use crate::status;

/// Its command line.
pub(super) fn subcommand() -> Command {
    status::changing(
        Command::new("prefer")
            .about("Prefer a node of a running relay to the others, from the next round on")
            .after_help(
                "Of a round's first blocks the others' wait rank_hold for the preferred node's one, and who has the first slot in which nodes differ has the \
                 round. It holds until another one is preferred, --none, or a restart; for good, set ranks in [[relay.node]].\n\n\
                 Exit status: 0 if it is done, 1 if it was refused, 2 if nobody answers.",
            )
            .arg(
                Arg::new("node")
                    .value_name("NODE")
                    .required_unless_present("none")
                    .conflicts_with("none")
                    .help("The node's name, as `mainstay status` tells it"),
            )
            .arg(Arg::new("none").long("none").action(ArgAction::SetTrue).help("None: ranks are as the settings have them"))
            .arg(Arg::new("relay").long("relay").value_name("NAME").help("Which relay, where several run [default: the only one]"))
    )
}

/// Runs it.
pub(super) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let (address, token) = match status::whom(matches, environment) {
        Ok(whom) => whom,
        Err(status) => return status,
    };
    let roles = status::waited(status::call(&address, Method::GET, "/api/v1/roles", None));
    let roles = match roles {
        Ok(roles) => roles,
        Err(why) => return status::nobody(&address, &why),
    };
    let node = matches.get_one::<String>("node").map(String::as_str);
    let done = relay(&roles, matches.get_one::<String>("relay").map(String::as_str))
        .and_then(|relay| path(&relay, node))
        .and_then(|path| status::waited(status::call(&address, Method::POST, &path, token.as_deref())));
    match done {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Which relay is meant.
fn relay(roles: &Value, chosen: Option<&str>) -> Result<String, String> {
    let all = roles["roles"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<&str> = all
        .iter()
        .filter(|role| role["role"] == SECTION.name)
        .filter_map(|role| role["name"].as_str())
        .collect();
    match (chosen, names.as_slice()) {
        (_, []) => Err("no relay runs there".to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (Some(chosen), names) if names.contains(&chosen) => Ok(chosen.to_owned()),
        (_, names) => {
            Err(format!("several relays run there, or another one: --relay is one of {}", names.join(", ")))
        }
    }
}

/// Names are an operator's, and may hold anything.
fn path(relay: &str, node: Option<&str>) -> Result<String, String> {
    let mut url = Url::parse("http://localhost/api/v1").map_err(|why| why.to_string())?;
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.extend([SECTION.name, relay]);
        match node {
            Some(node) => parts.extend(["nodes", node, "prefer"]),
            None => parts.push("unprefer"),
        };
    }
    Ok(url.path().to_owned())
}

//! `mainstay reload`: asks a running mainstay to read its settings anew, and tells what came of it.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::plan::Environment;
use crate::show::print;
use crate::status;

const PATH: &str = "/api/v1/reload";

/// Its command line.
pub(crate) fn subcommand() -> Command {
    status::changing(
        Command::new("reload")
            .about("Have a running mainstay read its config file anew, check it whole, and carry out what differs")
            .after_help(
                "As SIGHUP does (`systemctl reload mainstay`). Connections stay. If anything in the file is wrong, or needs a restart, nothing changes.\n\n\
                 Exit status: 0 if the file holds now, 1 if it was refused, 2 if nobody answers.",
            )
    )
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let (address, token) = match status::whom(matches, environment) {
        Ok(whom) => whom,
        Err(status) => return status,
    };
    let reply = match status::waited(status::exchange(&address, false, Method::POST, PATH, token.as_deref()))
    {
        Ok(reply) => reply,
        Err(why) => return status::nobody(&address, &why),
    };
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.status == StatusCode::OK {
        return print(&done(&answer));
    }
    let told = answer["error"]["message"].as_str();
    let told = told.map_or_else(|| format!("HTTP {}", reply.status.as_u16()), str::to_owned);
    for line in told.lines() {
        eprintln!("error: {line}");
    }
    eprintln!("nothing has changed");
    ExitCode::FAILURE
}

fn done(answer: &Value) -> String {
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        return "reloaded, nothing differs\n".to_owned();
    }
    let text = |change: &Value| format!("{}\n", change["text"].as_str().unwrap_or_default());
    changes.iter().map(text).collect()
}

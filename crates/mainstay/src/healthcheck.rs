//! `mainstay healthcheck`: the question of a container's HEALTHCHECK, answered by the exit status. An image from scratch has no
//! other program that could ask.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::plan::Environment;
use crate::run::refuse;
use crate::status;

/// Its command line.
pub(crate) fn subcommand() -> Command {
    status::asking(
        Command::new("healthcheck")
            .about("Ask a running mainstay whether it is alive, for a container's HEALTHCHECK")
            .after_help(
                "Alive says nothing of nodes: a restart of mainstay mends none. With --ready it is also 1 while mainstay starts or stops, \
                 or a role is down.\n\nExit status: 0 or 1; 2 if the configuration is wrong.",
            )
            .arg(
                Arg::new("ready")
                    .long("ready")
                    .action(ArgAction::SetTrue)
                    .help("Whether it may be sent clients, not only whether it is alive"),
            ),
    )
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let address = match status::address(matches, environment) {
        Ok(address) => address,
        Err(problems) => return refuse(&problems),
    };
    let path = if matches.get_flag("ready") { "/readyz" } else { "/livez" };
    match status::waited(status::exchange(&address, true, http::Method::GET, path, None)) {
        Ok(reply) if reply.status == http::StatusCode::OK => ExitCode::SUCCESS,
        Ok(reply) => {
            eprintln!("{path}: {}", String::from_utf8_lossy(&reply.body).trim());
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("{path} of {address}: {why}");
            ExitCode::FAILURE
        }
    }
}

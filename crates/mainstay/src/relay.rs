//! `mainstay relay`: what there is for Antelope nodes.

mod inspect;
mod replay;
mod tunnel;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::plan::Environment;

/// Its command line.
pub(crate) fn subcommand() -> Command {
    Command::new("relay")
        .about("Look at what Antelope nodes (EOSIO, Leap, Spring) tell each other, and at what a relay makes of it; carry a node's connections to its relay")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(inspect::subcommand())
        .subcommand(replay::subcommand())
        .subcommand(tunnel::subcommand())
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    match matches.subcommand() {
        Some(("replay", inner)) => replay::command(inner),
        Some(("tunnel", inner)) => tunnel::command(inner, environment),
        Some((_, inner)) => inspect::command(inner),
        None => ExitCode::from(crate::WRONG_CONFIG),
    }
}

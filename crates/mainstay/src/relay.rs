//! `mainstay relay`: what there is for Antelope nodes.

mod inspect;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// Its command line.
pub(crate) fn subcommand() -> Command {
    Command::new("relay")
        .about("Look at what Antelope nodes (EOSIO, Leap, Spring) tell each other")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(inspect::subcommand())
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some((_, inner)) => inspect::command(inner),
        None => ExitCode::from(crate::WRONG_CONFIG),
    }
}

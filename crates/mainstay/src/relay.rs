//! `mainstay relay`: what there is for Antelope nodes.

mod inspect;
mod replay;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// Its command line.
pub(crate) fn subcommand() -> Command {
    Command::new("relay")
        .about("Look at what Antelope nodes (EOSIO, Leap, Spring) tell each other, and at what a relay makes of it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(inspect::subcommand())
        .subcommand(replay::subcommand())
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("replay", inner)) => replay::command(inner),
        Some((_, inner)) => inspect::command(inner),
        None => ExitCode::from(crate::WRONG_CONFIG),
    }
}

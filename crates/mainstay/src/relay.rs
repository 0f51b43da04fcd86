//! `mainstay relay`: the role, and what else there is for Antelope nodes.

mod inspect;
mod prefer;
mod replay;
mod tunnel;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::plan::Environment;
use crate::{roles, run};

/// What the role's command does besides running the role.
pub(crate) fn subcommands(command: Command) -> Command {
    command
        .args_conflicts_with_subcommands(true)
        .subcommand_help_heading("Instead of running it")
        .subcommand(inspect::subcommand())
        .subcommand(replay::subcommand())
        .subcommand(prefer::subcommand())
        .subcommand(tunnel::subcommand())
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    match matches.subcommand() {
        Some(("inspect", inner)) => inspect::command(inner),
        Some(("prefer", inner)) => prefer::command(inner, environment),
        Some(("replay", inner)) => replay::command(inner),
        Some(("tunnel", inner)) => tunnel::command(inner, environment),
        _ => run::command(roles::kind("relay"), matches, environment),
    }
}

//! `mainstay explain`: what mainstay would do, and why, by its own decisions and without a node.

mod verdict;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// Its command line.
pub(crate) fn subcommand() -> Command {
    Command::new("explain")
        .about("Say what mainstay would do, and why: its decisions put to a case that you think up")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(verdict::subcommand())
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some((_, matches)) => verdict::command(matches),
        None => ExitCode::from(crate::WRONG_CONFIG),
    }
}

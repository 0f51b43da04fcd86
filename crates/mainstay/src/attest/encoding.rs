//! `mainstay attest encode`: measurements of a node, for its URI.

use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use mainstay_attest::measurements::encode;

use super::content;
use crate::show::print;

pub(super) fn subcommand() -> Command {
    Command::new("encode")
        .about("Make the user part of a node's URI from its measurements")
        .after_help(
            "FILE is JSON, either of PCRs as prio-load-balancer takes them, {\"4\": {\"expected\": \"<64 hex digits>\", \"warnOnly\": false}, \"9\": \"<64 hex \
             digits>\", …}, which gives SEV_…, or a measurements file of Flashbots, which gives TDX_….\n\n\
             Add the node as https://$(mainstay attest encode FILE)@host:port",
        )
        .arg(Arg::new("file").value_name("FILE").required(true).help("The measurements"))
}

pub(super) fn command(matches: &ArgMatches) -> ExitCode {
    let path = matches.get_one::<String>("file").map(String::as_str).unwrap_or_default();
    let encoded =
        content(Path::new(path)).and_then(|json| encode(&json).map_err(|why| format!("{path}: {why}")));
    match encoded {
        Ok(user) => print(&format!("{user}\n")),
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(crate::WRONG_CONFIG)
        }
    }
}

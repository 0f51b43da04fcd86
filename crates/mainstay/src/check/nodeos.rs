//! `mainstay check --nodeos`: does a node's config.ini suit a relay.

use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_relay::nodeos::{Around, As, Ini, Weight, check};

use crate::WRONG_CONFIG;

/// Longer files are something else.
const LONGEST: u64 = 1024 * 1024;

/// Its flags; none of them has anything to do with a configuration of mainstay.
pub(super) fn args(command: Command) -> Command {
    let flag = |name: &'static str, value: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help_heading("A node of a relay, in place of a configuration")
    };
    command
        .arg(
            flag("nodeos", "CONFIG.INI")
                .requires("as")
                .help("Say what a relay needs of this node's settings, and what is wrong with them"),
        )
        .arg(flag("as", "ROLE").value_parser(["inner", "outer", "sentry"]).requires("nodeos").help(
            "What the node is: it produces; the relay connects to it; it stands before the public network",
        ))
        .arg(
            flag("legs", "NUMBER")
                .value_parser(clap::value_parser!(u32).range(1..=1000))
                .default_value("2")
                .requires("nodeos")
                .help("How many inner nodes there are, all of whose legs one outer node may get"),
        )
        .arg(
            flag("relay", "HOST:PORT")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .requires("nodeos")
                .help("The relays or tunnels that an inner node is to connect to; without it any will do"),
        )
}

/// The file, if there is one to check.
pub(super) fn asked(matches: &ArgMatches) -> Option<&str> {
    matches.get_one::<String>("nodeos").map(String::as_str)
}

/// Status 1 if something is wrong, 2 if the file can't be read.
pub(super) fn command(file: &str, matches: &ArgMatches) -> ExitCode {
    let ini = match read(file) {
        Ok(ini) => ini,
        Err(why) => {
            eprintln!("error: {file}:{why}");
            return ExitCode::from(WRONG_CONFIG);
        }
    };
    let name = matches.get_one::<String>("as").map_or("", String::as_str);
    let node = match name {
        "inner" => As::Inner,
        "outer" => As::Outer,
        _ => As::Sentry,
    };
    let around = Around {
        legs: matches.get_one("legs").copied().unwrap_or(1),
        relays: matches.get_many("relay").unwrap_or_default().cloned().collect(),
    };
    let findings = check(&ini, node, &around);
    for finding in &findings {
        let word = match finding.weight {
            Weight::Wrong => "wrong",
            Weight::Advice => "advice",
        };
        let space = if finding.line.is_some() { "" } else { " " };
        println!("{word}: {file}:{space}{finding}");
    }
    if findings.iter().any(|finding| finding.weight == Weight::Wrong) {
        return ExitCode::FAILURE;
    }
    println!("ok: {file} as {name}");
    ExitCode::SUCCESS
}

fn read(file: &str) -> Result<Ini, String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|opened| opened.take(LONGEST + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > LONGEST => Err(" longer than 1 MiB, is it a config.ini?".to_owned()),
        Ok(_) => Ini::parse(&text).map_err(|why| why.to_string()),
        Err(why) => Err(format!(" cannot be read: {why}")),
    }
}

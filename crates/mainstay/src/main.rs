//! mainstay keeps blockchain nodes dependable for whoever depends on them.
//!
//! This crate is the only one that sees every other: it reads the command line ([`cli`]; [`dropin`] for those of programs
//! whose place it takes), takes the configuration together ([`plan`]), and composes roles ([`roles`]) into one process
//! ([`run`], [`process`]). Nothing is bound before the whole configuration holds, and nothing serves before every
//! port is bound.

mod admin;
mod ask;
mod attest;
mod bound;
mod certificates;
mod check;
mod cli;
mod completions;
mod dev;
mod doctor;
mod dropin;
mod evidence;
mod explain;
mod handover;
mod healthcheck;
mod listeners;
mod logging;
mod man;
mod pages;
mod plan;
mod probe;
mod process;
mod relay;
mod reload;
mod roles;
mod roster;
mod run;
mod sections;
mod shared;
mod show;
mod status;
mod supervisor;
mod vitals;

use std::process::ExitCode;

use crate::plan::Environment;

/// musl's own allocator is slow, and slower still with several threads. glibc's costs a small call no more than this one and
/// holds half of what this one does after a burst of large payloads, so it stays.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status of a wrong configuration or command line, and of a port that is taken.
const WRONG_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let arguments = dropin::arguments(std::env::args_os().collect());
    let matches = match cli::command(arguments.name).try_get_matches_from(arguments.all) {
        Ok(matches) => matches,
        Err(told) => {
            // `--help` and `--version` come this way too: to stdout, with status 0.
            let _ = told.print();
            return ExitCode::from(if told.use_stderr() { WRONG_CONFIG } else { 0 });
        }
    };
    let environment = Environment::of_process();
    match matches.subcommand() {
        Some(("run", matches)) => run::command(None, matches, &environment),
        Some(("check", matches)) => check::command(matches, &environment),
        Some(("config", matches)) => show::config(matches, &environment),
        Some(("dev", matches)) => dev::command(matches, &environment),
        Some(("evidence", matches)) => evidence::command(matches, &environment),
        Some(("attest", matches)) => attest::command(matches, &environment),
        Some(("relay", matches)) => relay::command(matches, &environment),
        Some(("explain", matches)) => explain::command(matches),
        Some(("status", matches)) => status::command(matches, &environment),
        Some(("reload", matches)) => reload::command(matches, &environment),
        Some(("healthcheck", matches)) => healthcheck::command(matches, &environment),
        Some(("doctor", matches)) => doctor::command(matches, &environment),
        Some(("schema", _)) => show::schema(),
        Some(("completions", matches)) => completions::command(matches),
        Some(("man", matches)) => man::command(matches),
        Some((name, matches)) => run::command(roles::kind(name), matches, &environment),
        None => ExitCode::from(WRONG_CONFIG),
    }
}

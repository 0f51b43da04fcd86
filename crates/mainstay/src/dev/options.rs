//! The flags of `mainstay dev`. It takes nothing from a file or from variables but the log's: a network to play with
//! must not depend on what is set for a real one.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use mainstay_engine::SECTION as ENGINE;
use mainstay_settings::{Flags, Key, Kind, Origin, Problem, Section, Settings, Sources, resolve};

use crate::cli;
use crate::logging::{self, LogConfig};
use crate::plan::Environment;
use crate::sections::LOG;

/// A slot has to hold four calls; a longer one is no fun to watch.
const SLOTS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

static DEV: Section = Section::role(
    "dev",
    "A simulated network on loopback",
    &[
        Key::new("nodes", Kind::Integer { min: 1, max: 16 }, "Simulated execution clients: el1, el2, …")
            .default("3"),
        Key::new("slot", Kind::Duration, "Length of a slot, from 200ms to 60s").default("2s"),
        Key::new("slots", Kind::Integer { min: 1, max: i64::MAX }, "End after so many slots"),
        Key::new("listen", Kind::Address, "Where the engine listens; another port if this one is taken")
            .default("127.0.0.1:7000"),
        Key::new("admin_listen", Kind::Address, "Where health, metrics and the API are; likewise")
            .default("127.0.0.1:7700"),
        Key::new("control", Kind::Address, "Where simulated nodes are broken by HTTP; likewise")
            .default("127.0.0.1:7701"),
    ],
);

/// Settings of the engine that are worth playing with; the rest is what makes the network.
const PLAYED_WITH: [&str; 12] = [
    "majority",
    "min_votes",
    "on_dissent",
    "on_shortfall",
    "quarantine_after",
    "straggler_wait",
    "timeout",
    "max_lag",
    "rise",
    "fall",
    "probe_interval",
    "failback_after",
];

/// What the flags come to.
pub(super) struct Options {
    pub(super) nodes: u32,
    pub(super) slot: Duration,
    pub(super) slots: Option<u64>,
    /// Of the engine, of those that it lets through.
    pub(super) engine: Flags,
    pub(super) log: Option<LogConfig>,
    settings: Settings,
}

impl Options {
    /// Reads the flags, or says everything that is wrong with them.
    pub(super) fn read(matches: &ArgMatches, environment: &Environment) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let flags = cli::flags(&DEV, matches);
        let sources = Sources { flags: &flags, ..Sources::default() };
        let settings = resolve(&DEV, &sources, &mut problems);
        let slot = settings.duration("slot").unwrap_or_default();
        if slot < SLOTS.0 || slot > SLOTS.1 {
            problems.push(settings.problem("slot", "expected a duration from 200ms to 60s"));
        }
        for key in ["listen", "admin_listen", "control"] {
            if settings.address(key).is_some_and(|address| !address.ip().is_loopback()) {
                problems.push(settings.problem(key, "a simulated network stays on loopback: give 127.0.0.1"));
            }
        }
        let count = |key: &str| settings.integer(key).and_then(|count| u64::try_from(count).ok());
        let options = Self {
            nodes: count("nodes").and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
            slot,
            slots: count("slots"),
            engine: cli::flags(&ENGINE, matches),
            log: log(matches, environment, &mut problems),
            settings,
        };
        if problems.is_empty() { Ok(options) } else { Err(problems) }
    }

    /// Where `key` (`listen`, `admin_listen`, `control`) wants to listen, and whether another port would do.
    pub(super) fn wish(&self, key: &str) -> (SocketAddr, bool) {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let any_port = *self.settings.origin(key) == Origin::Default;
        (self.settings.address(key).unwrap_or(anywhere), any_port)
    }

    /// A problem with the value of `key`.
    pub(super) fn problem(&self, key: &str, what: String) -> Problem {
        self.settings.problem(key, what)
    }
}

/// The lines of the slots are what one wants to see; of the log only what is out of the ordinary.
const LOG_LEVEL: &str = "warn";

fn log(matches: &ArgMatches, environment: &Environment, problems: &mut Vec<Problem>) -> Option<LogConfig> {
    let mut flags = cli::flags(&LOG, matches);
    let read = |flags: &Flags, problems: &mut Vec<Problem>| {
        let sources = Sources {
            file: None,
            variables: Some(&environment.variables),
            fallbacks: &[("level", logging::RUST_LOG)],
            flags,
        };
        resolve(&LOG, &sources, problems)
    };
    if !read(&flags, &mut Vec::new()).is_set("level") {
        flags.set("level", "--log-level", vec![LOG_LEVEL.to_owned()]);
    }
    read(&flags, problems).validate(problems, logging::configure)
}

fn log_arg(key: &Key) -> Arg {
    let key = if key.name == "level" { key.default(LOG_LEVEL) } else { *key };
    cli::key_arg(&LOG, &key).help_heading("Process")
}

/// Its command line.
pub(crate) fn subcommand() -> Command {
    let engine: Vec<Arg> = ENGINE
        .keys
        .iter()
        .filter(|key| PLAYED_WITH.contains(&key.name))
        .map(|key| cli::flag_only(&ENGINE, key).help_heading("Engine"))
        .collect();
    Command::new("dev")
        .about("Run a simulated network on loopback with the engine in its midst: break nodes and watch")
        .args(DEV.keys.iter().map(|key| cli::flag_only(&DEV, key)))
        .args(engine)
        .args(LOG.keys.iter().map(log_arg))
        .after_help("While it runs, `help` typed at the terminal says how to break nodes, `quit` ends it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_has_what_is_let_through() {
        for name in PLAYED_WITH {
            assert!(ENGINE.key(name).is_some(), "{name}");
            assert!(DEV.key(name).is_none(), "{name} would mean two things");
        }
    }
}

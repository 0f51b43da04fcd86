//! ExecutionBackup's command line: called under its name the binary is `mainstay engine`, and its flags
//! mean what they mean there.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches};
use mainstay_settings::{Flags, Origin, Problem};

/// The name under which the binary is the engine role alone.
const EXECUTIONBACKUP: &str = "executionbackup";

/// Flags that a role takes for the sake of another program.
#[derive(Clone, Copy)]
pub(crate) enum Extra {
    /// `--port` and `--listen-addr` for the two parts of `listen`.
    PortAndAddress {
        /// The port if only the address is given.
        port: u16,
    },
    /// Another name (and a letter) for the flag of a key.
    Alias { key: &'static str, flag: &'static str, short: char },
    /// Accepted, and told to do nothing.
    Idle { flag: &'static str },
}

/// The command line as clap shall see it.
pub(crate) struct Arguments {
    /// What usage messages call the program.
    pub(crate) name: &'static str,
    pub(crate) all: Vec<OsString>,
}

/// Puts `engine` in for the program's name `executionbackup` (a link or a copy).
pub(crate) fn arguments(mut all: Vec<OsString>) -> Arguments {
    let called = all
        .first()
        .and_then(|first| Path::new(first).file_name())
        .map(|name| name.to_string_lossy().into_owned());
    if called.as_deref() != Some(EXECUTIONBACKUP) {
        return Arguments { name: "mainstay", all };
    }
    // Usage messages say what it is then: `mainstay engine`.
    all[0] = "mainstay".into();
    all.insert(1, "engine".into());
    Arguments { name: "mainstay", all }
}

/// The arguments that `extra` adds to a role's subcommand.
pub(crate) fn arg(extra: &Extra) -> Vec<Arg> {
    let heading = "ExecutionBackup's flags";
    match *extra {
        Extra::PortAndAddress { port } => vec![
            Arg::new("port")
                .long("port")
                .short('p')
                .value_name("PORT")
                .help_heading(heading)
                .help(format!("Port of --listen [default: {port}]")),
            Arg::new("listen-addr")
                .long("listen-addr")
                .short('a')
                .value_name("IP")
                .help_heading(heading)
                .help("Address of --listen [default: 127.0.0.1]"),
        ],
        Extra::Alias { .. } => Vec::new(),
        Extra::Idle { flag } => vec![
            Arg::new(flag)
                .long(flag)
                .action(ArgAction::SetTrue)
                .help_heading(heading)
                .help("Accepted, does nothing"),
        ],
    }
}

/// Takes what the extra flags say into `flags`; what shall be said on stderr goes to `warnings`.
pub(crate) fn apply(
    extra: &[Extra],
    matches: &ArgMatches,
    flags: &mut Flags,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) {
    for extra in extra {
        match *extra {
            Extra::PortAndAddress { port } => listen(port, matches, flags, problems),
            Extra::Alias { .. } => {}
            Extra::Idle { flag } => {
                if matches.get_flag(flag) {
                    warnings.push(format!(
                        "--{flag} does nothing: mainstay works on every network without being told which"
                    ));
                }
            }
        }
    }
}

fn listen(default_port: u16, matches: &ArgMatches, flags: &mut Flags, problems: &mut Vec<Problem>) {
    let port = matches.get_one::<String>("port");
    let address = matches.get_one::<String>("listen-addr");
    let Some(flag) = port.map(|_| "--port").or(address.map(|_| "--listen-addr")) else {
        return;
    };
    let mut problem = |flag: &str, what: String| {
        problems.push(Problem { origin: Origin::Flag(flag.to_owned()), key: "listen".to_owned(), what });
    };
    if flags.has("listen") {
        problem(flag, "says what --listen says too, give either".to_owned());
        return;
    }
    let port = match port.map(|text| text.trim().parse::<u16>()) {
        None => Some(default_port),
        Some(Ok(port)) => Some(port),
        Some(Err(_)) => {
            problem("--port", "expected a port from 0 to 65535, for example 7000".to_owned());
            None
        }
    };
    let address = match address.map(|text| text.trim().parse::<IpAddr>()) {
        None => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(Ok(address)) => Some(address),
        Some(Err(_)) => {
            problem(
                "--listen-addr",
                "expected an IP address, for example 127.0.0.1 (a host name does not say which)".to_owned(),
            );
            None
        }
    };
    if let (Some(port), Some(address)) = (port, address) {
        flags.set("listen", flag, vec![SocketAddr::new(address, port).to_string()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_is_the_engine() {
        let called = |name: &str| arguments(vec![name.into(), "--port".into(), "1".into()]).all;
        assert_eq!(called("/usr/bin/executionbackup")[..2], ["mainstay", "engine"]);
        assert_eq!(called("executionbackup")[1..], ["engine", "--port", "1"]);
        assert_eq!(called("./mainstay")[1..], ["--port", "1"]);
        assert!(arguments(Vec::new()).all.is_empty());
    }
}

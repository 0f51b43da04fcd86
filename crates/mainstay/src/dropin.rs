//! The command lines of the programs that mainstay stands in for: called under such a name the binary is the role, and
//! flags (for [`prio`] and [`sync_proxy`] variables too) mean what they mean there.

mod go;
pub(crate) mod mock_node;
pub(crate) mod prio;
pub(crate) mod sync_proxy;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches};
use mainstay_settings::{Flags, Origin, Problem, Section, Variables};

use crate::cli;
use crate::sections::{ADMIN, LOG};

/// Names under which the binary is one role alone, and what then stands before the arguments.
const STAND_INS: [(&str, &[&str]); 3] = [
    ("executionbackup", &["engine"]),
    (prio::NAME, &["rpc", STAND_IN]),
    (sync_proxy::NAME, &["sync", STAND_IN]),
];

/// What says to a role that the binary was called by such a name.
const STAND_IN: &str = "--stand-in";
const STAND_IN_ID: &str = "stand-in";

fn stand_in_arg() -> Arg {
    Arg::new(STAND_IN_ID).long(STAND_IN_ID).action(ArgAction::SetTrue).hide(true)
}

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
    /// All of prio-load-balancer's flags and variables.
    PrioLoadBalancer,
    /// All of sync-proxy's flags and variables.
    SyncProxy,
}

/// What a role alone is configured from, beside the file.
pub(crate) struct Given {
    /// The role's flags.
    pub(crate) flags: Flags,
    /// The flags of `[log]`.
    pub(crate) log: Flags,
    /// The flags of `[admin]`.
    pub(crate) admin: Flags,
    pub(crate) variables: Variables,
    /// Another program's variables, as (key, variable), where the key's own is not set.
    pub(crate) fallbacks: Vec<(&'static str, &'static str)>,
    /// The same for `[log]`.
    pub(crate) log_fallbacks: Vec<(&'static str, &'static str)>,
    /// The same for `[admin]`.
    pub(crate) admin_fallbacks: Vec<(&'static str, &'static str)>,
    /// Another program's defaults, in the form of `fallbacks`, for keys that nothing else sets.
    pub(crate) defaults: Vec<(&'static str, &'static str)>,
    /// The same for `[log]`.
    pub(crate) log_defaults: Vec<(&'static str, &'static str)>,
    /// A mock node shall run in this process.
    pub(crate) mock_node: bool,
    /// The binary was called under another program's name.
    pub(crate) stand_in: bool,
    /// To be told on stderr.
    pub(crate) warnings: Vec<String>,
}

impl Given {
    /// What flags of ours say.
    pub(crate) fn new(section: Option<&Section>, matches: &ArgMatches, variables: Variables) -> Self {
        Self {
            flags: section.map(|section| cli::flags(section, matches)).unwrap_or_default(),
            log: cli::flags(&LOG, matches),
            admin: cli::flags(&ADMIN, matches),
            variables,
            fallbacks: Vec::new(),
            log_fallbacks: Vec::new(),
            admin_fallbacks: Vec::new(),
            defaults: Vec::new(),
            log_defaults: Vec::new(),
            mock_node: false,
            stand_in: false,
            warnings: Vec::new(),
        }
    }
}

/// The command line as clap shall see it.
pub(crate) struct Arguments {
    /// What usage messages call the program.
    pub(crate) name: &'static str,
    pub(crate) all: Vec<OsString>,
}

/// Puts the role in for the name of a program that it stands in for (a link or a copy), and gives long flags with a single
/// dash the second one where that program has such.
pub(crate) fn arguments(mut all: Vec<OsString>) -> Arguments {
    let called = all
        .first()
        .and_then(|first| Path::new(first).file_name())
        .map(|name| name.to_string_lossy().into_owned());
    let stand_in = STAND_INS.iter().find(|(name, _)| called.as_deref() == Some(*name));
    if let Some((_, before)) = stand_in {
        // Usage messages say what it is then: `mainstay engine`.
        all.splice(..1, ["mainstay"].iter().chain(*before).map(OsString::from));
    }
    go::double_dashes(&mut all, "rpc", &prio::FLAGS);
    go::double_dashes(&mut all, "sync", &sync_proxy::FLAGS);
    Arguments { name: "mainstay", all }
}

/// Whether the environment's variable `name` is another program's that a role understands.
pub(crate) fn is_known_variable(name: &str) -> bool {
    prio::is_known_variable(name) || sync_proxy::is_known_variable(name)
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
        Extra::PrioLoadBalancer => prio::args(),
        Extra::SyncProxy => sync_proxy::args(),
    }
}

/// Takes what the extra flags and variables say into `given`.
pub(crate) fn apply(extra: &[Extra], matches: &ArgMatches, given: &mut Given, problems: &mut Vec<Problem>) {
    for extra in extra {
        match *extra {
            Extra::PortAndAddress { port } => listen(port, matches, &mut given.flags, problems),
            Extra::Alias { .. } => {}
            Extra::Idle { flag } => {
                if matches.get_flag(flag) {
                    given.warnings.push(format!(
                        "--{flag} does nothing: mainstay works on every network without being told which"
                    ));
                }
            }
            Extra::PrioLoadBalancer => prio::apply(matches, given, problems),
            Extra::SyncProxy => sync_proxy::apply(matches, given, problems),
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

    #[test]
    fn sync_proxys_name_is_sync_and_its_flags_have_one_dash() {
        let seen = |all: &[&str]| {
            let all = arguments(all.iter().map(OsString::from).collect()).all;
            all.iter().map(|one| one.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            seen(&["/bin/sync-proxy", "-builders", "a,b", "-addr=:1", "-json", "-jsn", "-h"]),
            "mainstay sync --stand-in --builders a,b --addr=:1 --json --jsn -h"
        );
        assert_eq!(seen(&["mainstay", "sync", "-loglevel", "debug"]), "mainstay sync --loglevel debug");
        assert_eq!(seen(&["mainstay", "config", "sync", "-addr", ":1"]), "mainstay config sync --addr :1");
        assert_eq!(seen(&["mainstay", "sync", "-n", "a", "-l", "info"]), "mainstay sync -n a -l info");
        assert_eq!(seen(&["mainstay", "rpc", "-json"]), "mainstay rpc -json");
    }

    #[test]
    fn prio_load_balancers_name_is_rpc_and_its_flags_have_one_dash() {
        let seen = |all: &[&str]| {
            let all = arguments(all.iter().map(OsString::from).collect()).all;
            all.iter().map(|one| one.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            seen(&["/bin/prio-load-balancer", "-mock-node", "-http=:1", "--redis", "dev", "-help"]),
            "mainstay rpc --stand-in --mock-node --http=:1 --redis dev --help"
        );
        assert_eq!(
            seen(&["prio-load-balancer", "-nods", "-htp=:1", "-h", "-1"]),
            "mainstay rpc --stand-in --nods --htp=:1 -h -1"
        );
        assert_eq!(seen(&["mainstay", "rpc", "-htp", "-h"]), "mainstay rpc --htp -h");
        assert_eq!(seen(&["mainstay", "rpc", "-nodes", "http://a"]), "mainstay rpc --nodes http://a");
        assert_eq!(
            seen(&["mainstay", "check", "--probe", "rpc", "-http", "a"]),
            "mainstay check --probe rpc --http a"
        );
        // Elsewhere, and where it is no name of theirs, a single dash is what it was.
        assert_eq!(seen(&["mainstay", "engine", "-nodes"]), "mainstay engine -nodes");
        assert_eq!(
            seen(&["mainstay", "rpc", "-nhttp://a", "--", "-http"]),
            "mainstay rpc -nhttp://a -- -http"
        );
    }
}

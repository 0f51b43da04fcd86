//! prio-load-balancer's flags and variables, brought into the form of `[rpc]`'s keys.
//!
//! A flag wins over its variable, and both over the config file; a variable of ours (`MAINSTAY_RPC_…`) wins over theirs. What
//! can't be read is told, where prio-load-balancer silently takes the default.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};

use clap::{Arg, ArgAction, ArgMatches};
use mainstay_settings::{Origin, Problem};

use super::Given;
use super::mock_node;
use crate::logging::{LOG_PROD, LOG_PROD_FLAG};

/// The program's name.
pub(super) const NAME: &str = "prio-load-balancer";
/// What stands behind `rpc` when the binary is called by that name.
pub(super) const STAND_IN: &str = "--stand-in";

/// What `-redis` says there for one inside the process: nothing is shared.
pub(crate) const NO_REDIS: &str = "dev";

/// Its flags; in Go one dash is as good as two.
const FLAGS: [&str; 9] =
    ["http", "redis", "nodes", "backends", "node-workers", "mock-node", "log-prod", "log-service", "help"];

/// How a variable's value is written there.
#[derive(Clone, Copy)]
enum Form {
    /// As ours.
    Same,
    /// `host:port`, the host may be a name or missing.
    Listen,
    Seconds,
    Kilobytes,
    /// On if it is 1.
    One,
}

/// (variable, key, form).
const VARIABLES: [(&str, &str, Form); 17] = [
    ("LISTEN_ADDR", "listen", Form::Listen),
    ("REDIS_URI", "redis", Form::Same),
    ("REDIS_PREFIX", "redis_prefix", Form::Same),
    ("NUM_NODE_WORKERS", "node_workers", Form::Same),
    ("RETRIES_MAX", "retries_max", Form::Same),
    ("PAYLOAD_MAX_KB", "payload_max", Form::Kilobytes),
    ("ITEMS_FASTTRACK_MAX", "fast_track_max", Form::Same),
    ("ITEMS_HIGHPRIO_MAX", "high_max", Form::Same),
    ("ITEMS_LOWPRIO_MAX", "low_max", Form::Same),
    ("ITEMS_FASTTRACK_PER_HIGHPRIO", "fast_track_per_high", Form::Same),
    ("FASTTRACK_DRAIN_FIRST", "fast_track_drain_first", Form::One),
    ("REQUEST_TIMEOUT", "request_timeout", Form::Seconds),
    ("REQUEST_PROXY_TIMEOUT", "try_timeout", Form::Seconds),
    ("ProxyMaxIdleConnsPerHost", "node_max_idle", Form::Same),
    ("ProxyIdleConnTimeout", "node_idle_timeout", Form::Seconds),
    ("LOG_SERVICE", "log_service", Form::Same),
    ("ENABLE_ERROR_TEST_API", "error_test_api", Form::One),
];

/// Variables about parts that mainstay has no need of.
const IDLE: [&str; 5] =
    ["JOB_CHAN_BUFFER", "JOB_SEND_TIMEOUT", "ENABLE_PPROF", "ProxyMaxIdleConns", "ProxyMaxConnsPerHost"];

const NODES: &str = "NODES";
const BACKENDS: &str = "BACKENDS";
/// What sets more than the nodes.
const MOCK_NODE: &str = "-mock-node";
/// Where the nodes come from if both are set.
const NODES_AND_BACKENDS: &str = "NODES and BACKENDS";

pub(super) fn is_known_variable(name: &str) -> bool {
    VARIABLES.iter().any(|(variable, ..)| *variable == name)
        || IDLE.contains(&name)
        || [NODES, BACKENDS, LOG_PROD].contains(&name)
}

/// Gives its long flags behind `rpc` their second dash. Called by its name all flags but those of one letter are long: one that is
/// misspelt is told, where `-htp` would be taken for `-h` and `-nods` for nodes called `ods`.
pub(super) fn double_dashes(all: &mut [OsString]) {
    let is = |at: usize, word: &str| all.get(at).is_some_and(|argument| argument == word);
    let first = if is(1, "rpc") {
        2
    } else if is(1, "check") || is(1, "config") {
        all.iter().position(|argument| argument == "rpc").map_or(all.len(), |at| at + 1)
    } else {
        return;
    };
    let stands_in = is(2, STAND_IN);
    for argument in all.iter_mut().skip(first) {
        if argument == "--" {
            return;
        }
        let Some(flag) = argument.to_str().and_then(|text| text.strip_prefix('-')) else { continue };
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        let misspelt = || {
            let is_long = |first: char| if stands_in { first.is_ascii_alphabetic() } else { first == 'h' };
            name.len() > 1 && name.starts_with(is_long)
        };
        if FLAGS.contains(&name) || misspelt() {
            *argument = format!("--{flag}").into();
        }
    }
}

/// The flags that are not keys of ours already.
pub(super) fn args() -> Vec<Arg> {
    let heading = "prio-load-balancer's flags (its variables are understood too)";
    let switch = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .help_heading(heading)
    };
    vec![
        Arg::new("http")
            .long("http")
            .value_name("HOST:PORT")
            .help_heading(heading)
            .help("The same as --listen; a name or nothing (every address) may stand for the IP"),
        Arg::new("backends")
            .long("backends")
            .value_name("TEXT,…")
            .action(ArgAction::Append)
            .help_heading(heading)
            .help("More nodes, after those of --nodes"),
        switch("mock-node")
            .help("Run a node that answers net_version and eth_callBundle on localhost:8095, and use it"),
        switch("log-prod").help("Log lines of JSON in prio-load-balancer's form"),
        Arg::new("stand-in").long("stand-in").action(ArgAction::SetTrue).hide(true),
    ]
}

/// Takes its flags and variables into `given`.
pub(super) fn apply(matches: &ArgMatches, given: &mut Given, problems: &mut Vec<Problem>) {
    let mut told = Told { problems };
    given.stand_in = matches.get_flag("stand-in");
    take_variables(given, &mut told);
    listen(matches, given, &mut told);
    if matches.get_one::<String>("redis").is_some_and(|text| text.trim().is_empty()) {
        given.flags.set("redis", "--redis", vec![NO_REDIS.to_owned()]);
    }
    if matches.get_one::<String>("log_service").is_some_and(|text| text.trim().is_empty()) {
        given.flags.set("log_service", "--log-service", Vec::new());
    }
    given.mock_node = told.switch(matches, "mock-node") == Some(true);
    nodes(matches, given);
    log_prod(matches, given, &mut told);
    if given.stand_in || given.mock_node {
        // Its nodes need to answer net_version, and nothing else of Ethereum.
        given.variables.insert(NAME.to_owned(), "net_version".to_owned());
        given.defaults.push(("health", NAME));
    }
    if given.mock_node {
        given.variables.insert(MOCK_NODE.to_owned(), "true".to_owned());
        given.defaults.push(("error_test_api", MOCK_NODE));
    }
}

struct Told<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Told<'_> {
    fn flag(&mut self, flag: &str, key: &str, what: impl Into<String>) {
        let origin = Origin::Flag(flag.to_owned());
        self.problems.push(Problem { origin, key: key.to_owned(), what: what.into() });
    }

    fn variable(&mut self, name: &str, what: impl Into<String>) {
        let origin = Origin::Variable(name.to_owned());
        self.problems.push(Problem { origin, key: String::new(), what: what.into() });
    }

    /// A boolean flag as Go reads it.
    fn switch(&mut self, matches: &ArgMatches, name: &str) -> Option<bool> {
        match matches.get_one::<String>(name)?.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => {
                self.flag(&format!("--{name}"), name, "expected true or false");
                None
            }
        }
    }
}

/// Brings its variables into our form. One that is set to nothing is not set.
fn take_variables(given: &mut Given, told: &mut Told<'_>) {
    let variables = &mut given.variables;
    variables.retain(|name, value| name.starts_with("MAINSTAY_") || !value.trim().is_empty());
    for (name, key, form) in VARIABLES {
        let Some(value) = variables.get_mut(name) else { continue };
        match translated(form, value.trim()) {
            Ok(text) => {
                *value = text;
                given.fallbacks.push((key, name));
            }
            Err(what) => told.variable(name, what),
        }
    }
    let idle: Vec<&str> = IDLE.into_iter().filter(|name| variables.contains_key(*name)).collect();
    if !idle.is_empty() {
        let does = if idle.len() == 1 { "does" } else { "do" };
        let why = "mainstay has nothing that they would set";
        given.warnings.push(format!("{} {does} nothing: {why}", idle.join(", ")));
    }
}

/// A value of theirs in the form of ours.
fn translated(form: Form, text: &str) -> Result<String, String> {
    let whole = |unit: &str| {
        text.parse::<u64>().map_err(|_| format!("\"{text}\" is not a whole number of {unit}, for example 5"))
    };
    match form {
        Form::Same => Ok(text.to_owned()),
        Form::Listen => address(text),
        Form::Seconds => Ok(format!("{}s", whole("seconds")?)),
        Form::Kilobytes => Ok(format!("{}KiB", whole("kilobytes")?)),
        Form::One => on(text).map(|on| on.to_string()),
    }
}

fn on(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(format!("\"{text}\" is neither 1 (on) nor 0 (off)")),
    }
}

/// `:8080` and `localhost:8080` as an address; of a name the first one, IPv4 before IPv6.
fn address(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    let wrong = || format!("\"{text}\" is not an address with a port, for example localhost:8080 or :8080");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    match host {
        "" => return Ok(format!("0.0.0.0:{port}")),
        "localhost" => return Ok(format!("127.0.0.1:{port}")),
        _ if host.contains([':', '/', ' ']) => return Err(wrong()),
        _ => {}
    }
    let found: Vec<SocketAddr> =
        (host, port).to_socket_addrs().map_err(|why| format!("{host} has no address: {why}"))?.collect();
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.map(SocketAddr::to_string).ok_or_else(|| format!("{host} has no address"))
}

fn listen(matches: &ArgMatches, given: &mut Given, told: &mut Told<'_>) {
    let Some(text) = matches.get_one::<String>("http") else { return };
    if given.flags.has("listen") {
        told.flag("--http", "listen", "says what --listen says too, give either");
        return;
    }
    match address(text) {
        Ok(address) => given.flags.set("listen", "--http", vec![address]),
        Err(what) => told.flag("--http", "listen", what),
    }
}

/// Takes `-nodes` (or NODES) and `-backends` (or BACKENDS) together, and adds the mock node.
fn nodes(matches: &ArgMatches, given: &mut Given) {
    let flag = |name: &str| matches.get_many::<String>(name).map(|values| split(values.map(String::as_str)));
    let variable = |name: &str| given.variables.get(name).map(|value| split(std::iter::once(value.as_str())));
    let (nodes, backends) = (flag("nodes"), flag("backends"));
    let (more, other) = (variable(NODES), variable(BACKENDS));
    if nodes.is_none() && backends.is_none() && !given.mock_node {
        // A variable of ours has the first word, so theirs stay variables.
        match (more, other) {
            (None, None) => {}
            (Some(_), None) => given.fallbacks.push(("nodes", NODES)),
            (None, Some(_)) => given.fallbacks.push(("nodes", BACKENDS)),
            (Some(nodes), Some(backends)) => {
                let all = together(nodes, backends).join(",");
                given.variables.insert(NODES_AND_BACKENDS.to_owned(), all);
                given.fallbacks.push(("nodes", NODES_AND_BACKENDS));
            }
        }
        return;
    }
    let name = match (&nodes, &backends) {
        (Some(_), _) => "--nodes",
        (None, Some(_)) => "--backends",
        (None, None) => "--mock-node",
    };
    let own = variable("MAINSTAY_RPC_NODES").or(more);
    let mut all = nodes.or(own).unwrap_or_default();
    all = together(all, backends.or(other).unwrap_or_default());
    if given.mock_node {
        // First, as there.
        all = together(vec![mock_node::URL.to_owned()], all);
    }
    given.flags.set("nodes", name, all);
}

fn split<'a>(values: impl Iterator<Item = &'a str>) -> Vec<String> {
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Both lists; what is named twice in the same words counts once, as there.
fn together(mut one: Vec<String>, other: Vec<String>) -> Vec<String> {
    for node in other {
        if !one.contains(&node) {
            one.push(node);
        }
    }
    one
}

fn log_prod(matches: &ArgMatches, given: &mut Given, told: &mut Told<'_>) {
    match told.switch(matches, "log-prod") {
        Some(true) if given.log.has("format") => {
            told.flag(LOG_PROD_FLAG, "format", "says what --log-format says too, give either");
        }
        Some(true) => given.log.set("format", LOG_PROD_FLAG, vec!["json".to_owned()]),
        Some(false) => {}
        None => {
            let Some(value) = given.variables.get_mut(LOG_PROD) else { return };
            match on(value.trim()) {
                Ok(true) => {
                    *value = "json".to_owned();
                    given.log_fallbacks.push(("format", LOG_PROD));
                }
                Ok(false) => {}
                Err(what) => told.variable(LOG_PROD, what),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_read_as_go_reads_it() {
        for (text, read) in [
            ("localhost:8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(address(text).unwrap(), read);
        }
        for wrong in ["8080", "localhost", "localhost:http", "http://a:1", ""] {
            assert!(address(wrong).unwrap_err().contains("is not an address with a port"), "{wrong}");
        }
    }

    #[test]
    fn values_get_their_units_and_what_is_no_number_is_told() {
        assert_eq!(translated(Form::Seconds, "7").unwrap(), "7s");
        assert_eq!(translated(Form::Kilobytes, "8192").unwrap(), "8192KiB");
        assert_eq!(translated(Form::One, "1").unwrap(), "true");
        for (form, text) in
            [(Form::Seconds, "7s"), (Form::Seconds, "-1"), (Form::Kilobytes, "1.5"), (Form::One, "yes")]
        {
            assert!(translated(form, text).is_err(), "{text}");
        }
    }
}

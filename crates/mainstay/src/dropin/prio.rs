//! prio-load-balancer's flags and variables, brought into the form of `[rpc]`'s keys.
//!
//! A flag wins over its variable, and both over the config file; a variable of ours (`MAINSTAY_RPC_…`) wins over theirs. What
//! can't be read is told, where prio-load-balancer silently takes the default.

use clap::{Arg, ArgAction, ArgMatches};
use mainstay_settings::Problem;

use super::go::{self, Told};
use super::mock_node;
use super::{Given, STAND_IN_ID, stand_in_arg};
use crate::logging::{LOG_PROD, LOG_PROD_FLAG};

/// The program's name.
pub(super) const NAME: &str = "prio-load-balancer";

/// What `-redis` says there for one inside the process: nothing is shared.
pub(crate) const NO_REDIS: &str = "dev";

/// Its flags.
pub(super) const FLAGS: [&str; 9] =
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

/// The flags that are not keys of ours already.
pub(super) fn args() -> Vec<Arg> {
    let heading = "prio-load-balancer's flags (its variables are understood too)";
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
        go::switch_arg("mock-node")
            .help_heading(heading)
            .help("Run a node that answers net_version and eth_callBundle on localhost:8095, and use it"),
        go::switch_arg("log-prod")
            .help_heading(heading)
            .help("Log lines of JSON in prio-load-balancer's form"),
        stand_in_arg(),
    ]
}

/// Takes its flags and variables into `given`.
pub(super) fn apply(matches: &ArgMatches, given: &mut Given, problems: &mut Vec<Problem>) {
    let mut told = Told { problems };
    given.stand_in = matches.get_flag(STAND_IN_ID);
    take_variables(given, &mut told);
    go::listen(matches, "http", given, &mut told);
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

/// Brings its variables into our form. One that is set to nothing is not set.
fn take_variables(given: &mut Given, told: &mut Told<'_>) {
    go::drop_empty(&mut given.variables);
    let variables = &mut given.variables;
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
    let whole = |unit: &str| go::whole(text, unit, 5);
    match form {
        Form::Same => Ok(text.to_owned()),
        Form::Listen => go::address(text),
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

//! sync-proxy's flags and variables, brought into the form of the keys of `[sync]`, `[log]` and `[admin]`.
//!
//! A flag wins over its variable, and both over the config file; a variable of ours (`MAINSTAY_SYNC_…`) wins over theirs. What
//! can't be read is told, where sync-proxy silently takes the default.

use clap::{Arg, ArgMatches};
use mainstay_settings::{Flags, Problem, Settings};

use super::go::{self, Told};
use super::{Given, STAND_IN_ID, stand_in_arg};
use crate::logging::{JSON_FLAG, LOG_JSON, SYNC_PROXY_FORM};

/// The program's name.
pub(super) const NAME: &str = "sync-proxy";

/// What it says, and ends with status 1, if it is given no builders.
pub(crate) const NO_BUILDERS: &str = "No builder urls specified";

/// Its flags, and those that are announced for it.
pub(super) const FLAGS: [&str; 10] = [
    "addr",
    "builders",
    "proxies",
    "request-timeout",
    "proxy-request-timeout",
    "json",
    "loglevel",
    "mirror-mode",
    "metrics-addr",
    "help",
];

/// `mainstay config` has a `--json` of its own.
const JSON_ID: &str = "log-json";

const ADDRESS: &str = "PROXY_LISTEN_ADDR";
const TIMEOUT: &str = "BUILDER_TIMEOUT_MS";
const LEVEL: &str = "LOG_LEVEL";
const MIRROR_MODE: &str = "MIRROR_MODE";
const METRICS: &str = "METRICS_ADDR";

pub(super) fn is_known_variable(name: &str) -> bool {
    [ADDRESS, TIMEOUT, LOG_JSON, LEVEL, MIRROR_MODE, METRICS].contains(&name)
}

/// The flags that are not keys of ours already.
pub(super) fn args() -> Vec<Arg> {
    let heading = "sync-proxy's flags (its variables are understood too)";
    let with_value = |name: &'static str, value: &'static str| {
        Arg::new(name).long(name).value_name(value).help_heading(heading)
    };
    vec![
        with_value("addr", "HOST:PORT")
            .help("The same as --listen; a name or nothing (every address) may stand for the IP"),
        with_value("builders", "URL,…").help("The same as --nodes; http:// may be left out"),
        go::switch_arg("json")
            .id(JSON_ID)
            .help_heading(heading)
            .help("Log lines of JSON in sync-proxy's form"),
        with_value("loglevel", "LEVEL")
            .help("The same as --log-level; trace, debug, info, warn, warning, error, fatal or panic"),
        with_value("metrics-addr", "HOST:PORT").help(
            "The same as --admin-metrics-listen; a name or nothing (every address) may stand for the IP",
        ),
        stand_in_arg(),
    ]
}

/// Takes its flags and variables into `given`.
pub(super) fn apply(matches: &ArgMatches, given: &mut Given, problems: &mut Vec<Problem>) {
    let mut told = Told { problems };
    given.stand_in = matches.get_flag(STAND_IN_ID);
    go::drop_empty(&mut given.variables);
    take_variables(given, &mut told);
    go::listen(matches, "addr", given, &mut told);
    urls(matches, given, &mut told);
    if let Some(on) = matches.get_one::<String>("mirror_mode").and_then(|text| go::switch(text)) {
        given.flags.set("mirror_mode", "--mirror-mode", vec![on.to_string()]);
    }
    if let Some(text) = matches.get_one::<String>("loglevel")
        && once("--loglevel", "level", "--log-level", &given.log, &mut told)
    {
        given.log.set("level", "--loglevel", vec![level(text)]);
    }
    json(matches, given, &mut told);
    metrics(matches, given, &mut told);
    if given.stand_in {
        given.variables.insert(SYNC_PROXY_FORM.to_owned(), "text".to_owned());
        given.log_defaults.push(("format", SYNC_PROXY_FORM));
    }
}

/// Whether it was given no builders, for which its word and status differ from ours.
pub(crate) fn lacks_builders(settings: &Settings) -> bool {
    settings.section().name == mainstay_sync::SECTION.name && settings.list("nodes").is_empty()
}

/// Whether a key is given by this flag alone, not by one of ours too.
fn once(flag: &str, key: &str, ours: &str, flags: &Flags, told: &mut Told<'_>) -> bool {
    let twice = flags.has(key);
    if twice {
        told.flag(flag, key, format!("says what {ours} says too, give either"));
    }
    !twice
}

/// Brings its variables into our form.
fn take_variables(given: &mut Given, told: &mut Told<'_>) {
    let variables = &mut given.variables;
    let mut take = |name: &str, translate: &dyn Fn(&str) -> Result<String, String>| {
        let Some(value) = variables.get_mut(name) else { return false };
        match translate(value.trim()) {
            Ok(text) => {
                *value = text;
                true
            }
            Err(what) => {
                told.variable(name, what);
                // Nobody reads it a second time.
                variables.remove(name);
                false
            }
        }
    };
    if take(ADDRESS, &go::address) {
        given.fallbacks.push(("listen", ADDRESS));
    }
    if take(TIMEOUT, &millis) {
        given.fallbacks.extend([("request_timeout", TIMEOUT), ("proxy_request_timeout", TIMEOUT)]);
    }
    if take(LEVEL, &|text| Ok(level(text))) {
        given.log_fallbacks.push(("level", LEVEL));
    }
    let on = |text: &str| {
        let read = go::switch(text).ok_or_else(|| format!("\"{text}\" is neither true nor false"));
        read.map(|on| on.to_string())
    };
    if take(MIRROR_MODE, &on) {
        given.fallbacks.push(("mirror_mode", MIRROR_MODE));
    }
    if take(METRICS, &go::address) {
        given.admin_fallbacks.push(("metrics_listen", METRICS));
    }
}

fn millis(text: &str) -> Result<String, String> {
    match go::whole(text, "milliseconds", 2000)? {
        0 => Err("has to be longer than nothing".to_owned()),
        millis => Ok(format!("{millis}ms")),
    }
}

/// Its names of levels as ours.
fn level(text: &str) -> String {
    match text.trim().to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        // Nothing that we log is worse than an error.
        "fatal" | "panic" => "error".to_owned(),
        _ => text.trim().to_owned(),
    }
}

/// Takes `-builders` for the nodes, and gives those and the proxies the scheme that may be left out.
fn urls(matches: &ArgMatches, given: &mut Given, told: &mut Told<'_>) {
    if let Some(text) = matches.get_one::<String>("builders")
        && once("--builders", "nodes", "--nodes", &given.flags, told)
    {
        given.flags.set("nodes", "--builders", with_scheme([text]));
    }
    if let Some(values) = matches.get_many::<String>("proxies") {
        given.flags.set("proxies", "--proxies", with_scheme(values));
    }
}

fn with_scheme<'a>(values: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let each = values.into_iter().flat_map(|value| value.split(',')).map(str::trim);
    let scheme = |url: &str| if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    each.filter(|url| !url.is_empty()).map(scheme).collect()
}

fn json(matches: &ArgMatches, given: &mut Given, told: &mut Told<'_>) {
    let said = matches.try_get_one::<String>(JSON_ID).ok().flatten().map(|text| go::switch(text));
    if said == Some(None) {
        told.flag(JSON_FLAG, "format", "expected true or false");
    }
    match said.flatten() {
        Some(true) if once(JSON_FLAG, "format", "--log-format", &given.log, told) => {
            given.log.set("format", JSON_FLAG, vec!["json".to_owned()]);
        }
        Some(_) => {}
        None => {
            let Some(value) = given.variables.get_mut(LOG_JSON) else { return };
            if go::switch(value.trim()) == Some(false) {
                let warning = format!(
                    "{LOG_JSON} is set, so the log is JSON, whatever its value: take it away for text"
                );
                given.warnings.push(warning);
            }
            *value = "json".to_owned();
            given.log_fallbacks.push(("format", LOG_JSON));
        }
    }
}

fn metrics(matches: &ArgMatches, given: &mut Given, told: &mut Told<'_>) {
    let Some(text) = matches.get_one::<String>("metrics-addr") else { return };
    if !once("--metrics-addr", "metrics_listen", "--admin-metrics-listen", &given.admin, told) {
        return;
    }
    // Nothing is nowhere there.
    let read = if text.trim().is_empty() { Ok("off".to_owned()) } else { go::address(text) };
    match read {
        Ok(address) => given.admin.set("metrics_listen", "--metrics-addr", vec![address]),
        Err(what) => told.flag("--metrics-addr", "metrics_listen", what),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_gets_the_scheme_that_it_lacks() {
        let values = [" a:1, https://b ,,http://c".to_owned(), "httpd:1#name=x".to_owned()];
        assert_eq!(with_scheme(&values), ["http://a:1", "https://b", "http://c", "http://httpd:1#name=x"]);
        assert!(with_scheme(&[" , ".to_owned()]).is_empty());
    }

    #[test]
    fn its_levels_are_ours() {
        for (theirs, ours) in [
            ("warning", "warn"),
            ("WARN", "WARN"),
            ("Fatal", "error"),
            ("panic", "error"),
            ("trace", "trace"),
            ("verbose", "verbose"),
        ] {
            assert_eq!(level(theirs), ours);
        }
    }

    #[test]
    fn milliseconds_are_a_whole_number() {
        assert_eq!(millis("2000").unwrap(), "2000ms");
        for wrong in ["0", "2s", "-1", "1.5"] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }
}

//! Command lines and values as programs written in Go read them.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};

use clap::{Arg, ArgMatches};
use mainstay_settings::{Origin, Problem, Variables};

use super::{Given, STAND_IN};

/// Where problems with another program's flags and variables go.
pub(super) struct Told<'a> {
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Told<'_> {
    /// Something is wrong with a flag, which is called with its dashes.
    pub(super) fn flag(&mut self, flag: &str, key: &str, what: impl Into<String>) {
        let origin = Origin::Flag(flag.to_owned());
        self.problems.push(Problem { origin, key: key.to_owned(), what: what.into() });
    }

    pub(super) fn variable(&mut self, name: &str, what: impl Into<String>) {
        let origin = Origin::Variable(name.to_owned());
        self.problems.push(Problem { origin, key: String::new(), what: what.into() });
    }

    /// What a flag made by [`switch_arg`] says.
    pub(super) fn switch(&mut self, matches: &ArgMatches, name: &str) -> Option<bool> {
        let read = switch(matches.get_one::<String>(name)?);
        if read.is_none() {
            self.flag(&format!("--{name}"), name, "expected true or false");
        }
        read
    }
}

/// Gives the long `flags` behind `role` their second dash: there one is as good as two. Called by that program's name all flags but
/// those of one letter are long: one that is misspelt is told, where `-htp` would be taken for `-h` and `-nods` for nodes called `ods`.
pub(super) fn double_dashes(all: &mut [OsString], role: &str, flags: &[&str]) {
    let is = |at: usize, word: &str| all.get(at).is_some_and(|argument| argument == word);
    let first = if is(1, role) {
        2
    } else if is(1, "check") || is(1, "config") {
        all.iter().position(|argument| argument == role).map_or(all.len(), |at| at + 1)
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
        if flags.contains(&name) || misspelt() {
            *argument = format!("--{flag}").into();
        }
    }
}

/// A flag that is on, or `=BOOL`.
pub(super) fn switch_arg(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("BOOL")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
}

/// A boolean.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A whole number; `unit` and `example` are for the error.
pub(super) fn whole(text: &str, unit: &str, example: u64) -> Result<u64, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a whole number of {unit}, for example {example}"))
}

/// Variables of another program that are set to nothing are not set.
pub(super) fn drop_empty(variables: &mut Variables) {
    variables.retain(|name, value| name.starts_with("MAINSTAY_") || !value.trim().is_empty());
}

/// `flag` is another name for `--listen`, for addresses as [`address`] reads them.
pub(super) fn listen(matches: &ArgMatches, flag: &str, given: &mut Given, told: &mut Told<'_>) {
    let Some(text) = matches.get_one::<String>(flag) else { return };
    let flag = format!("--{flag}");
    if given.flags.has("listen") {
        told.flag(&flag, "listen", "says what --listen says too, give either");
        return;
    }
    match address(text) {
        Ok(address) => given.flags.set("listen", flag, vec![address]),
        Err(what) => told.flag(&flag, "listen", what),
    }
}

/// `:8080` and `localhost:8080` as an address; of a name the first one, IPv4 before IPv6.
pub(super) fn address(text: &str) -> Result<String, String> {
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
}

//! The header field that a host's token is in. Pure.

use std::collections::HashMap;
use std::fmt;

use http::HeaderName;

/// What a host can't be called, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadHost {
    /// Not what the name of a header field may hold.
    Name(String),
    /// Two hosts whose header field is the same one: case counts for nothing there.
    Same(String, String),
    /// There is no host at all.
    None,
}

impl fmt::Display for BadHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHost::Name(host) => write!(
                f,
                "host {host:?} can't be part of a header's name: write letters, digits, - and _ (no port)"
            ),
            BadHost::Same(one, other) => write!(
                f,
                "hosts {one:?} and {other:?} would share the header {}: rename one",
                canonical(&header_of(one))
            ),
            BadHost::None => f.write_str("there is no host: write {\"host\": \"64 hexadecimal digits\"}"),
        }
    }
}

impl std::error::Error for BadHost {}

/// The header field of each host.
pub(super) fn names<S>(hosts: Vec<(String, S)>) -> Result<Vec<(HeaderName, S)>, BadHost> {
    if hosts.is_empty() {
        return Err(BadHost::None);
    }
    let mut seen: HashMap<HeaderName, String> = HashMap::new();
    let mut named = Vec::with_capacity(hosts.len());
    for (host, secret) in hosts {
        let name = match HeaderName::from_bytes(header_of(&host).as_bytes()) {
            Ok(name) if !host.is_empty() => name,
            _ => return Err(BadHost::Name(host)),
        };
        if let Some(other) = seen.insert(name.clone(), host.clone()) {
            return Err(BadHost::Same(other, host));
        }
        named.push((name, secret));
    }
    Ok(named)
}

fn header_of(host: &str) -> String {
    format!("Authorization-{host}")
}

/// A header's name as Go and most documentation write it: a capital at the beginning and behind each `-`, all else small.
pub(super) fn canonical(name: &str) -> String {
    let mut is_first = true;
    let letter = |letter: char| {
        let written = if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        is_first = letter == '-';
        written
    };
    name.chars().map(letter).collect()
}

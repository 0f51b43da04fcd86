//! The `config.json` of jwt-tokens-service: `{"host": "64 hexadecimal digits", …}`.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use mainstay_wire::jwt::{Secret, SecretError};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;

/// The file is at most this long, in bytes: room for some thousand hosts.
const MAX_FILE: u64 = 1024 * 1024;

/// Why hosts can't be read from a file. Quotes nothing that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsError {
    file: PathBuf,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// What the system said.
    Unreadable(String),
    TooLong,
    /// Line and column.
    NotJson(usize, usize),
    /// Line and column.
    NotHosts(usize, usize),
    Twice(String),
    Secret(String, SecretError),
}

impl fmt::Display for HostsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.fault {
            Fault::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Fault::TooLong => write!(f, "is longer than {} KiB, which no list of hosts is", MAX_FILE / 1024),
            Fault::NotJson(line, column) => write!(f, "is not JSON (line {line}, column {column})"),
            Fault::NotHosts(line, column) => write!(
                f,
                "is not a list of hosts with their secrets (line {line}, column {column}): write {{\"host\": \"64 hexadecimal digits\"}}"
            ),
            Fault::Twice(host) => write!(f, "host {host:?} is there twice"),
            Fault::Secret(host, error) => write!(f, "host {host:?}: {error}"),
        }
    }
}

impl std::error::Error for HostsError {}

/// Reads hosts and their secrets from a file as jwt-tokens-service has it. `0x` before a secret is allowed too.
///
/// # Errors
/// [`HostsError`] says which file, and which host.
pub fn hosts(file: &Path) -> Result<Vec<(String, Secret)>, HostsError> {
    let failed = |fault| HostsError { file: file.to_owned(), fault };
    let unreadable = |error: std::io::Error| failed(Fault::Unreadable(error.to_string()));
    let mut text = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(MAX_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(Fault::TooLong));
    }
    read(&text).map_err(failed)
}

fn read(text: &[u8]) -> Result<Vec<(String, Secret)>, Fault> {
    // What the error says may quote a secret; where it is does not.
    let Entries(entries) = serde_json::from_slice(text).map_err(|error| match error.classify() {
        Category::Data => Fault::NotHosts(error.line(), error.column()),
        _ => Fault::NotJson(error.line(), error.column()),
    })?;
    let mut hosts: Vec<(String, Secret)> = Vec::with_capacity(entries.len());
    for (host, secret) in entries {
        if hosts.iter().any(|(known, _)| *known == host) {
            return Err(Fault::Twice(host));
        }
        match Secret::from_hex(&secret) {
            Ok(secret) => hosts.push((host, secret)),
            Err(error) => return Err(Fault::Secret(host, error)),
        }
    }
    Ok(hosts)
}

/// The members of an object, a name that is there twice twice.
struct Entries(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of hosts and secrets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

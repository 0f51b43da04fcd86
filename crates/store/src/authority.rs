//! What the addresses of stores have in common: a URL that names several hosts, and credentials that nobody gets to see. Pure.

use std::fmt;

use percent_encoding::percent_decode_str;

/// Why an address can't be read; the text says what is wrong, and quotes no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl AddressError {
    /// With what is wrong, for people; no credentials in it.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

pub(crate) fn wrong<T>(what: impl Into<String>) -> Result<T, AddressError> {
    Err(AddressError::new(what))
}

/// What follows a scheme and its `://`, in parts that aren't decoded yet.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// Before the `@`; empty if there is none.
    pub credentials: &'a str,
    /// One or several, joined by commas.
    pub hosts: &'a str,
    /// What follows the first `/`.
    pub path: Option<&'a str>,
    /// What follows the first `?`.
    pub query: Option<&'a str>,
    /// What follows the first `#`.
    pub fragment: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Takes a URL apart, `text` being what follows its `://`.
    ///
    /// # Errors
    /// The password seems to hold one of `/`, `?` and `#`.
    pub fn split(text: &'a str) -> Result<Self, AddressError> {
        let (rest, fragment) = cut(text, '#');
        let (rest, query) = cut(rest, '?');
        let (authority, path) = cut(rest, '/');
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if [path, query, fragment].into_iter().flatten().any(|part| part.contains('@')) {
            return wrong("an @ after the hosts: in a password write / as %2F, ? as %3F, # as %23");
        }
        Ok(Self { credentials, hosts, path, query, fragment })
    }

    /// The hosts, at least one.
    ///
    /// # Errors
    /// One can't be read.
    pub fn hosts(&self, default_port: u16) -> Result<Vec<Host>, AddressError> {
        self.hosts.split(',').map(|host| Host::parse(host, default_port)).collect()
    }

    /// The options after the `?`, names as they are and values decoded.
    pub fn options(&self) -> impl Iterator<Item = Result<(&'a str, String), AddressError>> {
        let pairs = self.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((key, decode(value)?))
        })
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// What percent-encoded text says.
///
/// # Errors
/// It isn't UTF-8.
pub fn decode(text: &str) -> Result<String, AddressError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => wrong("what is percent-encoded must be UTF-8"),
    }
}

/// A host with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name or address, that of IPv6 without brackets.
    pub name: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl Host {
    /// Reads `host`, `host:port`, `[v6]:port` or `:port`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let Some((name, port)) = rest.split_once(']') else {
                return wrong(format!("an IPv6 address is written in brackets: [::1]:{default_port}"));
            };
            match port.strip_prefix(':') {
                Some(port) => (name, Some(port)),
                None if port.is_empty() => (name, None),
                None => return wrong("what follows an IPv6 address in brackets must be :port"),
            }
        } else {
            match text.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return wrong(format!("an IPv6 address is written in brackets: [::1]:{default_port}"));
                }
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return wrong("a port must be a number from 1 to 65535"),
                Ok(port) => port,
            },
        };
        // As Go reads it, and prio-load-balancer with it.
        let name = if name.is_empty() && text.starts_with(':') { "localhost" } else { name };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return wrong("a host is missing");
        }
        Ok(Self { name: name.to_owned(), port })
    }
}

/// Never shown, so it has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub user: Option<String>,
    /// And how that is proved.
    pub password: Option<String>,
}

impl Credentials {
    /// Reads `user:password` or `:password`; of nothing, nothing.
    ///
    /// # Errors
    /// There is no `:` in it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let Some((user, password)) = text.split_once(':') else {
            return wrong("before the @ comes user:password, or :password alone");
        };
        let user = Some(decode(user)?).filter(|user| !user.is_empty());
        Ok(Self { user, password: Some(decode(password)?) })
    }
}

//! Where Redis is, as an operator writes it. Pure.
//!
//! | written | means |
//! |---|---|
//! | `host:port` | one server, as prio-load-balancer takes it; the port may be left out (6379) |
//! | `redis://[[user]:password@]host[:port][/db]` | one server; `rediss://` with TLS |
//! | `redis-sentinel://[[user]:password@]host[:26379][,host…]/master[/db]` | the master that the Sentinels name; `rediss-sentinel://` with TLS to both |
//! | `redis-cluster://[[user]:password@]host[:6379][,host…]` | a Cluster, by any of its nodes; `rediss-cluster://` with TLS |
//!
//! User and password are percent-encoded. Options follow a `?`, joined by `&`: `db=1` (instead of the path),
//! `ca=/path/to/ca.pem` (trusted instead of the system's certificates), and for Sentinel `sentinel_user=` and
//! `sentinel_password=`, where the Sentinels have their own. Accepted too: `redis+sentinel://`, `redis+cluster://` and
//! `valkey://` spellings, and Lettuce's `redis-sentinel://host,host/db#master`.

use std::fmt;
use std::path::PathBuf;

use crate::authority::{AddressError, Credentials, Host, Parts, decode, wrong};

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is and what to say to it. Shown without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub(super) topology: Topology,
    /// At least one: the server, the Sentinels, or some nodes of the Cluster.
    pub(super) hosts: Vec<Host>,
    pub(super) tls: bool,
    pub(super) ca: Option<PathBuf>,
    pub(super) credentials: Credentials,
    pub(super) database: u32,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Topology {
    Single,
    Sentinel { master: String, credentials: Credentials },
    Cluster,
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        let hosts = hosts.join(",");
        let tls = if self.tls { "s" } else { "" };
        match &self.topology {
            Topology::Single => write!(f, "redis{tls}://{hosts}/{}", self.database),
            Topology::Sentinel { master, .. } => {
                write!(f, "redis{tls}-sentinel://{hosts}/{master}/{}", self.database)
            }
            Topology::Cluster => write!(f, "redis{tls}-cluster://{hosts}"),
        }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl RedisAddress {
    /// Reads one of the forms above.
    ///
    /// # Errors
    /// None of them fits; the text says where it goes wrong.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::plain(text);
        };
        let (kind, tls) = scheme_of(scheme)?;
        let parts = Parts::split(rest)?;
        let port = if kind == Kind::Sentinel { SENTINEL_PORT } else { REDIS_PORT };
        let options = Options::parse(&parts)?;
        let mut address = Self {
            topology: Topology::Single,
            hosts: parts.hosts(port)?,
            tls,
            ca: options.ca,
            credentials: Credentials::parse(parts.credentials)?,
            database: 0,
        };
        let Parts { path, fragment, .. } = parts;
        let mut path = path.unwrap_or_default().trim_matches('/').split('/').filter(|part| !part.is_empty());
        match kind {
            Kind::Single => {
                if address.hosts.len() > 1 {
                    return wrong(
                        "redis:// names one server; for several write redis-sentinel:// or redis-cluster://",
                    );
                }
            }
            Kind::Sentinel => {
                let master = fragment.filter(|name| !name.is_empty()).or_else(|| path.next());
                let Some(master) = master else {
                    return wrong(
                        "redis-sentinel:// needs the master's name: redis-sentinel://host:26379/mymaster",
                    );
                };
                let credentials =
                    Credentials { user: options.sentinel_user, password: options.sentinel_password };
                address.topology = Topology::Sentinel { master: decode(master)?, credentials };
            }
            Kind::Cluster => address.topology = Topology::Cluster,
        }
        if kind != Kind::Sentinel && fragment.is_some_and(|fragment| !fragment.is_empty()) {
            return wrong("nothing may follow a # here; in a password write it as %23");
        }
        address.database = match (path.next(), options.database) {
            (Some(_), Some(_)) => return wrong("the database is given twice: in the path and as db="),
            (Some(in_path), None) => number(in_path)?,
            (None, in_query) => in_query.unwrap_or(0),
        };
        if path.next().is_some() {
            return wrong("the path has too many parts");
        }
        if kind == Kind::Cluster && address.database != 0 {
            return wrong("a Cluster has database 0 only");
        }
        if address.ca.is_some() && !tls {
            return wrong("ca= is for TLS: write rediss instead of redis");
        }
        Ok(address)
    }

    /// `host:port`, or only `host`.
    fn plain(text: &str) -> Result<Self, AddressError> {
        if text.contains(['@', '/', '?', '#', ',']) {
            return wrong("neither host:port nor a URL; with a password write redis://:password@host:port");
        }
        Ok(Self {
            topology: Topology::Single,
            hosts: vec![Host::parse(text, REDIS_PORT)?],
            tls: false,
            ca: None,
            credentials: Credentials::default(),
            database: 0,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

/// The scheme's own text is no secret.
fn scheme_of(scheme: &str) -> Result<(Kind, bool), AddressError> {
    let lower = scheme.to_ascii_lowercase().replace('+', "-");
    let (base, kind) = match lower.split_once('-') {
        None => (lower.as_str(), Kind::Single),
        Some((base, "sentinel")) => (base, Kind::Sentinel),
        Some((base, "cluster")) => (base, Kind::Cluster),
        Some(_) => ("", Kind::Single),
    };
    match base {
        "redis" | "valkey" => Ok((kind, false)),
        "rediss" | "valkeys" => Ok((kind, true)),
        _ => wrong(format!(
            "{scheme:?} is none of redis, rediss, redis-sentinel, rediss-sentinel, redis-cluster and rediss-cluster"
        )),
    }
}

fn number(text: &str) -> Result<u32, AddressError> {
    text.parse().or_else(|_| wrong("the database must be a number"))
}

#[derive(Default)]
struct Options {
    database: Option<u32>,
    ca: Option<PathBuf>,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
}

impl Options {
    fn parse(parts: &Parts<'_>) -> Result<Self, AddressError> {
        let mut options = Self::default();
        for option in parts.options() {
            let (key, value) = option?;
            let doubled = match key {
                "db" => options.database.replace(number(&value)?).is_some(),
                "ca" => options.ca.replace(PathBuf::from(value)).is_some(),
                "sentinel_user" => options.sentinel_user.replace(value).is_some(),
                "sentinel_password" => options.sentinel_password.replace(value).is_some(),
                // Its text may be the tail of a password with an unescaped `?`, so it isn't quoted.
                _ => {
                    return wrong(
                        "an option after the ? is none of db, ca, sentinel_user and sentinel_password",
                    );
                }
            };
            if doubled {
                return wrong(format!("{key}= is given twice"));
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        RedisAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn every_form_is_read() {
        for (text, expected) in [
            ("localhost:6379", "redis://localhost:6379/0"),
            ("redis", "redis://redis:6379/0"),
            (":6380", "redis://localhost:6380/0"),
            ("[::1]:6380", "redis://[::1]:6380/0"),
            ("redis://a", "redis://a:6379/0"),
            ("redis://a:1/", "redis://a:1/0"),
            ("redis://:pw@a/3", "redis://a:6379/3"),
            ("redis://a?db=3", "redis://a:6379/3"),
            ("REDISS://u:pw@a:1/2?ca=/ca.pem", "rediss://a:1/2"),
            ("valkeys://[fe80::1]:7", "rediss://[fe80::1]:7/0"),
            ("redis-sentinel://a:1,b/mymaster", "redis-sentinel://a:1,b:26379/mymaster/0"),
            ("redis-sentinel://:pw@a,b/mymaster?db=2", "redis-sentinel://a:26379,b:26379/mymaster/2"),
            ("redis+sentinel://a/mymaster/4", "redis-sentinel://a:26379/mymaster/4"),
            ("rediss-sentinel://a/5#mymaster", "rediss-sentinel://a:26379/mymaster/5"),
            ("redis-cluster://a,b:7000,[::1]", "redis-cluster://a:6379,b:7000,[::1]:6379"),
            ("rediss-cluster://u:pw@a/0?ca=/ca.pem", "rediss-cluster://a:6379"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded() {
        let address = RedisAddress::parse("redis://us%40er:p%3A%23@rd@a").unwrap();
        assert_eq!(address.credentials.user.as_deref(), Some("us@er"));
        assert_eq!(address.credentials.password.as_deref(), Some("p:#@rd"));
        let address = RedisAddress::parse("redis-sentinel://:a@h/m?sentinel_password=%26b").unwrap();
        let Topology::Sentinel { credentials, .. } = address.topology else { panic!("a Sentinel") };
        assert_eq!(credentials.password.as_deref(), Some("&b"));
    }

    #[test]
    fn what_is_wrong_is_said_without_credentials() {
        for (text, about) in [
            ("", "host"),
            ("a:b", "port"),
            ("a:0", "port"),
            ("::1", "brackets"),
            ("user:secret@a:1", "redis://"),
            ("http://user:secret@a", "none of"),
            ("redis-ring://a", "none of"),
            ("redis://", "host"),
            ("redis://secret@a", "user:password"),
            ("redis://:secret@a,b", "redis-cluster"),
            ("redis://:secret@a/x", "number"),
            ("redis://:secret@a/1/2", "too many"),
            ("redis://:secret@a/1?db=1", "twice"),
            ("redis://:secret@a?db=1&db=1", "twice"),
            ("redis://a:se?cret@b", "%3F"),
            ("redis://:se#cret@a", "%23"),
            ("redis-sentinel://:12/secret@h/m", "%2F"),
            ("redis://:x@a?secret=1", "option"),
            ("redis://:secret@a?ca=/x", "rediss"),
            ("redis://a#b", "%23"),
            ("redis-sentinel://:secret@a", "mymaster"),
            ("redis-cluster://:secret@a/1", "database 0"),
        ] {
            let error = RedisAddress::parse(text).expect_err(text).to_string();
            assert!(error.contains(about) && !error.contains("secret"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_shows_a_password(text in "(redis|rediss-sentinel|redis-cluster)://[a-z:@/?#,%0-9\\[\\]]{0,20}(:hush[a-z]{3}@)?[a-z:/?#,=0-9]{0,20}") {
            let shown = match RedisAddress::parse(&text) {
                Ok(address) => format!("{address} {address:?}"),
                Err(error) => error.to_string(),
            };
            prop_assert!(!shown.contains("hush"), "{}", shown);
        }
    }
}

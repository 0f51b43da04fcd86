//! Claims by a URL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_store::RedisAddress;

use super::etcd::{EtcdAddress, EtcdClaims};
use super::redis::RedisClaims;
use super::{Claims, MemoryClaims};

/// Why claims can't be opened. The text is for people and holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Where claims are kept, as an operator writes it. Shown without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Place(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Memory,
    Redis(RedisAddress),
    Etcd(EtcdAddress),
}

impl Place {
    /// Reads `memory`, or the URL of a Redis: `redis://`, `rediss://` (TLS), or one of Sentinels or of a Cluster, as [`RedisAddress`] takes them; or that of
    /// an etcd: `etcd://[user:password@]host[:2379][,host…][/prefix]`, `etcds://` with TLS, and then `?ca=FILE&cert=FILE&key=FILE` where they are needed.
    ///
    /// # Errors
    /// It is none of them; the text says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text == "memory" {
            return Ok(Self(Kind::Memory));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Error(
                "neither memory nor a URL; write redis://host:6379 or etcd://host:2379".into(),
            ));
        };
        let kind = match &*scheme.to_ascii_lowercase() {
            "etcd" => EtcdAddress::parse(false, rest).map(Kind::Etcd),
            "etcds" => EtcdAddress::parse(true, rest).map(Kind::Etcd),
            it if it.starts_with("redis") || it.starts_with("valkey") => {
                RedisAddress::parse(text).map(Kind::Redis)
            }
            other => {
                return Err(Error(format!("{other:?} is none of memory, redis, rediss, etcd and etcds")));
            }
        };
        kind.map(Self).map_err(|error| Error(error.to_string()))
    }

    /// Whether several relays can share what is kept there.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !matches!(self.0, Kind::Memory)
    }

    /// Opens them. Connections are made in the background and kept; a store that can't be reached is no error here. Each answer takes `timeout`
    /// at most. Call it within a tokio runtime.
    ///
    /// # Errors
    /// A file that the URL names can't be read.
    pub fn open(self, timeout: Duration) -> Result<Arc<dyn Claims>, Error> {
        match self.0 {
            Kind::Memory => Ok(Arc::new(MemoryClaims::default())),
            Kind::Redis(address) => match RedisClaims::open(address, timeout) {
                Ok(claims) => Ok(Arc::new(claims)),
                Err(error) => Err(Error(error.to_string())),
            },
            Kind::Etcd(address) => match EtcdClaims::open(address, timeout) {
                Ok(claims) => Ok(Arc::new(claims)),
                Err(why) => Err(Error(why)),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory => f.write_str("memory"),
            Kind::Redis(address) => address.fmt(f),
            Kind::Etcd(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// [`Place::parse`] and [`Place::open`] in one.
///
/// # Errors
/// Those of the two.
pub fn open(url: &str, timeout: Duration) -> Result<Arc<dyn Claims>, Error> {
    Place::parse(url)?.open(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_read() {
        for (text, shown, shared) in [
            ("memory", "memory", false),
            ("redis://a", "redis://a:6379/0", true),
            ("rediss://u:pw@a:1/2", "rediss://a:1/2", true),
            ("redis-cluster://:pw@a,b", "redis-cluster://a:6379,b:6379", true),
            ("redis-sentinel://a/mymaster", "redis-sentinel://a:26379/mymaster/0", true),
            ("ETCD://a,b:1", "etcd://a:2379,b:1/mainstay/relay", true),
            ("etcds://u:pw@a/x?ca=/ca.pem", "etcds://a:2379/x", true),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!(
                (format!("{place} {place:?}"), place.is_shared()),
                (format!("{shown} {shown}"), shared)
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_credentials() {
        for (text, about) in [
            ("", "memory"),
            ("user:secret@a:1", "redis://"),
            ("http://user:secret@a", "\"http\" is none of"),
            ("redis-ring://:secret@a", "none of"),
            ("redis://:secret@", "host"),
            ("redis://:se/cret@a", "%2F"),
            ("etcd://:secret@a", "user"),
        ] {
            let error = Place::parse(text).unwrap_err().to_string();
            assert!(error.contains(about) && !error.contains("cret"), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there() {
        for scheme in ["rediss", "etcds"] {
            let url = format!("{scheme}://u:secret@127.0.0.1:1?ca=/nowhere/ca.pem");
            let error = open(&url, Duration::from_millis(40)).err().unwrap().to_string();
            assert!(error.contains("/nowhere/ca.pem") && !error.contains("secret"), "{error}");
        }
    }
}

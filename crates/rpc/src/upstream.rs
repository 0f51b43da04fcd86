//! A node as an operator writes it: `http://host:port/path?_workers=8`, prio-load-balancer's form.
//!
//! `_workers` says how many requests the node works on at once; it is for the balancer and never sent to the node. Two
//! texts that mean the same endpoint are one node: `http://x`, `http://x/` and `http://X:80?_workers=8`. What is stored is
//! the text as it was written, which is what another balancer on the same list goes by.

use std::fmt;

use mainstay_node::{AttestedUri, Kind};
use mainstay_settings::is_key;
use url::Url;

/// Most requests at once that can be asked for.
pub const MAX_WORKERS: u32 = 10_000;

/// A node's address and size, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where requests go, with credentials and without `_workers`: never show it, show [`Upstream::shown`].
    pub url: Url,
    /// `_workers`, if it is given.
    pub workers: Option<u32>,
    /// As what it is to prove that it runs what its user part says.
    pub proves: Option<Kind>,
    text: String,
}

/// Why a node can't be read; the text says what and what to write instead, and holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUpstream(String);

impl fmt::Display for BadUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUpstream {}

impl Upstream {
    /// Reads a node.
    ///
    /// # Errors
    /// No URL, another scheme than `http` and `https`, no host, a user part that asks that the node attests (`SGX_…@`) and doesn't say clearly what, a fragment, `_workers` that is no number from 1 to
    /// [`MAX_WORKERS`] or given twice.
    pub fn parse(text: &str) -> Result<Self, BadUpstream> {
        let text = text.trim();
        if text.is_empty() {
            return Err(bad("is empty, write a URL like http://127.0.0.1:8545"));
        }
        let mut url = Url::parse(text)
            .map_err(|why| BadUpstream(format!("not a URL ({why}), write one like http://127.0.0.1:8545")))?;
        if !matches!(url.scheme(), "http" | "https") {
            let scheme = url.scheme();
            return Err(BadUpstream(format!(
                "scheme {scheme:?} is not http or https, write http://host:port"
            )));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("the URL has no host"));
        }
        // What a node is to prove has to be clear before it is used.
        let attested = AttestedUri::parse(text).map_err(|why| BadUpstream(why.to_string()))?;
        if url.fragment().is_some() {
            return Err(bad("a # has no meaning here (in a user name or password it is written %23)"));
        }
        let mut workers = None;
        let mut kept = Vec::new();
        for part in url.query().unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            match part.strip_prefix("_workers=").or((part == "_workers").then_some("")) {
                Some(value) if workers.is_none() => workers = Some(read_workers(value)?),
                Some(_) => return Err(bad("_workers is given twice")),
                None => kept.push(part.to_owned()),
            }
        }
        url.set_query((!kept.is_empty()).then(|| kept.join("&")).as_deref());
        let proves = attested.map(|uri| uri.expectation().kind());
        Ok(Self { url, workers, proves, text: text.to_owned() })
    }

    /// Whether both are the same endpoint, whatever their workers.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.url == other.url
    }

    /// As it was written, for the list; never show it.
    #[must_use]
    pub fn stored(&self) -> &str {
        &self.text
    }

    /// As it may be shown: as it was written, or, if that has something to hide, with user, password, values of the query and
    /// keys in the path masked.
    #[must_use]
    pub fn shown(&self) -> String {
        let has_user = !self.url.username().is_empty() || self.url.password().is_some();
        let path: Vec<&str> =
            self.url.path().split('/').map(|part| if is_key(part) { "***" } else { part }).collect();
        let path = path.join("/");
        if !has_user && self.url.query().is_none() && path == self.url.path() {
            return self.text.clone();
        }
        let mut url = self.url.clone();
        url.set_path(&path);
        if has_user {
            // Can't fail: it has a host.
            let _ = url.set_username(match self.proves {
                None => "***",
                Some(Kind::Sgx) => "SGX_***",
                Some(Kind::Sev) => "SEV_***",
                Some(Kind::Tdx) => "TDX_***",
            });
            let _ = url.set_password(None);
        }
        let mask = |part: &str| match part.split_once('=') {
            Some((name, _)) => format!("{name}=***"),
            None => "***".to_owned(),
        };
        let mut query: Vec<String> =
            url.query().map(|query| query.split('&').map(mask).collect()).unwrap_or_default();
        query.extend(self.workers.map(|workers| format!("_workers={workers}")));
        url.set_query((!query.is_empty()).then(|| query.join("&")).as_deref());
        let shown = url.to_string();
        // As people write it.
        match shown.strip_suffix('/') {
            Some(bare) if url.path() == "/" && query.is_empty() => bare.to_owned(),
            _ => shown,
        }
    }

    /// Short name for logs and metrics: host and port.
    #[must_use]
    pub fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.shown()).finish()
    }
}

fn bad(what: &str) -> BadUpstream {
    BadUpstream(what.to_owned())
}

fn read_workers(value: &str) -> Result<u32, BadUpstream> {
    match value.parse::<i64>() {
        Ok(0) => {
            Err(bad("_workers=0: the node would never get a request, write 1 or more (or drain the node)"))
        }
        Ok(number) if number < 0 => {
            Err(BadUpstream(format!("_workers={number}: a node can't work on fewer than 1 request at once")))
        }
        Ok(number) => u32::try_from(number).ok().filter(|workers| *workers <= MAX_WORKERS).ok_or_else(|| {
            BadUpstream(format!("_workers={number}: more than {MAX_WORKERS} requests at once"))
        }),
        Err(_) => Err(bad("_workers is no number, write _workers=8")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Upstream {
        Upstream::parse(text).unwrap()
    }

    #[test]
    fn workers_are_for_the_balancer_alone() {
        for (text, url, workers) in [
            ("http://x", "http://x/", None),
            (" http://x:80/?_workers=8 ", "http://x/", Some(8)),
            ("http://x/a?k=v&_workers=3&z", "http://x/a?k=v&z", Some(3)),
            ("https://u:p@x/a?xx_workers=3", "https://u:p@x/a?xx_workers=3", None),
        ] {
            let upstream = read(text);
            assert_eq!((upstream.url.as_str(), upstream.workers), (url, workers), "{text}");
        }
    }

    #[test]
    fn one_endpoint_is_one_node() {
        let same = ["http://x", "http://x/", "http://X:80", "http://x?_workers=8", "http://x/?_workers=1"];
        assert!(same.iter().all(|text| read(text).is_same(&read("http://x"))));
        let others = ["https://x", "http://x:81", "http://x/a", "http://x?k=v", "http://u@x"];
        assert!(others.iter().all(|text| !read(text).is_same(&read("http://x"))));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "is empty"),
            ("foo", "not a URL"),
            ("localhost:8545", "scheme"),
            ("ws://x", "scheme"),
            ("https://SEV_00@x", "SEV_: "),
            ("https://SGX_00@x", "followed by 2 digits"),
            ("https://tdx_00@x", "in capitals"),
            ("http://SGX_00@x", "reached by https"),
            ("http://x#name=a", "# has no meaning"),
            ("http://x?_workers=0", "never get a request"),
            ("http://x?_workers=-3", "fewer than 1"),
            ("http://x?_workers=99999", "more than 10000"),
            ("http://x?_workers=9999999999999", "more than 10000"),
            ("http://x?_workers=many", "no number"),
            ("http://x?_workers", "no number"),
            ("http://x?_workers=1&_workers=2", "twice"),
        ] {
            let error = Upstream::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn credentials_and_keys_are_never_shown() {
        for (text, shown) in [
            ("http://me:hunter2@x:8545/p?key=hunter2&_workers=4", "http://***@x:8545/p?key=***&_workers=4"),
            ("http://:hunter2@x", "http://***@x"),
            ("https://x/v3/0123456789hunter23456789abcd?_workers=2", "https://x/v3/***?_workers=2"),
            ("https://x/0123-4567-89hunter2-abcd/rpc", "https://x/***/rpc"),
            ("http://x?hunter2", "http://x/?***"),
            // With nothing to hide it is what somebody wrote.
            ("http://X:80/?_workers=8", "http://X:80/?_workers=8"),
            ("http://x/ethereum-mainnet-archive-node/v1", "http://x/ethereum-mainnet-archive-node/v1"),
            (" http://x ", "http://x"),
        ] {
            let upstream = read(text);
            assert_eq!(upstream.shown(), shown);
            assert!(!format!("{upstream:?}").contains("hunter2"));
            assert_eq!(upstream.stored(), text.trim());
        }
        assert_eq!(read("http://me:hunter2@x:8545/p").name(), "x:8545");
    }

    /// Redis and other balancers know it by its text, which a URL would write anew.
    #[test]
    fn a_node_that_is_to_attest_is_known_by_its_text() {
        let measured = "f9".repeat(32);
        let text = format!("https://SGX_{measured}@x:8545/p?_workers=2");
        let upstream = read(&text);
        assert_eq!((upstream.proves, upstream.workers), (Some(Kind::Sgx), Some(2)));
        assert_eq!(upstream.stored(), text);
        assert_eq!(upstream.shown(), "https://SGX_***@x:8545/p?_workers=2");
        assert!(!upstream.is_same(&read("https://x:8545/p")));
        assert!(!upstream.is_same(&read(&text.replacen("f9", "f8", 1))));
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_back(host in "[a-z]{1,8}", port in 1u16.., path in "(/[a-z]{0,5}){0,3}", workers in prop::option::of(1u32..=MAX_WORKERS)) {
            let query = workers.map(|workers| format!("?_workers={workers}")).unwrap_or_default();
            let upstream = read(&format!("http://{host}:{port}{path}{query}"));
            prop_assert_eq!(upstream.workers, workers);
            prop_assert_eq!(read(upstream.stored()), upstream.clone());
            prop_assert!(read(&upstream.shown()).is_same(&upstream));
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,60}") {
            let _ = Upstream::parse(&text);
            let _ = Upstream::parse(&format!("http://x?{text}"));
        }
    }
}

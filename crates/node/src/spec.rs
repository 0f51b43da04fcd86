//! A node as an operator writes it: a URL with `#option` suffixes.
//!
//! The suffix form is ExecutionBackup's (`#jwt-secret=`, `#timeout=`, `#do-not-use`, in any order), widened by
//! `#name=` and `#tier=`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mainstay_attest::uri::AttestedUri;
use serde::Serialize;
use url::Url;

/// Whether a node is used by choice or only when the primary tier has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Used by choice.
    #[default]
    Primary,
    /// Used for choices (primary node, payloads) only when no node of the primary tier serves.
    Backup,
}

/// A node's address and options, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// Where the node listens; `http` or `https`, may hold credentials: never show it, show [`NodeSpec::shown_url`].
    pub url: Url,
    /// What logs, metrics and the API call it; `host:port` unless `#name=` gives another.
    pub name: String,
    /// Tier of the node.
    pub tier: Tier,
    /// The file with this node's own secret, instead of the role's.
    pub jwt_secret: Option<PathBuf>,
    /// Lowers the deadline of calls to this node.
    pub timeout: Option<Duration>,
    /// Gets every call, never votes, is never primary.
    pub do_not_use: bool,
}

/// Why a node can't be read; the text says what and what to write instead, and holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError(String);

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecError {}

impl NodeSpec {
    /// Reads `http://host:port/path#option#option…`.
    ///
    /// # Errors
    /// A URL that isn't `http` or `https`, has no host, asks that the node attests (`SGX_…@`) and doesn't say clearly what, an unknown, doubled or empty option, a value out of range.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let mut parts = text.trim().split('#');
        let address = parts.next().unwrap_or_default();
        let url = parse_url(address)?;
        let mut spec = Self {
            name: host_port(&url),
            url,
            tier: Tier::default(),
            jwt_secret: None,
            timeout: None,
            do_not_use: false,
        };
        let mut seen: Vec<&str> = Vec::new();
        for part in parts {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (part, None),
            };
            if seen.contains(&key) && is_word(key) {
                return Err(SpecError(format!("option #{key} is given twice")));
            }
            seen.push(key);
            spec.apply(key, value)?;
        }
        Ok(spec)
    }

    fn apply(&mut self, key: &str, value: Option<&str>) -> Result<(), SpecError> {
        match key {
            "jwt-secret" => self.jwt_secret = Some(PathBuf::from(needed(key, value, "/path/to/jwt.hex")?)),
            "timeout" => self.timeout = Some(timeout(needed(key, value, "2000")?)?),
            "name" => self.name = name(needed(key, value, "el1")?)?,
            "tier" => {
                self.tier = match needed(key, value, "backup")? {
                    "primary" => Tier::Primary,
                    "backup" => Tier::Backup,
                    other => return Err(SpecError(format!("#tier={other}: a tier is primary or backup"))),
                }
            }
            "do-not-use" => match value {
                None | Some("true") => self.do_not_use = true,
                Some("false") => self.do_not_use = false,
                Some(_) => return Err(SpecError("#do-not-use takes no value".into())),
            },
            "" => return Err(SpecError("a # with nothing after it".into())),
            other if is_word(other) => {
                return Err(SpecError(format!(
                    "unknown option #{other}: known are #jwt-secret=, #timeout=, #do-not-use, #name=, #tier="
                )));
            }
            // Not quoted: it may be the rest of a password.
            _ => {
                return Err(SpecError(
                    "what follows a # is no option (a # in a user name or password is written %23)".into(),
                ));
            }
        }
        Ok(())
    }

    /// The URL without user, password, query, and with `***` for what looks like an API key in its path: safe to show.
    #[must_use]
    pub fn shown_url(&self) -> String {
        shown(&self.url)
    }
}

impl fmt::Debug for NodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeSpec")
            .field("url", &self.shown_url())
            .field("name", &self.name)
            .field("tier", &self.tier)
            .field("timeout", &self.timeout)
            .field("do_not_use", &self.do_not_use)
            .finish_non_exhaustive()
    }
}

fn parse_url(address: &str) -> Result<Url, SpecError> {
    if address.is_empty() {
        return Err(SpecError("no address: write one like http://127.0.0.1:8551".into()));
    }
    let url = Url::parse(address)
        .map_err(|e| SpecError(format!("not a URL ({e}): write one like http://127.0.0.1:8551")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SpecError(format!(
            "scheme {:?} is not http or https: write http://host:port",
            url.scheme()
        )));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(SpecError("the URL has no host".into()));
    }
    // What a node is to prove has to be clear before it is used.
    AttestedUri::parse(address).map_err(|why| SpecError(why.to_string()))?;
    Ok(url)
}

fn needed<'a>(key: &str, value: Option<&'a str>, example: &str) -> Result<&'a str, SpecError> {
    value
        .filter(|v| !v.is_empty())
        .ok_or_else(|| SpecError(format!("#{key} needs a value: #{key}={example}")))
}

fn timeout(value: &str) -> Result<Duration, SpecError> {
    let wrong =
        || SpecError(format!("#timeout={value}: write milliseconds from 1 to 600000, like #timeout=2000"));
    let digits = value.strip_suffix("ms").unwrap_or(value);
    let ms: u64 = digits.parse().map_err(|_| wrong())?;
    if (1..=600_000).contains(&ms) { Ok(Duration::from_millis(ms)) } else { Err(wrong()) }
}

fn name(value: &str) -> Result<String, SpecError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if value.len() <= 64 && value.chars().all(fine) {
        Ok(value.to_owned())
    } else {
        Err(SpecError(format!(
            "#name={value}: a name has at most 64 characters, letters, digits and - _ . : only"
        )))
    }
}

/// Looks like the name of an option.
fn is_word(text: &str) -> bool {
    text.len() <= 24 && text.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'_'))
}

/// Whether a part of a path looks like an API key, which is where providers have it: long, with a digit. As settings are shown.
fn is_key(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    part.len() >= 20 && part.bytes().all(is_plain) && part.bytes().any(|byte| byte.is_ascii_digit())
}

fn host_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn shown(url: &Url) -> String {
    let parts = url.path().split('/').map(|part| if is_key(part) { "***" } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    let path = if path == "/" { "" } else { &path };
    match url.port() {
        Some(port) => format!("{}://{}:{port}{path}", url.scheme(), url.host_str().unwrap_or_default()),
        None => format!("{}://{}{path}", url.scheme(), url.host_str().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_in_paths_are_not_shown() {
        for (url, shown) in [
            ("https://el.example/engine/AbCd0123456789abcdefghij", "https://el.example/engine/***"),
            ("https://el.example:444/v2/0123456789-0123456789/x", "https://el.example:444/v2/***/x"),
            (
                "https://el.example/quite-a-long-path-without-any",
                "https://el.example/quite-a-long-path-without-any",
            ),
            ("https://el.example/v1/mainnet/", "https://el.example/v1/mainnet/"),
        ] {
            assert_eq!(NodeSpec::parse(url).unwrap().shown_url(), shown);
        }
    }

    #[test]
    fn options_come_in_any_order() {
        let a = NodeSpec::parse(
            "http://127.0.0.1:8551#timeout=1500#do-not-use#jwt-secret=/x/y#tier=backup#name=el1",
        );
        let b = NodeSpec::parse(
            "http://127.0.0.1:8551#name=el1#tier=backup#jwt-secret=/x/y#do-not-use#timeout=1500ms",
        );
        assert_eq!(a, b);
        let a = a.unwrap();
        assert_eq!(a.name, "el1");
        assert_eq!(a.tier, Tier::Backup);
        assert_eq!(a.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(a.jwt_secret, Some(PathBuf::from("/x/y")));
        assert!(a.do_not_use);
    }

    #[test]
    fn the_name_is_host_and_port_unless_given() {
        assert_eq!(NodeSpec::parse("http://el:8551/x").unwrap().name, "el:8551");
        assert_eq!(NodeSpec::parse("https://el").unwrap().name, "el:443");
        assert_eq!(NodeSpec::parse("http://[::1]:1/").unwrap().name, "[::1]:1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "no address"),
            ("10.0.0.1:8551", "not a URL"),
            ("localhost:8551", "scheme"),
            ("ws://a:1", "scheme"),
            ("http://a:99999", "not a URL"),
            ("https://SGX_00@a", "followed by 2 digits"),
            ("https://SGX_@a", "any enclave"),
            ("https://sgx_00@a", "in capitals"),
            ("https://SEV_00@a", "SEV_: "),
            ("http://SGX_00@a", "reached by https"),
            ("http://a#timeout=abc", "milliseconds"),
            ("http://a#timeout=0", "milliseconds"),
            ("http://a#timeout", "needs a value"),
            ("http://a#jwt-secret=", "needs a value"),
            ("http://a#tier=third", "primary or backup"),
            ("http://a#nope", "unknown option #nope"),
            ("http://a#", "nothing after"),
            ("http://a#name=a b", "a name has"),
            ("http://a#name=a#name=b", "twice"),
        ] {
            let error = NodeSpec::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        let spec = NodeSpec::parse("http://user:hunter2@el:8551/path?key=hunter2").unwrap();
        assert_eq!(spec.shown_url(), "http://el:8551/path");
        assert!(!format!("{spec:?}").contains("hunter2"));
        assert!(!spec.name.contains("hunter2"));
        for text in
            ["http://user:x#hunter2@el:8551", "http://user:x#hunter2#hunter2@el", "http://user:hunter2@el:x"]
        {
            let error = NodeSpec::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}") {
            let _ = NodeSpec::parse(&text);
            let _ = NodeSpec::parse(&format!("http://a:1#{text}"));
        }
    }
}

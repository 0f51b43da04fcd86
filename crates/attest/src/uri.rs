//! What a node is to prove, as its URI says it: `https://SGX_<MRENCLAVE>@host` and `https://SEV_<measurements>@host`, prio-load-balancer's forms,
//! and `https://TDX_<measurements>@host`, our own.
//!
//! The user part of the URI is the expectation. It is no user name: it is never sent, and masked where it is shown. The text of the URI is
//! the node's identity, byte for byte, as others who read the same list know it by that; the `url` crate writes some of it anew (`=` as
//! `%3D`), so the text is kept beside what it means.

use std::error::Error;
use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::Kind;
use crate::measurements::{Measurements, TdxMeasurements};

/// The longest URI that is read, in bytes: measurements of every PCR and register take a few thousand.
pub const MAX_URI: usize = 48 * 1024;

/// Why a URI, or what is expected of a node, can't be read. Quotes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUri(String);

impl fmt::Display for BadUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadUri {}

impl BadUri {
    /// One, with a text that says what is wrong and what to write instead.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// The measurement of an enclave: SHA-256 over what it was built of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MrEnclave(pub [u8; 32]);

impl fmt::Display for MrEnclave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl fmt::Debug for MrEnclave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MrEnclave({self})")
    }
}

/// What a node is to prove.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expectation {
    /// That it is this enclave.
    Sgx(MrEnclave),
    /// That its virtual machine was started from these.
    Sev(Measurements),
    /// The same of a TDX one: our own extension.
    Tdx(TdxMeasurements),
}

impl Expectation {
    /// Reads the user part of a URI (decoded): `SGX_` and 64 hex digits, `SEV_` or `TDX_` and packed measurements.
    ///
    /// # Errors
    /// Another prefix, one in small letters, anything but 32 bytes in hex, measurements that can't be read.
    pub fn parse(user: &str) -> Result<Self, BadUri> {
        let (kind, rest) = prefix(user).ok_or_else(|| {
            BadUri::new("expected SGX_ with the enclave's MRENCLAVE, SEV_ or TDX_ with measurements")
        })?;
        if !user.starts_with(kind) {
            return Err(BadUri(format!("{kind} is written in capitals")));
        }
        match kind {
            "SGX_" => mr_enclave(rest).map(Self::Sgx),
            "SEV_" => {
                Measurements::from_uri_part(rest).map(Self::Sev).map_err(|why| BadUri(format!("SEV_: {why}")))
            }
            _ => TdxMeasurements::from_uri_part(rest)
                .map(Self::Tdx)
                .map_err(|why| BadUri(format!("TDX_: {why}"))),
        }
    }

    /// What a URL's user part asks of its node; nothing if it is an ordinary user name or there is none.
    ///
    /// # Errors
    /// As [`Expectation::parse`]; a password beside it, and `http`, where nothing proves who answers.
    pub fn of(url: &Url) -> Result<Option<Self>, BadUri> {
        let user = percent_decode_str(url.username()).decode_utf8_lossy();
        let Some((kind, _)) = prefix(&user) else { return Ok(None) };
        if url.scheme() != "https" {
            return Err(BadUri(format!(
                "a node that is to attest ({kind}) is reached by https, write https://"
            )));
        }
        if url.password().is_some() {
            return Err(BadUri(format!(
                "{kind} takes the place of a user name and has no password, leave it out"
            )));
        }
        Self::parse(&user).map(Some)
    }

    /// What attests.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sgx(_) => Kind::Sgx,
            Self::Sev(_) => Kind::Sev,
            Self::Tdx(_) => Kind::Tdx,
        }
    }
}

/// The prefix that a user part begins with, in whatever case, and what follows it.
fn prefix(user: &str) -> Option<(&'static str, &str)> {
    ["SGX_", "SEV_", "TDX_"].into_iter().find_map(|kind| {
        let (start, rest) = user.split_at_checked(kind.len())?;
        start.eq_ignore_ascii_case(kind).then_some((kind, rest))
    })
}

fn mr_enclave(hex: &str) -> Result<MrEnclave, BadUri> {
    let wrong = |what: String| BadUri(format!("SGX_{what}, write the enclave's MRENCLAVE: 64 hex digits"));
    if hex.is_empty() {
        return Err(wrong(" with nothing after it would be any enclave".to_owned()));
    }
    if let Some(at) = hex.find(|c: char| !c.is_ascii_hexdigit()) {
        return Err(wrong(format!(": character {} after it is no hex digit", hex[..at].chars().count() + 1)));
    }
    let mut bytes = [0; 32];
    match const_hex::decode_to_slice(hex, &mut bytes) {
        Ok(()) => Ok(MrEnclave(bytes)),
        Err(_) => Err(wrong(format!(" is followed by {} digits", hex.len()))),
    }
}

/// The URI of a node that is to attest.
#[derive(Clone, PartialEq, Eq)]
pub struct AttestedUri {
    text: String,
    url: Url,
    expectation: Expectation,
}

impl AttestedUri {
    /// Reads a node's URI; nothing if it asks for no attestation.
    ///
    /// # Errors
    /// What is no URL, as [`Expectation::of`] where its user part asks for attestation, more than [`MAX_URI`] bytes, control characters and
    /// blanks (which a URL is read without: two texts would mean one node).
    pub fn parse(text: &str) -> Result<Option<Self>, BadUri> {
        if text.len() > MAX_URI {
            return Err(BadUri(format!("longer than {MAX_URI} bytes")));
        }
        let mut url = Url::parse(text).map_err(|why| BadUri(format!("not a URL: {why}")))?;
        let Some(expectation) = Expectation::of(&url)? else { return Ok(None) };
        if text.contains(|c: char| c.is_ascii_control() || c.is_whitespace() || c == '\\') {
            return Err(BadUri::new("has a blank, a control character or a \\ in it, leave it out"));
        }
        // Can't fail: https has a host.
        let _ = url.set_username("");
        Ok(Some(Self { text: text.to_owned(), url, expectation }))
    }

    /// What the node is known by: the text as it was written. Never show it, show the URI.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.text
    }

    /// Where to connect to: without user part, so that none is ever sent.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What the node is to prove.
    #[must_use]
    pub fn expectation(&self) -> &Expectation {
        &self.expectation
    }
}

impl fmt::Display for AttestedUri {
    /// `https://SGX_***@host:port/path`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.expectation.kind() {
            Kind::Sgx => "SGX",
            Kind::Sev => "SEV",
            Kind::Tdx => "TDX",
        };
        write!(f, "https://{kind}_***@{}", self.url.host_str().unwrap_or_default())?;
        if let Some(port) = self.url.port() {
            write!(f, ":{port}")?;
        }
        match self.url.path() {
            "/" => Ok(()),
            path => f.write_str(path),
        }
    }
}

impl fmt::Debug for AttestedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttestedUri({self})")
    }
}

#[cfg(test)]
mod tests;

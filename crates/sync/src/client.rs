//! Who a consensus client (CL) is.
//!
//! * By the `id` claim of its token, if the token was verified: two CLs behind one address are two then.
//! * Else by its address, whole: `::ffff:192.0.2.1` is `192.0.2.1`, any other IPv6 address is itself.
//! * `X-Forwarded-For` counts only if the peer is a trusted proxy. It is read from its end, where the nearest proxy
//!   writes, and the last address that is no trusted proxy's is the CL's: what stands before it anybody may have written.
//!
//! Names are the operator's: `name = id or address`. Their order is that of preference ([`crate::leader`]).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use mainstay_wire::network::{Network, NetworkError};

/// A claim longer than this many bytes names nobody; the CL goes by its address then.
pub const MAX_ID: usize = 128;
/// A name has at most this many bytes.
pub const MAX_NAME: usize = 64;
/// Proxies between a CL and us that are looked through at most.
pub const MAX_HOPS: usize = 16;

/// The key of a CL. Its `Display` is for logs: no control character, and a bounded length.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// The verified `id` claim of its token.
    Id(Arc<str>),
    /// Its address, IPv4 where that is mapped into IPv6.
    Address(IpAddr),
}

impl Client {
    /// The CL of this claim; `None` for an empty one and for more than [`MAX_ID`] bytes.
    #[must_use]
    pub fn id(claim: &str) -> Option<Self> {
        let fits = !claim.is_empty() && claim.len() <= MAX_ID;
        fits.then(|| Self::Id(claim.into()))
    }

    /// The CL at this address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => plain(id, f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Shows what a stranger chose: what doesn't print, or turns the direction of text, is escaped.
fn plain(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.chars().try_for_each(|c| match c {
        '\'' | '"' => write!(f, "{c}"),
        _ => write!(f, "{}", c.escape_debug()),
    })
}

/// The proxies whose `X-Forwarded-For` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

impl Default for Proxies {
    /// Those on this machine.
    fn default() -> Self {
        Self(Network::LOOPBACK.to_vec())
    }
}

impl Proxies {
    /// These; none: `X-Forwarded-For` never counts.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Who called: `id` is the claim of a token that was *verified*, `forwarded` the values of all `X-Forwarded-For` headers
    /// in their order.
    #[must_use]
    pub fn client<'a>(
        &self,
        id: Option<&str>,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Client {
        id.and_then(Client::id).unwrap_or_else(|| Client::address(self.origin(peer, forwarded)))
    }

    /// The address of whoever called, through trusted proxies. Where all are trusted it is the first of them; where one of
    /// them tells no address (`unknown`, garbage), the proxy that told so.
    fn origin<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
        // Empty elements are no elements (RFC 9110, 5.6.1.2); sync-proxy appends one.
        let hops = forwarded
            .rev()
            .flat_map(|value| value.rsplit(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|hop| !hop.is_empty());
        let mut origin = peer;
        for hop in hops.take(MAX_HOPS) {
            if !self.trusts(origin) {
                break;
            }
            match address(hop) {
                Some(address) => origin = address,
                None => break,
            }
        }
        origin
    }
}

/// The address of one element: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(bare) = bare {
        return bare.parse().ok().map(IpAddr::V6);
    }
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The names that the operator gave, in the order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<(Arc<str>, Client)>);

/// An entry of the names that can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// A name that is empty, too long, or has characters other than letters, digits, `-`, `_` and `.`.
    Name(String),
    /// Neither an address nor an id.
    Key(String),
    /// The name was given before.
    Twice(String),
    /// The CL has this name and that name.
    Both(String, String),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(f, "{name} is no name: 1 to {MAX_NAME} letters, digits, '-', '_' and '.' make one")
            }
            Self::Key(name) => write!(
                f,
                "{name} stands for no consensus client: write its address, or its token's id claim of 1 to {MAX_ID} bytes"
            ),
            Self::Twice(name) => {
                write!(f, "{name} is the name of two consensus clients: call one of them otherwise")
            }
            Self::Both(first, second) => {
                write!(f, "{first} and {second} are the same consensus client: leave one of them out")
            }
        }
    }
}

impl std::error::Error for NameError {}

impl Names {
    /// Names of CLs, each with the CL's address or its token's `id` claim. What reads as an address is one: a token with
    /// such an id is not the CL at that address.
    ///
    /// # Errors
    /// [`NameError`], of the first entry that can't be.
    pub fn new<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, NameError> {
        let mut names: Vec<(Arc<str>, Client)> = Vec::new();
        for (name, key) in entries {
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fine) {
                return Err(NameError::Name(shown(name)));
            }
            let client = match address(key.trim().as_bytes()) {
                Some(address) => Client::address(address),
                None => Client::id(key).ok_or_else(|| NameError::Key(name.to_owned()))?,
            };
            if names.iter().any(|(other, _)| **other == *name) {
                return Err(NameError::Twice(name.to_owned()));
            }
            if let Some((other, _)) = names.iter().find(|(_, other)| *other == client) {
                return Err(NameError::Both(other.to_string(), name.to_owned()));
            }
            names.push((name.into(), client));
        }
        Ok(Self(names))
    }

    /// What to call a CL: its name, else its id or address, fit for a log.
    #[must_use]
    pub fn of(&self, client: &Client) -> String {
        let named = self.0.iter().find(|(_, other)| other == client);
        named.map_or_else(|| client.to_string(), |(name, _)| name.to_string())
    }

    /// The CLs that have names, the most preferred first.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.0.iter().map(|(_, client)| client)
    }
}

/// What is shown of a bad setting.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(MAX_NAME).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests;

//! Who may change something: a pure function of what is known about the caller.
//!
//! 1. A browser sends `Origin`. If that isn't the host that the request went to, another site wants to use its visitor's
//!    reach: refused, whatever else is there.
//! 2. Who holds the admin token may.
//! 3. Without a token only a process on this machine may: a loopback peer, with no header that a proxy adds (then the
//!    peer is only the proxy), and with a `Host` that is a literal loopback address or `localhost`. The last rule is for
//!    DNS rebinding: a page of `evil.example`, whose name was made to point at 127.0.0.1, has the same origin as its
//!    requests, but they carry its name.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use mainstay_wire::local::{PROXY_HEADERS, is_loopback_host};
use sha2::{Digest, Sha256};

use crate::reply::Error;

/// Characters that a token has at least.
const MIN_TOKEN: usize = 16;

/// The admin token. Only its digest is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// The token is shorter than 16 characters, or has some that no header can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeakToken;

impl fmt::Display for WeakToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an admin token has {MIN_TOKEN} characters or more, all of them visible ASCII (for example from `openssl rand -hex 32`)"
        )
    }
}

impl std::error::Error for WeakToken {}

impl Token {
    /// A token; white space around it is ignored.
    ///
    /// # Errors
    /// [`WeakToken`], which does not quote it.
    pub fn new(text: &str) -> Result<Self, WeakToken> {
        let text = text.trim();
        if text.len() < MIN_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WeakToken);
        }
        Ok(Self(digest(text)))
    }

    /// Takes the same time for every text of one length.
    fn is(&self, text: &str) -> bool {
        let difference = self.0.iter().zip(digest(text)).fold(0, |all, (left, right)| all | (left ^ right));
        difference == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// What a request tells of who sent it.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// The peer of the connection.
    pub peer: IpAddr,
    /// The host, with its port, that the request was sent to; none if there is not exactly one.
    pub host: Option<String>,
    /// `Origin`, if there is one.
    pub origin: Option<String>,
    /// Whether a proxy passed it on.
    pub proxied: bool,
    /// The bearer token, if there is one.
    pub bearer: Option<String>,
}

/// Why a caller may not change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// From another site's page: 403.
    CrossOrigin,
    /// Needs a token, and none is configured: 403.
    NoTokenConfigured,
    /// Needs the token, and brought none: 401.
    TokenMissing,
    /// Brought another token: 401.
    TokenWrong,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrossOrigin => "changes are not taken from pages of another origin",
            Self::NoTokenConfigured => {
                "changes are taken from this machine only, by its loopback address and without a proxy between, \
                 because no admin token is set: set one ([admin] token_file, --admin-token-file) and send it as \
                 \"Authorization: Bearer …\""
            }
            Self::TokenMissing => "changes from elsewhere need the admin token as \"Authorization: Bearer …\"",
            Self::TokenWrong => "this is not the admin token",
        })
    }
}

/// Whether the caller may change something.
///
/// # Errors
/// Why not.
pub fn judge(caller: &Caller, token: Option<&Token>) -> Result<(), Refusal> {
    if let Some(origin) = &caller.origin
        && !is_same_origin(origin, caller.host.as_deref())
    {
        return Err(Refusal::CrossOrigin);
    }
    match (token, &caller.bearer) {
        (Some(token), Some(bearer)) if token.is(bearer) => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::TokenWrong),
        _ if is_local(caller) => Ok(()),
        (Some(_), None) => Err(Refusal::TokenMissing),
        (None, _) => Err(Refusal::NoTokenConfigured),
    }
}

fn is_same_origin(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

fn is_local(caller: &Caller) -> bool {
    let names_loopback = caller.host.as_deref().is_some_and(is_loopback_host);
    caller.peer.to_canonical().is_loopback() && !caller.proxied && names_loopback
}

impl Caller {
    /// Reads the caller out of a request's head. `authority` is that of the URI, which HTTP/2 has in place of `Host`.
    pub(crate) fn of(peer: IpAddr, authority: Option<&str>, headers: &HeaderMap) -> Self {
        let mut hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
        let host = match (authority, hosts.next(), hosts.next()) {
            (Some(authority), None, _) => Some(authority),
            (Some(authority), Some(Some(host)), None) if authority.eq_ignore_ascii_case(host) => Some(host),
            (None, Some(host), None) => host,
            _ => None,
        };
        let bearer =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
            });
        // An origin that is no text, or one of several, is none of ours.
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (None, _) => None,
            (Some(origin), None) => Some(origin.to_str().unwrap_or("null").to_owned()),
            _ => Some("null".to_owned()),
        };
        Self {
            peer,
            host: host.map(str::to_owned),
            origin,
            proxied: PROXY_HEADERS.iter().any(|&name| headers.contains_key(name)),
            bearer,
        }
    }
}

/// Who did something, for the log and for whoever looks on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct By {
    peer: SocketAddr,
    /// By the token, else from this machine.
    token: bool,
}

impl By {
    pub(crate) fn new(peer: SocketAddr, caller: &Caller) -> Self {
        Self { peer, token: caller.bearer.is_some() }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.peer, if self.token { "admin token" } else { "this machine" })
    }
}

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Error;

    /// The guard puts it there.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let by = parts.extensions.get::<Self>().cloned();
        by.ok_or_else(|| Error::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody has looked at who asks"))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("peer", &self.peer)
            .field("host", &self.host)
            .field("origin", &self.origin)
            .field("proxied", &self.proxied)
            .field("bearer", &self.bearer.as_ref().map(|_| "…"))
            .finish()
    }
}

#[cfg(test)]
mod tests;

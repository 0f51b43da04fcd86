//! Tokens of the Engine API: JWT with HS256 over a shared secret of 32 bytes, fresh by `iat`.
//!
//! Follows ethereum/execution-apis `src/engine/authentication.md`. `exp` and unknown claims are ignored, as the
//! specification asks. The signature is checked before any claim is read, in constant time.

mod provider;
mod secret;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

pub use secret::{Secret, SecretError};

/// How far `iat` may be from our clock, either way.
pub const MAX_SKEW: Duration = Duration::from_secs(60);

/// A token longer than this is refused unread.
const MAX_TOKEN: usize = 8 * 1024;

/// The claims that the Engine API knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// Issued at, in seconds since the Unix epoch.
    pub iat: u64,
    /// The consensus client's name for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The consensus client's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clv: Option<String>,
}

impl Claims {
    /// Claims with this time and nothing else.
    pub fn at(now: SystemTime) -> Self {
        Self { iat: seconds(now), id: None, clv: None }
    }
}

/// Why a request is not let in. Its text may be shown to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// No authorization header.
    Missing,
    /// The header is no `Bearer …`.
    NotBearer,
    /// The token is no JWT, or its claims are not what they must be.
    Malformed,
    /// An algorithm other than HS256, such as `none`.
    Algorithm,
    /// Signed with another secret.
    Signature,
    /// No `iat`, or one that is no number.
    NoIssuedAt,
    /// `iat` is more than [`MAX_SKEW`] from our clock; how many seconds the client's clock is ahead (or behind, negative).
    Skew(i64),
}

impl TokenError {
    /// One word for each, for metrics.
    pub const WORDS: [&str; 7] =
        ["missing", "not_bearer", "malformed", "algorithm", "signature", "no_iat", "clock"];

    /// Which of [`TokenError::WORDS`] it is.
    #[must_use]
    pub fn word(&self) -> &'static str {
        let at = match self {
            TokenError::Missing => 0,
            TokenError::NotBearer => 1,
            TokenError::Malformed => 2,
            TokenError::Algorithm => 3,
            TokenError::Signature => 4,
            TokenError::NoIssuedAt => 5,
            TokenError::Skew(_) => 6,
        };
        Self::WORDS[at]
    }
}

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TokenError::Missing => f.write_str("missing token"),
            TokenError::NotBearer => f.write_str("the authorization header is not \"Bearer\" with a token"),
            TokenError::Malformed => f.write_str("malformed token"),
            TokenError::Algorithm => f.write_str("the token's algorithm is not HS256"),
            TokenError::Signature => f.write_str("the token is signed with another secret"),
            TokenError::NoIssuedAt => f.write_str("the token has no iat"),
            TokenError::Skew(seconds) if *seconds < 0 => {
                write!(f, "stale token: iat is {} s behind, at most 60 s are allowed", seconds.unsigned_abs())
            }
            TokenError::Skew(seconds) => {
                write!(f, "future token: iat is {seconds} s ahead, at most 60 s are allowed")
            }
        }
    }
}

impl std::error::Error for TokenError {}

/// Claims as they come in: lenient about everything but `iat`.
#[derive(Deserialize)]
struct Received {
    iat: Option<serde_json::Value>,
    id: Option<serde_json::Value>,
    clv: Option<serde_json::Value>,
}

/// Checks a token and gives its claims.
///
/// # Errors
/// [`TokenError`]; a token with more than one fault is reported for its signature first.
pub fn verify(secret: &Secret, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Malformed);
    }
    if let Some(claims) = secret.verified(token) {
        fresh(claims.iat, now)?;
        return Ok(claims);
    }
    provider::install();
    let decoded = jsonwebtoken::decode::<Received>(token, secret.verifying(), &validation());
    let received = decoded.map_err(|error| refusal(error.kind()))?.claims;
    let iat = received.iat.as_ref().and_then(numeric_date).ok_or(TokenError::NoIssuedAt)?;
    fresh(iat, now)?;
    let claims = Claims { iat, id: received.id.and_then(text), clv: received.clv.and_then(text) };
    secret.keep_verified(token, &claims);
    Ok(claims)
}

fn fresh(iat: u64, now: SystemTime) -> Result<(), TokenError> {
    let ahead = i128::from(iat) - i128::from(seconds(now));
    if ahead.unsigned_abs() > u128::from(MAX_SKEW.as_secs()) {
        let limit = if ahead < 0 { i64::MIN } else { i64::MAX };
        return Err(TokenError::Skew(i64::try_from(ahead).unwrap_or(limit)));
    }
    Ok(())
}

/// The token of an `authorization: Bearer …` header.
///
/// # Errors
/// [`TokenError::Missing`] or [`TokenError::NotBearer`].
pub fn bearer(header: Option<&HeaderValue>) -> Result<&str, TokenError> {
    let value = header.ok_or(TokenError::Missing)?.to_str().map_err(|_| TokenError::NotBearer)?;
    let (scheme, token) = value.trim().split_once(' ').ok_or(TokenError::NotBearer)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(token)
    } else {
        Err(TokenError::NotBearer)
    }
}

/// Signs claims; the token without `Bearer`.
pub fn sign(secret: &Secret, claims: &Claims) -> String {
    if let Some(token) = secret.signed(claims) {
        return token;
    }
    provider::install();
    // Claims of numbers and strings always serialise and HMAC takes any key, so there is no error to report; an empty
    // token would be refused by every node.
    let token =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, secret.signing()).unwrap_or_default();
    secret.keep_signed(claims, &token);
    token
}

/// HS256 and nothing else; the time is checked here, against the caller's clock.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            TokenError::Algorithm
        }
        _ => TokenError::Malformed,
    }
}

/// RFC 7519's NumericDate: seconds, possibly with a fraction.
fn numeric_date(value: &serde_json::Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64);
    value.as_u64().or_else(fraction)
}

fn text(value: serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;

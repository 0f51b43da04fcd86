//! What can go wrong with a call, and whether another try is safe.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use super::shaking::TlsFault;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody listens.
    Refused,
    /// No way there: the name does not resolve, there is no route.
    Unreachable,
    /// The TLS handshake failed, for this reason.
    Tls(TlsFault),
    /// The node was to prove what it runs, and didn't.
    Unattested,
    /// The connection broke.
    Reset,
    /// The deadline, or the limit for connecting, passed.
    Timeout,
    /// The reply is larger than allowed.
    TooLarge,
    /// What came is not HTTP, or the request cannot be sent.
    Protocol,
    /// The body of the request that is passed on broke off or stalled ([`super::Client::pass`]). Says nothing of the node.
    Caller,
    /// The body of the request that is passed on is larger than allowed ([`super::Client::pass`]). Says nothing of the node.
    CallerTooLarge,
}

/// Whether the node may have got the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivered {
    /// Certainly not: another try is safe.
    No,
    /// Perhaps.
    Maybe,
}

/// A call without a whole reply. Its text holds neither URL nor credentials.
#[derive(Debug, Clone)]
pub struct CallError {
    /// What went wrong.
    pub fault: Fault,
    /// Whether the node may have got the request.
    pub delivered: Delivered,
    /// How long the call took until it failed.
    pub took: Duration,
    detail: Option<Cow<'static, str>>,
}

impl CallError {
    /// An error without detail.
    pub fn new(fault: Fault, delivered: Delivered) -> Self {
        Self { fault, delivered, took: Duration::ZERO, detail: None }
    }

    /// An error with what else there is to say.
    pub(super) fn detailed(fault: Fault, delivered: Delivered, detail: &'static str) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(fault, delivered) }
    }

    /// An error from before anything was sent.
    pub(super) fn undelivered(fault: Fault, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(fault, Delivered::No) }
    }

    /// What else there is to say.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The error with what else there is to say.
    pub(super) fn because(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub(super) fn with(self, delivered: Delivered) -> Self {
        Self { delivered, ..self }
    }

    pub(super) fn after(self, took: Duration) -> Self {
        Self { took, ..self }
    }

    /// A failed TCP connect or name resolution.
    pub(super) fn connecting(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::new(Fault::Refused, Delivered::No),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                Self::new(Fault::Reset, Delivered::No)
            }
            io::ErrorKind::TimedOut => Self::undelivered(Fault::Timeout, "connecting"),
            _ => Self::undelivered(Fault::Unreachable, error.to_string()),
        }
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fault {
            Fault::Refused => f.write_str("connection refused")?,
            Fault::Unreachable => f.write_str("unreachable")?,
            Fault::Tls(_) => f.write_str("TLS handshake failed")?,
            Fault::Unattested => f.write_str("not attested")?,
            Fault::Reset => f.write_str("connection reset")?,
            Fault::Timeout => write!(f, "timed out after {:.1} s", self.took.as_secs_f64())?,
            Fault::TooLarge => f.write_str("reply too large")?,
            Fault::Protocol => f.write_str("protocol error")?,
            Fault::Caller => f.write_str("the request's body did not come whole")?,
            Fault::CallerTooLarge => f.write_str("request too large")?,
        }
        match &self.detail {
            Some(detail) if self.fault == Fault::Timeout => write!(f, " ({detail})"),
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CallError {}

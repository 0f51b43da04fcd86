//! Whether requests get through, as requests see it: one read of a lock, no decision.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::HeaderValue;
use tokio_util::sync::CancellationToken;

/// What ends when a guard closes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    /// Event streams end with it.
    pub(crate) closed: CancellationToken,
    /// Requests that wait for the node end with it: nothing good is to be expected of that node any more.
    pub(crate) lost: CancellationToken,
}

impl Opening {
    /// The one after it. Requests that wait since then are still to end when the node is lost.
    pub(crate) fn next(&self) -> Self {
        let lost = if self.lost.is_cancelled() { CancellationToken::new() } else { self.lost.clone() };
        Self { closed: CancellationToken::new(), lost }
    }
}

/// What everybody is told while a guard is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) body: Bytes,
    pub(crate) retry_after: HeaderValue,
}

/// Open or closed.
#[derive(Clone, Debug)]
pub(crate) enum Gate {
    Open(Arc<Opening>),
    Closed(Arc<Refusal>),
}

/// A guard's gate.
#[derive(Debug)]
pub(crate) struct Gates(RwLock<Gate>);

impl Gates {
    pub(crate) fn new(refusal: Refusal) -> Self {
        Self(RwLock::new(Gate::Closed(Arc::new(refusal))))
    }

    pub(crate) fn now(&self) -> Gate {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, gate: Gate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = gate;
    }
}

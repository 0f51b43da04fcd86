//! One node as the role holds it: its connections, what is known of it, and what a try says of its health.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use mainstay_node::{Health, health};
use mainstay_wire::client::{self, CallError, Client, Fault};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::pool::NodeId;
use crate::telemetry::{NodeMetrics, TryEnd};
use crate::upstream::Upstream;

/// Locks a mutex that is only ever held for a few lines without an await; what it holds is consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What changes about a node.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) health: Health,
    /// Its client, as `name/version`.
    pub(crate) client: Option<String>,
    /// How long the last probe took that it answered.
    pub(crate) probe_took: Option<Duration>,
    /// The operator lets it get no more requests.
    pub(crate) draining: bool,
}

/// A node's URI.
#[derive(Debug)]
pub(crate) struct Uris {
    /// As it may be shown: no credentials.
    pub(crate) shown: String,
    pub(crate) upstream: Upstream,
}

impl Uris {
    pub(crate) fn new(upstream: Upstream) -> Arc<Self> {
        Arc::new(Self { shown: upstream.shown(), upstream })
    }
}

/// A node.
pub(crate) struct Node {
    /// Unique in the role: host and port, numbered if several nodes have the same.
    pub(crate) name: String,
    /// How it is written on the list; its size may change, never where it is.
    uris: Mutex<Arc<Uris>>,
    /// Its place in the pool.
    pub(crate) id: NodeId,
    pub(crate) client: Client,
    /// Path and query of its URL.
    pub(crate) target: Uri,
    pub(crate) metrics: NodeMetrics,
    /// Wakes its prober.
    pub(crate) probe: Notify,
    /// Ends its tasks.
    pub(crate) removed: CancellationToken,
    state: Mutex<State>,
}

/// What a node is made of.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) uris: Arc<Uris>,
    pub(crate) client: Client,
    pub(crate) id: NodeId,
    pub(crate) metrics: NodeMetrics,
    pub(crate) removed: CancellationToken,
}

impl Node {
    /// A node, with nothing known of it.
    pub(crate) fn new(parts: Parts, rules: health::Rules, now: Instant) -> Self {
        let Parts { name, uris, client, id, metrics, removed } = parts;
        let url = &uris.upstream.url;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let state =
            State { health: Health::new(rules, now), client: None, probe_took: None, draining: false };
        Self {
            // A URL's path and query are a request's target: the client has checked them.
            target: Uri::try_from(target).unwrap_or_default(),
            probe: Notify::new(),
            state: Mutex::new(state),
            name,
            uris: Mutex::new(uris),
            id,
            client,
            metrics,
            removed,
        }
    }

    /// How it is written.
    pub(crate) fn uris(&self) -> Arc<Uris> {
        lock(&self.uris).clone()
    }

    pub(crate) fn set_uris(&self, uris: Arc<Uris>) {
        *lock(&self.uris) = uris;
    }

    /// What changes about it; hold it for a few lines only.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A client for a node.
pub(crate) fn client(upstream: &Upstream, options: &client::Options) -> Result<Client, String> {
    Client::new(&upstream.url, options.clone()).map_err(|error| error.to_string())
}

/// How a try that ended so is counted.
pub(crate) fn try_end(error: &CallError) -> TryEnd {
    match error.fault {
        Fault::Refused => TryEnd::Refused,
        Fault::Unreachable => TryEnd::Unreachable,
        Fault::Tls(_) => TryEnd::Tls,
        Fault::Unattested => TryEnd::Unattested,
        Fault::Reset => TryEnd::Reset,
        Fault::Timeout => TryEnd::Timeout,
        Fault::TooLarge | Fault::Protocol | Fault::Caller | Fault::CallerTooLarge => TryEnd::Protocol,
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Failure;
    use mainstay_wire::client::{Delivered, TlsFault};

    #[test]
    fn a_handshake_that_fails_has_one_word_whatever_the_reason() {
        for why in [TlsFault::Expired, TlsFault::CertificateRequired] {
            let failed = CallError::new(Fault::Tls(why), Delivered::No);
            assert_eq!(try_end(&failed).word(), "tls");
            // Clients are told no more than that.
            assert_eq!(Failure::of_try(&failed), Failure::Node("the TLS handshake failed".to_owned()));
        }
        for (word, fault) in [("unreachable", Fault::Unreachable), ("unattested", Fault::Unattested)] {
            assert_eq!(try_end(&CallError::new(fault, Delivered::No)).word(), word);
        }
    }
}

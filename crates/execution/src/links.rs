//! Copies of calls to other endpoints, such as a mainstay or sync-proxy further down the chain (`-proxies`): sent, never waited for.
//!
//! A link has a queue ([`queue`]) and a task. Handing it a copy takes no time and can't fail; what a link that hangs has no room for
//! is dropped and counted. Several copies are under way at once, a head only when all before it have ended. Each has its own deadline,
//! and its answer is read to the end, so that connections are used again and as few stay open as are under way at once, one with
//! HTTP/2.
//!
//! What a copy carries is [`request`]'s: the caller's own header fields, and its `Authorization` or a token by the link's secret.

mod queue;
mod request;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode};
use mainstay_node::NodeSpec;
use mainstay_wire::client::{Attestation, BadEndpoint, CallError, Clear, Options, Tls, Transport, Uplink};
use mainstay_wire::jwt::Secret;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use queue::{Bounds, Queue};
use request::Target;

/// The largest answer that is read, in bytes; one that is larger costs its connection.
const MAX_REPLY: usize = 32 * 1024 * 1024;

/// Copies that may be under way at once, unless it is said otherwise.
const IN_FLIGHT: usize = 8;

/// A link, checked.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Where it is, and what it is called.
    pub spec: NodeSpec,
    /// Signs tokens for it; without one the caller's `Authorization` is passed on.
    pub secret: Option<Secret>,
    /// How long one copy may take.
    pub timeout: Duration,
    /// Copies that may be under way at once; 1 keeps them strictly in the order in which they came.
    pub in_flight: usize,
    /// Whom it is trusted to be, and as whom it is called; by what the system trusts without.
    pub tls: Option<Tls>,
    /// What is spoken in the clear.
    pub clear: Clear,
}

impl LinkConfig {
    /// A link by what the system trusts, over HTTP/1.1 in the clear. Its own timeout lowers the general one.
    #[must_use]
    pub fn new(spec: NodeSpec, secret: Option<Secret>, timeout: Duration) -> Self {
        let timeout = spec.timeout.map_or(timeout, |own| own.min(timeout));
        Self { spec, secret, timeout, in_flight: IN_FLIGHT, tls: None, clear: Clear::default() }
    }

    /// What its copies go over: HTTP/2 where the link chooses that by TLS, or in the clear if it is said to understand it. If it is to prove
    /// what it runs it is judged by `attest`, and trusted on no other ground.
    ///
    /// # Errors
    /// [`BadEndpoint`], which doesn't quote the URL.
    pub fn transport(&self, attest: Option<Attestation>) -> Result<Arc<dyn Transport>, BadEndpoint> {
        let tls = self.tls.clone();
        let (max_idle, max_reply) = (self.in_flight, MAX_REPLY);
        let options = Options { max_idle, max_reply, tls, attest, ..Options::default() };
        Ok(Arc::new(Uplink::new(&self.spec.url, options, self.clear)?))
    }
}

/// A call that is copied; all links share it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The JSON-RPC method, for whoever counts.
    pub method: String,
    /// The body, as it came.
    pub body: Bytes,
    /// Goes when all that came before it have ended: a forkchoiceUpdated.
    pub in_order: bool,
    /// Path and query that were asked for.
    pub target: Option<PathAndQuery>,
    /// The header fields, as they came.
    pub headers: HeaderMap,
    /// Whose connection it came over.
    pub peer: Option<IpAddr>,
    /// Claims of the caller's token, for the link's own.
    pub id: Option<String>,
    /// As [`Call::id`].
    pub clv: Option<String>,
}

impl Call {
    /// A call with nothing but a body. Its method says whether it goes in order.
    #[must_use]
    pub fn new(method: &str, body: Bytes) -> Self {
        Self {
            method: method.to_owned(),
            body,
            in_order: method.starts_with("engine_forkchoiceUpdated"),
            target: None,
            headers: HeaderMap::new(),
            peer: None,
            id: None,
            clv: None,
        }
    }
}

/// How a copy ended.
#[derive(Debug)]
pub enum End {
    /// With a 2xx.
    Success,
    /// With another status.
    Status(StatusCode),
    /// Without an answer.
    Error(CallError),
    /// Path and query of the call can't be requested.
    Unsendable,
}

impl End {
    /// A word for it: `success`, `http_error` or `error`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            End::Success => "success",
            End::Status(_) => "http_error",
            End::Error(_) | End::Unsendable => "error",
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Success => f.write_str("answered"),
            End::Status(status) => write!(f, "answered with HTTP {}", status.as_u16()),
            End::Error(error) => error.fmt(f),
            End::Unsendable => f.write_str("path and query can't be requested"),
        }
    }
}

/// Is told what becomes of copies. Called from the links' tasks, and from whoever copies: must not block.
pub trait Watch: Send + Sync {
    /// A copy has ended, so long after it was sent.
    fn ended(&self, link: &str, call: &Call, end: &End, took: Duration);

    /// A copy was dropped unsent: there was no room.
    fn dropped(&self, link: &str, call: &Call);
}

/// An endpoint that gets copies. Its task ends with the token that it was started with.
pub struct Link {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    name: String,
    target: Target,
    timeout: Duration,
    transport: Arc<dyn Transport>,
    watch: Arc<dyn Watch>,
    queue: Mutex<Queue<Arc<Call>>>,
    /// There may be something to do for the task.
    wake: Notify,
    /// The last copy failed.
    is_failing: AtomicBool,
}

impl Link {
    /// Starts the link's task.
    #[must_use]
    pub fn start(
        config: LinkConfig,
        transport: Arc<dyn Transport>,
        watch: Arc<dyn Watch>,
        stop: &CancellationToken,
    ) -> Self {
        let LinkConfig { spec, secret, timeout, in_flight, .. } = config;
        let shared = Arc::new(Shared {
            name: spec.name,
            target: Target { url: spec.url, secret },
            timeout,
            transport,
            watch,
            queue: Mutex::new(Queue::new(Bounds { waiting: 64, waiting_bytes: 64 * 1024 * 1024, in_flight })),
            wake: Notify::new(),
            is_failing: AtomicBool::new(false),
        });
        tokio::spawn(run(shared.clone(), stop.clone()));
        Self { shared, stop: stop.clone() }
    }

    /// What the link is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Sends a copy. Waits for nothing.
    pub fn copy(&self, call: &Arc<Call>) {
        if self.stop.is_cancelled() {
            return;
        }
        let dropped = self.shared.lock().push(call.clone(), call.body.len(), call.in_order);
        self.shared.wake.notify_one();
        for call in dropped {
            self.shared.watch.dropped(&self.shared.name, &call);
        }
    }

    /// How many copies wait, and how many are under way.
    #[cfg(test)]
    fn load(&self) -> (usize, usize) {
        let queue = self.shared.lock();
        (queue.waiting(), queue.in_flight())
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue<Arc<Call>>> {
        // Nothing that is done under the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, call: &Call) {
        let started = Instant::now();
        let end = match request::of(&self.target, call, crate::clock::wall()) {
            None => End::Unsendable,
            Some(request) => match self.transport.send(request, started + self.timeout).await {
                Ok(reply) if reply.status.is_success() => End::Success,
                Ok(reply) => End::Status(reply.status),
                Err(error) => End::Error(error),
            },
        };
        self.note(call, &end);
        self.watch.ended(&self.name, call, &end, started.elapsed());
    }

    /// Logs where a link begins to fail and where it serves again; a line for each copy would fill logs.
    fn note(&self, call: &Call, end: &End) {
        let (link, method) = (&self.name, &call.method);
        let fails = !matches!(end, End::Success);
        match (self.is_failing.swap(fails, Ordering::Relaxed), fails) {
            (false, true) => tracing::warn!(%link, %method, %end, "a copy to a link failed"),
            (true, false) => tracing::info!(%link, %method, "copies to a link arrive again"),
            (true, true) => tracing::debug!(%link, %method, %end, "a copy to a link failed"),
            (false, false) => {}
        }
    }
}

/// A copy that is under way; its place is free when it is dropped, however it ends.
struct UnderWay {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.shared.lock().ended(self.number);
        self.shared.wake.notify_one();
    }
}

async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    // What is under way ends with it.
    let mut tasks = JoinSet::new();
    loop {
        loop {
            // The lock is not held while the task is spawned.
            let next = shared.lock().next();
            let Some((number, call)) = next else { break };
            let under_way = UnderWay { shared: shared.clone(), number };
            tasks.spawn(async move { under_way.shared.send(&call).await });
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(_) = tasks.join_next() => {}
            () = shared.wake.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests;

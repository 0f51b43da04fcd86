//! A simulated beacon node on a socket: it answers what health is judged by, gives and takes blocks, streams events, and
//! echoes everything else. A test sets what it says ([`BeaconState`]) and what is wrong with it
//! ([`Fault`](crate::Fault), for all paths or those with a prefix), and looks up what it was asked.

mod events;
mod service;
mod state;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Version, request::Parts};
use serde_json::Value;
use tokio::time::Instant;

use self::events::{Event, Streams};
pub use self::state::{BeaconState, Fork};
use crate::{
    fault::{Faults, Rule},
    host::{self, Host, lock},
    log::{Entry, Log, NotSeen},
};

/// Where the events are.
const EVENTS: &str = "/eth/v1/events";
/// So many bytes of bodies are kept.
const MOST_BYTES: usize = 256 << 20;

/// One request that a beacon node received.
#[derive(Clone)]
pub struct Received {
    /// 0 for the first one.
    pub seq: u64,
    /// Its method.
    pub method: Method,
    /// Its path with its query.
    pub path: String,
    /// HTTP/1.1 or 2.
    pub version: Version,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; `None` until it is in, and for ever where it broke off or is larger than 128 MiB.
    pub body: Option<Bytes>,
    /// When its head was in.
    pub at: Instant,
}

impl Received {
    fn of(parts: &Parts, at: Instant) -> Received {
        Received {
            seq: 0,
            method: parts.method.clone(),
            path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            version: parts.version,
            headers: parts.headers.clone(),
            body: None,
            at,
        }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} {}", self.seq, self.method, self.path)?;
        self.body.as_ref().map_or(Ok(()), |body| write!(f, " ({} bytes)", body.len()))
    }
}

impl Entry for Received {
    fn seq(&mut self) -> &mut u64 {
        &mut self.seq
    }

    fn bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }

    fn label(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

struct Shared {
    host: Host,
    state: Mutex<BeaconState>,
    streams: Streams,
    log: Log<Received>,
}

/// Starts simulated beacon nodes.
pub struct BeaconServer;

impl BeaconServer {
    /// Serves a beacon node on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(name: &str, state: BeaconState) -> io::Result<BeaconHandle> {
        BeaconServer::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), name, state).await
    }

    /// Serves a beacon node on `addr`, HTTP/1.1 and h2c; returns once it listens.
    ///
    /// # Errors
    /// Where the port can't be had.
    pub async fn start_at(addr: SocketAddr, name: &str, state: BeaconState) -> io::Result<BeaconHandle> {
        let shared = Arc::new(Shared {
            host: Host::open(name.to_owned(), addr)?,
            state: Mutex::new(state),
            streams: Streams::default(),
            log: Log::new(MOST_BYTES),
        });
        tokio::spawn(host::accept(shared.clone()));
        Ok(BeaconHandle { shared })
    }
}

/// A simulated beacon node that runs; clones are handles to the same one. It runs until
/// [`BeaconHandle::stop`] or the runtime's end, also when no handle is left.
#[derive(Clone)]
pub struct BeaconHandle {
    shared: Arc<Shared>,
}

impl fmt::Debug for BeaconHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.shared.host.name, self.shared.host.addr)
    }
}

impl BeaconHandle {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.host.name
    }

    /// Where it listens, or would if it were not down.
    pub fn addr(&self) -> SocketAddr {
        self.shared.host.addr
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        self.shared.host.url()
    }

    /// This fault and no other, from now on: a request that arrives after this returns has it. Anything but `Down`
    /// brings a node back that was down. An event stream that is open suffers `Down` (it is reset) and `Hang` (its events
    /// are sent once that is over); one that is being opened suffers all but `Truncate`, `SlowBody` and `ContentType`.
    /// A request that hangs, and whose connection goes, is not worked off.
    pub fn set(&self, rule: impl Into<Rule>) {
        let rule = rule.into();
        self.change(|faults| faults.set(rule));
    }

    /// This fault beside those that it has.
    pub fn add(&self, rule: impl Into<Rule>) {
        let rule = rule.into();
        self.change(|faults| faults.add(rule));
    }

    /// No fault: it listens again on its port, and hung requests are answered.
    pub fn heal(&self) {
        self.change(Faults::clear);
    }

    /// Its faults in a few words, `None` where it is well.
    pub fn faults(&self) -> Option<String> {
        self.shared.host.describe()
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.host.change(change);
        if !self.shared.host.hangs(EVENTS) {
            self.shared.streams.release();
        }
        self.shared.log.changed();
    }

    /// Looks at what it says or changes it. Don't block inside.
    pub fn with<T>(&self, look: impl FnOnce(&mut BeaconState) -> T) -> T {
        let seen = look(&mut lock(&self.shared.state));
        self.shared.log.changed();
        seen
    }

    /// From now on `slot` is its head, and every stream of `head` hears of it.
    pub fn head(&self, slot: u64) {
        let event = self.with(|state| {
            state.head_slot = slot;
            state.head_event()
        });
        self.event("head", &event);
    }

    /// Sends an event to every stream of this topic.
    pub fn event(&self, topic: &str, data: &Value) {
        let text = format!("event: {topic}\ndata: {data}\n\n");
        self.send(Event { topic: Some(topic.to_owned()), text: text.into() });
    }

    /// Sends a comment to every stream, as nodes do to keep connections open.
    pub fn comment(&self, text: &str) {
        self.send(Event { topic: None, text: format!(": {text}\n\n").into() });
    }

    fn send(&self, event: Event) {
        self.shared.streams.send(event, || self.shared.host.hangs(EVENTS));
    }

    /// Ends every stream as it should end.
    pub fn end_streams(&self) {
        self.shared.streams.end();
    }

    /// How many event streams are open.
    pub fn streams(&self) -> usize {
        self.shared.streams.count()
    }

    /// Waits until exactly `count` event streams are open.
    ///
    /// # Errors
    /// As [`BeaconHandle::wait_for`].
    pub async fn wait_for_streams(&self, count: usize, within: Duration) -> Result<(), NotSeen> {
        self.wait_for(within, |_| self.streams() == count).await
    }

    /// The requests that it received, oldest first (the last 4096, at most 256 MiB).
    pub fn requests(&self) -> Vec<Received> {
        self.shared.log.calls()
    }

    /// Those whose path begins with this.
    pub fn requests_to(&self, prefix: &str) -> Vec<Received> {
        let mut requests = self.requests();
        requests.retain(|request| request.path.starts_with(prefix));
        requests
    }

    /// How many requests to paths that begin with this it received (of those kept).
    pub fn count(&self, prefix: &str) -> usize {
        self.shared.log.count(|request| request.path.starts_with(prefix))
    }

    /// Waits until `enough` says yes to the requests received.
    ///
    /// # Errors
    /// When it has not within `within`; says what was seen instead.
    pub async fn wait_for(
        &self,
        within: Duration,
        enough: impl FnMut(&[Received]) -> bool,
    ) -> Result<(), NotSeen> {
        self.shared.log.wait_for(within, enough).await
    }

    /// Waits until `count` requests to paths that begin with this are there.
    ///
    /// # Errors
    /// As [`BeaconHandle::wait_for`].
    pub async fn wait_for_requests(
        &self,
        prefix: &str,
        count: usize,
        within: Duration,
    ) -> Result<(), NotSeen> {
        let to = |seen: &[Received]| seen.iter().filter(|seen| seen.path.starts_with(prefix)).count();
        self.wait_for(within, |seen| to(seen) >= count).await
    }

    /// Ends it for good: the port is free, connections are closed.
    pub fn stop(&self) {
        self.shared.host.end();
    }
}

#[cfg(test)]
mod tests;

//! A simulated execution client on a socket, and the handle by which a test or a person breaks it.
//!
//! It stands on hyper's connections rather than on `mainstay_wire::server`, because its faults are
//! of the kind that a good server never has: a port that vanishes, an answer that ends half-way.

mod outgoing;
mod service;
mod socket;

use std::{
    fmt,
    future::poll_fn,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use mainstay_wire::jwt::Secret;
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore},
};
use tokio_util::sync::CancellationToken;

use self::socket::{Connection, Gate};
use crate::{
    chain::Block,
    el::El,
    fault::{Family, Faults, Rule},
    log::{CallLog, NotSeen, Received},
};

/// Connections at one time; more wait in the listener's backlog.
const MOST_CONNECTIONS: usize = 1024;
/// Calls that lag or hang at one time and outlive their connections.
const MOST_WAITING: usize = 1024;
/// How soon a port that could not be had is tried again.
const REOPEN: Duration = Duration::from_millis(50);

/// Starts simulated execution clients.
pub struct ElServer;

impl ElServer {
    /// Serves `el` on a free port of 127.0.0.1. Without a secret it asks for no token.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(el: El, secret: impl Into<Option<Secret>>) -> io::Result<(ElHandle, SocketAddr)> {
        ElServer::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), el, secret).await
    }

    /// Serves `el` on `addr`; returns once it listens.
    ///
    /// # Errors
    /// Where the port can't be had.
    pub async fn start_at(
        addr: SocketAddr,
        el: El,
        secret: impl Into<Option<Secret>>,
    ) -> io::Result<(ElHandle, SocketAddr)> {
        let (gate, addr) = Gate::open(addr)?;
        let shared = Arc::new(Shared {
            name: el.config().name.clone(),
            addr,
            secret: secret.into(),
            el: Mutex::new(el),
            faults: Mutex::new(Faults::default()),
            changed: Notify::new(),
            log: CallLog::new(),
            door: Mutex::new(Door { gate, alive: CancellationToken::new() }),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            stop: CancellationToken::new(),
            runtime: tokio::runtime::Handle::current(),
        });
        tokio::spawn(accept(shared.clone()));
        Ok((ElHandle { shared }, addr))
    }
}

/// The way in, which opens and closes with the simulated process.
struct Door {
    gate: Gate,
    /// Cancelled when the process dies; a new one is born with a token of its own.
    alive: CancellationToken,
}

struct Shared {
    name: String,
    addr: SocketAddr,
    secret: Option<Secret>,
    el: Mutex<El>,
    faults: Mutex<Faults>,
    /// The faults have changed.
    changed: Notify,
    log: CallLog,
    door: Mutex<Door>,
    waiting: Arc<Semaphore>,
    stop: CancellationToken,
    runtime: tokio::runtime::Handle,
}

/// What a panicking test leaves behind is still worth looking at.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Changes the faults and with them, before this returns, whether the node listens.
    fn change(&self, change: impl FnOnce(&mut Faults)) {
        let down = {
            let mut faults = lock(&self.faults);
            change(&mut faults);
            faults.is_down()
        };
        {
            // Sockets belong to the runtime, and a test may call from outside.
            let _inside = self.runtime.enter();
            let mut door = lock(&self.door);
            if down {
                door.gate.shut(self.addr);
                door.alive.cancel();
            } else if !self.stop.is_cancelled() {
                if door.alive.is_cancelled() {
                    door.alive = CancellationToken::new();
                }
                if let Err(error) = door.gate.reopen(self.addr) {
                    tracing::warn!(node = %self.name, %error, "port not available yet");
                }
            }
        }
        self.changed.notify_waiters();
        self.log.changed();
    }

    async fn accepted(&self) -> io::Result<(TcpStream, CancellationToken)> {
        poll_fn(|cx| {
            let door = lock(&self.door);
            let Gate::Open(listener) = &door.gate else {
                return Poll::Pending;
            };
            let accepted = listener.poll_accept(cx);
            accepted.map_ok(|(stream, _)| (stream, door.alive.clone()))
        })
        .await
    }

    /// Tries again for a port that could not be had when it was wanted.
    fn must_reopen(&self) -> bool {
        let down = lock(&self.faults).is_down();
        let mut door = lock(&self.door);
        !down && matches!(door.gate, Gate::Closed) && door.gate.reopen(self.addr).is_err()
    }
}

async fn accept(shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let retry = shared.must_reopen();
        let permit = tokio::select! {
            () = shared.stop.cancelled() => break,
            permit = room.clone().acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => break,
            () = &mut changed => continue,
            () = tokio::time::sleep(REOPEN), if retry => continue,
            accepted = shared.accepted() => accepted,
        };
        match accepted {
            Ok((stream, alive)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    converse(shared, stream, alive).await;
                });
            }
            Err(error) => {
                tracing::debug!(node = %shared.name, %error, "connection not accepted");
                tokio::time::sleep(REOPEN).await;
            }
        }
    }
    lock(&shared.door).gate = Gate::Closed;
}

async fn converse(shared: Arc<Shared>, stream: TcpStream, alive: CancellationToken) {
    let stream = TokioIo::new(Connection::new(stream, alive.clone()));
    let stop = shared.stop.clone();
    let born = alive.clone();
    let service = service_fn(move |request| service::answer(shared.clone(), request, born.clone()));
    let talk = http1::Builder::new().serve_connection(stream, service);
    tokio::select! {
        biased;
        () = alive.cancelled() => {}
        () = stop.cancelled() => {}
        // However a connection ends, the node goes on; its peer sees how.
        _ = talk => {}
    }
}

/// A simulated execution client that runs; clones are handles to the same one. It runs until
/// [`ElHandle::stop`] or the runtime's end, also when no handle is left.
#[derive(Clone)]
pub struct ElHandle {
    shared: Arc<Shared>,
}

impl fmt::Debug for ElHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.shared.name, self.shared.addr)
    }
}

impl ElHandle {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where it listens, or would if it were not down.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.addr)
    }

    /// This fault and no other, from now on: a call that arrives after this returns has it.
    /// Anything but `Down` brings a node back that was down.
    pub fn set(&self, rule: impl Into<Rule>) {
        let rule = rule.into();
        self.shared.change(|faults| faults.set(rule));
    }

    /// This fault beside those that it has.
    pub fn add(&self, rule: impl Into<Rule>) {
        let rule = rule.into();
        self.shared.change(|faults| faults.add(rule));
    }

    /// No fault: it listens again on its port, and hung calls are worked off in their order.
    pub fn heal(&self) {
        self.shared.change(Faults::clear);
    }

    /// Its faults in a few words, `None` where it is well.
    pub fn faults(&self) -> Option<String> {
        lock(&self.shared.faults).describe()
    }

    /// Looks into the client or changes it. Don't block inside.
    pub fn with<T>(&self, look: impl FnOnce(&mut El) -> T) -> T {
        let seen = look(&mut lock(&self.shared.el));
        self.shared.log.changed();
        seen
    }

    /// Its head.
    pub fn head(&self) -> Block {
        self.with(|el| el.head().clone())
    }

    /// The calls that it received, oldest first (the last 4096, at most 64 MiB).
    pub fn calls(&self) -> Vec<Received> {
        self.shared.log.calls()
    }

    /// The calls of one family that it received.
    pub fn calls_of(&self, family: Family) -> Vec<Received> {
        let mut calls = self.calls();
        calls.retain(|call| call.family() == family);
        calls
    }

    /// How many calls of a family it received (of those kept).
    pub fn count(&self, family: Family) -> usize {
        self.shared.log.count(family)
    }

    /// How many requests got a 401.
    pub fn refused(&self) -> u64 {
        self.shared.log.refused()
    }

    /// Forgets the calls received; their numbers go on.
    pub fn clear_calls(&self) {
        self.shared.log.clear();
    }

    /// Waits until `enough` says yes to the calls received.
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

    /// Waits until `count` calls of a family are there.
    ///
    /// # Errors
    /// As [`ElHandle::wait_for`].
    pub async fn wait_for_calls(
        &self,
        family: Family,
        count: usize,
        within: Duration,
    ) -> Result<(), NotSeen> {
        let of_family = |calls: &[Received]| calls.iter().filter(|c| c.family() == family).count();
        self.wait_for(within, |calls| of_family(calls) >= count).await
    }

    /// Waits until the client's state is as wanted: looked at after every answer and change.
    ///
    /// # Errors
    /// As [`ElHandle::wait_for`].
    pub async fn wait_until(
        &self,
        within: Duration,
        mut wanted: impl FnMut(&El) -> bool,
    ) -> Result<(), NotSeen> {
        self.wait_for(within, |_| wanted(&lock(&self.shared.el))).await
    }

    /// Ends it for good: the port is free, connections are closed.
    pub fn stop(&self) {
        self.shared.stop.cancel();
        lock(&self.shared.door).gate = Gate::Closed;
        self.shared.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;

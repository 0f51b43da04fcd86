//! A simulated process on a port: the way in, which opens and closes with it, and what is wrong with it. Which client runs
//! there is a [`Serve`]'s affair.
//!
//! It stands on hyper's connections rather than on `mainstay_wire::server`, because its faults are
//! of the kind that a good server never has: a port that vanishes, an answer that ends half-way.

mod outgoing;
mod reply;
mod socket;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore},
};
use tokio_util::sync::CancellationToken;

use self::socket::{Connection, Gate};
pub(crate) use self::{
    outgoing::Outgoing,
    reply::{JSON, Reply, boxed, finish, whole},
};
use crate::fault::{Faults, Picked};

/// Connections at one time; more wait in the listener's backlog.
const MOST_CONNECTIONS: usize = 4096;
/// How soon a port that could not be had is tried again.
const REOPEN: Duration = Duration::from_millis(50);

/// What runs in the simulated process.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Where it runs.
    fn host(&self) -> &Host;

    /// Answers one request. Dropped when its connection goes.
    fn answer(self: Arc<Self>, request: Request<Incoming>, life: Life) -> impl Future<Output = Reply> + Send;
}

/// What a request's fate hangs on.
#[derive(Clone)]
pub(crate) struct Life {
    /// Cancelled when the process dies; a new one is born with a token of its own.
    pub(crate) process: CancellationToken,
    /// Cancelled when the connection is to be reset, with the process or alone.
    pub(crate) connection: CancellationToken,
}

/// The way in.
struct Door {
    gate: Gate,
    alive: CancellationToken,
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) stop: CancellationToken,
    faults: Mutex<Faults>,
    /// The faults have changed.
    changed: Notify,
    door: Mutex<Door>,
    runtime: tokio::runtime::Handle,
}

/// What a panicking test leaves behind is still worth looking at.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// Listens on `addr`, without faults.
    pub(crate) fn open(name: String, addr: SocketAddr) -> io::Result<Host> {
        let (gate, addr) = Gate::open(addr)?;
        Ok(Host {
            name,
            addr,
            stop: CancellationToken::new(),
            faults: Mutex::new(Faults::default()),
            changed: Notify::new(),
            door: Mutex::new(Door { gate, alive: CancellationToken::new() }),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What a call of this method, or to this path, suffers; counts it.
    pub(crate) fn pick(&self, what: &str) -> Picked {
        lock(&self.faults).pick(what)
    }

    /// Whether a call of this method, or to this path, would hang.
    pub(crate) fn hangs(&self, what: &str) -> bool {
        lock(&self.faults).hangs(what)
    }

    pub(crate) fn describe(&self) -> Option<String> {
        lock(&self.faults).describe()
    }

    /// Changes the faults and with them, before this returns, whether the node listens.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Faults)) {
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
    }

    /// Waits as long as a call with these faults is held up.
    pub(crate) async fn hold(&self, picked: &Picked) {
        let lag = picked.lag();
        // Even a sleep of no time lasts until the timer's next millisecond.
        if !lag.is_zero() {
            tokio::time::sleep(lag).await;
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Waiters are woken in the order in which they registered, so calls keep theirs.
            changed.as_mut().enable();
            if !lock(&self.faults).holds_any(&picked.hangs) {
                return;
            }
            changed.await;
        }
    }

    /// Ends it for good: the port is free, connections are closed.
    pub(crate) fn end(&self) {
        self.stop.cancel();
        lock(&self.door).gate = Gate::Closed;
        self.changed.notify_waiters();
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

/// Takes connections until the host ends.
pub(crate) async fn accept(server: Arc<impl Serve>) {
    let host = server.host();
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let changed = host.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let retry = host.must_reopen();
        let permit = tokio::select! {
            () = host.stop.cancelled() => break,
            permit = room.clone().acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = host.stop.cancelled() => break,
            () = &mut changed => continue,
            () = tokio::time::sleep(REOPEN), if retry => continue,
            accepted = host.accepted() => accepted,
        };
        match accepted {
            Ok((stream, alive)) => {
                let server = server.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    converse(server, stream, alive).await;
                });
            }
            Err(error) => {
                tracing::debug!(node = %host.name, %error, "connection not accepted");
                tokio::time::sleep(REOPEN).await;
            }
        }
    }
    lock(&host.door).gate = Gate::Closed;
}

async fn converse(server: Arc<impl Serve>, stream: TcpStream, process: CancellationToken) {
    let life = Life { connection: process.child_token(), process };
    let stream = TokioIo::new(Connection::new(stream, life.connection.clone()));
    let stop = server.host().stop.clone();
    let reset = life.connection.clone();
    let service = service_fn(move |request| {
        let answer = server.clone().answer(request, life.clone());
        async { Ok::<_, Infallible>(answer.await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let talk = builder.serve_connection(stream, service);
    tokio::select! {
        biased;
        () = reset.cancelled() => {}
        () = stop.cancelled() => {}
        // However a connection ends, the node goes on; its peer sees how.
        _ = talk => {}
    }
}

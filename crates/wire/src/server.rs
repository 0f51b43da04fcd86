//! An HTTP server with bounds: connections, time for a request's head, idle time, stalled writes, and what is sent after
//! the answer.
//!
//! Over TCP or unix sockets; TLS is for what comes over TCP. HTTP/1.1 with keep-alive and HTTP/2, told apart by the first bytes: in the clear, HTTP/2 with prior knowledge (h2c) then, or
//! over TLS. What could be read in two ways ([`suspect`], [`http1`]) is refused before a handler sees it. A handler that panics costs its own request a 500, nothing more. Limits on bodies are the handler's, with
//! [`crate::body::read`].

mod activity;
mod answers;
mod connection;
#[cfg(fuzzing)]
pub mod fuzzed;
mod http1;
mod linger;
mod reply;
mod request;
mod suspect;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use self::activity::Socket;
use crate::local;
use crate::socket::{Accepted, Listener, Pause};

pub use crate::names::PeerNames;
pub use crate::tls::BadTls;
pub use reply::{BodyFailure, ReplyBody};
pub use request::{Broken, Request, RequestBody};
pub use tls::Tls;

/// What a handler answers.
pub type Response = http::Response<ReplyBody>;

/// Answers requests. Cloned for every request, so its state belongs in an `Arc`.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request. Dropped when the client goes away. Who is connected over a unix socket is a loopback address with a port of 0,
    /// another one for each connection ([`crate::local`]).
    fn call(&self, request: Request, peer: SocketAddr) -> impl Future<Output = Response> + Send;

    /// A connection has ended, whoever ended it, and whether or not anything was asked on it. No request of it is handled any more. Not
    /// to take long.
    fn closed(&self, _peer: SocketAddr) {}
}

/// Bounds of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// From a request's first byte (or from the connection's start) to the end of its head (10 s), and for the TLS handshake. Kept to within a
    /// quarter of the shortest of the three times here.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests (10 min: longer than any client keeps one).
    pub idle_timeout: Duration,
    /// How long a client may take in nothing of a reply (30 s). Over HTTP/1 its connection is closed then, over HTTP/2 that reply's stream is
    /// reset.
    pub write_timeout: Duration,
    /// How long a client may go on sending a request that was answered before it was in, for want of a token or for its
    /// size, say (5 s). To close at once would take the answer away from it.
    pub linger_timeout: Duration,
    /// How many connections are served at once (1024); more wait to be accepted.
    pub max_connections: usize,
    /// The certificate to serve TLS with over TCP (none: in the clear). Unix sockets are always in the clear.
    pub tls: Option<Tls>,
    /// Over HTTP/1 the names of header fields are written with capitals, as Go's servers do (`Content-Length`; off: in small
    /// letters). For clients that don't know that they mean the same.
    pub title_case: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            write_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(5),
            max_connections: 1024,
            tls: None,
            title_case: false,
        }
    }
}

/// Serves until `stop`, then takes the connections that wait to be accepted and closes the listener. Requests in flight, and those
/// that come on a connection before it has been idle for a second, are answered for as long as `grace`, the last of each HTTP/1
/// connection with `Connection: close`; the rest is cut. Returns when no connection is left.
pub async fn serve<H: Handler, L: Into<Listener>>(
    listener: L,
    handler: H,
    options: Options,
    stop: CancellationToken,
    grace: Duration,
) {
    let listener = listener.into();
    let options = Arc::new(options);
    let places = Arc::new(Semaphore::new(options.max_connections));
    let mut connections = JoinSet::new();
    let mut pause = Pause::default();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.ok()?;
            let (socket, peer) = arrived(listener.accept(&mut pause).await);
            Some((socket, peer, place))
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            Some((socket, peer, place)) = next => {
                let served = connection::serve(socket, peer, handler.clone(), options.clone(), stop.clone());
                connections.spawn(holding(place, served));
            }
        }
    }
    let mut waiting = listener.close();
    // Who finds no place stays where it is, for whoever else has this listener.
    while let Ok(place) = places.clone().try_acquire_owned() {
        let Some((socket, peer)) = waiting.next().map(arrived) else { break };
        let served = connection::serve(socket, peer, handler.clone(), options.clone(), stop.clone());
        connections.spawn(holding(place, served));
    }
    drop(waiting);

    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "cut connections that were busy after the grace period"
        );
    }
    connections.shutdown().await;
}

/// A connection that was accepted, and who is at its other end.
fn arrived(accepted: Accepted) -> (Socket, SocketAddr) {
    match accepted {
        Accepted::Tcp(stream, peer) => {
            // Only latency is lost where it cannot be set.
            let _ = stream.set_nodelay(true);
            (Either::Left(stream), peer)
        }
        Accepted::Unix(stream) => (Either::Right(stream), local::unix_peer()),
    }
}

/// Gives a connection's place back when it has ended, however it ended.
async fn holding(place: OwnedSemaphorePermit, served: impl Future<Output = ()>) {
    served.await;
    drop(place);
}

#[cfg(test)]
mod tests;

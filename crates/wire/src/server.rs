//! An HTTP server with bounds: connections, time for a request's head, idle time, stalled writes, and what is sent after
//! the answer.
//!
//! HTTP/1.1 with keep-alive and HTTP/2, told apart by the first bytes: in the clear, HTTP/2 with prior knowledge (h2c) then, or
//! over TLS. What could be read in two ways ([`suspect`], [`heads`]) is refused before a handler sees it. A handler that panics costs its own request a 500, nothing more. Limits on bodies are the handler's, with
//! [`crate::body::read`].

mod activity;
mod connection;
mod heads;
mod linger;
mod reply;
mod suspect;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::socket::Pause;

pub use crate::names::PeerNames;
pub use crate::tls::BadTls;
pub use reply::{BodyFailure, ReplyBody};
pub use tls::Tls;

/// What a handler answers.
pub type Response = http::Response<ReplyBody>;

/// Answers requests. Cloned for every request, so its state belongs in an `Arc`.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request. Dropped when the client goes away.
    fn call(
        &self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send;

    /// A connection has ended, whoever ended it, and whether or not anything was asked on it. Not to take long.
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
    /// How long a client may take in nothing of a reply (30 s).
    pub write_timeout: Duration,
    /// How long a client may go on sending a request that was answered before it was in, for want of a token or for its
    /// size, say (5 s). To close at once would take the answer away from it.
    pub linger_timeout: Duration,
    /// How many connections are served at once (1024); more wait to be accepted.
    pub max_connections: usize,
    /// The certificate to serve TLS with (none: in the clear).
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
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: H,
    options: Options,
    stop: CancellationToken,
    grace: Duration,
) {
    let options = Arc::new(options);
    let places = Arc::new(Semaphore::new(options.max_connections));
    let mut connections = JoinSet::new();
    let mut pause = Pause::default();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.ok()?;
            let (stream, peer) = accept(&listener, &mut pause).await;
            Some((stream, peer, place))
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            Some((stream, peer, place)) = next => {
                let served = connection::serve(stream, peer, handler.clone(), options.clone(), stop.clone());
                connections.spawn(holding(place, served));
            }
        }
    }
    let mut waiting = accepted(listener);
    // Who finds no place stays where it is, for whoever else has this listener.
    while let Ok(place) = places.clone().try_acquire_owned() {
        let Some((stream, peer)) = waiting.next() else { break };
        let served = connection::serve(stream, peer, handler.clone(), options.clone(), stop.clone());
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

/// The connections that wait to be accepted: their clients may have sent requests, which closing the listener would cut off.
fn accepted(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    // Not tokio's: it knows of a connection only when the system has told it of one.
    let listener = listener.into_std();
    std::iter::from_fn(move || {
        let (stream, peer) = listener.as_ref().ok()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        let stream = TcpStream::from_std(stream).ok()?;
        let _ = stream.set_nodelay(true);
        Some((stream, peer))
    })
}

/// Gives a connection's place back when it has ended, however it ended.
async fn holding(place: OwnedSemaphorePermit, served: impl Future<Output = ()>) {
    served.await;
    drop(place);
}

/// The next connection. Waits out errors of the listener.
async fn accept(listener: &TcpListener, pause: &mut Pause) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Only latency is lost where it cannot be set.
                let _ = stream.set_nodelay(true);
                pause.over();
                return (stream, peer);
            }
            Err(error) => pause.after(&error).await,
        }
    }
}

#[cfg(test)]
mod tests;

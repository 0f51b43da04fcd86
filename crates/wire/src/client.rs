//! A client for one endpoint: keep-alive connections over HTTP/1.1, newest first.
//!
//! A call drives its connection itself: there is no task of its own for a connection, so a call that is dropped closes
//! it and nothing is handed between threads. What becomes of an idle connection is seen when it is taken out of the
//! pool again.
//!
//! A request is sent twice only if it cannot have been delivered: it was handed to a reused connection that turned out
//! to be closed before a byte of the request was written. In every other failure [`CallError::delivered`] tells the
//! caller whether another try is safe; who knows that beforehand says so ([`Again`]). How many calls run at once is bounded by the callers, not here.
//!
//! The parts: [`endpoint`] where to, [`attested`] nodes that prove what they run, [`outgoing`] a request's bytes, [`incoming`] a reply's bytes, [`link`] one connection,
//! [`sending`] a request that streams, [`shaking`] why a handshake failed, [`pool`] those that are idle, [`stream`] TCP and TLS, [`reply`] what callers get. [`uplink`] is
//! the client for nodes that are far away, over HTTP/2 where they speak it.

mod attested;
mod endpoint;
mod error;
#[cfg(fuzzing)]
pub mod fuzzed;
mod h2;
mod incoming;
mod link;
mod outgoing;
mod pass;
mod pool;
mod reply;
mod sending;
mod shaking;
mod stream;
mod tls;
mod transport;
mod trust;
mod uplink;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::time::{Instant, timeout_at};
use url::Url;

use endpoint::Endpoint;
use link::{Begun, Link};
use outgoing::Outgoing;
use pool::Pool;

pub use crate::tls::BadTls;
pub use attested::{Attest, Attestation, Judge, Refused, Trial, Wait, asks_to_attest};
pub use endpoint::BadEndpoint;
pub use error::{CallError, Delivered, Fault};
pub use outgoing::{Lines, Post};
pub use pass::Pass;
pub use reply::{HttpReply, ReplyBody, StreamedReply};
pub use shaking::TlsFault;
pub use stream::{Dial, Dialled, Duplex};
pub use tls::{ServerName, Tls};
pub use transport::{Posted, Transport};
pub use uplink::{Clear, Uplink};

/// For connecting to a node that attests, if that is longer than [`Options::connect_timeout`] (10 s): its hardware is asked for evidence, which
/// takes it a second and more.
pub const ATTESTED_CONNECT: Duration = Duration::from_secs(10);

/// Bounds of a [`Client`].
#[derive(Debug, Clone)]
pub struct Options {
    /// For name resolution, TCP and TLS together (2 s).
    pub connect_timeout: Duration,
    /// How many idle connections are kept (256: as many as were ever busy at once; fewer would be opened anew with every burst).
    pub max_idle: usize,
    /// How long an idle connection is kept (55 s: nodes and balancers close theirs after 60 s or more).
    pub idle_timeout: Duration,
    /// The largest body of a reply, in bytes (128 MiB).
    pub max_reply: usize,
    /// Whom to trust in the place of the system's authorities, and the certificate to show (neither).
    pub tls: Option<Tls>,
    /// Who judges nodes that are to prove what they run (nobody: a client for such a node is refused).
    pub attest: Option<Attestation>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            max_idle: 256,
            idle_timeout: Duration::from_secs(55),
            max_reply: 128 * 1024 * 1024,
            tls: None,
            attest: None,
        }
    }
}

/// What may become of a request that does no more when it is done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It goes on a connection that was kept, and at once on a fresh one too where that one breaks before it has answered: as all do that were open when
    /// a server was restarted.
    IfItBreaks,
    /// It goes on a fresh connection. For who has waited on one that was kept, and in vain.
    Fresh,
}

/// A client for one endpoint. Clones share the pool.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    options: Options,
    pool: Pool,
}

impl Client {
    /// A client for an `http` or `https` URL. Opens no connection.
    ///
    /// `user:password@` in the URL becomes a basic authorization header. TLS trusts the system's roots unless the options say otherwise.
    ///
    /// # Errors
    /// [`BadEndpoint`] says what about the URL or the system's roots is wrong; it does not quote the URL.
    pub fn new(url: &Url, options: Options) -> Result<Client, BadEndpoint> {
        Ok(Self::of(Endpoint::new(url, &options)?, options))
    }

    /// As [`Client::new`], over connections that `dial` opens, without TLS.
    ///
    /// # Errors
    /// As those of [`Client::new`].
    pub fn over(dial: Arc<dyn Dial>, url: &Url, options: Options) -> Result<Client, BadEndpoint> {
        Ok(Self::of(Endpoint::new(url, &options)?.by(dial)?, options))
    }

    fn of(endpoint: Endpoint, options: Options) -> Client {
        let pool = Pool::new(options.max_idle, options.idle_timeout);
        Client { shared: Arc::new(Shared { endpoint, options, pool }) }
    }

    /// Posts JSON to the URL's own path; `token` becomes a bearer token and takes the place of basic authorization.
    ///
    /// # Errors
    /// [`CallError`] if there is no whole reply by `deadline`.
    pub async fn post(
        &self,
        body: Bytes,
        token: Option<&str>,
        deadline: Instant,
    ) -> Result<HttpReply, CallError> {
        check(token)?;
        self.whole(Outgoing::json(&self.shared.endpoint, body, token), deadline).await
    }

    /// Opens a connection and keeps it for the next call; nothing is sent on it but what TLS sends.
    ///
    /// # Errors
    /// [`CallError`] if there is none by `deadline`, or the node isn't taken.
    pub async fn reach(&self, deadline: Instant) -> Result<(), CallError> {
        let link = within(deadline, |_| self.connect(deadline)).await?;
        self.keep(link);
        Ok(())
    }

    /// Sends a request. Of its URI only path and query are used, and as they are: the endpoint's own path is not put
    /// before them.
    ///
    /// `host` and `content-length` are set, `accept-encoding: identity` and basic authorization where the request has
    /// none of its own. Hop-by-hop headers are the caller's to remove.
    ///
    /// # Errors
    /// [`CallError`] if there is no whole reply by `deadline`.
    pub async fn send(&self, request: Request<Bytes>, deadline: Instant) -> Result<HttpReply, CallError> {
        self.whole(Outgoing::of(&self.shared.endpoint, request), deadline).await
    }

    /// Posts, and gives the reply as soon as its head is there; the body streams. A body that makes no progress for as long as
    /// `stall` fails. It is `now` when it is called: whoever calls has read the clock.
    ///
    /// `host` and `content-length` are set, `accept-encoding: identity` and basic authorization where there is none in the lines.
    ///
    /// # Errors
    /// [`CallError`] if there is no head of a reply by `deadline`.
    pub async fn open(
        &self,
        post: Post<'_>,
        now: Instant,
        deadline: Instant,
        stall: Duration,
    ) -> Result<StreamedReply, CallError> {
        let request = Outgoing::post(&self.shared.endpoint, post);
        let (link, begun) = between(now, deadline, self.begin(&request, now, deadline)).await?;
        let body = ReplyBody::new(link, self.shared.clone(), Some(stall));
        Ok(StreamedReply { status: begun.status, fields: begun.fields, body })
    }

    /// As [`Client::send`], for a request that may be done twice. What is tried again is so within the one deadline.
    ///
    /// # Errors
    /// As those of [`Client::send`].
    pub async fn send_again(
        &self,
        request: Request<Bytes>,
        again: Again,
        deadline: Instant,
    ) -> Result<HttpReply, CallError> {
        let mut request = Outgoing::of(&self.shared.endpoint, request);
        request.again = Some(again);
        self.whole(request, deadline).await
    }

    async fn whole(&self, request: Outgoing, deadline: Instant) -> Result<HttpReply, CallError> {
        let max = self.shared.options.max_reply;
        let exchange = async |started| {
            let (mut link, Begun { status, fields }) = self.begin(&request, started, deadline).await?;
            let body = link.gather(max).await?;
            Ok((link, HttpReply { status, fields, body }))
        };
        let (link, reply) = within(deadline, exchange).await?;
        self.keep(link);
        Ok(reply)
    }

    /// Keeps a connection for another call.
    fn keep(&self, link: Link) {
        self.shared.pool.put(link);
    }

    fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Sends a request on an idle connection or a fresh one, and reads the head of its reply.
    async fn begin(
        &self,
        request: &Outgoing,
        now: Instant,
        deadline: Instant,
    ) -> Result<(Link, Begun), CallError> {
        if request.again != Some(Again::Fresh)
            && let Some(mut link) = self.shared.pool.take(now)
        {
            match link.begin(request).await {
                Ok(begun) => return Ok((link, begun)),
                // Once more, on a fresh connection: the other idle ones may be just as dead.
                Err(failed) if failed.untouched => {}
                Err(failed) if request.again.is_some() && failed.error.fault == Fault::Reset => {}
                Err(failed) => return Err(failed.error),
            }
        }
        // Boxed: it is rare and large, and every call would carry room for it.
        let mut link = Box::pin(self.connect(deadline)).await?;
        match link.begin(request).await {
            Ok(begun) => Ok((link, begun)),
            Err(failed) => Err(failed.error),
        }
    }

    /// Until when a connection that is opened now has to be open. A node that attests takes its time: it asks its hardware for evidence.
    fn connect_limit(&self, deadline: Instant) -> Instant {
        let mut limit = self.shared.options.connect_timeout;
        if self.shared.endpoint.is_attested() {
            limit = limit.max(ATTESTED_CONNECT);
        }
        deadline.min(Instant::now() + limit)
    }

    async fn connect(&self, deadline: Instant) -> Result<Link, CallError> {
        let endpoint = &self.shared.endpoint;
        match timeout_at(self.connect_limit(deadline), Link::connect(endpoint)).await {
            Ok(connected) => connected,
            Err(_) => Err(CallError::undelivered(Fault::Timeout, "connecting")),
        }
    }
}

/// Runs work that starts now and has to be done by `deadline`.
async fn within<T, W: Future<Output = Result<T, CallError>>>(
    deadline: Instant,
    work: impl FnOnce(Instant) -> W,
) -> Result<T, CallError> {
    let started = Instant::now();
    between(started, deadline, work(started)).await
}

/// Runs work that started then and has to be done by `deadline`.
async fn between<T>(
    started: Instant,
    deadline: Instant,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    if deadline <= started {
        return Err(CallError::new(Fault::Timeout, Delivered::No));
    }
    let outcome = timeout_at(deadline, work).await;
    let outcome = outcome.unwrap_or(Err(CallError::new(Fault::Timeout, Delivered::Maybe)));
    outcome.map_err(|error| error.after(started.elapsed()))
}

/// Whether a token can stand in a header.
fn check(token: Option<&str>) -> Result<(), CallError> {
    match token.is_none_or(|token| token.bytes().all(|byte| byte.is_ascii_graphic())) {
        true => Ok(()),
        false => Err(CallError::undelivered(Fault::Protocol, "the token is no header text")),
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("host", self.shared.endpoint.host_header()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! A client for a node that is far away: HTTP/2 where the node speaks it, so that many calls share one connection and none of them
//! waits for a handshake.
//!
//! What is spoken is the node's choice if it is reached by TLS (ALPN): HTTP/2, else HTTP/1.1 over the [`Client`] with its pool. In the
//! clear there is nobody to ask, so HTTP/2 is spoken there only if the operator says that the node does.
//!
//! There is one HTTP/2 connection at a time. It is opened when a call wants it, by one call while the others wait for it, and
//! again by the next call after it has ended. A request is sent twice only if the node has said that it did nothing with it, or it never
//! left: the connection was going away, or a stream was refused ([`Delivered::No`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri, Version};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::h2::Connection;
use super::link::Link;
use super::{BadEndpoint, CallError, Client, Delivered, Dial, Fault, HttpReply, Options, stream};

/// How long a node that chose HTTP/1.1 isn't asked again: it may have been replaced by one that speaks HTTP/2.
const CHOICE_HOLDS: Duration = Duration::from_secs(600);

/// What is spoken with a node that is reached in the clear, where it can't be asked. With TLS it chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clear {
    /// HTTP/1.1, which every node understands.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge (h2c): the operator knows that the node understands it.
    Http2,
}

/// A client for one node that is far away. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Uplink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Holds the endpoint too.
    http1: Client,
    clear: Clear,
    /// What is spoken, once that is known.
    way: Mutex<Option<Way>>,
    /// Who may open a connection: one call at a time.
    turn: Semaphore,
}

/// How calls go.
#[derive(Debug, Clone)]
enum Way {
    Http2(Connection),
    /// The node has chosen HTTP/1.1 then.
    Http1(Instant),
}

impl Uplink {
    /// A client for an `http` or `https` URL. Opens no connection.
    ///
    /// # Errors
    /// As those of [`Client::new`].
    pub fn new(url: &Url, options: Options, clear: Clear) -> Result<Uplink, BadEndpoint> {
        Ok(Self::of(Client::new(url, options)?, clear))
    }

    /// As [`Uplink::new`], over connections that `dial` opens, without TLS.
    ///
    /// # Errors
    /// As those of [`Client::new`].
    pub fn over(
        dial: Arc<dyn Dial>,
        url: &Url,
        options: Options,
        clear: Clear,
    ) -> Result<Uplink, BadEndpoint> {
        Ok(Self::of(Client::over(dial, url, options)?, clear))
    }

    fn of(http1: Client, clear: Clear) -> Uplink {
        let shared = Shared { http1, clear, way: Mutex::default(), turn: Semaphore::new(1) };
        Uplink { shared: Arc::new(shared) }
    }

    /// Posts JSON to the URL's own path, as [`Client::post`] does.
    ///
    /// # Errors
    /// [`CallError`] if there is no whole reply by `deadline`.
    pub async fn post(
        &self,
        body: Bytes,
        token: Option<&str>,
        deadline: Instant,
    ) -> Result<HttpReply, CallError> {
        let mut request = Request::post(Uri::from(self.shared.http1.endpoint().target().clone()))
            .body(body)
            .map_err(|_| unsendable())?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            super::check(Some(token))?;
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| unsendable())?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        self.send(request, deadline).await
    }

    /// Sends a request as [`Client::send`] does: of its URI only path and query are used, and as they are.
    ///
    /// # Errors
    /// [`CallError`] if there is no whole reply by `deadline`.
    pub async fn send(&self, request: Request<Bytes>, deadline: Instant) -> Result<HttpReply, CallError> {
        super::within(deadline, |started| self.sent(request, started, deadline)).await
    }

    async fn sent(
        &self,
        request: Request<Bytes>,
        now: Instant,
        deadline: Instant,
    ) -> Result<HttpReply, CallError> {
        let connection = match self.way(now, deadline).await? {
            Way::Http1(_) => return self.shared.http1.send(request, deadline).await,
            Way::Http2(connection) => connection,
        };
        let request = self.addressed(request)?;
        let max = self.shared.http1.options().max_reply;
        let error = match connection.send(request.clone(), max, deadline).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        if error.delivered != Delivered::No || error.fault != Fault::Reset {
            return Err(error);
        }
        // Once more, and on another connection if this one goes away.
        match self.way(Instant::now(), deadline).await? {
            Way::Http1(_) => self.shared.http1.send(request, deadline).await,
            Way::Http2(connection) => connection.send(request, max, deadline).await,
        }
    }

    /// How the next call goes; opens a connection if there is none.
    async fn way(&self, now: Instant, deadline: Instant) -> Result<Way, CallError> {
        if self.shared.clear == Clear::Http1 && !self.is_by_tls() {
            return Ok(Way::Http1(now));
        }
        if let Some(way) = self.known(now) {
            return Ok(way);
        }
        let turn = timeout_at(deadline, self.shared.turn.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(CallError::undelivered(Fault::Timeout, "another call opens the connection"));
        };
        if let Some(way) = self.known(now) {
            return Ok(way);
        }
        let limit = self.shared.http1.connect_limit(deadline);
        // Boxed: it is rare and large, and every call would carry room for it.
        let way = match timeout_at(limit, Box::pin(self.open())).await {
            Ok(opened) => opened?,
            Err(_) => return Err(CallError::undelivered(Fault::Timeout, "connecting")),
        };
        *self.lock() = Some(way.clone());
        Ok(way)
    }

    /// What is spoken, if that is known and can still be.
    fn known(&self, now: Instant) -> Option<Way> {
        let way = self.lock();
        way.as_ref()
            .filter(|way| match way {
                Way::Http2(connection) => connection.is_open(),
                Way::Http1(since) => now.saturating_duration_since(*since) < CHOICE_HOLDS,
            })
            .cloned()
    }

    /// Whether it is known what is spoken, and how.
    #[cfg(test)]
    pub(super) fn is_known(&self) -> bool {
        self.known(Instant::now()).is_some()
    }

    /// Connects, and learns what is spoken. Has no limit of its own on time.
    async fn open(&self) -> Result<Way, CallError> {
        let (opened, is_http2) = stream::connect_either(self.shared.http1.endpoint()).await?;
        if is_http2 || !self.is_by_tls() {
            return Ok(Way::Http2(Connection::over(opened).await?));
        }
        self.shared.http1.keep(Link::over(opened));
        Ok(Way::Http1(Instant::now()))
    }

    /// The request as HTTP/2 wants it, for this endpoint.
    fn addressed(&self, mut request: Request<Bytes>) -> Result<Request<Bytes>, CallError> {
        let endpoint = self.shared.http1.endpoint();
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::builder()
            .scheme(endpoint.scheme())
            .authority(endpoint.host_header().as_bytes())
            .path_and_query(target.unwrap_or(PathAndQuery::from_static("/")))
            .build()
            .map_err(|_| unsendable())?;
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        // What else HTTP/2 doesn't have hyper takes out.
        headers.remove(HOST);
        headers.remove(CONTENT_LENGTH);
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        if let Some(basic) = endpoint.authorization() {
            headers.entry(AUTHORIZATION).or_insert_with(|| basic.clone());
        }
        Ok(request)
    }

    fn is_by_tls(&self) -> bool {
        self.shared.http1.endpoint().tls().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Way>> {
        // Nothing that is done under the lock can leave it half changed.
        self.shared.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unsendable() -> CallError {
    CallError::undelivered(Fault::Protocol, "the request cannot be sent")
}

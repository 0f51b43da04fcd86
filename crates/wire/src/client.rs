//! A client for one endpoint: keep-alive connections over HTTP/1.1, newest first.
//!
//! A call drives its connection itself: there is no task of its own for a connection, so a call that is dropped closes
//! it and nothing is handed between threads. What becomes of an idle connection is seen when it is taken out of the
//! pool again.
//!
//! A request is sent twice only if it cannot have been delivered: it was handed to a reused connection that turned out
//! to be closed before a byte of the request was written. In every other failure [`CallError::delivered`] tells the
//! caller whether another try is safe. How many calls run at once is bounded by the callers, not here.

mod endpoint;
mod error;
mod link;
mod pool;
mod stream;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};
use url::Url;

use endpoint::Endpoint;
use link::{Failed, Link};
use pool::Pool;

pub use endpoint::BadEndpoint;
pub use error::{CallError, Delivered, Fault};
pub use transport::{Posted, Transport};

/// Bounds of a [`Client`].
#[derive(Debug, Clone)]
pub struct Options {
    /// For name resolution, TCP and TLS together (2 s).
    pub connect_timeout: Duration,
    /// How many idle connections are kept (32).
    pub max_idle: usize,
    /// How long an idle connection is kept (55 s: nodes and balancers close theirs after 60 s or more).
    pub idle_timeout: Duration,
    /// The largest body of a reply, in bytes (128 MiB).
    pub max_reply: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            max_idle: 32,
            idle_timeout: Duration::from_secs(55),
            max_reply: 128 * 1024 * 1024,
        }
    }
}

/// A whole reply. Any status is one, 500 too.
#[derive(Debug, Clone)]
pub struct HttpReply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`Options::max_reply`] bytes.
    pub body: Bytes,
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
    /// `user:password@` in the URL becomes a basic authorization header. TLS trusts the system's roots.
    ///
    /// # Errors
    /// [`BadEndpoint`] says what about the URL or the system's roots is wrong; it does not quote the URL.
    pub fn new(url: &Url, options: Options) -> Result<Client, BadEndpoint> {
        let endpoint = Endpoint::new(url)?;
        let pool = Pool::new(options.max_idle, options.idle_timeout);
        Ok(Client { shared: Arc::new(Shared { endpoint, options, pool }) })
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
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.shared.endpoint.target().clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = token {
            let bearer = HeaderValue::try_from(format!("Bearer {token}"));
            let mut bearer =
                bearer.map_err(|_| CallError::undelivered(Fault::Protocol, "the token is no header text"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        self.send(request, deadline).await
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
        let started = Instant::now();
        let mut request = self.prepare(request);
        let mut pooled = true;
        let outcome = loop {
            let reused = if pooled { self.shared.pool.take().await } else { None };
            pooled = reused.is_some();
            let link = match reused {
                Some(link) => link,
                None => match self.connect(deadline).await {
                    Ok(link) => link,
                    Err(error) => break Err(error),
                },
            };
            match self.exchange(link, request, deadline).await {
                Ok(reply) => break Ok(reply),
                // Once more, on a fresh connection: the other idle ones may be just as dead.
                Err(Failed { returned: Some(back), .. }) if pooled => {
                    request = back;
                    pooled = false;
                }
                Err(failed) => break Err(failed.error),
            }
        };
        outcome.map_err(|error| error.after(started.elapsed()))
    }

    /// What the request needs for this endpoint.
    fn prepare(&self, request: Request<Bytes>) -> Request<Full<Bytes>> {
        let endpoint = &self.shared.endpoint;
        let (mut head, body) = request.into_parts();
        head.version = Version::HTTP_11;
        if head.uri.authority().is_some() {
            let target = head.uri.path_and_query().cloned();
            head.uri = target.map_or_else(|| Uri::from_static("/"), Uri::from);
        }
        head.headers.insert(HOST, endpoint.host_header().clone());
        // hyper sets it from the body; one that says otherwise would be sent as it is.
        head.headers.remove(http::header::CONTENT_LENGTH);
        head.headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        if let Some(basic) = endpoint.authorization() {
            head.headers.entry(AUTHORIZATION).or_insert_with(|| basic.clone());
        }
        Request::from_parts(head, Full::new(body))
    }

    async fn connect(&self, deadline: Instant) -> Result<Link, CallError> {
        let endpoint = &self.shared.endpoint;
        let limit = deadline.min(Instant::now() + self.shared.options.connect_timeout);
        match timeout_at(limit, Link::connect(endpoint)).await {
            Ok(connected) => connected,
            Err(_) => Err(CallError::undelivered(Fault::Timeout, "connecting")),
        }
    }

    async fn exchange(
        &self,
        mut link: Link,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<HttpReply, Failed> {
        if deadline <= Instant::now() {
            return Err(CallError::new(Fault::Timeout, Delivered::No).into());
        }
        match timeout_at(deadline, link.exchange(request, self.shared.options.max_reply)).await {
            Ok(Ok(reply)) => {
                if link.is_reusable().await {
                    self.shared.pool.put(link);
                }
                Ok(reply)
            }
            Ok(Err(failed)) => Err(failed),
            Err(_) => Err(CallError::new(Fault::Timeout, Delivered::Maybe).into()),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("host", self.shared.endpoint.host_header()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! One HTTP/2 connection: many calls at once, each a stream. hyper speaks the protocol.
//!
//! Calls that are given up reset their stream and leave the connection to the others. Whether the node is still there is asked by
//! pings, also between calls; a connection whose pings aren't answered ends, and its calls with it.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::shaking::TlsFault;
use super::stream::Opened;
use super::{CallError, Delivered, Fault, HttpReply};
use crate::body::{self, BodyError};

/// Calls that are under way at once; more wait.
const MAX_STREAMS: usize = 256;
/// A ping is sent when nothing has come for this long, and has to be answered within that: a node that can't be reached any more is
/// given up within a slot.
const PING_AFTER: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(5);

/// A connection. Clones share it; it closes when the last of them is gone.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    sender: SendRequest<Held>,
    places: Arc<Semaphore>,
    /// The node has said that it goes away; what it has taken it still answers.
    is_going: Arc<AtomicBool>,
    /// Whether the node was shown a certificate, if it asked for one.
    shows: bool,
    /// What TLS ended it with: told to calls that were never sent for it.
    refused: Arc<OnceLock<CallError>>,
}

impl Connection {
    /// Begins to speak HTTP/2. Has no limit of its own on time.
    pub(super) async fn over(opened: Opened) -> Result<Self, CallError> {
        let Opened { stream, shows, .. } = opened;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
            .keep_alive_while_idle(true);
        let (sender, driver) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| blame(&error, shows))?;
        let refused = Arc::new(OnceLock::new());
        let told = refused.clone();
        // Ends with the connection.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                let error = blame(&error, shows);
                tracing::debug!(%error, "an HTTP/2 connection ended with an error");
                if matches!(error.fault, Fault::Tls(_)) {
                    let _ = told.set(error);
                }
            }
        });
        let places = Arc::new(Semaphore::new(MAX_STREAMS));
        Ok(Self { sender, places, is_going: Arc::default(), shows, refused })
    }

    /// Whether it takes more calls, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.is_going.load(Ordering::Relaxed)
    }

    /// Sends a request and waits for its whole reply, of at most `max` bytes, until `deadline`.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        max: usize,
        deadline: Instant,
    ) -> Result<HttpReply, CallError> {
        let late = || CallError::undelivered(Fault::Timeout, "waiting for other calls to end");
        let place = timeout_at(deadline, self.places.clone().acquire_owned()).await;
        // A place that becomes free when time is up is that of a call whose time is up too.
        let place = place.ok().and_then(Result::ok).filter(|_| Instant::now() < deadline).ok_or_else(late)?;
        let place = Arc::new(place);
        let request = request.map(|body| Held { body: Full::new(body), _place: place.clone() });
        let exchange = async {
            let response = self.sender.clone().try_send_request(request).await;
            let response = response.map_err(|mut failed| {
                if is_going(failed.error()) {
                    self.is_going.store(true, Ordering::Relaxed);
                }
                match failed.take_message() {
                    Some(_) => match self.refused.get() {
                        Some(refused) => refused.clone().with(Delivered::No),
                        None => CallError::new(Fault::Reset, Delivered::No),
                    },
                    None => blame(failed.error(), self.shows),
                }
            })?;
            let (head, body) = response.into_parts();
            let body = body::gather(body, max, None).await.map_err(|error| match error {
                BodyError::TooLarge => CallError::new(Fault::TooLarge, Delivered::Maybe),
                BodyError::Aborted | BodyError::Timeout => CallError::new(Fault::Reset, Delivered::Maybe),
            })?;
            Ok(HttpReply::new(head.status, &head.headers, body))
        };
        let timed_out = Err(CallError::new(Fault::Timeout, Delivered::Maybe));
        timeout_at(deadline, exchange).await.unwrap_or(timed_out)
    }
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

/// Whether the node takes no more calls on this connection.
fn is_going(error: &hyper::Error) -> bool {
    error.is_canceled() || cause(error).is_some_and(h2::Error::is_go_away)
}

/// What hyper says against a call.
fn blame(error: &hyper::Error, shows: bool) -> CallError {
    let maybe = |fault| CallError::new(fault, Delivered::Maybe);
    if error.is_timeout() {
        return maybe(Fault::Timeout).because("pings aren't answered");
    }
    if let Some(io) = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()) {
        // Of an alert of TLS, such as that a certificate is missed, only the text is left.
        let text = io.to_string();
        return match TlsFault::of_text(&text, shows) {
            Some(why) => maybe(Fault::Tls(why)).because(text),
            None => maybe(Fault::Reset),
        };
    }
    let Some(cause) = cause(error) else { return maybe(Fault::Reset) };
    // The node tells which streams it has taken before it goes away, and which it refuses untouched (RFC 9113, 6.8 and 8.7).
    let is_refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    if cause.is_remote() && (cause.is_go_away() || is_refused) {
        return CallError::new(Fault::Reset, Delivered::No).because(cause.to_string());
    }
    let fault = if cause.is_library() { Fault::Protocol } else { Fault::Reset };
    maybe(fault).because(cause.to_string())
}

/// The body of a request. Its place is kept for as long as the connection holds it, so that what waits in there is bounded also when
/// its calls have been given up.
struct Held {
    body: Full<Bytes>,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Body for Held {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

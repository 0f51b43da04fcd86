//! What a call gives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::Shared;
use super::error::{CallError, Delivered, Fault};
use super::incoming::Fields;
use super::link::Link;

/// A whole reply. Any status is one, 500 too.
#[derive(Debug, Clone)]
pub struct HttpReply {
    /// The status.
    pub status: StatusCode,
    pub(super) fields: Fields,
    /// The body, at most [`super::Options::max_reply`] bytes.
    pub body: Bytes,
}

impl HttpReply {
    /// A reply that came some other way than over a socket.
    #[must_use]
    pub fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        Self { status, fields: Fields::of(headers), body }
    }

    /// The header fields. Read anew with every call: most callers want none of them.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.fields.map()
    }
}

/// A reply whose body is still to come.
#[derive(Debug)]
pub struct StreamedReply {
    /// The status.
    pub status: StatusCode,
    pub(super) fields: Fields,
    /// The body.
    pub body: ReplyBody,
}

impl StreamedReply {
    /// The header fields. Read anew with every call.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.fields.map()
    }

    /// The value of the first header field of this name.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<HeaderValue> {
        let [value] = self.some([name]);
        value
    }

    /// As [`StreamedReply::header`] for each of these names, for those who want a few fields and not all.
    #[must_use]
    pub fn some<const N: usize>(&self, names: [&HeaderName; N]) -> [Option<HeaderValue>; N] {
        self.fields.some(names)
    }
}

/// A body that streams from its connection. When it has been read to its end the connection goes back to the pool; dropped
/// before that, it is closed.
pub struct ReplyBody {
    link: Option<Link>,
    shared: Arc<Shared>,
    stall: Option<Duration>,
    /// Runs while nothing comes.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl ReplyBody {
    pub(super) fn new(link: Link, shared: Arc<Shared>, stall: Option<Duration>) -> Self {
        let mut body = Self { link: Some(link), shared, stall, stalled: None };
        body.settle();
        body
    }

    /// The rest of the body, if all of it came together with what has been read, as small bodies do; the connection is given back
    /// then. `None`: it has to be waited for, or where it ends isn't known.
    pub fn rest(&mut self) -> Option<Bytes> {
        let rest = match &mut self.link {
            Some(link) => link.rest()?,
            None => Bytes::new(),
        };
        self.settle();
        Some(rest)
    }

    /// Gives the connection back once the body is complete: whoever knows its length may never ask for its end.
    fn settle(&mut self) {
        if let Some(link) = self.link.take_if(|link| link.is_over()) {
            self.shared.pool.put(link);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        let Some(link) = &mut this.link else { return Poll::Ready(None) };
        match link.poll_data(cx) {
            Poll::Ready(Ok(Some(data))) => {
                this.stalled = None;
                this.settle();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Ok(None)) => {
                this.settle();
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => {
                this.link = None;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => {
                let Some(stall) = this.stall else { return Poll::Pending };
                let stalled = this.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
                if stalled.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.link = None;
                Poll::Ready(Some(Err(CallError::new(Fault::Timeout, Delivered::Maybe).after(stall))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.link.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.link.as_ref().and_then(Link::length_left) {
            Some(length) => SizeHint::with_exact(length),
            None if self.link.is_none() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyBody").field("over", &self.link.is_none()).finish_non_exhaustive()
    }
}

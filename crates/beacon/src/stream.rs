//! An event stream that ends when its guard closes, so that its client looks for another node.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::core::Post;

/// A node's event stream on its way to a client. Nothing is held back: a frame goes on as it comes.
pub(crate) struct EventStream<B> {
    inner: Option<B>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    post: Arc<Post>,
}

impl<B> EventStream<B> {
    pub(crate) fn new(inner: B, closed: CancellationToken, post: Arc<Post>) -> Self {
        post.telemetry.open_streams.inc();
        Self { inner: Some(inner), closed: Box::pin(closed.cancelled_owned()), post }
    }
}

impl<B> Drop for EventStream<B> {
    fn drop(&mut self) {
        self.post.telemetry.open_streams.dec();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for EventStream<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        // What has come goes on first: an event isn't cut in half for its end's sake.
        match Pin::new(inner).poll_frame(cx) {
            Poll::Pending if this.closed.as_mut().poll(cx).is_ready() => {
                this.inner = None;
                Poll::Ready(None)
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // It may end at any time.
        SizeHint::default()
    }
}

//! Passing a request on: its body streams to the node while it comes, and the reply streams back.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::Body;
use tokio::time::{Instant, sleep_until};

use super::error::{CallError, Delivered, Fault};
use super::link::{Begun, Failed, Link, Sent};
use super::sending::{Sending, Unsent, Waits};
use super::{Client, ReplyBody, StreamedReply};
use crate::body::STALL;

/// Bounds of a request that is passed on. Connecting has its own, [`super::Options::connect_timeout`]; the body of the
/// request may stall for [`crate::body::STALL`].
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// From the request's end to the end of the reply's head. `None`: no limit, for long polls and event streams, whose
    /// head some nodes hold back until the first event.
    pub head_within: Option<Duration>,
    /// How long the node may take in nothing of the request (30 s).
    pub write_stall: Duration,
    /// How long the body of the reply may make no progress (30 s). `None`: no limit, for event streams.
    pub read_stall: Option<Duration>,
    /// The largest body of a request, in bytes; counted while it is read (100 MiB).
    pub body_limit: u64,
}

impl Default for Pass {
    fn default() -> Self {
        Self {
            head_within: Some(Duration::from_secs(30)),
            write_stall: STALL,
            read_stall: Some(STALL),
            body_limit: 100 * 1024 * 1024,
        }
    }
}

impl Client {
    /// Passes a request on. Its head and what there is of its body are sent at once, the rest as it comes, and the reply is given as
    /// soon as its head is there.
    ///
    /// Of the request's URI only path and query are used, and as they are. `host` becomes the node's, the body is framed anew,
    /// basic authorization is added where the URL of the client has it and the request has no authorization; the other header
    /// fields go as they are, so hop-by-hop ones are the caller's to remove ([`crate::hop::strip`]). Trailers are dropped.
    ///
    /// A body that says that it is short is awaited, one that turns out to be is not: both leave in one piece with their head
    /// and a `content-length`. A longer one goes with its length if that is known, else in chunks. A reply that comes before the whole
    /// request has left ends the sending, and costs the connection. So does dropping the call, or a reply that isn't read to its end.
    ///
    /// The request is sent twice only if not a byte of it was written the first time, on a connection from the pool; nothing of
    /// its body is lost then.
    ///
    /// # Errors
    /// [`CallError`] if there is no head of a reply within the limits. [`Fault::Caller`] and [`Fault::CallerTooLarge`] say nothing of
    /// the node.
    pub async fn pass<B>(&self, request: Request<B>, limits: Pass) -> Result<StreamedReply, CallError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let started = Instant::now();
        let passed = self.passed(request, &limits, started).await;
        let (link, begun) = passed.map_err(|error| error.after(started.elapsed()))?;
        let body = ReplyBody::new(link, self.shared.clone(), limits.read_stall);
        Ok(StreamedReply { status: begun.status, fields: begun.fields, body })
    }

    async fn passed<B>(
        &self,
        request: Request<B>,
        limits: &Pass,
        now: Instant,
    ) -> Result<(Link, Begun), CallError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut sending = Sending::prepare(&self.shared.endpoint, request, limits.body_limit).await?;
        if let Some(mut link) = self.shared.pool.take(now) {
            match exchange(&mut link, &mut sending, limits).await {
                Ok(begun) => return Ok((link, begun)),
                // Once more, on a fresh connection. What had been taken of the body is still in hand.
                Err(Failed { error, untouched: true }) if error.fault == Fault::Reset => {}
                Err(failed) => return Err(failed.error),
            }
        }
        let limit = Instant::now() + self.shared.options.connect_timeout;
        // Boxed: it is rare and large, and every call would carry room for it.
        let mut link = Box::pin(self.connect(limit)).await?;
        match exchange(&mut link, &mut sending, limits).await {
            Ok(begun) => Ok((link, begun)),
            Err(failed) => Err(failed.error),
        }
    }
}

/// Sends a request and reads the head of its reply, which may come first.
pub(super) async fn exchange<B: Body<Data = Bytes> + Unpin>(
    link: &mut Link,
    sending: &mut Sending<B>,
    limits: &Pass,
) -> Result<Begun, Failed> {
    // The timer runs for one wait at a time; who is waited for, and since how much was done.
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut timed: Option<(Waits, u64)> = None;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = poll_exchange(link, sending, cx) {
            return Poll::Ready(ended);
        }
        let (waits, moves) = sending.waits();
        let limit = match waits {
            Waits::Node => Some(limits.write_stall),
            Waits::Caller => Some(STALL),
            Waits::Reply => limits.head_within,
        };
        let Some(limit) = limit else { return Poll::Pending };
        if timed != Some((waits, moves)) {
            timed = Some((waits, moves));
            timer.as_mut().reset(Instant::now() + limit);
        }
        std::task::ready!(timer.as_mut().poll(cx));
        let (fault, detail) = match waits {
            Waits::Node => (Fault::Timeout, "the node takes in nothing of the request"),
            Waits::Caller => (Fault::Caller, "it stalled"),
            Waits::Reply => (Fault::Timeout, "waiting for the reply"),
        };
        Poll::Ready(Err(sending.failed(CallError::detailed(fault, Delivered::Maybe, detail))))
    })
    .await
}

fn poll_exchange<B: Body<Data = Bytes> + Unpin>(
    link: &mut Link,
    sending: &mut Sending<B>,
    cx: &mut Context<'_>,
) -> Poll<Result<Begun, Failed>> {
    let (is_done, is_broken) = match sending.poll_write(link.stream(), cx) {
        Poll::Pending => (false, false),
        Poll::Ready(Ok(())) => (true, false),
        Poll::Ready(Err(Unsent::Node)) => (false, true),
        Poll::Ready(Err(Unsent::Caller(error))) => return Poll::Ready(Err(sending.failed(error))),
    };
    let is_untouched = sending.is_untouched();
    link.poll_head(Sent { is_head: sending.is_head(), is_untouched, is_done, is_broken }, cx)
}

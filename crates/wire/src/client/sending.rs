//! A request whose body is still to come, as bytes on a connection.

use std::future::poll_fn;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use http::{Method, Request};
use hyper::body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::endpoint::Endpoint;
use super::error::{CallError, Delivered, Fault};
use super::link::Failed;
use super::outgoing::{content_length, field, small, start, tells_length};
use crate::body::{Gathered, STALL, next_frame};
use crate::outbox::Outbox;

/// A body of up to this length is in hand before the first byte is sent: a node then sees a request whole or not at all, and the
/// copy costs less than more writes would.
const WHOLE: u64 = 64 * 1024;
/// How often the rest of a body is asked for once more before it is taken for one that is still to come: the server has most small
/// bodies in its buffer, and hands them out only when it has been asked.
const ASKED_AGAIN: usize = 2;

/// A request on its way.
pub(super) struct Sending<B> {
    /// What is to be written now.
    out: Outbox,
    /// What is still to come.
    rest: Option<Rest<B>>,
    flushed: bool,
    is_head: bool,
    is_untouched: bool,
    waits: Waits,
    moves: u64,
}

/// The part of a body that hasn't been taken yet.
struct Rest<B> {
    body: B,
    /// How much may come.
    left: u64,
    /// Whether exactly that has to come; else it is sent in chunks.
    exact: bool,
}

/// Who is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// The node, to take in more.
    Node,
    /// The caller, for the rest of the body.
    Caller,
    /// The node, to answer.
    Reply,
}

/// Why a request can't be sent to its end.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The connection broke.
    Node,
    /// The caller's body did.
    Caller(CallError),
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    /// Takes what there is of the body.
    pub(super) async fn prepare(
        endpoint: &Endpoint,
        request: Request<B>,
        limit: u64,
    ) -> Result<Self, CallError> {
        let (parts, mut body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(CallError::undelivered(Fault::Protocol, "CONNECT cannot be passed on"));
        }
        let Begin { first, is_whole } = begin(&mut body, limit).await?;
        let mut front = start(endpoint, &parts, small(&first).len());
        let mut rest = None;
        if is_whole {
            if tells_length(&parts.method, first.len()) {
                content_length(&mut front, first.len() as u64);
            }
        } else {
            let taken = first.len() as u64;
            // What is left is told by the hint, whatever has been taken.
            let exact = body.size_hint().exact();
            match exact {
                Some(left) => content_length(&mut front, taken.saturating_add(left)),
                None => field(&mut front, TRANSFER_ENCODING.as_str().as_bytes(), b"chunked"),
            }
            rest = Some(Rest { body, left: exact.unwrap_or(limit - taken), exact: exact.is_some() });
        }
        front.extend_from_slice(b"\r\n");
        let mut sending = Self {
            out: Outbox::of(front),
            rest,
            flushed: false,
            is_head: parts.method == Method::HEAD,
            is_untouched: true,
            waits: Waits::Node,
            moves: 0,
        };
        sending.put(first);
        Ok(sending)
    }

    /// Writes what there is. Ready once all of the request has left, or can't any more.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsent>> {
        loop {
            self.waits = Waits::Node;
            while !self.out.is_empty() {
                ready!(self.out.poll_write_some(stream, cx)).map_err(|_| Unsent::Node)?;
                (self.is_untouched, self.flushed) = (false, false);
                self.moves += 1;
            }
            let Some(rest) = &mut self.rest else { break };
            let Poll::Ready(frame) = Pin::new(&mut rest.body).poll_frame(cx) else {
                // What has been written has to leave in the meantime.
                ready!(self.poll_flush(stream, cx))?;
                self.waits = Waits::Caller;
                return Poll::Pending;
            };
            self.moves += 1;
            self.take(frame).map_err(Unsent::Caller)?;
        }
        ready!(self.poll_flush(stream, cx))?;
        self.waits = Waits::Reply;
        Poll::Ready(Ok(()))
    }

    fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsent>> {
        if !self.flushed {
            ready!(Pin::new(stream).poll_flush(cx)).map_err(|_| Unsent::Node)?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next frame of the body.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, B::Error>>) -> Result<(), CallError> {
        let Some(rest) = &mut self.rest else { return Ok(()) };
        match frame {
            None if rest.exact && rest.left > 0 => Err(broke_off()),
            None => {
                if !rest.exact {
                    self.out.put(Bytes::new(), b"0\r\n\r\n");
                }
                self.rest = None;
                Ok(())
            }
            Some(Err(_)) => Err(broke_off()),
            Some(Ok(frame)) => {
                // Trailers are dropped.
                let data = frame.into_data().unwrap_or_default();
                let length = data.len() as u64;
                match rest.left.checked_sub(length) {
                    Some(left) => rest.left = left,
                    None if rest.exact => return Err(broke_off()),
                    None => return Err(too_large()),
                }
                self.put(data);
                Ok(())
            }
        }
    }

    /// Makes a piece of the body what is to be written next, behind what is in front.
    fn put(&mut self, data: Bytes) {
        if let Some(rest) =
            self.rest.take_if(|rest| rest.body.is_end_stream() && (!rest.exact || rest.left == 0))
        {
            // No need to ask for its end.
            self.frame(data, !rest.exact, true);
        } else {
            let chunked = self.rest.as_ref().is_some_and(|rest| !rest.exact);
            self.frame(data, chunked, false);
        }
    }

    fn frame(&mut self, data: Bytes, chunked: bool, is_last: bool) {
        let back: &[u8] = match (chunked, data.is_empty(), is_last) {
            (true, false, true) => b"\r\n0\r\n\r\n",
            (true, false, false) => b"\r\n",
            (true, true, true) => b"0\r\n\r\n",
            _ => b"",
        };
        if chunked && !data.is_empty() {
            // A vector takes all that it is given.
            let _ = write!(self.out.front(), "{:x}\r\n", data.len());
        }
        self.out.put(data, back);
    }

    /// A failure that says how much of the request was sent.
    pub(super) fn failed(&self, error: CallError) -> Failed {
        let delivered = if self.is_untouched { Delivered::No } else { Delivered::Maybe };
        Failed { error: error.with(delivered), untouched: self.is_untouched }
    }

    /// Who is waited for, and a number that changes whenever anything was done.
    pub(super) fn waits(&self) -> (Waits, u64) {
        (self.waits, self.moves)
    }

    /// Whether not a byte has been written.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Whether replies have no body.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }
}

/// The beginning of a body.
struct Begin {
    first: Bytes,
    /// It is all there is.
    is_whole: bool,
}

/// Waits for a body that says that it is short; takes what there is of any other, and all of it if that is not much.
async fn begin<B: Body<Data = Bytes> + Unpin>(body: &mut B, limit: u64) -> Result<Begin, CallError> {
    let undelivered = |error: CallError| error.with(Delivered::No);
    let announced = body.size_hint();
    let is_short = announced.upper().is_some_and(|most| most <= WHOLE);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut gathered = Gathered::new(body, limit).map_err(|_| undelivered(too_large()))?;
    let mut asked_again = 0;
    while !body.is_end_stream() {
        if gathered.len() as u64 > WHOLE {
            return Ok(Begin { first: gathered.finish(), is_whole: false });
        }
        let frame = if is_short {
            let frame = next_frame(body, STALL).await;
            frame.map_err(|_| CallError::undelivered(Fault::Caller, "it stalled"))?
        } else {
            match poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await {
                Poll::Ready(frame) => frame,
                Poll::Pending if asked_again < ASKED_AGAIN => {
                    asked_again += 1;
                    tokio::task::yield_now().await;
                    continue;
                }
                Poll::Pending => return Ok(Begin { first: gathered.finish(), is_whole: false }),
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| undelivered(broke_off()))?;
        gathered.push(frame.into_data().unwrap_or_default()).map_err(|_| undelivered(too_large()))?;
    }
    let first = gathered.finish();
    match announced.exact() {
        Some(length) if length != first.len() as u64 => Err(undelivered(broke_off())),
        _ => Ok(Begin { first, is_whole: true }),
    }
}

fn broke_off() -> CallError {
    CallError::detailed(Fault::Caller, Delivered::Maybe, "it broke off")
}

fn too_large() -> CallError {
    CallError::new(Fault::CallerTooLarge, Delivered::Maybe)
}

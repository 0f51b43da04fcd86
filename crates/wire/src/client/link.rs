//! One connection and the exchange of one request for one reply on it.
//!
//! Written for this client instead of hyper's: handing a request to hyper's connection and driving that beside the call was a
//! quarter of what a small call cost (docs/benchmarks.md). What is left to read here is when a connection is written, read,
//! and good for another call; heads and bodies are [`super::incoming`]'s.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::error::{CallError, Delivered, Fault};
use super::incoming::{self, Fields};
use super::outgoing::{Outgoing, Progress};
use super::stream::{self, Opened, Stream};
use crate::framing::{Bad, Framing, Piece};
use crate::inbox;

/// Set aside at once for a body, on the node's word of its length.
const MOST_AHEAD: usize = 1024 * 1024;
/// A body that is shorter is copied when it is taken, so that its buffer is left to the next reply.
const SHORT: usize = 8 * 1024;
/// Room for a head, and for what may come with it.
const ROOM: usize = 8 * 1024;

/// A connection, driven by whoever uses it. Dropping it closes it.
pub(super) struct Link {
    stream: Stream,
    /// Read, and not yet taken.
    input: BytesMut,
    /// What of a reply's body is still to come; `None` between exchanges.
    body: Option<Framing>,
    /// Whether it may be used for another exchange after this one.
    keep_alive: bool,
    /// Until when it may.
    until: Option<Instant>,
    /// Whether the node was shown a certificate, if it asked for one.
    shows: bool,
}

/// A request that got no reply.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: CallError,
    /// Not a byte of the request was written.
    pub(super) untouched: bool,
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self { error, untouched: false }
    }
}

/// How far a request has got when its reply is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Whether replies to it have no body (HEAD).
    pub(super) is_head: bool,
    /// Not a byte of it was written.
    pub(super) is_untouched: bool,
    /// All of it was written.
    pub(super) is_done: bool,
    /// Nothing more can be written. That is not the end: the node may have said why before it closed.
    pub(super) is_broken: bool,
}

/// Status and header fields; the body is read from the link.
pub(super) struct Begun {
    pub(super) status: http::StatusCode,
    pub(super) fields: Fields,
}

impl Link {
    /// A fresh connection. Has no limit of its own.
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Self, CallError> {
        Ok(Self::over(stream::connect(endpoint).await?))
    }

    /// A fresh connection that is open already.
    pub(super) fn over(opened: Opened) -> Self {
        let Opened { stream, until, shows } = opened;
        Self { stream, input: BytesMut::new(), body: None, keep_alive: true, until, shows }
    }

    /// Sends a request and reads the head of its reply. Has no limit of its own on time.
    pub(super) async fn begin(&mut self, request: &Outgoing) -> Result<Begun, Failed> {
        let mut progress = Progress::default();
        poll_fn(|cx| self.poll_begin(request, &mut progress, cx)).await
    }

    fn poll_begin(
        &mut self,
        request: &Outgoing,
        progress: &mut Progress,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Begun, Failed>> {
        let wrote = request.poll_write(progress, &mut self.stream, cx);
        let sent = Sent {
            is_head: request.is_head,
            is_untouched: progress.is_untouched(),
            is_done: progress.is_done(),
            is_broken: matches!(wrote, Poll::Ready(Err(_))),
        };
        self.poll_head(sent, cx)
    }

    /// The head of the reply to a request of which as much has been sent as is told.
    pub(super) fn poll_head(&mut self, sent: Sent, cx: &mut Context<'_>) -> Poll<Result<Begun, Failed>> {
        loop {
            let failed = |error| Failed { error, untouched: sent.is_untouched };
            match incoming::head(&mut self.input, sent.is_head) {
                // Said before it was asked anything, such as that the connection was idle for too long.
                Ok(Some(_)) if sent.is_untouched => {
                    return Poll::Ready(Err(failed(CallError::new(Fault::Reset, Delivered::No))));
                }
                Ok(Some(head)) => {
                    self.body = Some(head.framing);
                    // A reply to a request that hasn't all left: the rest must not be taken for the next one.
                    self.keep_alive = head.keep_alive && sent.is_done;
                    return Poll::Ready(Ok(Begun { status: head.status, fields: head.fields }));
                }
                Ok(None) => {}
                Err(bad) => return Poll::Ready(Err(failed(bad.into()))),
            }
            let read = match self.poll_fill(ROOM, cx) {
                Poll::Pending if sent.is_broken => 0,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(read)) => read,
                Poll::Ready(Err(error)) => match stream::alert(&error, self.shows) {
                    Some(refused) => return Poll::Ready(Err(failed(refused))),
                    None => 0,
                },
            };
            if read == 0 {
                let delivered = if sent.is_untouched { Delivered::No } else { Delivered::Maybe };
                return Poll::Ready(Err(failed(CallError::new(Fault::Reset, delivered))));
            }
        }
    }

    /// Where a request is written to.
    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The next piece of the reply's body; `None` at its end.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        loop {
            let Some(framing) = &mut self.body else { return Poll::Ready(Ok(None)) };
            match framing.next(&mut self.input)? {
                Piece::Data(data) => return Poll::Ready(Ok(Some(data))),
                Piece::Over => {
                    self.body = None;
                    return Poll::Ready(Ok(None));
                }
                Piece::Wanted => {}
            }
            let (framing, ahead) = (*framing, ahead(*framing));
            match ready!(self.poll_fill(ahead, cx)) {
                Ok(0) if framing == Framing::UntilClose => {
                    self.body = None;
                    return Poll::Ready(Ok(None));
                }
                Ok(0) | Err(_) => {
                    return Poll::Ready(Err(CallError::new(Fault::Reset, Delivered::Maybe)));
                }
                Ok(_) => {}
            }
        }
    }

    /// The whole body, of at most `max` bytes. Has no limit of its own on time.
    pub(super) async fn gather(&mut self, max: usize) -> Result<Bytes, CallError> {
        let too_large = || CallError::new(Fault::TooLarge, Delivered::Maybe);
        if let Some(Framing::Length(length)) = self.body {
            // In one piece, and not copied unless it is small.
            let length =
                usize::try_from(length).ok().filter(|length| *length <= max).ok_or_else(too_large)?;
            while self.input.len() < length {
                let ahead = ahead(Framing::Length((length - self.input.len()) as u64));
                match poll_fn(|cx| self.poll_fill(ahead, cx)).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Err(CallError::new(Fault::Reset, Delivered::Maybe)),
                }
            }
            return Ok(self.take_rest(length));
        }
        let mut whole = BytesMut::new();
        while let Some(data) = poll_fn(|cx| self.poll_data(cx)).await? {
            if data.len() > max - whole.len() {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    /// The rest of the body, if all of it is here and that can be told.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        let Some(Framing::Length(length)) = self.body else { return None };
        let length = usize::try_from(length).ok().filter(|length| *length <= self.input.len())?;
        Some(self.take_rest(length))
    }

    /// Takes a body's last `length` bytes, which are here.
    fn take_rest(&mut self, length: usize) -> Bytes {
        self.body = None;
        if length < SHORT {
            let body = Bytes::copy_from_slice(&self.input[..length]);
            bytes::Buf::advance(&mut self.input, length);
            body
        } else {
            self.input.split_to(length).freeze()
        }
    }

    /// Whether the body has been read to its end, as far as can be told without asking for more.
    pub(super) fn is_over(&mut self) -> bool {
        if self.body == Some(Framing::Length(0)) {
            self.body = None;
        }
        self.body.is_none()
    }

    /// How long the rest of the body is, if that is known.
    pub(super) fn length_left(&self) -> Option<u64> {
        match self.body {
            Some(Framing::Length(left)) => Some(left),
            _ => None,
        }
    }

    /// Whether the last exchange left the connection so that another one can follow. Its node may close it at any time nevertheless.
    pub(super) fn is_kept(&mut self) -> bool {
        if self.body.is_some() || !self.keep_alive || !self.input.is_empty() {
            return false;
        }
        inbox::trim(&mut self.input);
        true
    }

    /// Whether a kept connection, as far as can be told without waiting, is open and ready for a request.
    pub(super) fn is_ready(&mut self) -> bool {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return false;
        }
        // Nothing is due: whatever comes is its end, or not meant for the next call. Nobody waits for it either. A task that has
        // used up its share of a turn would be told that nothing came, without a look.
        let look = pin!(unconstrained(poll_fn(|cx| self.poll_fill(1, cx))));
        look.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Reads some bytes; 0 at the end of the stream.
    fn poll_fill(&mut self, ahead: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        inbox::poll_fill(&mut self.input, ahead, &mut self.stream, cx)
    }
}

/// How much room to make for what is still to come.
fn ahead(framing: Framing) -> usize {
    framing.ahead(MOST_AHEAD).max(ROOM)
}

impl From<Bad> for CallError {
    fn from(bad: Bad) -> Self {
        let fault = match bad {
            Bad::Malformed => Fault::Protocol,
            Bad::TooLarge => Fault::TooLarge,
        };
        CallError::new(fault, Delivered::Maybe)
    }
}

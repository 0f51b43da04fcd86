//! What a connection is doing, so that one that does nothing can be closed.
//!
//! A consensus client that is silent for a slot must keep its connection, and one that sends half a head must not keep ours. So bytes
//! and requests are watched here, whatever is spoken, and [`verdict`] decides.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::Options;
use super::linger::Lingering;

/// How long a connection has to have been idle for its client not to be about to send a request: longer than a round trip.
pub(super) const AT_REST: Duration = Duration::from_secs(1);

/// What is known of a connection. Times are those of the last change.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Requests whose handler runs, or whose answer isn't all handed over.
    pub(super) in_flight: usize,
    /// A head is being read since then.
    pub(super) head_since: Option<Instant>,
    /// No request, and nothing of an answer on its way, since then.
    pub(super) idle_since: Instant,
    /// A write waits for the client since then.
    pub(super) write_blocked_since: Option<Instant>,
    /// HTTP/2: bytes between requests are frames of any kind, not heads.
    pub(super) is_http2: bool,
    /// HTTP/1: the body of the last request wasn't here with its head, and may not have been read to its end.
    pub(super) may_be_sending: bool,
    /// The server closes, whatever the client does.
    pub(super) is_stopping: bool,
}

/// Why the connection must be closed now, if so.
pub(super) fn verdict(state: &State, options: &Options, now: Instant) -> Option<&'static str> {
    let longer = |since: Instant, limit| now.duration_since(since) >= limit;
    if state.write_blocked_since.is_some_and(|since| longer(since, options.write_timeout)) {
        Some("the client takes in nothing of the reply")
    } else if state.in_flight > 0 {
        None
    } else if state.head_since.is_some_and(|since| longer(since, options.header_timeout)) {
        Some("the head of a request took too long")
    } else if state.write_blocked_since.is_none() && longer(state.idle_since, options.idle_timeout) {
        Some("idle")
    } else {
        None
    }
}

/// A connection's [`State`], shared by its socket, its requests and its watchdog.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    state: Arc<Mutex<State>>,
}

impl Activity {
    /// Of a connection that has just been accepted: its first head is due.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let state = State {
            in_flight: 0,
            head_since: Some(now),
            idle_since: now,
            write_blocked_since: None,
            is_http2: false,
            may_be_sending: false,
            is_stopping: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A request's head was read; it is in flight until the guard is dropped.
    pub(super) fn request(&self, is_http2: bool, has_body: bool) -> InFlight {
        let mut state = self.state();
        state.may_be_sending = has_body && !is_http2;
        state.in_flight += 1;
        state.head_since = None;
        state.is_http2 = is_http2;
        InFlight(self.clone())
    }

    /// The server has been told to stop.
    pub(super) fn stop(&self) {
        self.state().is_stopping = true;
    }

    /// Waits until the connection is at rest: nothing is in flight, and nothing has happened for a second. HTTP/2 need not wait:
    /// it can tell clients which of their requests are taken.
    pub(super) async fn at_rest(&self) {
        loop {
            let wait = {
                let state = self.state();
                let since = state.head_since.map_or(state.idle_since, |head| head.max(state.idle_since));
                match since.elapsed() {
                    _ if state.is_http2 => return,
                    _ if state.in_flight > 0 => AT_REST,
                    idle if idle >= AT_REST => return,
                    idle => AT_REST.saturating_sub(idle),
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits until the connection must be closed, and says why. Looks often enough to be late by a quarter of the
    /// shortest limit at most.
    pub(super) async fn overdue(&self, options: &Options) -> &'static str {
        let shortest = options.header_timeout.min(options.write_timeout).min(options.idle_timeout);
        loop {
            tokio::time::sleep((shortest / 4).max(Duration::from_millis(1))).await;
            if let Some(why) = verdict(&self.state(), options, Instant::now()) {
                return why;
            }
        }
    }

    fn bytes_read(&self) {
        let mut state = self.state();
        if state.in_flight == 0 && !state.is_http2 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    fn write_polled(&self, blocked: bool) {
        let mut state = self.state();
        if !blocked {
            if state.write_blocked_since.take().is_some() {
                state.idle_since = Instant::now();
            }
        } else if state.write_blocked_since.is_none() {
            state.write_blocked_since = Some(Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Activity);

impl InFlight {
    /// Whether its answer must tell the client to send no more here.
    pub(super) fn is_last(&self) -> bool {
        let state = self.0.state();
        state.is_stopping && !state.is_http2
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        state.idle_since = Instant::now();
    }
}

/// A client's connection as it was accepted: over TCP, or over a unix socket.
pub(super) type Socket = Either<TcpStream, UnixStream>;

/// A client's connection without or with TLS.
pub(super) type Stream = Either<Socket, Box<TlsStream<TcpStream>>>;

/// A socket whose activity is watched.
pub(super) struct Watched {
    stream: Stream,
    activity: Activity,
    /// Read, and put back.
    before: Bytes,
    linger_timeout: Duration,
    lingering: Option<Lingering>,
}

impl Watched {
    pub(super) fn new(stream: Stream, activity: Activity, options: &Options) -> Self {
        let linger_timeout = options.linger_timeout;
        Self { stream, activity, before: Bytes::new(), linger_timeout, lingering: None }
    }

    /// Lets what has been read be read once more.
    pub(super) fn put_back(&mut self, read: Bytes) {
        self.before = read;
    }

    fn wrote(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.write_polled(poll.is_pending());
        poll
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.before.is_empty() {
            let count = this.before.len().min(buf.remaining());
            buf.put_slice(&this.before.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.activity.bytes_read();
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS may hold back what was written until it is flushed.
        if matches!(self.stream, Either::Right(_)) {
            self.activity.write_polled(poll.is_pending());
        }
        poll
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            let State { may_be_sending, is_stopping, .. } = *this.activity.state();
            if !may_be_sending || is_stopping {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering = this.lingering.get_or_insert_with(|| Lingering::new(this.linger_timeout));
        let lingered = match &mut this.stream {
            Either::Left(socket) => lingering.poll(socket, cx),
            Either::Right(tls) => lingering.poll(tls.get_mut().0, cx),
        };
        lingered.map(Ok)
    }
}

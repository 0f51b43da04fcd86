//! The body of a request, as handlers read it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// What a handler is asked.
pub type Request = http::Request<RequestBody>;

/// Why a request's body is not whole: its client broke it off, or what came is no HTTP.
#[derive(Debug)]
pub struct Broken(());

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request's body broke off")
    }
}

impl std::error::Error for Broken {}

/// The body of a request: in hand, or still to come.
///
/// It is read from its connection only when it is asked for, a piece at a time.
#[derive(Debug)]
pub struct RequestBody(Kind);

#[derive(Debug)]
enum Kind {
    /// All of it, until it is taken.
    Whole(Bytes),
    Coming(Reader),
    Http2(Incoming),
}

impl RequestBody {
    pub(super) fn whole(body: Bytes) -> Self {
        Self(Kind::Whole(body))
    }

    pub(super) fn http2(body: Incoming) -> Self {
        Self(Kind::Http2(body))
    }

    /// One that is still to come over HTTP/1, of that length if it is known; and what feeds it.
    pub(super) fn coming(length: Option<u64>) -> (Feed, Self) {
        let slot = Arc::new(Mutex::new(Slot::default()));
        (Feed(slot.clone()), Self(Kind::Coming(Reader { slot, left: length })))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.0 {
            Kind::Whole(body) if body.is_empty() => Poll::Ready(None),
            Kind::Whole(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Kind::Coming(reader) => reader.poll_piece(cx).map_ok(Frame::data),
            Kind::Http2(body) => Pin::new(body).poll_frame(cx).map_err(|_| Broken(())),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(body) => body.is_empty(),
            Kind::Coming(reader) => reader.left == Some(0),
            Kind::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Kind::Coming(reader) => reader.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Http2(body) => body.size_hint(),
        }
    }
}

/// What passes between a connection and whoever reads the body of its request. Both are mostly polled by one task, the connection's, but
/// a handler may give the body to another one.
#[derive(Debug, Default)]
struct Slot {
    piece: Option<Bytes>,
    /// Nothing comes after the piece.
    is_over: bool,
    /// It isn't whole.
    is_broken: bool,
    /// The reader waits for a piece.
    is_wanted: bool,
    /// There is no reader any more.
    is_dropped: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

/// Who reads.
#[derive(Debug)]
struct Reader {
    slot: Arc<Mutex<Slot>>,
    /// How much is still to be given, if that is known.
    left: Option<u64>,
}

impl Reader {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut slot = lock(&self.slot);
        if let Some(piece) = slot.piece.take() {
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(piece.len() as u64);
            }
            return Poll::Ready(Some(Ok(piece)));
        }
        if slot.is_broken {
            return Poll::Ready(Some(Err(Broken(()))));
        }
        if slot.is_over {
            self.left = Some(0);
            return Poll::Ready(None);
        }
        slot.is_wanted = true;
        slot.reader = Some(cx.waker().clone());
        // The connection looks by itself after it has polled who reads; not if that is another task's.
        if let Some(other) = slot.connection.take_if(|connection| !connection.will_wake(cx.waker())) {
            drop(slot);
            other.wake();
        }
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.slot).is_dropped = true;
    }
}

/// The connection's side.
#[derive(Debug)]
pub(super) struct Feed(Arc<Mutex<Slot>>);

impl Feed {
    /// Whether a piece is waited for. If not, `cx` is woken when one is.
    pub(super) fn poll_wanted(&self, cx: &mut Context<'_>) -> bool {
        let mut slot = lock(&self.0);
        if !slot.is_wanted {
            slot.connection = Some(cx.waker().clone());
        }
        slot.is_wanted
    }

    /// Whether nobody will ask for any more of it.
    pub(super) fn is_dropped(&self) -> bool {
        lock(&self.0).is_dropped
    }

    /// Gives the piece that is waited for; whether it is the last one.
    pub(super) fn give(&self, piece: Bytes, is_last: bool, cx: &mut Context<'_>) {
        let mut slot = lock(&self.0);
        (slot.piece, slot.is_over) = (Some(piece), is_last);
        told(slot, cx);
    }

    /// It is complete.
    pub(super) fn end(&self, cx: &mut Context<'_>) {
        let mut slot = lock(&self.0);
        slot.is_over = true;
        told(slot, cx);
    }

    /// It is not whole, and nothing more comes.
    pub(super) fn break_off(&self, cx: &mut Context<'_>) {
        let mut slot = lock(&self.0);
        (slot.is_over, slot.is_broken) = (true, true);
        told(slot, cx);
    }
}

/// The reader has what it waited for.
fn told(mut slot: MutexGuard<'_, Slot>, cx: &mut Context<'_>) {
    slot.is_wanted = false;
    // Who is of this task is polled again anyway.
    if let Some(other) = slot.reader.take_if(|reader| !reader.will_wake(cx.waker())) {
        drop(slot);
        other.wake();
    }
}

impl Drop for Feed {
    /// The connection has ended: who still reads must not wait for ever.
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        if !slot.is_over {
            (slot.is_over, slot.is_broken) = (true, true);
            told(slot, &mut Context::from_waker(Waker::noop()));
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    // Nothing that is done under the lock can leave it half changed.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

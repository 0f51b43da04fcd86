//! Reading a body with a limit on its size and on how long it may stall.

mod room;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use tokio::time::error::Elapsed;

pub use room::{Room, Unread};

/// How long a body may make no progress.
pub const STALL: Duration = Duration::from_secs(30);

/// How much is set aside at once on the word of a content-length.
const TRUSTED_LENGTH: usize = 2 * 1024 * 1024;

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is, or says that it will be, larger than the limit.
    TooLarge,
    /// The connection broke or the framing was wrong.
    Aborted,
    /// No progress for as long as is allowed.
    Timeout,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BodyError::TooLarge => "body too large",
            BodyError::Aborted => "body aborted",
            BodyError::Timeout => "body stalled",
        })
    }
}

impl std::error::Error for BodyError {}

/// Reads a body of at most `limit` bytes that never stalls for longer than [`STALL`].
///
/// A body that announces its length is refused before it is read. The time of the whole is not bounded here: the
/// caller's deadline does that.
///
/// # Errors
/// [`BodyError`].
pub async fn read<B: Body<Data = Bytes> + Unpin>(body: B, limit: usize) -> Result<Bytes, BodyError> {
    gather(body, limit, Some(STALL)).await
}

/// Reads a body of at most `limit` bytes that is in within `time`. A small one, which is there with its head, costs no timer.
///
/// # Errors
/// [`BodyError`].
pub async fn read_in<B: Body<Data = Bytes> + Unpin>(
    body: B,
    limit: usize,
    time: Duration,
) -> Result<Bytes, BodyError> {
    let mut read = pin!(gather(body, limit, None));
    match asked_again(read.as_mut()).await {
        Poll::Ready(read) => read,
        Poll::Pending => tokio::time::timeout(time, read).await.unwrap_or(Err(BodyError::Timeout)),
    }
}

/// Reads a body of at most `limit` bytes; without `stall` it has no limit on time.
pub(crate) async fn gather<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    limit: usize,
    stall: Option<Duration>,
) -> Result<Bytes, BodyError> {
    let mut gathered = Gathered::new(&body, limit).map_err(|TooLarge| BodyError::TooLarge)?;
    loop {
        let frame = match stall {
            Some(stall) => next_frame(&mut body, stall).await.map_err(|_| BodyError::Timeout)?,
            None => body.frame().await,
        };
        match frame {
            None => return Ok(gathered.finish()),
            Some(Err(_)) => return Err(BodyError::Aborted),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    gathered.push(data).map_err(|TooLarge| BodyError::TooLarge)?;
                }
                // Who has told its length needn't be asked whether there is more.
                if body.is_end_stream() {
                    return Ok(gathered.finish());
                }
            }
        }
    }
}

/// Polls twice: the server hands out what it has of a body only when it has been asked for it, and by the next time it has. The task
/// wakes itself in between, which is one with the server's wake where there is something.
async fn asked_again<F: Future>(mut work: Pin<&mut F>) -> Poll<F::Output> {
    let mut asked = false;
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Pending if !asked => {
            asked = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        polled => Poll::Ready(polled),
    })
    .await
}

/// The next frame. What is there already, as most small bodies are, needs no timer.
pub(crate) async fn next_frame<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
    stall: Duration,
) -> Result<Option<Result<Frame<Bytes>, B::Error>>, Elapsed> {
    let mut frame = body.frame();
    match poll_fn(|cx| Poll::Ready(Pin::new(&mut frame).poll(cx))).await {
        Poll::Ready(frame) => Ok(frame),
        Poll::Pending => tokio::time::timeout(stall, frame).await,
    }
}

/// The limit was passed.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// What of a body has come so far. A body that comes in one piece is not copied.
pub(crate) struct Gathered {
    limit: usize,
    expected: usize,
    first: Bytes,
    rest: BytesMut,
}

impl Gathered {
    /// Prepares for `body`, whose announced length may be too large already.
    pub(crate) fn new<B: Body>(body: &B, limit: usize) -> Result<Self, TooLarge> {
        let announced = usize::try_from(body.size_hint().lower()).map_err(|_| TooLarge)?;
        if announced > limit {
            return Err(TooLarge);
        }
        Ok(Self {
            limit,
            expected: announced.min(TRUSTED_LENGTH),
            first: Bytes::new(),
            rest: BytesMut::new(),
        })
    }

    pub(crate) fn push(&mut self, data: Bytes) -> Result<(), TooLarge> {
        let so_far = self.len();
        if data.len() > self.limit - so_far {
            return Err(TooLarge);
        }
        if so_far == 0 {
            self.first = data;
        } else {
            if self.rest.is_empty() {
                self.rest.reserve(self.expected.max(so_far + data.len()));
                self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&data);
        }
        Ok(())
    }

    /// How much has come.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    pub(crate) fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

#[cfg(test)]
mod tests;

//! A bound for all bodies together that are still coming in.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{BodyError, read_in};

/// How much of unfinished bodies there is.
///
/// A body that is there whole with its first piece, as small ones are, isn't counted and costs nothing here. One that comes alone
/// may always be read, however large.
#[derive(Debug, Default)]
pub struct Room {
    taken: AtomicUsize,
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Too much of other bodies was coming in at the same time.
    Crowded,
    /// It is its own fault.
    Failed(BodyError),
}

impl Room {
    /// As [`read_in`], unless what has come of all bodies together would be more than `most` bytes.
    ///
    /// # Errors
    /// [`Unread`].
    pub async fn read<B: Body<Data = Bytes> + Unpin>(
        &self,
        body: B,
        limit: usize,
        time: Duration,
        most: usize,
    ) -> Result<Bytes, Unread> {
        let mut counted = Counted { body, room: self, own: 0, most, is_crowded: false };
        let read = read_in(&mut counted, limit, time).await;
        read.map_err(|error| if counted.is_crowded { Unread::Crowded } else { Unread::Failed(error) })
    }

    /// So much has come of bodies that aren't whole.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes room for another piece of a body that has `own` already.
    fn take(&self, own: usize, piece: usize, most: usize) -> bool {
        let before = self.taken.fetch_add(piece, Ordering::Relaxed);
        let is_alone = before <= own;
        let fits = is_alone || before.saturating_add(piece) <= most;
        if !fits {
            self.taken.fetch_sub(piece, Ordering::Relaxed);
        }
        fits
    }
}

/// A body that takes room until it is dropped.
struct Counted<'a, B> {
    body: B,
    room: &'a Room,
    own: usize,
    most: usize,
    is_crowded: bool,
}

/// It doesn't come whole.
struct Broken;

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<'_, B> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let Ok(frame) = frame else { return Poll::Ready(Some(Err(Broken))) };
        let piece = frame.data_ref().map_or(0, Bytes::len);
        if piece > 0 && !(self.own == 0 && self.body.is_end_stream()) {
            if !self.room.take(self.own, piece, self.most) {
                self.is_crowded = true;
                return Poll::Ready(Some(Err(Broken)));
            }
            self.own += piece;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Counted<'_, B> {
    fn drop(&mut self) {
        if self.own > 0 {
            self.room.taken.fetch_sub(self.own, Ordering::Relaxed);
        }
    }
}

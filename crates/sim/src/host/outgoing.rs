//! Bodies of answers, sent whole, cut short or in pieces.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::fault::Fault;

/// The body of an answer; its length is always announced in full.
pub(crate) struct Outgoing {
    left: Bytes,
    manner: Manner,
}

enum Manner {
    Whole,
    /// `true` once the first half is out and has to be flushed before the end.
    Cut {
        flushing: bool,
        stop_at: usize,
    },
    Pieces {
        size: usize,
        pause: Duration,
        sleep: Pin<Box<Sleep>>,
    },
    Blanks {
        left: u64,
    },
}

const PIECES: u32 = 8;
/// White space is the longest that a reader of JSON can take for a beginning.
static BLANKS: [u8; 16 << 10] = [b' '; 16 << 10];

impl Outgoing {
    pub(crate) fn whole(body: Bytes) -> Outgoing {
        Outgoing { left: body, manner: Manner::Whole }
    }

    /// As these faults have it; the first one that concerns bodies counts.
    pub(crate) fn with(body: Bytes, faults: &[Fault]) -> Outgoing {
        let manner = faults.iter().find_map(|fault| match fault {
            Fault::Truncate => Some(Manner::Cut { flushing: false, stop_at: body.len().div_ceil(2) }),
            Fault::SlowBody(over) => {
                let pause = *over / PIECES;
                Some(Manner::Pieces {
                    size: body.len().div_ceil(PIECES as usize).max(1),
                    pause,
                    sleep: Box::pin(sleep(pause)),
                })
            }
            Fault::Huge(bytes) => Some(Manner::Blanks { left: *bytes }),
            _ => None,
        });
        Outgoing { left: body, manner: manner.unwrap_or(Manner::Whole) }
    }

    /// What is still to come, in bytes.
    fn length(&self) -> u64 {
        match &self.manner {
            Manner::Blanks { left } => *left,
            _ => self.left.len() as u64,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if let Manner::Blanks { left } = &mut this.manner {
            let piece = usize::try_from(*left).unwrap_or(usize::MAX).min(BLANKS.len());
            *left -= piece as u64;
            let piece = (piece > 0).then(|| Ok(Frame::data(Bytes::from_static(&BLANKS[..piece]))));
            return Poll::Ready(piece);
        }
        if this.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = match &mut this.manner {
            Manner::Whole | Manner::Blanks { .. } => this.left.split_off(0),
            Manner::Cut { flushing, stop_at } if *stop_at > 0 => {
                let half = this.left.split_to(*stop_at);
                (*flushing, *stop_at) = (true, 0);
                half
            }
            Manner::Cut { flushing, .. } if *flushing => {
                // Once around, so that the half reaches the socket before the connection ends.
                *flushing = false;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Manner::Cut { .. } => {
                let cut = io::Error::new(io::ErrorKind::ConnectionAborted, "simulated truncation");
                return Poll::Ready(Some(Err(cut)));
            }
            Manner::Pieces { size, pause, sleep: pausing } => {
                ready!(pausing.as_mut().poll(cx));
                *pausing = Box::pin(sleep(*pause));
                this.left.split_to((*size).min(this.left.len()))
            }
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

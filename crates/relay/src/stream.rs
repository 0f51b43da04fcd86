//! The halves of a connection: frames in, frames out, each wait with its deadline.
//!
//! There is no queue between the two sides of a leg (what other legs tell its node waits in [`crate::fanout`]). What one side has sent is passed on before more of it is read, so a side that takes in
//! nothing holds up the other one of its own leg and nobody else. That is also what is best for blocks: those that wait behind a peer that
//! hangs are not decided about, and claim no slot that another leg could fill.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use bytes::{Buf, Bytes};
use mainstay_antelope::{Frame, FrameError, Splitter};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Frames that are written with one call at most.
const AT_ONCE: usize = 64;

/// Why a half is at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The connection was closed, or is broken.
    Closed,
    /// Nothing came for too long.
    Silent,
    /// Nothing was taken in for too long.
    Stalled,
    /// What came is no frame.
    NoFrame(FrameError),
}

/// What comes in.
pub(crate) struct Intake<R> {
    half: R,
    splitter: Splitter,
}

impl<R: AsyncRead + Unpin> Intake<R> {
    pub(crate) fn new(half: R) -> Self {
        Self { half, splitter: Splitter::default() }
    }

    /// The next frame, if it is here already.
    pub(crate) fn here(&mut self) -> Result<Option<Frame>, Ended> {
        self.splitter.split().map_err(Ended::NoFrame)
    }

    /// Waits for more bytes; how many came.
    pub(crate) async fn more(&mut self, within: Duration) -> Result<usize, Ended> {
        match timeout(within, self.half.read_buf(self.splitter.room())).await {
            Err(_) => Err(Ended::Silent),
            Ok(Ok(0) | Err(_)) => Err(Ended::Closed),
            Ok(Ok(read)) => Ok(read),
        }
    }

    /// The first frame, all of it in time.
    pub(crate) async fn first(&mut self, within: Duration) -> Result<Frame, Ended> {
        let reading = async {
            loop {
                if let Some(frame) = self.here()? {
                    return Ok(frame);
                }
                self.more(within).await?;
            }
        };
        timeout(within, reading).await.unwrap_or(Err(Ended::Silent))
    }

    /// Reads on until the other side has closed, for so long at most. Without it the system would answer what still comes with a reset, and
    /// that takes away what the other side hasn't read yet.
    pub(crate) async fn drain(mut self, within: Duration) {
        let mut away = Vec::with_capacity(16 * 1024);
        let draining = async {
            while matches!(self.half.read_buf(&mut away).await, Ok(read) if read > 0) {
                away.clear();
            }
        };
        let _ = timeout(within, draining).await;
    }
}

/// What goes out.
pub(crate) struct Outlet<W> {
    half: W,
    waiting: VecDeque<Bytes>,
    stall: Duration,
}

impl<W: AsyncWrite + Unpin> Outlet<W> {
    /// `stall`: how long the other side may take in nothing.
    pub(crate) fn new(half: W, stall: Duration) -> Self {
        Self { half, waiting: VecDeque::new(), stall }
    }

    /// Puts a frame behind the others. Who calls sees to it that not more is here than was read at once, and [`WAITING`](crate::fanout::WAITING).
    pub(crate) fn push(&mut self, frame: &Frame) {
        self.waiting.push_back(frame.bytes().clone());
    }

    /// Writes all that waits; how many bytes.
    pub(crate) async fn flush(&mut self) -> Result<usize, Ended> {
        let mut written = 0;
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); AT_ONCE];
            let mut used = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.waiting) {
                *slice = IoSlice::new(bytes);
                used += 1;
            }
            let wrote = match timeout(self.stall, self.half.write_vectored(&slices[..used])).await {
                Err(_) => return Err(Ended::Stalled),
                Ok(Ok(0) | Err(_)) => return Err(Ended::Closed),
                Ok(Ok(wrote)) => wrote,
            };
            written += wrote;
            self.advance(wrote);
        }
        if written > 0 {
            match timeout(self.stall, self.half.flush()).await {
                Err(_) => return Err(Ended::Stalled),
                Ok(Err(_)) => return Err(Ended::Closed),
                Ok(Ok(())) => {}
            }
        }
        Ok(written)
    }

    fn advance(&mut self, mut wrote: usize) {
        while let Some(first) = self.waiting.front_mut() {
            if wrote < first.len() {
                first.advance(wrote);
                return;
            }
            wrote -= first.len();
            self.waiting.pop_front();
        }
    }

    /// Closes it, plainly.
    pub(crate) async fn close(mut self, within: Duration) {
        let _ = timeout(within, self.half.shutdown()).await;
    }
}

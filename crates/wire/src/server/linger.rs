//! The end of a connection whose client is still sending.
//!
//! A request may be answered before it is in. A socket that is closed with unread bytes, or that gets more of them after
//! it was closed, makes the system reset the connection, and then the client's next write fails and many a client never
//! looks at the answer. So only our side is closed at first, and what still comes is thrown away until the client
//! has closed its side or its time is up.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

/// Taken from the socket at once.
const PIECE: usize = 16 * 1024;

pub(super) struct Lingering {
    end: Pin<Box<Sleep>>,
}

impl Lingering {
    pub(super) fn new(limit: Duration) -> Self {
        Self { end: Box::pin(tokio::time::sleep(limit)) }
    }

    /// Ready when the socket can be closed.
    pub(super) fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        // First, since a client that sends without a pause uses up the task's budget every time.
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut piece = [0; PIECE];
        loop {
            let mut read = ReadBuf::new(&mut piece);
            match Pin::new(&mut *stream).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

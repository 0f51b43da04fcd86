//! What is to be written on a connection next.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// A piece of a body up to this length is copied behind what goes before it: the copy costs less than another slice.
const SMALL: usize = 2048;

/// Head or framing, a piece of a body, and what ends it. Written together.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    front: Vec<u8>,
    piece: Bytes,
    back: &'static [u8],
    written: usize,
}

impl Outbox {
    /// With this in front of the first piece.
    pub(crate) fn of(front: Vec<u8>) -> Self {
        Self { front, ..Self::default() }
    }

    /// What goes before the next piece, to add to.
    pub(crate) fn front(&mut self) -> &mut Vec<u8> {
        &mut self.front
    }

    /// A piece of a body, and what follows it. There is none yet.
    pub(crate) fn put(&mut self, piece: Bytes, back: &'static [u8]) {
        if piece.len() <= SMALL {
            self.front.extend_from_slice(&piece);
            self.front.extend_from_slice(back);
        } else {
            (self.piece, self.back) = (piece, back);
        }
    }

    /// Whether there is a piece that wants to be written before the next one is put.
    pub(crate) fn is_full(&self) -> bool {
        !self.piece.is_empty() || self.front.len() > SMALL
    }

    /// Whether all has been written.
    pub(crate) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.piece.is_empty()
    }

    /// Writes all that there is.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            ready!(self.poll_write_some(stream, cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes some of what there is, of which there is something.
    pub(crate) fn poll_write_some<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.poll_slices(stream, cx))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => self.written += count,
        }
        if self.written == self.front.len() + self.piece.len() + self.back.len() {
            self.front.clear();
            (self.piece, self.back, self.written) = (Bytes::new(), b"", 0);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_slices<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 3];
        let (mut count, mut skip) = (0, self.written);
        for part in [&self.front[..], &self.piece, self.back] {
            let done = skip.min(part.len());
            skip -= done;
            if done < part.len() {
                slices[count] = IoSlice::new(&part[done..]);
                count += 1;
            }
        }
        match &slices[..count] {
            [only] => Pin::new(stream).poll_write(cx, only),
            several => Pin::new(stream).poll_write_vectored(cx, several),
        }
    }
}

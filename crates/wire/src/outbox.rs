//! What is to be written on a connection next.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// A piece of a body up to this length is copied behind what goes before it: the copy costs less than another slice.
pub(crate) const SMALL: usize = 2048;

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::future::poll_fn;

    /// Takes at most so many bytes a write.
    struct Sink(Vec<u8>, usize);

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            let taken = data.len().min(self.1);
            self.0.extend_from_slice(&data[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let (before, most) = (self.0.len(), self.1);
            slices.iter().for_each(|slice| self.0.extend_from_slice(slice));
            self.0.truncate(before + most);
            Poll::Ready(Ok(self.0.len() - before))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn all_is_written_in_order_however_little_is_taken_at_a_time(
            pieces in prop::collection::vec(("[a-z]{0,9}", prop_oneof![0_usize..20, 0..2 * SMALL]), 1..5),
            most in 1_usize..2 * SMALL,
        ) {
            let (mut out, mut sink, mut expected) = (Outbox::default(), Sink(Vec::new(), most), Vec::new());
            for (i, (front, length)) in pieces.iter().enumerate() {
                let piece = vec![b'0' + u8::try_from(i).unwrap(); *length];
                out.front().extend_from_slice(front.as_bytes());
                out.put(piece.clone().into(), b"end");
                expected.extend([front.as_bytes(), &piece, b"end"].concat());
                if out.is_full() || i + 1 == pieces.len() {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(poll_fn(|cx| out.poll_write(&mut sink, cx))).unwrap();
                    prop_assert!(out.is_empty());
                    prop_assert_eq!(&sink.0, &expected);
                }
            }
        }
    }
}

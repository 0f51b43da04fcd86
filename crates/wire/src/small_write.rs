//! Small replies and requests leave in one plain write.
//!
//! hyper (HTTP/2) and the beginnings of streams hand over several slices. For the kernel a gathering write of two short slices is dearer than a
//! plain one of their sum, by more than the copy costs; for long ones the copy would be the dearer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Up to this many bytes are copied together.
const SMALL: usize = 2048;

/// Writes several slices: short ones as one.
pub(crate) fn poll_write_vectored<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
    if slices.len() < 2 || length > SMALL {
        return Pin::new(stream).poll_write_vectored(cx, slices);
    }
    let mut together = [0; SMALL];
    let mut end = 0;
    for slice in slices {
        together[end..end + slice.len()].copy_from_slice(slice);
        end += slice.len();
    }
    Pin::new(stream).poll_write(cx, &together[..end])
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

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn what_is_told_to_be_written_is_what_was_written(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 0..4),
            most in 1_usize..4000,
        ) {
            let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut sink = Sink(Vec::new(), most);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let written = runtime.block_on(poll_fn(|cx| poll_write_vectored(&mut sink, cx, &slices))).unwrap();
            let all = parts.concat();
            prop_assert_eq!(&sink.0[..], &all[..written]);
            prop_assert!(written > 0 || all.is_empty() || parts[0].is_empty());
        }
    }
}

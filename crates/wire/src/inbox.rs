//! What has been read of a connection and not yet been taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Set aside at once, at least.
const READ: usize = 8 * 1024;
/// A buffer that has grown beyond this isn't kept for the next message.
const KEPT: usize = 64 * 1024;

/// Reads some bytes, 0 at the end of the stream. So much is expected (`ahead`): there is room for that, or a good part of it.
pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
    input: &mut BytesMut,
    ahead: usize,
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if input.capacity() - input.len() < ahead.min(READ) {
        input.reserve(ahead.max(READ));
    }
    poll_read_buf(Pin::new(stream), cx, input)
}

/// Lets go of a buffer that is too large to be kept, between two messages.
pub(crate) fn trim(input: &mut BytesMut) {
    if input.is_empty() && input.capacity() > KEPT {
        *input = BytesMut::new();
    }
}

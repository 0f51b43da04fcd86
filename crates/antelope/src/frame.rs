//! Frames: a length (`u32`, little-endian, of what follows it), a type, a message.
//!
//! A stream is cut as it arrives, with no copy: a [`Frame`] is a slice of the buffer that the socket was read into. A length that is
//! refused is refused as soon as it is there, before anything is kept for it, one that only its type forbids as soon as the type is.

use bytes::{Bytes, BytesMut};

use crate::data::VARUINT_BYTES;
use crate::pack::{Pack, Reader};
use crate::{DecodeError, Fault, FrameError, Header, Kind, Message, Varuint};

/// No frame is longer, in bytes without the four of the length.
pub const MAX_LENGTH: u32 = 8 * 1024 * 1024;
/// No frame is, unless it holds a block, a transaction or gossip.
pub const MAX_SMALL: u32 = 64 * 1024;
/// Bytes of the length.
const PREFIX: usize = 4;
/// What is read at once, in bytes.
const READ: usize = 64 * 1024;

/// One frame as it is on the wire, and its type. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    kind: Kind,
    body: usize,
}

impl Frame {
    /// A frame from all of its bytes, length included; made by an encoder, which has seen to it that it is whole.
    pub(crate) fn whole(bytes: Bytes) -> Result<Self, FrameError> {
        match head(&bytes)? {
            Some(head) => Ok(Self { kind: head.kind, body: head.body, bytes }),
            None => Err(FrameError::Empty),
        }
    }

    /// Everything, length included: to be passed on.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message's type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Type and message, which is what the length counts.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[PREFIX..]
    }

    /// Decodes the message; that of an unknown type stays as it is.
    pub fn message(&self) -> Result<Message<'_>, DecodeError> {
        Message::read(self.kind, &mut self.reader())
    }

    /// A block's header, without a look at what follows it. `None` if there is no block in the frame.
    pub fn block_header(&self) -> Option<Result<Header<'_>, DecodeError>> {
        (self.kind == Kind::SignedBlock).then(|| Header::unpack(&mut self.reader()))
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes, self.body)
    }
}

/// What a frame's first bytes say.
struct Head {
    kind: Kind,
    /// Where the message begins.
    body: usize,
    /// Where the frame ends.
    end: usize,
}

/// `None`: more bytes are needed to tell.
fn head(bytes: &[u8]) -> Result<Option<Head>, FrameError> {
    let Some(length) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length);
    if length == 0 {
        return Err(FrameError::Empty);
    }
    if length > MAX_LENGTH {
        return Err(FrameError::TooLong { length, limit: MAX_LENGTH, kind: None });
    }
    let end = PREFIX + length as usize;
    let here = &bytes[..end.min(bytes.len()).min(PREFIX + VARUINT_BYTES)];
    let mut reader = Reader::new(here, PREFIX);
    let kind = match Varuint::unpack(&mut reader) {
        Ok(Varuint(number)) => Kind::of(number),
        Err(DecodeError { fault: Fault::Missing { .. }, .. }) if bytes.len() < end => return Ok(None),
        Err(_) => return Err(FrameError::Type),
    };
    let limit = kind.limit();
    if length > limit {
        return Err(FrameError::TooLong { length, limit, kind: Some(kind) });
    }
    Ok(Some(Head { kind, body: reader.at(), end }))
}

/// Cuts a stream into frames. It holds at most what one read gives beyond a frame, and a frame.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: BytesMut,
    offset: u64,
}

impl Splitter {
    /// A buffer with room for more of the stream, to be read into. Whatever is cut off it is not copied.
    pub fn room(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ);
        &mut self.buffer
    }

    /// Takes more of the stream, where that is somewhere else already.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `None` if it isn't whole yet. After an error there is nothing but the same error.
    pub fn split(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = head(&self.buffer)? else { return Ok(None) };
        if self.buffer.len() < head.end {
            return Ok(None);
        }
        self.offset += head.end as u64;
        let bytes = self.buffer.split_to(head.end).freeze();
        Ok(Some(Frame { bytes, kind: head.kind, body: head.body }))
    }

    /// Where in the stream the next frame begins, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that are here of a frame that isn't whole yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }
}

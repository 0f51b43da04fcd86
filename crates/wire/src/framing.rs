//! Where the bodies of HTTP/1 messages end (RFC 9112 sections 6 and 7), for both sides of mainstay. Pure.

use bytes::{Buf as _, Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Status};

/// The most header fields of a message.
pub(crate) const MAX_FIELDS: usize = 100;
/// The longest head of a message, and the longest line between two chunks, in bytes.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// What came is not what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Not HTTP.
    Malformed,
    /// Longer than is allowed.
    TooLarge,
}

/// Where a body ends, and how far it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks.
    Chunked(Chunk),
    /// Whatever comes until the connection is closed.
    UntilClose,
}

/// What of a chunked body comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// The size of a chunk.
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// The line's end behind a chunk.
    End,
    /// The fields behind the last chunk.
    Trailers,
    /// Nothing.
    Over,
}

/// What a piece of input gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// More has to come.
    Wanted,
    /// The body is complete.
    Over,
}

impl Framing {
    /// Takes the next piece of the body off `input`.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Piece, Bad> {
        match self {
            Framing::Length(0) => Ok(Piece::Over),
            Framing::Length(left) => Ok(take(input, left)),
            Framing::UntilClose => Ok(take(input, &mut u64::MAX.clone())),
            Framing::Chunked(chunk) => chunk.next(input),
        }
    }

    /// How much is still to come, as far as it is announced, and at most so much: for that there should be room.
    pub(crate) fn ahead(self, most: usize) -> usize {
        match self {
            Framing::Length(left) | Framing::Chunked(Chunk::Data(left)) => {
                usize::try_from(left).map_or(most, |left| left.min(most))
            }
            Framing::Chunked(_) | Framing::UntilClose => 0,
        }
    }
}

impl Chunk {
    fn next(&mut self, input: &mut BytesMut) -> Result<Piece, Bad> {
        loop {
            match self {
                // httparse takes an empty line for a size of 0, which would end the body.
                Chunk::Size if input.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) => {
                    return Err(Bad::Malformed);
                }
                Chunk::Size => match httparse::parse_chunk_size(input) {
                    // What follows the size is nobody's business, but where the line ends is.
                    Ok(Status::Complete((length, _))) if has_bare_end(&input[..length]) => {
                        return Err(Bad::Malformed);
                    }
                    Ok(Status::Complete((length, size))) => {
                        input.advance(length);
                        *self = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
                    }
                    Ok(Status::Partial) => return wanted(input),
                    Err(_) => return Err(Bad::Malformed),
                },
                Chunk::Data(0) => *self = Chunk::End,
                Chunk::Data(left) => return Ok(take(input, left)),
                Chunk::End => {
                    if input.len() < 2 {
                        return Ok(Piece::Wanted);
                    }
                    if !input.starts_with(b"\r\n") {
                        return Err(Bad::Malformed);
                    }
                    input.advance(2);
                    *self = Chunk::Size;
                }
                Chunk::Trailers => {
                    let mut room = [EMPTY_HEADER; MAX_FIELDS];
                    match httparse::parse_headers(input, &mut room) {
                        Ok(Status::Complete((length, _))) if has_bare_end(&input[..length]) => {
                            return Err(Bad::Malformed);
                        }
                        Ok(Status::Complete((length, _))) => {
                            input.advance(length);
                            *self = Chunk::Over;
                        }
                        Ok(Status::Partial) => return wanted(input),
                        Err(_) => return Err(Bad::Malformed),
                    }
                }
                Chunk::Over => return Ok(Piece::Over),
            }
        }
    }
}

fn wanted(input: &BytesMut) -> Result<Piece, Bad> {
    if input.len() < MAX_HEAD { Ok(Piece::Wanted) } else { Err(Bad::TooLarge) }
}

/// Up to `left` bytes off `input`.
fn take(input: &mut BytesMut, left: &mut u64) -> Piece {
    let count = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    if count == 0 {
        return Piece::Wanted;
    }
    *left -= count as u64;
    Piece::Data(input.split_to(count).freeze())
}

/// Whether a line ends in a line feed alone, which some programs take for an end and others don't. httparse takes it.
pub(crate) fn has_bare_end(lines: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', lines).any(|at| at == 0 || lines[at - 1] != b'\r')
}

/// The members of a comma-separated list.
pub(crate) fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// A length as RFC 9110 section 8.6 writes it.
pub(crate) fn length(digits: &[u8]) -> Option<u64> {
    // `parse` would take a plus sign.
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

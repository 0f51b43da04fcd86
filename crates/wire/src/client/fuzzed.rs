//! How a connection reads a reply, for the fuzz target: bytes in, what is understood of them out.

use bytes::BytesMut;
use http::HeaderMap;

use super::incoming;
use crate::framing::{Bad, Framing, Piece};

/// What was understood of a reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub fields: HeaderMap,
    /// As much of the body as came.
    pub body: Vec<u8>,
    /// The body has ended.
    pub is_whole: bool,
    /// The body ends with the connection.
    pub is_until_close: bool,
    /// The body's bytes are told as they are, and how many there are.
    pub length: Option<u64>,
    /// The connection may be used again, if nothing is left.
    pub keep_alive: bool,
    /// What came after it.
    pub left: Vec<u8>,
}

/// Reads one reply that comes in pieces. `None`: its head hasn't ended.
///
/// # Errors
/// It is no HTTP, or too much of it.
pub fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    to_head_request: bool,
) -> Result<Option<Reading>, ()> {
    let unreadable = |_: Bad| ();
    let (mut input, mut reading, mut framing) = (BytesMut::new(), None, None);
    for piece in pieces {
        input.extend_from_slice(piece);
        if framing.is_none()
            && let Some(head) = incoming::head(&mut input, to_head_request).map_err(unreadable)?
        {
            framing = Some(head.framing);
            reading = Some(Reading {
                status: head.status.as_u16(),
                fields: head.fields.map(),
                body: Vec::new(),
                is_whole: false,
                is_until_close: head.framing == Framing::UntilClose,
                length: match head.framing {
                    Framing::Length(length) => Some(length),
                    Framing::Chunked(_) | Framing::UntilClose => None,
                },
                keep_alive: head.keep_alive,
                left: Vec::new(),
            });
        }
        let (Some(framing), Some(reading)) = (&mut framing, &mut reading) else { continue };
        while !reading.is_whole {
            match framing.next(&mut input).map_err(unreadable)? {
                Piece::Data(data) => reading.body.extend_from_slice(&data),
                Piece::Wanted => break,
                Piece::Over => reading.is_whole = true,
            }
        }
    }
    Ok(reading.map(|reading| Reading { left: input.to_vec(), ..reading }))
}

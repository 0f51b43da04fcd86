//! How a connection of HTTP/1 reads requests, for the fuzz target: bytes in, what is understood of them out.

use bytes::{BufMut as _, BytesMut};

use super::http1::head;
use super::suspect;
use crate::framing::{Framing, Piece};

/// What was understood of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// Method, target, version.
    pub line: String,
    /// The header fields, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// As much of the body as came.
    pub body: Vec<u8>,
    /// The body has ended.
    pub is_whole: bool,
    /// How long it says that its body is.
    pub length: Option<u64>,
    /// No handler sees it, though it could be read.
    pub is_refused: bool,
}

/// All that is read from a connection whose bytes come in pieces.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// The requests.
    pub requests: Vec<Reading>,
    /// What came then is no HTTP, or too much of it.
    pub is_bad: bool,
}

/// Reads requests, one after the other, until one can't be read.
pub fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Readings {
    let (mut input, mut all, mut framing) = (BytesMut::new(), Readings::default(), None::<Framing>);
    for piece in pieces {
        input.put_slice(piece);
        while !all.is_bad {
            let Some(left) = &mut framing else {
                match head::take(&mut input) {
                    Ok(None) => break,
                    Ok(Some(head)) => {
                        all.requests.push(reading(&head));
                        framing = Some(head.framing);
                    }
                    Err(_) => all.is_bad = true,
                }
                continue;
            };
            let Some(reading) = all.requests.last_mut() else { break };
            match left.next(&mut input) {
                Ok(Piece::Data(data)) => reading.body.extend_from_slice(&data),
                Ok(Piece::Wanted) => break,
                Ok(Piece::Over) => (reading.is_whole, framing) = (true, None),
                Err(_) => all.is_bad = true,
            }
        }
    }
    all
}

fn reading(head: &head::Head) -> Reading {
    let request = &head.request;
    let fields = request.headers().iter();
    Reading {
        line: format!("{} {} {:?}", request.method(), request.uri(), request.version()),
        fields: fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        body: Vec::new(),
        is_whole: false,
        length: if let Framing::Length(length) = head.framing { Some(length) } else { None },
        is_refused: suspect::flaw(request).is_some(),
    }
}

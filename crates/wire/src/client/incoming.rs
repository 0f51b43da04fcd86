//! A reply's bytes: its head, and where its body ends (RFC 9112 sections 4 to 7). Pure.
//!
//! Lines and header fields are httparse's to read; here is what they mean for the connection.

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use httparse::{EMPTY_HEADER, ParserConfig, Status};

use crate::framing::{Bad, Chunk, Framing, MAX_FIELDS, MAX_HEAD, length, parts};

/// A reply's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) fields: Fields,
    pub(super) framing: Framing,
    /// Whether the connection may be used again when the body has been read.
    pub(super) keep_alive: bool,
}

/// Header fields as they came: most callers want none of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Bytes);

impl Fields {
    pub(super) fn of(map: &HeaderMap) -> Self {
        let mut lines = Vec::new();
        for (name, value) in map {
            lines.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        lines.extend_from_slice(b"\r\n");
        Self(lines.into())
    }

    /// The value of the first field of each of these names.
    pub(super) fn some<const N: usize>(&self, names: [&HeaderName; N]) -> [Option<HeaderValue>; N] {
        let mut values = [const { None }; N];
        let mut left = &self.0[..];
        // Names hold no colon and values no line feed: httparse has seen to that.
        while let Some(end) = memchr::memchr(b'\n', left) {
            let line = &left[..end];
            for (name, value) in names.iter().zip(&mut values) {
                let name = name.as_str().as_bytes();
                let is_it =
                    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name);
                if is_it && value.is_none() {
                    *value = HeaderValue::from_bytes(line[name.len() + 1..].trim_ascii()).ok();
                }
            }
            left = &left[end + 1..];
        }
        values
    }

    /// The fields as a map.
    pub(super) fn map(&self) -> HeaderMap {
        let mut room = [EMPTY_HEADER; MAX_FIELDS];
        // They were read once before: there is no error left to find.
        let Ok(Status::Complete((_, fields))) = httparse::parse_headers(&self.0, &mut room) else {
            return HeaderMap::new();
        };
        let mut map = HeaderMap::with_capacity(fields.len());
        for field in fields {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(field.name.as_bytes()), HeaderValue::from_bytes(field.value))
            {
                map.append(name, value);
            }
        }
        map
    }
}

/// Takes a whole head off `input`. `None`: more has to come. Interim replies (1xx) are passed over.
pub(super) fn head(input: &mut BytesMut, to_head_request: bool) -> Result<Option<Head>, Bad> {
    loop {
        // Looked at before anything has come, with every wake.
        if input.is_empty() {
            return Ok(None);
        }
        let Some((head, interim)) = one_head(input, to_head_request)? else { return Ok(None) };
        if !interim {
            return Ok(Some(head));
        }
    }
}

fn one_head(input: &mut BytesMut, to_head_request: bool) -> Result<Option<(Head, bool)>, Bad> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut reply = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut reply, input, &mut room);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() < MAX_HEAD => return Ok(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(Bad::TooLarge),
        Err(_) => return Err(Bad::Malformed),
    };
    let status = reply.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Bad::Malformed)?;
    let means = Meaning::of(reply.headers)?;
    // HTTP/1.1 unless it says 1.0.
    let keep_alive = if reply.version == Some(0) { means.keep_alive } else { !means.close };
    // RFC 9112 section 6.3, in its order.
    let framing = if to_head_request || status.is_informational() || matches!(status.as_u16(), 204 | 304) {
        Framing::Length(0)
    } else if let Some(chunked) = means.chunked {
        if chunked { Framing::Chunked(Chunk::Size) } else { Framing::UntilClose }
    } else {
        means.length.map_or(Framing::UntilClose, Framing::Length)
    };
    // Both a length and an encoding, an encoding in a version that has none, a body where there can be none: somebody on the
    // way is confused about where replies end (RFC 9112 section 6.1).
    let confused = match means.chunked {
        Some(_) => means.length.is_some() || reply.version == Some(0) || status == StatusCode::NO_CONTENT,
        None => status == StatusCode::NO_CONTENT && means.length.is_some_and(|length| length > 0),
    };
    let keep_alive = keep_alive && !confused && framing != Framing::UntilClose;
    let start = reply.headers.first().map_or(0, |field| field.name.as_ptr().addr() - input.as_ptr().addr());
    let fields =
        if reply.headers.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&input[start..length]) };
    input.advance(length);
    match status.as_u16() {
        // No other protocol was asked for.
        101 => Err(Bad::Malformed),
        100..200 => Ok(Some((Head { status, fields: Fields(fields), framing, keep_alive }, true))),
        _ => Ok(Some((Head { status, fields: Fields(fields), framing, keep_alive }, false))),
    }
}

/// What header fields say of connection and body.
#[derive(Default)]
struct Meaning {
    close: bool,
    keep_alive: bool,
    length: Option<u64>,
    /// There is a transfer encoding; whether the last one is `chunked`.
    chunked: Option<bool>,
}

impl Meaning {
    fn of(fields: &[httparse::Header<'_>]) -> Result<Self, Bad> {
        let mut means = Self::default();
        for field in fields {
            let name = field.name;
            if name.eq_ignore_ascii_case("content-length") {
                for part in parts(field.value) {
                    let length = length(part).ok_or(Bad::Malformed)?;
                    if means.length.is_some_and(|other| other != length) {
                        return Err(Bad::Malformed);
                    }
                    means.length = Some(length);
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                let last = parts(field.value).last().unwrap_or_default();
                means.chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
            } else if name.eq_ignore_ascii_case("connection") {
                means.close |= parts(field.value).any(|part| part.eq_ignore_ascii_case(b"close"));
                means.keep_alive |= parts(field.value).any(|part| part.eq_ignore_ascii_case(b"keep-alive"));
            }
        }
        Ok(means)
    }
}

#[cfg(test)]
mod tests;

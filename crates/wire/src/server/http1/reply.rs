//! An answer's head as bytes, and how its body is framed (RFC 9112 sections 4 and 6).

use std::cell::RefCell;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{StatusCode, Version};

use crate::framing::parts;
use crate::outbox::Outbox;

/// How an answer's body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// There is none: what is given is dropped.
    None,
    /// So many bytes are still to be sent.
    Length(u64),
    Chunked,
    /// Until the connection is closed: a client of HTTP/1.0 knows no chunks.
    UntilClose,
}

/// What is known of the exchange when its answer begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// Whether the connection may be used again, as far as the request goes.
    pub(super) keep_alive: bool,
    pub(super) title_case: bool,
}

/// Writes an answer's head, given the length of its body if that is known. Gives how the body is to be sent, and whether the connection
/// is kept.
pub(super) fn begin(out: &mut Vec<u8>, answer: &Parts, length: Option<u64>, asked: Asked) -> (Body, bool) {
    let (status, headers) = (answer.status, &answer.headers);
    let body = match (has_body(status, asked.is_head), length) {
        (false, _) => Body::None,
        (true, Some(length)) => Body::Length(length),
        (true, None) if asked.version == Version::HTTP_11 => Body::Chunked,
        (true, None) => Body::UntilClose,
    };
    out.extend_from_slice(if asked.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    // A status that nobody knows has no reason (RFC 9112 section 4).
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut keep_alive = asked.keep_alive && body != Body::UntilClose;
    let (mut has_connection, mut has_date) = (false, false);
    for (name, value) in headers {
        if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
            // How the body is framed is said below.
            continue;
        } else if name == CONNECTION {
            has_connection = true;
            keep_alive &= !parts(value.as_bytes()).any(|part| part.eq_ignore_ascii_case(b"close"));
        } else if name == DATE {
            has_date = true;
        }
        field(out, name.as_str(), value.as_bytes(), asked.title_case);
    }
    if !has_connection {
        match (asked.version == Version::HTTP_10, keep_alive) {
            (true, true) => field(out, "connection", b"keep-alive", asked.title_case),
            (false, false) => field(out, "connection", b"close", asked.title_case),
            _ => {}
        }
    }
    match body {
        Body::Length(length) => number(out, length, asked.title_case),
        Body::Chunked => field(out, "transfer-encoding", b"chunked", asked.title_case),
        // What a body would have had (RFC 9110 section 8.6).
        Body::None if asked.is_head || status == StatusCode::NOT_MODIFIED => {
            match (headers.get(CONTENT_LENGTH), length) {
                (Some(told), _) => field(out, "content-length", told.as_bytes(), asked.title_case),
                (None, Some(length)) if asked.is_head => number(out, length, asked.title_case),
                _ => {}
            }
        }
        Body::None | Body::UntilClose => {}
    }
    if !has_date {
        date(|date| field(out, "date", date, asked.title_case));
    }
    out.extend_from_slice(b"\r\n");
    (body, keep_alive)
}

/// Whether an answer with this status has a body (RFC 9110 section 6.4.1).
fn has_body(status: StatusCode, is_head: bool) -> bool {
    !(is_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED))
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8], title_case: bool) {
    if title_case {
        let mut after = b'-';
        for byte in name.bytes() {
            out.push(if after == b'-' { byte.to_ascii_uppercase() } else { byte });
            after = byte;
        }
    } else {
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, length: u64, title_case: bool) {
    field(out, "content-length", itoa::Buffer::new().format(length).as_bytes(), title_case);
}

/// What is written of the time of day, which changes once a second.
#[derive(Default)]
struct Written {
    second: u64,
    text: String,
}

thread_local! {
    static WRITTEN: RefCell<Written> = RefCell::default();
}

/// The time of day as `Date` has it (RFC 9110 section 5.6.7).
fn date(tell: impl FnOnce(&[u8])) {
    #[allow(clippy::disallowed_methods, reason = "what a client is told of the time of day")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WRITTEN.with_borrow_mut(|written| {
        if written.second != now.as_secs() {
            let second = UNIX_EPOCH + Duration::from_secs(now.as_secs());
            (written.second, written.text) = (now.as_secs(), httpdate::fmt_http_date(second));
        }
        tell(written.text.as_bytes());
    });
}

impl Body {
    /// Puts a piece of the body, and what ends it if it is the last one. `false`: it is not what the head has promised.
    pub(super) fn put(&mut self, out: &mut Outbox, piece: Bytes, is_last: bool) -> bool {
        let length = piece.len() as u64;
        match self {
            Self::None => return true,
            Self::Length(left) => {
                let Some(rest) = left.checked_sub(length) else { return false };
                *left = rest;
                out.put(piece, b"");
                return !is_last || rest == 0;
            }
            Self::UntilClose => out.put(piece, b""),
            // An empty chunk would end it.
            Self::Chunked if piece.is_empty() => out.put(piece, if is_last { b"0\r\n\r\n" } else { b"" }),
            Self::Chunked => {
                // A vector takes all that it is given.
                let _ = write!(out.front(), "{length:X}\r\n");
                out.put(piece, if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;

//! A request's head: what is asked, and where its body ends (RFC 9112 sections 2 to 7). Pure.
//!
//! Lines and header fields are httparse's to read. What two programs could read differently is refused: here what is of bytes and of the
//! body's end, in [`super::super::suspect`] what a request says.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Uri, Version};
use httparse::{ParserConfig, Status};

use crate::framing::{Bad, Chunk, Framing, MAX_FIELDS, MAX_HEAD, has_bare_end, length, parts};

/// The most digits of a length: as many as the longest has. What others do with more isn't known.
const MOST_DIGITS: usize = 20;

/// A request whose body is still to be read.
#[derive(Debug)]
pub(in crate::server) struct Head {
    pub(in crate::server) request: Request<()>,
    pub(in crate::server) framing: Framing,
    /// Whether the client wants to use the connection again.
    pub(in crate::server) keep_alive: bool,
    /// The client waits for a word before it sends the body.
    pub(in crate::server) expects: bool,
}

/// Takes a whole head off `input`. `None`: more has to come.
pub(in crate::server) fn take(input: &mut BytesMut) -> Result<Option<Head>, Bad> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut line = httparse::Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut line, input, &mut room);
    let end = match parsed {
        Ok(Status::Complete(end)) if end > MAX_HEAD => return Err(Bad::TooLarge),
        Ok(Status::Complete(end)) if has_bare_end(&input[..end]) => return Err(Bad::Malformed),
        Ok(Status::Complete(end)) => end,
        Ok(Status::Partial) if input.len() < MAX_HEAD => return Ok(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(Bad::TooLarge),
        Err(_) => return Err(Bad::Malformed),
    };
    let (Some(method), Some(target), Some(version)) = (line.method, line.path, line.version) else {
        return Err(Bad::Malformed);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Bad::Malformed)?;
    let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    // The same allocation holds all values: they are found again in it when it is frozen.
    let start = input.as_ptr().addr();
    let within = |text: &[u8]| {
        let from = text.as_ptr().addr() - start;
        (from, from + text.len())
    };
    let target = within(target.as_bytes());
    let fields: Vec<_> =
        line.headers.iter().map(|field| (within(field.name.as_bytes()), within(field.value))).collect();
    let head = input.split_to(end).freeze();
    let uri = Uri::from_maybe_shared(head.slice(target.0..target.1)).map_err(|_| Bad::Malformed)?;
    let mut headers = HeaderMap::with_capacity(fields.len());
    let mut means = Meaning::default();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(&head[name.0..name.1]).map_err(|_| Bad::Malformed)?;
        let value =
            HeaderValue::from_maybe_shared(head.slice(value.0..value.1)).map_err(|_| Bad::Malformed)?;
        means.take(&name, value.as_bytes())?;
        headers.append(name, value);
    }
    let is_old = version == Version::HTTP_10;
    let keep_alive = !means.close && (means.keep_alive || !is_old);
    let expects = means.expects && !is_old;
    let framing = means.framing.unwrap_or(Framing::Length(0));
    if is_old && matches!(framing, Framing::Chunked(_)) {
        return Err(Bad::Malformed);
    }
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut(), *request.version_mut()) = (method, uri, version);
    *request.headers_mut() = headers;
    Ok(Some(Head { request, framing, keep_alive, expects }))
}

/// What header fields say of connection and body.
#[derive(Default)]
struct Meaning {
    close: bool,
    keep_alive: bool,
    expects: bool,
    framing: Option<Framing>,
}

impl Meaning {
    /// RFC 9112 sections 6.3 and 9.3, and nothing that they only tolerate.
    fn take(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Bad> {
        if name == CONTENT_LENGTH {
            let value = Some(value).filter(|value| value.len() <= MOST_DIGITS);
            return self.frame(value.and_then(length).map(Framing::Length));
        } else if name == TRANSFER_ENCODING {
            let is_chunked = value.eq_ignore_ascii_case(b"chunked");
            return self.frame(is_chunked.then_some(Framing::Chunked(Chunk::Size)));
        } else if name == CONNECTION {
            self.close |= parts(value).any(|part| part.eq_ignore_ascii_case(b"close"));
            self.keep_alive |= parts(value).any(|part| part.eq_ignore_ascii_case(b"keep-alive"));
        } else if name == EXPECT {
            self.expects |= value.eq_ignore_ascii_case(b"100-continue");
        }
        Ok(())
    }

    /// Where the body ends is said once, in a way that is understood.
    fn frame(&mut self, framing: Option<Framing>) -> Result<(), Bad> {
        let framing = framing.ok_or(Bad::Malformed)?;
        if self.framing.replace(framing).is_some() { Err(Bad::Malformed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;

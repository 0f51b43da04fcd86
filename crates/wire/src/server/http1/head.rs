//! A request's head: what is asked, and where its body ends (RFC 9112 sections 2 to 7). Pure.
//!
//! Lines and header fields are httparse's to read. What two programs could read differently has been spoilt in the bytes before
//! ([`super::super::heads`]), or is refused where the whole request is there ([`super::super::suspect`]).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Uri, Version};
use httparse::{ParserConfig, Status};

use crate::framing::{Bad, Chunk, Framing, MAX_FIELDS, MAX_HEAD, length, parts};

/// A request whose body is still to be read.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// Whether the client wants to use the connection again.
    pub(super) keep_alive: bool,
    /// The client waits for a word before it sends the body.
    pub(super) expects: bool,
}

/// Where in a head a field's name and value are.
type Span = [usize; 4];

/// Takes a whole head off `input`. `None`: more has to come.
pub(super) fn take(input: &mut BytesMut) -> Result<Option<Head>, Bad> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut line = httparse::Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut line, input, &mut room);
    let end = match parsed {
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
    let count = line.headers.len();
    let mut spans: [Span; MAX_FIELDS] = [[0; 4]; MAX_FIELDS];
    for (span, field) in spans.iter_mut().zip(line.headers.iter()) {
        let (name, value) = (within(field.name.as_bytes()), within(field.value));
        *span = [name.0, name.1, value.0, value.1];
    }
    let head = input.split_to(end).freeze();
    let uri = Uri::from_maybe_shared(head.slice(target.0..target.1)).map_err(|_| Bad::Malformed)?;
    let mut headers = HeaderMap::with_capacity(count);
    for [name, name_end, value, value_end] in &spans[..count] {
        let name = HeaderName::from_bytes(&head[*name..*name_end]).map_err(|_| Bad::Malformed)?;
        let value = HeaderValue::from_maybe_shared(head.slice(*value..*value_end)).map_err(|_| Bad::Malformed)?;
        headers.append(name, value);
    }
    let framing = framing(version, &headers)?;
    let says = |word: &[u8]| {
        let mut values = headers.get_all(CONNECTION).iter();
        values.any(|value| parts(value.as_bytes()).any(|part| part.eq_ignore_ascii_case(word)))
    };
    let keep_alive = if version == Version::HTTP_10 { says(b"keep-alive") } else { !says(b"close") };
    let expects = version == Version::HTTP_11
        && headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut(), *request.version_mut()) = (method, uri, version);
    *request.headers_mut() = headers;
    Ok(Some(Head { request, framing, keep_alive, expects }))
}

/// RFC 9112 section 6.3, and nothing that it only tolerates.
fn framing(version: Version, headers: &HeaderMap) -> Result<Framing, Bad> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (None, Some(told)) if lengths.next().is_none() => {
            length(told.as_bytes()).map(Framing::Length).ok_or(Bad::Malformed)
        }
        (Some(encoding), None)
            if version == Version::HTTP_11
                && encodings.next().is_none()
                && encoding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(Framing::Chunked(Chunk::Size))
        }
        _ => Err(Bad::Malformed),
    }
}

//! A request as bytes, and how far it has been written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use tokio::io::AsyncWrite;

use super::Again;
use super::endpoint::Endpoint;
use crate::outbox::SMALL;

/// A request for one endpoint. Cheap to send again: nothing of it is consumed.
pub(super) struct Outgoing {
    /// The head, and the body too if that is small.
    head: Vec<u8>,
    body: Bytes,
    /// Whether replies to it have no body (HEAD).
    pub(super) is_head: bool,
    /// If it may be done twice.
    pub(super) again: Option<Again>,
}

/// Header fields as they go out: written once, however often they are sent. What is of the connection, `host` and the body's length, is
/// left out.
#[derive(Clone, Default)]
pub struct Lines {
    text: Vec<u8>,
    has_encoding: bool,
    has_authorization: bool,
}

impl Lines {
    /// None, with room for as many as most requests have.
    #[must_use]
    pub fn new() -> Self {
        Self { text: Vec::with_capacity(256), ..Self::default() }
    }

    /// The same without the fields of this name.
    #[must_use]
    pub fn without(&self, name: &HeaderName) -> Self {
        let is_other = |line: &&[u8]| {
            let rest = line.strip_prefix(name.as_str().as_bytes());
            !rest.is_some_and(|rest| rest.starts_with(b": "))
        };
        let lines = self.text.split_inclusive(|byte| *byte == b'\n').filter(is_other);
        Self { text: lines.flatten().copied().collect(), ..*self }
    }

    /// Adds a field.
    pub fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        if !is_of_the_connection(name) {
            self.has_encoding |= name == ACCEPT_ENCODING;
            self.has_authorization |= name == AUTHORIZATION;
            field(&mut self.text, name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// A POST, all of whose parts are the caller's.
#[derive(Clone, Copy)]
pub struct Post<'a> {
    /// Only path and query are used, and as they are: the endpoint's own path is not put before them.
    pub target: &'a Uri,
    /// Its header fields.
    pub lines: &'a Lines,
    /// Its body.
    pub body: &'a Bytes,
}

/// How far it has been written on one connection.
#[derive(Default)]
pub(super) struct Progress {
    written: usize,
    flushed: bool,
}

impl Outgoing {
    /// JSON for the endpoint's own path, with a bearer token if there is one. The token must be header text.
    pub(super) fn json(endpoint: &Endpoint, body: Bytes, token: Option<&str>) -> Self {
        let mut head = Vec::with_capacity(512 + token.map_or(0, str::len) + small(&body).len());
        head.extend_from_slice(endpoint.json_head());
        match (token, endpoint.authorization()) {
            (Some(token), _) => {
                field(&mut head, b"authorization", &[b"Bearer ".as_slice(), token.as_bytes()].concat());
            }
            (None, Some(basic)) => field(&mut head, b"authorization", basic.as_bytes()),
            (None, None) => {}
        }
        Self::finish(head, body, true, false)
    }

    /// Any request. Of its URI only path and query are used; `host`, the body's length, and what the endpoint asks for are set
    /// here.
    pub(super) fn of(endpoint: &Endpoint, request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let mut head = start(endpoint, &parts, small(&body).len());
        if !parts.headers.contains_key(ACCEPT_ENCODING) {
            identity(&mut head);
        }
        let tells_length = tells_length(&parts.method, body.len());
        Self::finish(head, body, tells_length, parts.method == Method::HEAD)
    }

    /// A POST. `host`, the body's length, and what the endpoint asks for are set here.
    pub(super) fn post(endpoint: &Endpoint, post: Post<'_>) -> Self {
        let Post { target, lines, body } = post;
        let mut head = Vec::with_capacity(256 + lines.text.len() + small(body).len());
        start_line(&mut head, endpoint, &Method::POST, target);
        head.extend_from_slice(&lines.text);
        if let Some(basic) = endpoint.authorization().filter(|_| !lines.has_authorization) {
            field(&mut head, AUTHORIZATION.as_str().as_bytes(), basic.as_bytes());
        }
        if !lines.has_encoding {
            identity(&mut head);
        }
        Self::finish(head, body.clone(), true, false)
    }

    fn finish(mut head: Vec<u8>, body: Bytes, tells_length: bool, is_head: bool) -> Self {
        if tells_length {
            content_length(&mut head, body.len() as u64);
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(small(&body));
        let body = if small(&body).is_empty() { body } else { Bytes::new() };
        Self { head, body, is_head, again: None }
    }

    /// Writes what is left. Ready once all of it has left, or on an error.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        progress: &mut Progress,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.head.len() + self.body.len();
        while progress.written < length {
            let stream = Pin::new(&mut *stream);
            let wrote = if progress.written >= self.head.len() {
                stream.poll_write(cx, &self.body[progress.written - self.head.len()..])
            } else if self.body.is_empty() {
                stream.poll_write(cx, &self.head[progress.written..])
            } else {
                let slices = [IoSlice::new(&self.head[progress.written..]), IoSlice::new(&self.body)];
                stream.poll_write_vectored(cx, &slices)
            };
            match ready!(wrote)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => progress.written += count,
            }
        }
        if !progress.flushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            progress.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// The head of a request but for how its body is framed. `room` is made for that many bytes behind it.
pub(super) fn start(endpoint: &Endpoint, parts: &Parts, room: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(512 + room);
    start_line(&mut head, endpoint, &parts.method, &parts.uri);
    for (name, value) in &parts.headers {
        if !is_of_the_connection(name) {
            field(&mut head, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if let Some(basic) = endpoint.authorization().filter(|_| !parts.headers.contains_key(AUTHORIZATION)) {
        field(&mut head, AUTHORIZATION.as_str().as_bytes(), basic.as_bytes());
    }
    head
}

fn start_line(head: &mut Vec<u8>, endpoint: &Endpoint, method: &Method, target: &Uri) {
    head.extend_from_slice(method.as_str().as_bytes());
    head.push(b' ');
    let target = target.path_and_query().map_or("/", |target| target.as_str());
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    field(head, HOST.as_str().as_bytes(), endpoint.host_header().as_bytes());
}

fn is_of_the_connection(name: &HeaderName) -> bool {
    [HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

fn identity(head: &mut Vec<u8>) {
    field(head, ACCEPT_ENCODING.as_str().as_bytes(), b"identity");
}

/// RFC 9110 section 8.6: methods that give a body a meaning tell that it is empty, others don't.
pub(super) fn tells_length(method: &Method, length: usize) -> bool {
    length > 0 || matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

pub(super) fn content_length(head: &mut Vec<u8>, length: u64) {
    field(head, b"content-length", itoa::Buffer::new().format(length).as_bytes());
}

impl Progress {
    /// Whether not a byte has been written.
    pub(super) fn is_untouched(&self) -> bool {
        self.written == 0
    }

    /// Whether all has left.
    pub(super) fn is_done(&self) -> bool {
        self.flushed
    }
}

pub(super) fn small(body: &Bytes) -> &[u8] {
    if body.len() <= SMALL { body } else { &[] }
}

pub(super) fn field(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Options;
    use super::*;
    use http::header::ACCEPT;
    use url::Url;

    /// What a POST with these fields looks like to the node, in lines.
    fn post(url: &str, fields: &[(HeaderName, &'static str)]) -> Vec<String> {
        let endpoint = Endpoint::new(&Url::parse(url).unwrap(), &Options::default()).unwrap();
        let mut lines = Lines::new();
        fields.iter().for_each(|(name, value)| lines.add(name, &HeaderValue::from_static(value)));
        let (target, body) = (Uri::from_static("/a?b"), Bytes::from("{}"));
        let sent = Outgoing::post(&endpoint, Post { target: &target, lines: &lines, body: &body });
        String::from_utf8(sent.head).unwrap().split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn lines_go_out_as_they_were_given_but_for_those_of_the_connection() {
        let sent =
            post("http://x:1/", &[(ACCEPT, "a"), (HOST, "evil"), (CONTENT_LENGTH, "9"), (ACCEPT, "b")]);
        assert_eq!(
            sent,
            [
                "POST /a?b HTTP/1.1",
                "host: x:1",
                "accept: a",
                "accept: b",
                "accept-encoding: identity",
                "content-length: 2",
                "",
                "{}"
            ]
        );
    }

    #[test]
    fn fields_are_taken_out_by_their_whole_name() {
        let (name, other) = (HeaderName::from_static("a"), HeaderName::from_static("a-b"));
        let mut lines = Lines::new();
        for (name, text) in [(&name, "1"), (&other, "a: 2"), (&name, "3")] {
            lines.add(name, &HeaderValue::from_static(text));
        }
        let told = |lines: &Lines| String::from_utf8(lines.text.clone()).unwrap();
        assert_eq!(told(&lines.without(&name)), "a-b: a: 2\r\n");
        assert_eq!(told(&lines.without(&other)), "a: 1\r\na: 3\r\n");
        assert_eq!(told(&Lines::new().without(&name)), "");
    }

    #[test]
    fn the_endpoints_own_fields_are_for_who_has_none() {
        let own = post("http://u:p@x/", &[]);
        assert!(own.contains(&"authorization: Basic dTpw".to_owned()), "{own:?}");
        let sent = post("http://u:p@x/", &[(AUTHORIZATION, "Bearer t"), (ACCEPT_ENCODING, "gzip")]);
        let of = |name: &str| sent.iter().filter(|line| line.starts_with(name)).cloned().collect::<Vec<_>>();
        assert_eq!(of("authorization"), ["authorization: Bearer t"]);
        assert_eq!(of("accept-encoding"), ["accept-encoding: gzip"]);
    }
}

//! As much HTTP/1.1 as fixed calls on keep-alive connections need, so that the harness costs little beside what it measures.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::Result;

const MOST_HEADERS: usize = 32;
/// No head or small reply is longer.
const BUFFER: usize = 64 << 10;

/// A message's first bytes, and how long its parts are.
pub(crate) struct Message {
    pub(crate) head: usize,
    pub(crate) body: usize,
}

/// Reads messages of a connection one after the other, each to its end.
pub(crate) struct Reader {
    buffer: Vec<u8>,
    filled: usize,
    /// Whether a reply with another status than 200 is an error.
    wants_200: bool,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; BUFFER], filled: 0, wants_200: true }
    }

    /// Reads replies with any status.
    pub(crate) fn of_any_status() -> Self {
        Self { wants_200: false, ..Self::new() }
    }

    /// Reads a whole message and hands its head and the beginning of its body to `see`. `None`: the connection was closed before
    /// it.
    pub(crate) async fn next<T>(
        &mut self,
        stream: &mut TcpStream,
        is_request: bool,
        see: impl FnOnce(&[u8], &[u8]) -> T,
    ) -> Result<Option<T>> {
        let message = loop {
            if let Some(message) = parse(&self.buffer[..self.filled], is_request, self.wants_200)? {
                // Of the body a little has to be there to be seen.
                if self.filled - message.head >= message.body.min(128) {
                    break message;
                }
            }
            let read = stream.read(&mut self.buffer[self.filled..]).await?;
            match (read, self.filled) {
                (0, 0) => return Ok(None),
                (0, _) => return Err("a connection was closed in the middle of a message".into()),
                _ => self.filled += read,
            }
        };
        let end = message.head + message.body;
        let (head, rest) = self.buffer[..self.filled.min(end)].split_at(message.head);
        let seen = see(head, rest);
        if self.filled > end {
            return Err("more came than was asked for".into());
        }
        let mut left = end - self.filled;
        self.filled = 0;
        while left > 0 {
            let most = left.min(BUFFER);
            match stream.read(&mut self.buffer[..most]).await? {
                0 => return Err("a connection was closed in the middle of a body".into()),
                read => left -= read,
            }
        }
        Ok(Some(seen))
    }
}

fn parse(bytes: &[u8], is_request: bool, wants_200: bool) -> Result<Option<Message>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let (status, headers) = if is_request {
        let mut request = httparse::Request::new(&mut headers);
        (request.parse(bytes)?, request.headers)
    } else {
        let mut response = httparse::Response::new(&mut headers);
        let status = response.parse(bytes)?;
        if wants_200 && status.is_complete() && response.code != Some(200) {
            return Err(format!("HTTP status {}", response.code.unwrap_or_default()).into());
        }
        (status, response.headers)
    };
    let httparse::Status::Complete(head) = status else { return Ok(None) };
    let length = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = match length {
        Some(length) => std::str::from_utf8(length.value)?.parse()?,
        None if is_request => 0,
        None => return Err("a reply without content-length".into()),
    };
    Ok(Some(Message { head, body }))
}

/// A POST of JSON to the root, as the bytes that go out.
pub(crate) fn post(host: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    request("POST /", host, &format!("content-type: application/json\r\n{authorization}"), body)
}

/// A GET of JSON, as the bytes that go out.
pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    request(&format!("GET {path}"), host, "accept: application/json\r\n", "")
}

/// A request, as the bytes that go out. `what` is method and path; `fields` are header fields, each with its line end.
pub(crate) fn request(what: &str, host: &str, fields: &str, body: &str) -> Vec<u8> {
    let length =
        if what.starts_with("GET") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{what} HTTP/1.1\r\nhost: {host}\r\n{fields}{length}\r\n{body}").into_bytes()
}

/// A reply of JSON, as the bytes that go out.
pub(crate) fn reply(body: &str) -> Vec<u8> {
    reply_of("application/json", body.as_bytes())
}

/// A reply, as the bytes that go out.
pub(crate) fn reply_of(media_type: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

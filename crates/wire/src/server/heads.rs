//! The lines of HTTP/1 requests as they come off the socket, for what a parser doesn't tell of them. Pure.
//!
//! A request with both `Content-Length` and `Transfer-Encoding`, with its length told twice, or with lines that end in a bare line
//! feed is what another program on the way may have read differently. httparse takes such lines without a word.
//! So the bytes are followed here from head to head, and where one must not be accepted the end of the line that shows it is
//! overwritten with NUL: a head with that is answered with a 400 and the connection closed, a chunked body ends with an error. Bodies are
//! counted, not read, so following costs little.

use memchr::memchr;

/// As much of a line is looked at: longer than `transfer-encoding: chunked`, and than any length with its name.
const LOOKED_AT: usize = 64;

/// Where in a connection's bytes we are.
#[derive(Debug, Default)]
pub(super) struct Heads {
    at: At,
    line: Line,
    /// Of the head that is being read: its length, if told, and whether there is a transfer encoding.
    length: Option<u64>,
    is_chunked: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a request's first line, or in it.
    #[default]
    Start,
    Field,
    /// So many bytes of a body.
    Body(u64),
    /// The line with a chunk's size.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line's end behind a chunk.
    AfterChunk,
    Trailer,
    /// Nothing more is looked at: it is HTTP/2, or the connection is about to be closed.
    Over,
}

/// The beginning of a line that comes in several pieces, and its last byte.
#[derive(Debug, Default)]
struct Line {
    begin: Vec<u8>,
    last: Option<u8>,
    is_long: bool,
}

/// This must not be accepted.
struct Refused;

impl Heads {
    /// Follows what has been read, and spoils what must not be accepted.
    pub(super) fn screen(&mut self, read: &mut [u8]) {
        let mut from = 0;
        while from < read.len() {
            let rest = &read[from..];
            match &mut self.at {
                At::Over => return,
                At::Body(left) | At::Chunk(left) => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= taken as u64;
                    from += taken;
                    match self.at {
                        At::Body(0) => self.at = At::Start,
                        At::Chunk(0) => self.at = At::AfterChunk,
                        _ => {}
                    }
                }
                At::Start | At::Field | At::Size | At::AfterChunk | At::Trailer => {
                    let Some(end) = memchr(b'\n', rest) else { return self.line.extend(rest) };
                    if self.whole_line(&rest[..end]).is_err() {
                        read[from + end] = 0;
                        self.at = At::Over;
                        return;
                    }
                    from += end + 1;
                }
            }
        }
    }

    /// A line whose end, but for the line feed, is `rest`.
    fn whole_line(&mut self, rest: &[u8]) -> Result<(), Refused> {
        if self.line.last.is_none() {
            let line = rest.strip_suffix(b"\r").ok_or(Refused)?;
            return self.read(&line[..line.len().min(LOOKED_AT)], line.len() > LOOKED_AT);
        }
        self.line.extend(rest);
        let Line { begin, last, is_long } = std::mem::take(&mut self.line);
        if last != Some(b'\r') {
            return Err(Refused);
        }
        let line = if is_long { &begin } else { begin.strip_suffix(b"\r").unwrap_or(&begin) };
        self.read(&line[..line.len().min(LOOKED_AT)], is_long)
    }

    /// Reads a line without its end; where it is long, its beginning.
    fn read(&mut self, line: &[u8], is_long: bool) -> Result<(), Refused> {
        self.at = match self.at {
            // Empty lines are passed over there, as they should be.
            At::Start if line.is_empty() => At::Start,
            At::Start if line == b"PRI * HTTP/2.0" => At::Over,
            At::Start => {
                (self.length, self.is_chunked) = (None, false);
                At::Field
            }
            At::Field if line.is_empty() => match (self.is_chunked, self.length) {
                (true, _) => At::Size,
                (false, Some(length @ 1..)) => At::Body(length),
                (false, _) => At::Start,
            },
            At::Field => {
                self.field(line, is_long)?;
                At::Field
            }
            At::Size => match size(line, is_long)? {
                0 => At::Trailer,
                size => At::Chunk(size),
            },
            At::AfterChunk if line.is_empty() => At::Size,
            At::AfterChunk => return Err(Refused),
            At::Trailer if line.is_empty() => At::Start,
            other => other,
        };
        Ok(())
    }

    fn field(&mut self, line: &[u8], is_long: bool) -> Result<(), Refused> {
        // Most lines are told by their first letter.
        if !matches!(line[0], b'c' | b'C' | b't' | b'T') {
            return Ok(());
        }
        let Some(colon) = memchr(b':', line) else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let twice = self.length.replace(number(value, 10).filter(|_| !is_long).ok_or(Refused)?);
            if twice.is_some() || self.is_chunked {
                return Err(Refused);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // What it says is looked at where there is a request ([`super::suspect`]).
            self.is_chunked = true;
            if self.length.is_some() {
                return Err(Refused);
            }
        }
        Ok(())
    }
}

impl Line {
    fn extend(&mut self, piece: &[u8]) {
        let room = (LOOKED_AT + 1).saturating_sub(self.begin.len());
        self.begin.extend_from_slice(&piece[..piece.len().min(room)]);
        // A carriage return as the last byte of the room may be the line's end.
        self.is_long |= piece.len() > room;
        self.last = piece.last().copied().or(self.last);
    }
}

/// The size of a chunk (RFC 9112 section 7.1). What its extensions are is not looked at.
fn size(line: &[u8], is_long: bool) -> Result<u64, Refused> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    match rest.trim_ascii_start().first() {
        // There may be more digits than are looked at.
        None if is_long && rest.is_empty() => Err(Refused),
        None | Some(b';') => number(digits, 16).ok_or(Refused),
        Some(_) => Err(Refused),
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    // `from_str_radix` would take a plus sign.
    let plain = digits.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|text| u64::from_str_radix(text, radix).ok())
}

#[cfg(test)]
mod tests;

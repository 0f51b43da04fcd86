//! Lines of hex, each with whole frames. Pure.
//!
//! No frame goes on in the next line: so a line that is wrong spoils no other, which a stored list of frames may well have.

use std::mem;

use bytes::BytesMut;
use mainstay_antelope::MAX_LENGTH;

/// The longest line, in bytes: the longest frame with as many blanks between as digits, and some more.
const LONGEST: usize = 4 * MAX_LENGTH as usize + 4096;

/// Whether a stored stream is of lines, by its first four bytes (fewer if there are no more). As the length of a frame such bytes would be far beyond
/// any limit, so no stream of frames is taken for one of lines.
pub(super) fn are(start: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_hexdigit() || byte.is_ascii_whitespace() || *byte == b'x';
    start.iter().take(4).all(digit)
}

/// Cuts text into lines and decodes them.
#[derive(Default)]
pub(super) struct Lines {
    rest: BytesMut,
    /// How far there is no end of a line.
    seen: usize,
    number: u64,
    /// The line is longer than any may be; the rest of it is dropped.
    dropping: bool,
}

/// A line's number from 1, and its bytes.
type Line = (u64, Result<Vec<u8>, String>);

impl Lines {
    /// Takes more text.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.rest.extend_from_slice(text);
    }

    /// The next line that has ended and isn't blank.
    pub(super) fn next(&mut self) -> Option<Line> {
        while let Some(length) = self.rest[self.seen..].iter().position(|&byte| byte == b'\n') {
            let line = self.rest.split_to(self.seen + length + 1);
            self.seen = 0;
            self.number += 1;
            if mem::take(&mut self.dropping) {
                continue;
            }
            if let Some(bytes) = decode(&line) {
                return Some((self.number, bytes));
            }
        }
        self.seen = self.rest.len();
        if self.seen <= LONGEST {
            return None;
        }
        self.rest.clear();
        self.seen = 0;
        if mem::replace(&mut self.dropping, true) {
            return None;
        }
        Some((self.number + 1, Err(format!("longer than any frame in hex ({LONGEST} bytes)"))))
    }

    /// What is left when the text has ended.
    pub(super) fn last(&mut self) -> Option<Line> {
        let line = mem::take(&mut self.rest);
        if self.dropping {
            return None;
        }
        decode(&line).map(|bytes| (self.number + 1, bytes))
    }
}

/// The bytes of a line; `None` if it is blank.
fn decode(line: &[u8]) -> Option<Result<Vec<u8>, String>> {
    let text = line.trim_ascii();
    let text = text.strip_prefix(b"0x").unwrap_or(text).trim_ascii_end();
    if text.is_empty() {
        return None;
    }
    let other = |byte: &u8| !byte.is_ascii_hexdigit() && !byte.is_ascii_whitespace();
    if let Some(at) = text.iter().position(other) {
        let column = line.trim_ascii_end().len() - text.len() + at + 1;
        return Some(Err(format!("not hex at column {column}")));
    }
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    Some(const_hex::decode(&digits).map_err(|_| format!("an odd number of hex digits, {}", digits.len())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all(pieces: &[&str]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece.as_bytes());
            found.extend(std::iter::from_fn(|| lines.next()));
        }
        found.extend(lines.last());
        found
    }

    #[test]
    fn lines_are_cut_wherever_text_is() {
        let whole = "00ff\n\n  0x0A 0b\r\n12 3\nzz\n 0xq\n0102";
        let expected = [
            (1, Ok(vec![0, 255])),
            (3, Ok(vec![10, 11])),
            (4, Err("an odd number of hex digits, 3".to_owned())),
            (5, Err("not hex at column 1".to_owned())),
            (6, Err("not hex at column 4".to_owned())),
            (7, Ok(vec![1, 2])),
        ];
        assert_eq!(all(&[whole]), expected);
        for at in 0..whole.len() {
            let (start, end) = whole.split_at(at);
            assert_eq!(all(&[start, end]), expected, "cut at {at}");
        }
    }

    #[test]
    fn a_line_without_end_is_dropped_once() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for _ in 0..=2 * LONGEST / 65_536 + 2 {
            lines.push(&[b'0'; 65_536]);
            found.extend(std::iter::from_fn(|| lines.next()));
            assert!(lines.rest.len() <= LONGEST);
        }
        lines.push(b"\n01\n");
        found.extend(std::iter::from_fn(|| lines.next()));
        assert_eq!(found.len(), 2);
        assert!(found[0].1.as_ref().unwrap_err().starts_with("longer than any frame"));
        assert_eq!(found[1], (2, Ok(vec![1])));
        // Nor is what follows it taken for a line, where the text ends there.
        lines.push(&vec![b'0'; LONGEST + 1]);
        assert!(lines.next().is_some_and(|(number, bytes)| number == 3 && bytes.is_err()));
        lines.push(b"01");
        assert_eq!((lines.next(), lines.last()), (None, None));
    }

    #[test]
    fn no_stream_of_frames_looks_like_lines() {
        for text in ["2100", "\n\n\n\n", "0x21", "21 0", "", "ab"] {
            assert!(are(text.as_bytes()), "{text:?}");
        }
        for raw in [&[33, 0, 0, 0][..], &[0x30, 0x30, 0x30, 0], &[b'0', b'0', 0x80, 0], &[0]] {
            assert!(!are(raw), "{raw:?}");
        }
        assert!(!are(b"{\"at\""));
    }
}

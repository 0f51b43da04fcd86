#![allow(clippy::unwrap_used)]

use super::*;
use crate::framing::Piece;
use proptest::prelude::*;

fn read_head(text: &str) -> Result<Option<Head>, Bad> {
    head(&mut BytesMut::from(text), false)
}

/// Reads a whole body; whether it ended, and what is left behind it.
fn read_body(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), Bad> {
    let (mut framing, mut input, mut body) = (framing, BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match framing.next(&mut input)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::Wanted => break,
                Piece::Over => return Ok((body, true, input.to_vec())),
            }
        }
    }
    Ok((body, false, input.to_vec()))
}

#[test]
fn where_a_body_ends_and_whether_the_connection_goes_on() {
    use Framing::{Length, UntilClose};
    const CHUNKED: Framing = Framing::Chunked(Chunk::Size);
    for (text, framing, keep_alive) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", Length(2), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", Length(2), true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n", Length(2), true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: Close\r\n\r\n", Length(2), false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, close\r\n\r\n", Length(2), false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n", Length(2), false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n", Length(2), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", CHUNKED, true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", CHUNKED, true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n", UntilClose, false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n", CHUNKED, false),
        ("HTTP/1.1 200 OK\r\n\r\n", UntilClose, false),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n", CHUNKED, false),
        ("HTTP/1.1 204 None\r\n\r\n", Length(0), true),
        ("HTTP/1.1 204 None\r\ncontent-length: 0\r\n\r\n", Length(0), true),
        ("HTTP/1.1 204 None\r\ncontent-length: 9\r\n\r\n", Length(0), false),
        ("HTTP/1.1 204 None\r\ntransfer-encoding: chunked\r\n\r\n", Length(0), false),
        ("HTTP/1.1 304 Same\r\ncontent-length: 9\r\n\r\n", Length(0), true),
        ("HTTP/1.1 304 Same\r\n\r\n", Length(0), true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", Length(1), true),
    ] {
        let head = read_head(text).unwrap().unwrap();
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{text}");
    }
    let to_head = head(&mut BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), true);
    assert_eq!(to_head.unwrap().unwrap().framing, Length(0));
}

#[test]
fn heads_that_are_none() {
    for (text, bad) in [
        ("SSH-2.0-x\r\n\r\n", Bad::Malformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n", Bad::Malformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n", Bad::Malformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n", Bad::Malformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", Bad::Malformed),
        ("HTTP/1.1 101 Switching\r\n\r\n", Bad::Malformed),
        ("HTTP/1.1 099 x\r\n\r\n", Bad::Malformed),
    ] {
        assert_eq!(read_head(text).unwrap_err(), bad, "{text}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(MAX_HEAD));
    assert_eq!(read_head(&endless).unwrap_err(), Bad::TooLarge);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
    assert_eq!(read_head(&many).unwrap_err(), Bad::TooLarge);
}

#[test]
fn fields_are_all_there_when_asked_for() {
    let head = read_head("HTTP/1.1 200 OK\r\nA: 1\r\nb: 2\r\na: 3\r\n\r\nbody").unwrap().unwrap();
    let map = head.fields.map();
    let all: Vec<_> = map.get_all("a").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!((all, map.get("b").unwrap().to_str().unwrap(), map.len()), (vec!["1", "3"], "2", 3));
    assert_eq!(Fields::of(&map).map(), map);
    assert!(read_head("HTTP/1.1 200\r\n\r\n").unwrap().unwrap().fields.map().is_empty());
}

#[test]
fn bodies_in_chunks() {
    let chunked = Framing::Chunked(Chunk::Size);
    let over = |body: &str, left: &str| Ok((body.as_bytes().to_vec(), true, left.as_bytes().to_vec()));
    assert_eq!(read_body(chunked, &[b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\nleft"]), over("abc", "left"));
    assert_eq!(read_body(chunked, &[b"A\r\n0123456789\r\n0\r\ntrailer: 1\r\n\r\n"]), over("0123456789", ""));
    for malformed in [&b"zz\r\n"[..], b"2\r\nabc\r\n", b"2\r\nabXX", b"\r\n", b"FFFFFFFFFFFFFFFFF\r\n"] {
        assert_eq!(read_body(chunked, &[malformed]), Err(Bad::Malformed), "{malformed:?}");
    }
    let endless = [b"1;".as_slice(), &[b'x'; MAX_HEAD]].concat();
    assert_eq!(read_body(chunked, &[&endless]), Err(Bad::TooLarge));
}

proptest! {
    /// However a reply is cut into reads, it is the same reply.
    #[test]
    fn cuts_change_nothing(
        body in prop::collection::vec(any::<u8>(), 0..300),
        sizes in prop::collection::vec(1_usize..50, 1..20),
        cuts in prop::collection::vec(1_usize..40, 1..60),
        chunked in any::<bool>(),
    ) {
        let mut wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n".to_vec();
        if chunked {
            wire.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            let (mut rest, mut sizes) = (&body[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (chunk, left) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
                rest = left;
            }
            wire.extend_from_slice(b"0\r\n\r\n");
        } else {
            wire.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            wire.extend_from_slice(&body);
        }
        wire.extend_from_slice(b"next");
        let (mut input, mut wire, mut cuts) = (BytesMut::new(), &wire[..], cuts.iter().cycle());
        let mut feed = |input: &mut BytesMut| {
            let (now, later) = wire.split_at((*cuts.next().unwrap()).min(wire.len()));
            input.extend_from_slice(now);
            wire = later;
            now.len()
        };
        let mut framing = loop {
            match head(&mut input, false).unwrap() {
                Some(head) => break head.framing,
                None => prop_assert!(feed(&mut input) > 0),
            }
        };
        let mut got = Vec::new();
        loop {
            match framing.next(&mut input).unwrap() {
                Piece::Data(data) => got.extend_from_slice(&data),
                Piece::Wanted => prop_assert!(feed(&mut input) > 0),
                Piece::Over => break,
            }
        }
        while feed(&mut input) > 0 {}
        prop_assert_eq!(got, body);
        prop_assert_eq!(&input[..], b"next");
    }

    /// Nothing that a node sends is more than an error.
    #[test]
    fn junk_never_panics(junk in prop::collection::vec(any::<u8>(), 0..200), tail in "[0-9a-f\r\n;: ]{0,60}") {
        let mut input = BytesMut::from(&junk[..]);
        let _ = head(&mut input, false);
        for text in [&junk[..], tail.as_bytes()] {
            let _ = read_body(Framing::Chunked(Chunk::Size), &[text]);
        }
    }
}

proptest! {
    /// Looked up one by one or read as a map, fields are the same.
    #[test]
    fn a_field_by_its_name_is_that_of_the_map(
        fields in prop::collection::vec(("[a-cA-C]{1,2}", "[ \t]{0,2}", "[!-~:é]{0,3}( [!-~]{1,3})?", "[ \t]{0,2}"), 0..6)
    ) {
        let lines: String =
            fields.iter().map(|(name, before, value, after)| format!("{name}:{before}{value}{after}\r\n")).collect();
        let head = read_head(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).unwrap().unwrap();
        let (map, missing) = (head.fields.map(), HeaderName::from_static("d"));
        for (name, ..) in &fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            prop_assert_eq!(head.fields.some([&name, &missing]), [map.get(&name).cloned(), None]);
        }
    }
}

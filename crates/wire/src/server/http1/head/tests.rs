#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn read(wire: &str) -> Result<Option<Head>, Bad> {
    take(&mut BytesMut::from(wire))
}

/// A request with these lines, as it is understood.
fn with(version: &str, lines: &str) -> Result<Head, Bad> {
    read(&format!("POST /a?b HTTP/{version}\r\n{lines}\r\n")).map(Option::unwrap)
}

#[test]
fn a_head_is_taken_and_what_follows_is_left() {
    let mut input = BytesMut::from("\r\nGET /a?b HTTP/1.1\r\nHost: c\r\nX-A: \t d e\t \r\nx-a:\r\n\r\nrest");
    let head = take(&mut input).unwrap().unwrap();
    assert_eq!(input, "rest");
    let request = head.request;
    assert_eq!((request.method(), request.uri().to_string()), (&Method::GET, "/a?b".to_owned()));
    let fields: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(fields, [("host", "c"), ("x-a", "d e"), ("x-a", "")]);
    assert_eq!((head.framing, head.keep_alive, head.expects), (Framing::Length(0), true, false));
}

#[test]
fn what_is_not_whole_is_left_as_it_is() {
    let whole = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n";
    for end in 0..whole.len() {
        let mut input = BytesMut::from(&whole[..end]);
        assert!(take(&mut input).unwrap().is_none(), "{end}");
        assert_eq!(input, whole[..end]);
    }
    assert!(read(whole).unwrap().is_some());
}

#[test]
fn where_a_body_ends() {
    let chunked = Ok(Framing::Chunked(Chunk::Size));
    for (lines, expected) in [
        ("", Ok(Framing::Length(0))),
        ("Content-Length: 0\r\n", Ok(Framing::Length(0))),
        ("content-length:\t 5 \r\n", Ok(Framing::Length(5))),
        ("CONTENT-LENGTH: 00000000000000000005\r\n", Ok(Framing::Length(5))),
        ("content-length: 18446744073709551615\r\n", Ok(Framing::Length(u64::MAX))),
        ("content-lengthy: x\r\ntransfer-encodings: x\r\n", Ok(Framing::Length(0))),
        ("Transfer-Encoding:Chunked\r\n", chunked),
        // Said twice, or in two ways, even where both mean the same.
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", Err(Bad::Malformed)),
        ("transfer-encoding: chunked\r\na: b\r\nContent-Length: 5\r\n", Err(Bad::Malformed)),
        ("content-length: 5\r\nContent-length: 5\r\n", Err(Bad::Malformed)),
        ("content-length: 5\r\nContent-length: 6\r\n", Err(Bad::Malformed)),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Err(Bad::Malformed)),
        ("content-length: 5, 5\r\n", Err(Bad::Malformed)),
        ("transfer-encoding: chunked, chunked\r\n", Err(Bad::Malformed)),
        // In ways that not all understand.
        ("content-length: +5\r\n", Err(Bad::Malformed)),
        ("content-length: -5\r\n", Err(Bad::Malformed)),
        ("content-length: 0x5\r\n", Err(Bad::Malformed)),
        ("content-length: a\r\n", Err(Bad::Malformed)),
        ("content-length:\r\n", Err(Bad::Malformed)),
        ("content-length: 18446744073709551616\r\n", Err(Bad::Malformed)),
        ("content-length: 000000000000000000005\r\n", Err(Bad::Malformed)),
        ("transfer-encoding: identity\r\n", Err(Bad::Malformed)),
        ("transfer-encoding: gzip, chunked\r\n", Err(Bad::Malformed)),
        ("transfer-encoding:\r\n", Err(Bad::Malformed)),
    ] {
        assert_eq!(with("1.1", lines).map(|head| head.framing), expected, "{lines:?}");
        if expected == chunked {
            // HTTP/1.0 knows no chunks.
            assert_eq!(with("1.0", lines).map(|head| head.framing), Err(Bad::Malformed));
        }
    }
}

#[test]
fn whether_the_connection_is_kept() {
    for (version, lines, expected) in [
        ("1.1", "", true),
        ("1.1", "connection: a, Close\r\n", false),
        ("1.1", "connection: a\r\nConnection: close\r\n", false),
        ("1.1", "connection: keep-alive\r\n", true),
        ("1.1", "connection: keep-alive, close\r\n", false),
        ("1.1", "connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "connection: close\r\nconnection: keep-alive\r\n", false),
    ] {
        assert_eq!(with(version, lines).unwrap().keep_alive, expected, "{version} {lines:?}");
    }
}

#[test]
fn who_waits_to_be_told_to_continue() {
    for (version, lines, expected) in [
        ("1.1", "expect: 100-Continue\r\n", true),
        ("1.1", "expect: something\r\n", false),
        // RFC 9110 section 10.1.1.
        ("1.0", "expect: 100-continue\r\n", false),
    ] {
        assert_eq!(with(version, lines).unwrap().expects, expected, "{version} {lines:?}");
    }
}

/// Some programs take a line feed alone for a line's end, others for a part of the line.
#[test]
fn every_line_ends_in_both() {
    for wire in [
        "\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\n\r\n",
        "GET / HTTP/1.1\r\n\n",
        "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\rx: y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\r\n\r\n",
    ] {
        assert_eq!(read(wire).unwrap_err(), Bad::Malformed, "{wire:?}");
    }
}

#[test]
fn a_head_has_a_longest_length() {
    let of_length = |length: usize| {
        let (start, end) = ("GET / HTTP/1.1\r\nx: ", "\r\n\r\n");
        format!("{start}{}{end}", "a".repeat(length - start.len() - end.len()))
    };
    assert!(read(&of_length(MAX_HEAD)).unwrap().is_some());
    let longer = of_length(MAX_HEAD + 1);
    assert_eq!(read(&longer).unwrap_err(), Bad::TooLarge);
    assert!(read(&longer[..MAX_HEAD - 1]).unwrap().is_none());
    assert_eq!(read(&longer[..MAX_HEAD]).unwrap_err(), Bad::TooLarge);
}

#[test]
fn a_head_has_a_highest_number_of_fields() {
    let of = |fields: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(fields));
    assert_eq!(read(&of(MAX_FIELDS)).unwrap().unwrap().request.headers().len(), MAX_FIELDS);
    assert_eq!(read(&of(MAX_FIELDS + 1)).unwrap_err(), Bad::TooLarge);
}

proptest! {
    /// Of what is read nothing has been lost or made up.
    #[test]
    fn fields_are_read_as_they_were_written(
        fields in prop::collection::vec(("x-[a-z]{1,9}", "([!-~é]([ -~é]{0,30}[!-~é])?)?"), 0..20),
        rest in "[ -~\r\n]{0,50}",
    ) {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut input = BytesMut::from(format!("GET / HTTP/1.1\r\n{lines}\r\n{rest}").as_str());
        let head = take(&mut input).unwrap().unwrap();
        prop_assert_eq!(input, rest.as_bytes());
        prop_assert_eq!(head.request.headers().len(), fields.len());
        for (name, _) in &fields {
            let read: Vec<_> = head.request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect();
            let written: Vec<_> =
                fields.iter().filter(|field| field.0 == *name).map(|field| field.1.as_bytes()).collect();
            prop_assert_eq!(read, written);
        }
    }
}

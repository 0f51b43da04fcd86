#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use std::task::{Context, Poll, Waker};

use http::Response;

use super::*;

const ASKED: Asked = Asked { version: Version::HTTP_11, is_head: false, keep_alive: true, title_case: false };

/// The head of an answer with this status and these fields; what is said of its body and of the connection.
fn said(status: u16, fields: &[(&str, &str)], length: Option<u64>, asked: Asked) -> (String, Body, bool) {
    let mut answer = Response::builder().status(status).header("date", "today");
    for (name, value) in fields {
        answer = answer.header(*name, *value);
    }
    let mut out = Vec::new();
    let (body, keep_alive) = begin(&mut out, &answer.body(()).unwrap().into_parts().0, length, asked);
    (String::from_utf8(out).unwrap().replacen("date: today\r\n", "", 1), body, keep_alive)
}

#[test]
fn what_is_said_of_a_body() {
    let head = Asked { is_head: true, ..ASKED };
    let old = Asked { version: Version::HTTP_10, ..ASKED };
    let told = [("content-length", "7")];
    for (status, fields, length, asked, expected, body) in [
        (200, &[][..], Some(5), ASKED, "content-length: 5\r\n", Body::Length(5)),
        (200, &[], Some(0), ASKED, "content-length: 0\r\n", Body::Length(0)),
        (200, &[], None, ASKED, "transfer-encoding: chunked\r\n", Body::Chunked),
        (200, &[], None, old, "", Body::UntilClose),
        (200, &[], Some(5), old, "connection: keep-alive\r\ncontent-length: 5\r\n", Body::Length(5)),
        // What a handler says of lengths is nothing to go by where there is a body.
        (200, &told, Some(5), ASKED, "content-length: 5\r\n", Body::Length(5)),
        (200, &told, None, ASKED, "transfer-encoding: chunked\r\n", Body::Chunked),
        (200, &[("transfer-encoding", "gzip")], Some(5), ASKED, "content-length: 5\r\n", Body::Length(5)),
        // No body: the length is what it would have been.
        (200, &told, Some(0), head, "content-length: 7\r\n", Body::None),
        (200, &[], Some(5), head, "content-length: 5\r\n", Body::None),
        (200, &[], None, head, "", Body::None),
        (304, &told, Some(0), ASKED, "content-length: 7\r\n", Body::None),
        (304, &[], Some(0), ASKED, "", Body::None),
        (204, &told, Some(0), ASKED, "", Body::None),
        (204, &[], None, old, "connection: keep-alive\r\n", Body::None),
    ] {
        let (text, framing, _) = said(status, fields, length, asked);
        let (_, lines) = text.split_once("\r\n").unwrap();
        assert_eq!(
            (lines, framing),
            (&*format!("{expected}\r\n"), body),
            "{status} {fields:?} {length:?} {asked:?}"
        );
    }
}

#[test]
fn what_is_said_of_the_connection() {
    for (version, wanted, answered, expected, kept) in [
        (Version::HTTP_11, true, None, "", true),
        (Version::HTTP_11, false, None, "connection: close\r\n", false),
        (Version::HTTP_11, true, Some("close"), "connection: close\r\n", false),
        (Version::HTTP_11, true, Some("a, Close"), "connection: a, Close\r\n", false),
        (Version::HTTP_10, true, None, "connection: keep-alive\r\n", true),
        (Version::HTTP_10, false, None, "", false),
        (Version::HTTP_10, true, Some("close"), "connection: close\r\n", false),
    ] {
        let fields: Vec<_> = answered.map(|value| ("connection", value)).into_iter().collect();
        let asked = Asked { version, keep_alive: wanted, ..ASKED };
        let (text, _, keep_alive) = said(204, &fields, Some(0), asked);
        let (_, lines) = text.split_once("\r\n").unwrap();
        assert_eq!(
            (lines, keep_alive),
            (&*format!("{expected}\r\n"), kept),
            "{version:?} {wanted} {answered:?}"
        );
    }
}

#[test]
fn the_first_line() {
    let old = Asked { version: Version::HTTP_10, ..ASKED };
    for (status, asked, expected) in [
        (200, ASKED, "HTTP/1.1 200 OK"),
        (429, ASKED, "HTTP/1.1 429 Too Many Requests"),
        (503, old, "HTTP/1.0 503 Service Unavailable"),
        // The space belongs to the line, with a reason or without.
        (599, ASKED, "HTTP/1.1 599 "),
    ] {
        let (text, ..) = said(status, &[], Some(0), asked);
        assert_eq!(text.split("\r\n").next(), Some(expected));
    }
}

#[test]
fn names_in_title_case_for_who_wants_them() {
    let asked = Asked { title_case: true, ..ASKED };
    let (text, ..) = said(200, &[("x-a-bc", "d-e"), ("content-type", "f")], Some(5), asked);
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\nDate: today\r\nX-A-Bc: d-e\r\nContent-Type: f\r\nContent-Length: 5\r\n\r\n"
    );
}

#[test]
fn an_answer_has_a_date() {
    let mut out = Vec::new();
    let before = SystemTime::now() - Duration::from_secs(1);
    let _ = begin(&mut out, &Response::new(()).into_parts().0, Some(0), ASKED);
    let text = String::from_utf8(out).unwrap();
    let date = text.split_once("date: ").unwrap().1.split_once("\r\n").unwrap().0;
    let date = httpdate::parse_http_date(date).unwrap();
    assert!(before <= date && date <= SystemTime::now(), "{date:?}");
}

/// What of a body goes out.
fn sent(mut framing: Body, pieces: &[&'static str]) -> Option<String> {
    let (mut out, mut written) = (Outbox::default(), Vec::new());
    for (i, piece) in pieces.iter().enumerate() {
        if !framing.put(&mut out, Bytes::from_static(piece.as_bytes()), i + 1 == pieces.len()) {
            return None;
        }
        let all = out.poll_write(&mut written, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(all, Poll::Ready(Ok(()))));
    }
    Some(String::from_utf8(written).unwrap())
}

#[test]
fn a_body_is_framed_as_its_head_says() {
    for (framing, pieces, expected) in [
        (Body::Length(5), &["hel", "lo"][..], Some("hello")),
        (Body::Length(5), &["hello", ""], Some("hello")),
        (Body::Length(0), &[""], Some("")),
        (Body::Length(5), &["hell"], None),
        (Body::Length(5), &["hello", "!"], None),
        (
            Body::Chunked,
            &["hello", "0123456789abcdef!"],
            Some("5\r\nhello\r\n11\r\n0123456789abcdef!\r\n0\r\n\r\n"),
        ),
        // An empty piece is no end.
        (Body::Chunked, &["a", "", "b", ""], Some("1\r\na\r\n1\r\nb\r\n0\r\n\r\n")),
        (Body::Chunked, &[""], Some("0\r\n\r\n")),
        (Body::UntilClose, &["a", "", "b"], Some("ab")),
        (Body::None, &["a", "b"], Some("")),
    ] {
        assert_eq!(sent(framing, pieces).as_deref(), expected, "{framing:?} {pieces:?}");
    }
}

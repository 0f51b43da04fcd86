#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

/// Whether all of it is let through, however it is cut.
fn passes(wire: &str) -> bool {
    let whole = is_untouched(wire.as_bytes(), wire.len());
    for cut in 1..wire.len().min(200) {
        assert_eq!(is_untouched(wire.as_bytes(), cut), whole, "in pieces of {cut}: {wire:?}");
    }
    whole
}

fn is_untouched(wire: &[u8], cut: usize) -> bool {
    let mut heads = Heads::default();
    wire.chunks(cut.max(1)).all(|piece| {
        let mut read = piece.to_vec();
        heads.screen(&mut read);
        read == piece
    })
}

#[test]
fn requests_as_they_should_be() {
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:\t 5 \r\n\r\na\nb\nc",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n00A ;x=\"y\"\r\n0\n23456789\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\n\r\n0;x\r\nA: b\r\nC: d\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nccccc\r\ncontent-lengthy: x\r\ntransfer-encodings: x\r\n\r\n",
    ] {
        let twice = request.repeat(2);
        assert!(passes(&twice), "{request:?}");
        // It is known where the next one begins.
        let bad = "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n";
        assert!(!passes(&format!("{request}{bad}")), "{request:?}");
        let long = "X".repeat(3 * LOOKED_AT);
        assert!(passes(&request.replacen("HTTP/1.1", &format!("HTTP/1.1\r\nc: {long}"), 1).repeat(2)));
    }
}

#[test]
fn what_must_not_be_accepted() {
    const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    for head in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "Transfer-Encoding: x\r\na: b\r\nContent-Length: 5",
        "content-length: 5\r\nContent-length: 5",
        "content-length: 5\r\nContent-length: 6",
        "content-length: 5, 5",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: a",
        "content-length:",
        "content-length: 99999999999999999999",
        "host: a\nx: y",
        "host: a\n",
    ] {
        assert!(!passes(&format!("POST / HTTP/1.1\r\n{head}\r\n\r\nabcde")), "{head:?}");
    }
    let padded = format!("content-length: {}5", "0".repeat(LOOKED_AT));
    assert!(!passes(&format!("POST / HTTP/1.1\r\n{padded}\r\n\r\nabcde")));
    assert!(!passes("\nGET / HTTP/1.1\r\n\r\n"));
    assert!(!passes("GET / HTTP/1.1\n\r\n"));
    for body in [
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        " 5\r\nabcde\r\n0\r\n\r\n",
        "5 5\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5\rabcde\r\n0\r\n\r\n",
        "5;a\nabcde\r\n0\r\n\r\n",
        "\r\nabcde\r\n0\r\n\r\n",
        &format!("{}5\r\nabcde\r\n0\r\n\r\n", "0".repeat(LOOKED_AT)),
        "FFFFFFFFFFFFFFFFF\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdef\r\n0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\n\r\n",
    ] {
        assert!(!passes(&format!("{CHUNKED}{body}")), "{body:?}");
    }
}

#[test]
fn http2_is_not_looked_at() {
    assert!(passes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\n\n\0content-length: x\n"));
}

proptest! {
    /// However the bytes are cut into reads, the same one is spoilt, or none.
    #[test]
    fn cuts_change_nothing(
        parts in prop::collection::vec("(GET / HTTP/1.1|content-length: [0-9]{1,2}|transfer-encoding: chunked|a: b|[0-9a-f]{1,2}|;|\r\n|\r\n|\r\n|\n|xx| ){1,3}", 1..20),
        cuts in prop::collection::vec(1_usize..30, 1..30),
    ) {
        let wire = parts.concat().into_bytes();
        let mut whole = wire.clone();
        Heads::default().screen(&mut whole);
        let mut pieces = wire;
        let (mut heads, mut from) = (Heads::default(), 0);
        for cut in cuts.iter().cycle() {
            if from == pieces.len() {
                break;
            }
            let to = pieces.len().min(from + cut);
            heads.screen(&mut pieces[from..to]);
            from = to;
        }
        prop_assert_eq!(whole, pieces);
    }
}

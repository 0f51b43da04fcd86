//! Any bytes as a node's reply: nothing panics, however they are cut into reads it is the same reply, and what is left behind one is
//! never a part of it. The first byte says what was asked, the second where it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_wire::client::fuzzed::{Reading, read};

fuzz_target!(|input: &[u8]| {
    let [asked, cut, wire @ ..] = input else { return };
    let to_head_request = asked & 1 == 1;
    let at_once = read([wire], to_head_request);
    let cut_up = read(wire.chunks(usize::from(*cut).max(1)), to_head_request);
    assert_eq!(at_once, cut_up, "cut every {cut} bytes");
    let Ok(Some(reading)) = at_once else { return };
    // The other way of asking changes the body, never the head.
    if let Ok(Some(other)) = read([wire], !to_head_request) {
        assert_eq!((other.status, other.fields), (reading.status, reading.fields.clone()));
    }
    hold(&reading, wire, to_head_request);
    // More bytes change nothing of a reply that has ended.
    if reading.is_whole {
        let longer = [wire, b"HTTP/1.1 200 OK\r\n\r\n"].concat();
        let again = read([longer.as_slice()], to_head_request).expect("readable").expect("a reply");
        assert_eq!(again.left, [&reading.left[..], b"HTTP/1.1 200 OK\r\n\r\n"].concat());
        assert_eq!(Reading { left: reading.left.clone(), ..again }, reading);
    }
});

fn hold(reading: &Reading, wire: &[u8], to_head_request: bool) {
    let Reading { status, body, is_whole, is_until_close, length, keep_alive, left, .. } = reading;
    assert!((200..1000).contains(status), "{status}");
    if to_head_request || matches!(status, 204 | 304) {
        assert!(body.is_empty() && *is_whole);
    }
    // What ends with the connection leaves nothing to be used again.
    assert!(!is_until_close || (!is_whole && !keep_alive && left.is_empty()));
    match length {
        Some(length) => {
            let came = body.len() as u64;
            assert!(if *is_whole { came == *length } else { came < *length && left.is_empty() });
            assert!(wire.ends_with(&[&body[..], left].concat()));
        }
        None if *is_until_close => assert!(wire.ends_with(body)),
        None => assert!(wire.ends_with(left)),
    }
}

//! Any bytes as what a client sends over HTTP/1: nothing panics, however they are cut into reads they are the same requests, and
//! none of them can be read in two ways. The first byte says where it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_wire::server::fuzzed::{Reading, read};

fuzz_target!(|input: &[u8]| {
    let [cut, wire @ ..] = input else { return };
    let at_once = read([wire]);
    let cut_up = read(wire.chunks(usize::from(*cut).max(1)));
    assert_eq!(at_once, cut_up, "cut every {cut} bytes");
    for request in &at_once.requests {
        hold(request);
    }
    // Only the last one can be without its end, and nothing follows one that could not be read.
    let whole = at_once.requests.iter().filter(|request| request.is_whole).count();
    assert!(whole + 1 >= at_once.requests.len());
});

fn hold(request: &Reading) {
    let Reading { line, fields, body, is_whole, length, .. } = request;
    let values =
        |name: &str| fields.iter().filter(|field| field.0 == name).map(|field| &field.1).collect::<Vec<_>>();
    let (lengths, encodings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + encodings.len() <= 1, "{line}: {fields:?}");
    assert!(lengths.iter().all(|told| !told.is_empty() && told.iter().all(u8::is_ascii_digit)));
    assert!(encodings.iter().all(|told| told.eq_ignore_ascii_case(b"chunked") && line.ends_with("HTTP/1.1")));
    for (_, value) in fields {
        assert!(value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)), "{value:?}");
    }
    match length {
        Some(length) => assert_eq!(body.len() as u64 == *length, *is_whole),
        None => assert_eq!(encodings.len(), 1),
    }
}

//! Any bytes as evidence in CBOR: nothing panics, however deep it is and whatever it counts.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mainstay_attest::fuzzed::cbor(bytes));

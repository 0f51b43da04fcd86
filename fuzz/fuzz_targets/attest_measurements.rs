//! Any bytes as measurements, packed or not: nothing panics, and what can be used can be encoded and means the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_attest::Expectation;
use mainstay_attest::measurements::{Measurements, TdxMeasurements, encode};

fuzz_target!(|data: &[u8]| {
    if let Ok(part) = std::str::from_utf8(data) {
        let _ = Measurements::from_uri_part(part);
        let _ = TdxMeasurements::from_uri_part(part);
    }
    // Two names of one member may be one when they are written again.
    let Ok(user) = encode(data) else { return };
    let read = Expectation::parse(&user).expect("what is encoded can be read");
    match read {
        Expectation::Sev(read) => assert_eq!(Ok(read), Measurements::from_json(data)),
        Expectation::Tdx(read) => assert_eq!(Ok(read), TdxMeasurements::from_json(data)),
        Expectation::Sgx(_) => unreachable!("measurements are never an enclave"),
        _ => {}
    }
});

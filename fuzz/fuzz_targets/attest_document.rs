//! Any bytes as an attestation document: nothing panics, and nothing holds that isn't signed.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use mainstay_attest::measurements::{Measurements, TdxMeasurements};
use mainstay_attest::sev::{Policy, Roots};
use mainstay_attest::sgx::Root;
use mainstay_attest::tdx::{self, Form};
use mainstay_attest::{Session, azure};

const EXPECTED: &[u8] = include_bytes!("../../crates/attest/tests/vectors/synthetic/measurements.json");
const REGISTERS: &[u8] = include_bytes!("../../crates/attest/tests/vectors/tdx/flashbots/measurements.json");
/// 2026-12-01.
const NOW: u64 = 1_796_083_200;

fuzz_target!(|document: &[u8]| {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let expected = Measurements::from_json(EXPECTED).expect("a vector");
    let terms = azure::Terms {
        expected: &expected,
        session: Session::default(),
        policy: &Policy::default(),
        roots: &Roots::amd(),
        now,
    };
    let refusal = azure::verify(document, &terms).expect_err("AMD signed nothing of the kind");
    assert!(!refusal.reason.is_empty());

    let expected = TdxMeasurements::from_json(REGISTERS).expect("a vector");
    let terms = tdx::Terms {
        expected: &expected,
        session: Session::default(),
        root: &Root::intel(),
        collateral: None,
        policy: mainstay_attest::sgx::Policy::default(),
        now,
    };
    for form in [Form::Dcap, Form::Azure, Form::Quote] {
        let _ = tdx::platform(document, form);
        assert!(tdx::verify(document, form, &terms).is_err());
    }
});

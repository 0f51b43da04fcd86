//! Any bytes as what a service of collateral answers, and as a file of collateral: nothing panics, and nothing is kept that Intel hasn't signed.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use mainstay_attest::collateral::Collateral;
use mainstay_attest::collateral::pcs::{Answer, Answers};
use mainstay_attest::sgx::Root;

const GOOD: &[u8] = include_bytes!("../../crates/attest/tests/vectors/sgx/sgx_quote_collateral.json");
/// 2025-07-01, when the vector holds.
const NOW: u64 = 1_751_328_000;

fuzz_target!(|input: &[u8]| {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let good = Collateral::from_json(GOOD).expect("a vector");
    let genuine = |read: &Collateral| read.signed_under(&Root::intel(), now).is_err() || *read == good;
    if let Ok(read) = Collateral::from_json(input) {
        assert!(genuine(&read) && read.from() < read.until());
        let again = Collateral::from_json(&read.to_json().expect("what was read can be written")).expect("and read again");
        assert_eq!(again, read);
    }
    // Four answers, body and header of each behind one another.
    let mut parts = input.split(|byte| *byte == 0xff);
    let mut answer = || {
        let body = parts.next().unwrap_or_default().to_vec();
        Answer { body, chain: String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned() }
    };
    let answers = Answers { root_crl: answer(), pck_crl: answer(), tcb_info: answer(), qe_identity: answer() };
    if let Ok(read) = answers.collateral() {
        assert!(genuine(&read));
    }
});

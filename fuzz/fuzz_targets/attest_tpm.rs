//! Any bytes as the TPM's structures: nothing panics, and no signature holds but the one that was made.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mainstay_attest::tpm::{AttestationKey, Quote};

const PUBLIC: &[u8] = include_bytes!("../../crates/attest/tests/vectors/vtpm/swtpm/ak.tpmt");
const MESSAGE: &[u8] = include_bytes!("../../crates/attest/tests/vectors/vtpm/swtpm/quote.msg");
const SIGNATURE: &[u8] = include_bytes!("../../crates/attest/tests/vectors/vtpm/swtpm/quote.tpmtsig");

fuzz_target!(|data: &[u8]| {
    let pcrs: BTreeMap<u8, [u8; 32]> = (0..24).map(|pcr| (pcr, [0; 32])).collect();
    let key = AttestationKey::parse(PUBLIC).expect("a vector");
    for (message, signature) in [(data, SIGNATURE), (MESSAGE, data), (data, data)] {
        assert!(Quote { message, signature, pcrs: &pcrs }.verify(&key, None).is_err());
    }
    if let Ok(key) = AttestationKey::parse(data) {
        let _ = Quote { message: MESSAGE, signature: SIGNATURE, pcrs: &pcrs }.verify(&key, None);
    }
    mainstay_attest::fuzzed::quote(data);
});

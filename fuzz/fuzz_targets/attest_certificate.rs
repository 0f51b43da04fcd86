//! Any bytes as the certificate of an RA-TLS server, or a bare quote: nothing panics, and without collateral nothing holds.
#![no_main]

use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use libfuzzer_sys::fuzz_target;
use mainstay_attest::sgx::{Evidence, Policy, Root, Terms};

static ROOT: LazyLock<Root> = LazyLock::new(Root::intel);

fuzz_target!(|bytes: &[u8]| {
    for read in [Evidence::of_certificate(bytes), Evidence::of_quote(bytes), Evidence::read_file(bytes)] {
        let Ok(evidence) = read else { continue };
        let terms = Terms {
            enclave: evidence.enclave(),
            root: &ROOT,
            collateral: None,
            policy: Policy::default(),
            now: UNIX_EPOCH,
        };
        assert!(matches!(evidence.verify(&terms).unwrap_err().step, "attributes" | "collateral"));
    }
});

//! Published evidence of real enclaves (vectors/README.md), as of the time it is from.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{sha256, time};
use mainstay_attest::collateral::Collateral;
use mainstay_attest::sgx::{Evidence, Policy, Root, Terms};
use mainstay_attest::tdx::{Form, certified_platform};
use mainstay_attest::uri::MrEnclave;
use mainstay_attest::{Expectation, Refusal};
use proptest::prelude::*;

const CERTIFICATE: &[u8] = include_bytes!("vectors/sgx/gramine_ratls_cert.der");
const QUOTE: &[u8] = include_bytes!("vectors/sgx/dcapqvl_sgx_quote_v3.bin");
const COLLATERAL: &[u8] = include_bytes!("vectors/sgx/sgx_quote_collateral.json");
const GRAMINE: &str = "f94ccbe6a504676b2edbefdcb8781a512913f7d8864c6f88592a843d0f9d4a66";
const NOW: &str = "2025-07-01T00:00:00Z";

fn collateral() -> Collateral {
    Collateral::from_json(COLLATERAL).unwrap()
}

fn enclave(hex: &str) -> MrEnclave {
    let Expectation::Sgx(enclave) = Expectation::parse(&format!("SGX_{hex}")).unwrap() else {
        panic!("not of SGX");
    };
    enclave
}

fn both() -> Policy {
    Policy { hw_config_needed: true, sw_hardening_needed: true, ..Policy::default() }
}

fn of_quote(quote: &[u8], policy: Policy, at: &str) -> Result<mainstay_attest::Attested, Refusal> {
    let evidence = Evidence::of_quote(quote)?;
    let collateral = collateral();
    let terms = Terms {
        enclave: evidence.enclave(),
        root: &Root::intel(),
        collateral: Some(&collateral),
        policy,
        now: time(at),
    };
    evidence.verify(&terms)
}

#[test]
fn gramines_certificate_binds_its_key_and_lacks_collateral() {
    let evidence = Evidence::of_certificate(CERTIFICATE).unwrap();
    assert_eq!(evidence.enclave(), enclave(GRAMINE));
    assert_eq!(evidence.platform().fmspc.to_string(), "00606A000000");
    assert_eq!(evidence.platform().authority, "platform");
    let collateral = collateral();
    let root = Root::intel();
    let terms = Terms {
        enclave: enclave(GRAMINE),
        root: &root,
        collateral: None,
        policy: Policy::default(),
        now: time("2023-06-01T00:00:00Z"),
    };
    let refusal = evidence.clone().verify(&terms).unwrap_err();
    assert_eq!(
        (refusal.step, refusal.reason.as_str()),
        ("collateral", "there is none for FMSPC 00606A000000 (platform CA)")
    );
    let held: Vec<&str> = refusal.steps.iter().map(|(step, _)| step).collect();
    assert_eq!(held, ["certificate", "evidence", "quote", "key", "enclave", "attributes"]);
    let refusal = evidence
        .clone()
        .verify(&Terms { collateral: Some(&collateral), now: time(NOW), ..terms.clone() })
        .unwrap_err();
    assert_eq!(refusal.step, "collateral");
    assert!(refusal.reason.contains("00A067110000, the platform has 00606A000000"), "{refusal}");
    let other = Terms { enclave: enclave(&"00".repeat(32)), ..terms };
    assert_eq!(evidence.verify(&other).unwrap_err().step, "enclave");
}

#[test]
fn the_real_quote_is_of_a_platform_that_needs_two_permissions() {
    let refusal = of_quote(QUOTE, Policy::default(), NOW).unwrap_err();
    assert_eq!(refusal.step, "tcb");
    let told = "ConfigurationAndSWHardeningNeeded (INTEL-SA-00289, INTEL-SA-00615)";
    assert!(refusal.reason.starts_with(told), "{refusal}");
    for policy in [
        Policy { sw_hardening_needed: false, ..both() },
        Policy { hw_config_needed: false, ..both() },
        Policy { outdated_tcb: true, ..Policy::default() },
    ] {
        assert_eq!(of_quote(QUOTE, policy, NOW).unwrap_err().step, "tcb");
    }
    let attested = of_quote(QUOTE, both(), NOW).unwrap();
    let enclave = attested.measured[0].value.clone().unwrap();
    assert!(enclave.starts_with("33d8736d") && enclave.ends_with("2fbb"), "{enclave}");
    assert_eq!(attested.tcb_status.as_deref(), Some("ConfigurationAndSWHardeningNeeded"));
    assert_eq!(attested.until, collateral().until());
    assert_eq!(mainstay_attest::when::written(attested.until), "2025-07-19T10:01:18Z");
}

#[test]
fn the_real_quote_holds_as_long_as_its_collateral() {
    let collateral = collateral();
    let at = |now| of_quote(QUOTE, both(), &mainstay_attest::when::written(now));
    let second = Duration::from_secs(1);
    assert!(at(collateral.from()).is_ok());
    assert!(at(collateral.until() - second).is_ok());
    assert_eq!(at(collateral.from() - second).unwrap_err().step, "collateral");
    assert_eq!(at(collateral.until()).unwrap_err().step, "collateral");
    let refusal = of_quote(QUOTE, both(), "2026-11-21T00:00:00Z").unwrap_err();
    assert!(refusal.reason.contains("expired"), "{refusal}");
}

#[test]
fn real_platforms_and_collateral_are_intel_s() {
    let root = Root::intel();
    let evidence = Evidence::of_certificate(CERTIFICATE).unwrap();
    assert_eq!(evidence.certified_platform(&root, time(NOW)).unwrap(), evidence.platform());
    collateral().signed_under(&root, time(NOW)).unwrap();
    assert!(collateral().signed_under(&common::Intel::new().root(), time(NOW)).is_err());
    let tdx = include_bytes!("vectors/tdx/dcap-qvl/tdx_quote_collateral.json");
    let tdx = Collateral::from_json(tdx).unwrap();
    tdx.signed_under(&root, time("2025-06-22T00:00:00Z")).unwrap();
    let quote = include_bytes!("vectors/tdx/dcap-qvl/tdx_quote.bin");
    let certified = |root| certified_platform(quote, Form::Quote, root, time("2025-06-22T00:00:00Z"));
    assert_eq!(certified(&root).unwrap().fmspc, tdx.fmspc());
    assert!(certified(&common::Intel::new().root()).unwrap_err().contains("has not signed it"));
}

#[test]
fn a_bit_flipped_in_the_measurement_breaks_the_signature() {
    let mut quote = QUOTE.to_vec();
    quote[48 + 64] ^= 1;
    let refusal = of_quote(&quote, both(), NOW).unwrap_err();
    assert_eq!(
        (refusal.step, refusal.reason.as_str()),
        ("signatures", "ISV enclave report signature is invalid")
    );
}

#[test]
fn the_real_quote_is_of_no_other_intel() {
    let collateral = collateral();
    let evidence = Evidence::of_quote(QUOTE).unwrap();
    let root = common::Intel::new().root();
    let terms = Terms {
        enclave: evidence.enclave(),
        root: &root,
        collateral: Some(&collateral),
        policy: both(),
        now: time(NOW),
    };
    assert_eq!(evidence.verify(&terms).unwrap_err().step, "signatures");
}

#[test]
fn gramines_certificate_is_bound_by_every_byte_of_key_and_quote() {
    let evidence = Evidence::of_certificate(CERTIFICATE).unwrap();
    let at = |part: &[u8]| CERTIFICATE.windows(part.len()).position(|window| window == part).unwrap();
    // The point of the key, which is the last 97 bytes of a P-384 key.
    let key = at(&[0x03, 0x62, 0x00, 0x04]) + 3;
    for byte in key..key + 97 {
        let mut altered = CERTIFICATE.to_vec();
        altered[byte] ^= 1 << (byte % 8);
        assert!(Evidence::of_certificate(&altered).is_err(), "{byte}");
    }
    assert!(evidence.for_key(&sha256(b"")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_altered_real_quote_holds(byte in 0..QUOTE.len(), bit in 0u8..8) {
        let mut quote = QUOTE.to_vec();
        quote[byte] ^= 1 << bit;
        if let Ok(attested) = of_quote(&quote, both(), NOW) {
            // Text around the platform's certificates, or the root's copy, which nobody reads.
            prop_assert_eq!(common::vouched_for(&quote), common::vouched_for(QUOTE), "{} {:?}", byte, attested);
        }
    }

    #[test]
    fn no_cut_certificate_panics(length in 0..CERTIFICATE.len(), byte in 0..CERTIFICATE.len(), bit in 0u8..8) {
        let mut certificate = CERTIFICATE.to_vec();
        certificate[byte] ^= 1 << bit;
        let _ = Evidence::of_certificate(&certificate);
        prop_assert!(Evidence::of_certificate(&certificate[..length]).is_err());
    }
}

//! Documents of TDX machines over aTLS, on a platform of an Intel of our own.
#![allow(clippy::unwrap_used)]

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::tdx::{Machine, registers};
use common::{Intel, NOW, read, sha256, time};
use mainstay_attest::measurements::TdxMeasurements;
use mainstay_attest::sgx::{Policy, Root};
use mainstay_attest::tdx::{Form, Terms, verify};
use mainstay_attest::{Attested, Refusal, Session};
use serde_json::json;

const KEY: &[u8] = b"the peer's key";
const NONCE: [u8; 32] = [0x4e; 32];

fn document(quote: &[u8]) -> Vec<u8> {
    json!({"RawQuote": STANDARD.encode(quote), "UserData": STANDARD.encode(sha256(KEY))})
        .to_string()
        .into_bytes()
}

/// A machine for the connection of these tests.
fn machine() -> Machine {
    Machine::new(sha256(&[&sha256(KEY)[..], &NONCE].concat()))
}

struct Case {
    intel: Intel,
    root: Root,
    status: &'static str,
    policy: Policy,
    nonce: Option<&'static [u8]>,
    key: Option<&'static [u8]>,
    now: &'static str,
}

impl Case {
    fn new() -> Self {
        let intel = Intel::new();
        let root = intel.root();
        Self {
            intel,
            root,
            status: "UpToDate",
            policy: Policy::default(),
            nonce: Some(&NONCE),
            key: Some(KEY),
            now: NOW,
        }
    }

    fn verify(&self, evidence: &[u8], form: Form) -> Result<Attested, Refusal> {
        let file = json!({"attestation_type": "dcap-tdx", "measurements": registers()}).to_string();
        let collateral = read(&self.intel.tdx_collateral(self.status));
        let terms = Terms {
            expected: &TdxMeasurements::from_json(file.as_bytes()).unwrap(),
            session: Session { nonce: self.nonce, key: self.key },
            root: &self.root,
            collateral: Some(&collateral),
            policy: self.policy,
            now: time(self.now),
        };
        verify(evidence, form, &terms)
    }

    fn shown(&self, machine: &Machine) -> Result<Attested, Refusal> {
        self.verify(&document(&self.intel.tdx_quote(machine)), Form::Dcap)
    }

    /// The word and the reason of the refusal.
    fn refused(&self, machine: &Machine) -> (&'static str, String) {
        let refusal = self.shown(machine).unwrap_err();
        (refusal.step, refusal.reason)
    }
}

#[test]
fn a_document_holds_for_its_connection_only() {
    let mut case = Case::new();
    let attested = case.shown(&machine()).unwrap();
    assert!(attested.warnings.is_empty(), "{:?}", attested.warnings);
    let steps: Vec<&str> = attested.steps.iter().map(|(step, _)| step).collect();
    assert_eq!(
        steps,
        ["document", "key", "quote", "collateral", "signatures", "tcb", "nonce", "measurements"]
    );

    case.nonce = Some(&[0; 32]);
    assert_eq!(case.refused(&machine()).0, "nonce");
    case.key = Some(b"another");
    assert_eq!(case.refused(&machine()).0, "key");
    (case.nonce, case.key) = (None, None);
    assert_eq!(case.shown(&machine()).unwrap().warnings.len(), 2);
}

#[test]
fn under_intel_s_own_root_it_is_refused() {
    let case = Case { root: Root::intel(), ..Case::new() };
    assert_eq!(case.refused(&machine()).0, "signatures");
}

#[test]
fn a_machine_that_may_be_debugged_is_refused() {
    let mut debugged = machine();
    debugged.attributes[0] = 1;
    let (at, reason) = Case::new().refused(&debugged);
    assert!(at == "signatures" && reason.to_lowercase().contains("debug"), "{reason}");
    let case = Case { policy: Policy { debug_enclave: true, ..Policy::default() }, ..Case::new() };
    assert_eq!(case.refused(&debugged).0, "signatures");
}

#[test]
fn what_is_behind_the_hash_in_the_report_data_is_zero() {
    let mut other = machine();
    other.report_data[63] = 1;
    assert_eq!(Case::new().refused(&other).0, "nonce");
}

#[test]
fn a_platform_that_is_behind_is_taken_where_that_is_allowed() {
    let mut case = Case { status: "OutOfDate", ..Case::new() };
    let (at, reason) = case.refused(&machine());
    assert!(at == "tcb" && reason.contains("RA_TLS_ALLOW_OUTDATED_TCB_INSECURE"), "{reason}");
    case.policy.outdated_tcb = true;
    assert_eq!(case.shown(&machine()).unwrap().warnings, ["the platform is OutOfDate"]);
    case.status = "Revoked";
    assert!(matches!(case.refused(&machine()).0, "tcb" | "signatures"));
}

#[test]
fn collateral_has_its_dates() {
    let mut case = Case::new();
    for now in ["2026-10-31T23:59:59Z", "2026-12-01T00:00:00Z"] {
        case.now = now;
        case.policy.outdated_tcb = true;
        assert_eq!(case.refused(&machine()).0, "collateral", "{now}");
    }
}

#[test]
fn each_byte_of_a_quote_matters() {
    let case = Case::new();
    let quote = case.intel.tdx_quote(&machine());
    let judge = |quote: &[u8]| case.verify(quote, Form::Quote);
    judge(&quote).unwrap();
    // With zeros behind it, as Linux gives it out.
    judge(&[&quote[..], &[0; 100]].concat()).unwrap();
    let chain = quote.len() - case.intel.chain().len();
    let root = quote.len() - case.intel.root_pem().len();
    for byte in (0..root).step_by(3) {
        let mut other = quote.clone();
        other[byte] ^= 1 << (byte % 8);
        // In PEM ends of lines mean nothing.
        let free = byte >= chain && (quote[byte] == b'\n' || other[byte].is_ascii_whitespace());
        assert!(judge(&other).is_err() || free, "byte {byte}, the chain begins at {chain}");
    }
    for cut in [0, 1, 47, 48, 600, 632, 636, quote.len() - 1] {
        assert_eq!(judge(&quote[..cut]).unwrap_err().step, "quote", "{cut}");
    }
    assert_eq!(judge(&[&quote[..], &[0, 1]].concat()).unwrap_err().step, "quote");
    assert_eq!(judge(&[0; 70_000]).unwrap_err().step, "quote");
}

#[test]
fn documents_that_are_none_are_refused() {
    let case = Case::new();
    for document in ["", "{}", "[]", r#"{"RawQuote":"*"}"#, r#"{"RawQuote":1,"UserData":"AA=="}"#] {
        assert!(case.verify(document.as_bytes(), Form::Dcap).is_err(), "{document}");
        assert_eq!(case.verify(document.as_bytes(), Form::Azure).unwrap_err().step, "document", "{document}");
    }
}

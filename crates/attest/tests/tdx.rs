//! Documents of TDX machines over aTLS, on a platform of an Intel of our own.
#![allow(clippy::unwrap_used)]

mod chips;
mod common;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::tdx::{Machine, registers};
use common::{Intel, NOW, read, sha256, time};
use mainstay_attest::collateral::Collateral;
use mainstay_attest::measurements::TdxMeasurements;
use mainstay_attest::sgx::{Policy, Root};
use mainstay_attest::tdx::{Form, Terms, verify};
use mainstay_attest::{Attested, Refusal, Session};
use serde_json::{Map, Value, json};

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
    /// What is expected of the machine, and what it is.
    measurements: Value,
    kind: &'static str,
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
            measurements: registers(),
            kind: "dcap-tdx",
        }
    }

    fn verify(&self, evidence: &[u8], form: Form) -> Result<Attested, Refusal> {
        self.judge(evidence, form, &read(&self.intel.tdx_collateral(self.status)))
    }

    fn judge(&self, evidence: &[u8], form: Form, collateral: &Collateral) -> Result<Attested, Refusal> {
        let file = json!({"attestation_type": self.kind, "measurements": self.measurements}).to_string();
        let terms = Terms {
            expected: &TdxMeasurements::from_json(file.as_bytes()).unwrap(),
            session: Session { nonce: self.nonce, key: self.key },
            root: &self.root,
            collateral: Some(collateral),
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

/// A quote, cut at what its parts are told to be.
fn parts(quote: &[u8]) -> Vec<(&'static str, std::ops::Range<usize>)> {
    let mut parts = Vec::new();
    let mut at = 0;
    let mut next = |name, length: usize| {
        parts.push((name, at..at + length));
        at += length;
    };
    for (name, length) in [
        ("version", 2),
        ("kind of key", 2),
        ("TEE", 4),
        ("reserved", 4),
        ("vendor", 16),
        ("user data", 20),
        ("TEE TCB SVN", 16),
        ("MRSEAM", 48),
        ("MRSIGNERSEAM", 48),
        ("SEAM attributes", 8),
        ("TD attributes", 8),
        ("XFAM", 8),
        ("MRTD", 48),
        ("MRCONFIGID, MROWNER, MROWNERCONFIG", 144),
        ("RTMRs", 192),
        ("report data", 64),
        ("length", 4),
        ("signature", 64),
        ("attestation key", 64),
        ("kind of certification", 2),
        ("its length", 4),
        ("quoting enclave's report", 384),
        ("its signature", 64),
        ("length of its data", 2),
        ("its data", 32),
        ("kind of its certification", 2),
        ("length of the chain", 4),
    ] {
        next(name, length);
    }
    parts.push(("chain", at..quote.len()));
    parts
}

#[test]
fn each_byte_of_each_field_of_a_quote_matters() {
    let case = Case::new();
    let quote = case.intel.tdx_quote(&machine());
    let collateral = read(&case.intel.tdx_collateral("UpToDate"));
    let judge = |quote: &[u8]| case.judge(quote, Form::Quote, &collateral);
    judge(&quote).unwrap();
    // With zeros behind it, as Linux gives it out.
    judge(&[&quote[..], &[0; 100]].concat()).unwrap();
    let parts = parts(&quote);
    let (_, chain) = parts.last().unwrap().clone();
    assert_eq!(quote[chain.clone()], *case.intel.chain().as_bytes());
    // The root's copy at the end counts only as it is given beside.
    let root = quote.len() - case.intel.root_pem().len();
    let believed = |quote: &[u8]| {
        let quote = dcap_qvl::quote::Quote::parse(quote).ok()?;
        dcap_qvl::intel::extract_cert_chain(&quote)
            .ok()
            .map(|chain| chain.into_iter().take(2).collect::<Vec<_>>())
    };
    for (name, range) in parts {
        for byte in range.start..range.end.min(root) {
            let mut other = quote.clone();
            other[byte] ^= 1 << (byte % 8);
            // In PEM there is text that says nothing: the certificates are the same.
            let free = name == "chain" && believed(&other) == believed(&quote);
            assert!(
                judge(&other).is_err() || free,
                "{name}, byte {byte}: {:?}",
                String::from_utf8_lossy(&other[byte - 20..byte + 20])
            );
        }
    }
    for cut in [0, 1, 47, 48, 600, 632, 636, quote.len() - 1] {
        assert_eq!(judge(&quote[..cut]).unwrap_err().step, "quote", "{cut}");
    }
    assert_eq!(judge(&[&quote[..], &[0, 1]].concat()).unwrap_err().step, "quote");
    let refusal = judge(&[0; 70_000]).unwrap_err();
    assert!(refusal.step == "quote" && refusal.reason.contains("longer than"), "{refusal}");
}

/// A document of a TDX machine on Azure with a virtual TPM, signed for the connection of these tests or another.
fn on_azure(case: &Case, nonce: &[u8], covers: bool) -> Value {
    let public = chips::public();
    let modulus = URL_SAFE_NO_PAD.encode(&public[public.len() - 256..]);
    let runtime = json!({"keys": [{"kid": "HCLAkPub", "kty": "RSA", "e": "AQAB", "n": modulus}]}).to_string();
    let quote = case.intel.tdx_quote(&Machine::new(sha256(runtime.as_bytes())));
    let instance =
        json!({"AttestationReport": STANDARD.encode(quote), "RuntimeData": STANDARD.encode(runtime)})
            .to_string();
    let user_data = sha256(KEY);
    let mut extra = chips::sha256(&[&user_data, nonce]);
    if covers {
        extra = chips::sha256(&[instance.as_bytes(), &extra]);
    }
    let pcrs = (0..24).map(|pcr| (pcr, [pcr; 32])).collect();
    let message = chips::attest(&extra, &pcrs);
    let values: Map<String, Value> =
        pcrs.iter().map(|(pcr, value)| (pcr.to_string(), json!(STANDARD.encode(value)))).collect();
    json!({
        "Attestation": {
            "ak_pub": STANDARD.encode(public),
            "quotes": [{
                "quote": STANDARD.encode(&message),
                "raw_sig": STANDARD.encode(chips::sign(&message)),
                "pcrs": {"hash": 11, "pcrs": values},
            }],
        },
        "InstanceInfo": STANDARD.encode(instance),
        "UserData": STANDARD.encode(user_data),
    })
}

#[test]
fn a_document_of_azure_holds_for_its_connection_and_its_pcrs() {
    let case =
        Case { measurements: json!({"4": {"expected": "04".repeat(32)}}), kind: "azure-tdx", ..Case::new() };
    let judge = |document: &Value| case.verify(document.to_string().as_bytes(), Form::Azure);
    let refused = |document: &Value| judge(document).unwrap_err().step;
    let good = on_azure(&case, &NONCE, true);
    let attested = judge(&good).unwrap();
    assert!(attested.warnings.is_empty(), "{:?}", attested.warnings);
    assert_eq!(refused(&on_azure(&case, &[0; 32], true)), "nonce");
    // The quote covers the instance's data too.
    assert_eq!(refused(&on_azure(&case, &NONCE, false)), "nonce");
    let mut other = good.clone();
    other["Attestation"]["quotes"][0]["pcrs"]["pcrs"]["5"] = json!(STANDARD.encode([4; 32]));
    assert_eq!(refused(&other), "pcr digest");

    // Registers of the TDX module's own are not those of a virtual TPM.
    let case = Case { measurements: registers(), kind: "dcap-tdx", ..case };
    let refusal = case.verify(good.to_string().as_bytes(), Form::Azure).unwrap_err();
    assert!(refusal.step == "measurements" && refusal.reason.contains("no record"), "{refusal}");
}

#[test]
fn a_quote_is_vouched_for_by_a_quoting_enclave_s_report() {
    let case = Case::new();
    let mut quote = case.intel.tdx_quote(&machine());
    let (_, kind) = parts(&quote).into_iter().find(|(name, _)| *name == "kind of certification").unwrap();
    quote[kind.start] = 5;
    let refusal = case.verify(&quote, Form::Quote).unwrap_err();
    assert_eq!(refusal.step, "quote", "{refusal}");
}

#[test]
fn every_register_counts() {
    for register in ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"] {
        let mut measurements = registers();
        measurements[register]["expected"] = json!("ee".repeat(48));
        let case = Case { measurements, ..Case::new() };
        let (at, reason) = case.refused(&machine());
        assert!(at == "measurements" && reason.contains("eeee"), "{reason}");
    }
}

#[test]
fn documents_that_are_none_are_refused() {
    let case = Case::new();
    for document in ["", "{}", "[]", r#"{"RawQuote":"*"}"#, r#"{"RawQuote":1,"UserData":"AA=="}"#] {
        assert!(case.verify(document.as_bytes(), Form::Dcap).is_err(), "{document}");
        assert_eq!(case.verify(document.as_bytes(), Form::Azure).unwrap_err().step, "document", "{document}");
    }
}

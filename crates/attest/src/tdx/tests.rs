use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::when::read;

macro_rules! vector {
    ($file:literal) => {
        include_bytes!(concat!("../../tests/vectors/tdx/", $file))
    };
}

/// MRTD in a quote of version 4.
const MRTD: usize = 48 + 136;

/// The registers of a quote of version 4, or of 5 with a head of 6 bytes before them, as a measurements file.
fn registers(quote: &[u8]) -> TdxMeasurements {
    let quote = if quote[0] == 5 { &quote[6..] } else { quote };
    let rtmr = |number: usize| MRTD + 192 + 48 * number;
    let places = [MRTD, rtmr(0), rtmr(1), rtmr(2), rtmr(3)];
    let one = |at: &usize| json!({"expected": const_hex::encode(&quote[*at..at + 48])});
    let measurements: serde_json::Map<String, Value> =
        places.iter().enumerate().map(|(register, at)| (register.to_string(), one(at))).collect();
    let file =
        json!([{"measurement_id": "its own", "attestation_type": "dcap-tdx", "measurements": measurements}]);
    TdxMeasurements::from_json(file.to_string().as_bytes()).unwrap()
}

struct Case {
    collateral: Collateral,
    expected: TdxMeasurements,
    root: Root,
    now: &'static str,
    nonce: Option<Vec<u8>>,
}

impl Case {
    fn of(collateral: &[u8], expected: TdxMeasurements, now: &'static str) -> Self {
        let collateral = Collateral::from_json(collateral).unwrap();
        Self { collateral, expected, root: Root::intel(), now, nonce: None }
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            expected: &self.expected,
            session: Session { nonce: self.nonce.as_deref(), key: None },
            root: &self.root,
            collateral: Some(&self.collateral),
            policy: Policy::default(),
            now: read(self.now).unwrap(),
        }
    }

    fn verify(&self, evidence: &[u8], form: Form) -> Result<Attested, Refusal> {
        verify(evidence, form, &self.terms())
    }

    /// The word and the reason of the refusal.
    fn refused(&self, evidence: &[u8], form: Form) -> (&'static str, String) {
        let refusal = self.verify(evidence, form).unwrap_err();
        (refusal.step, refusal.reason)
    }
}

#[test]
fn real_quotes_hold_beside_their_collateral() {
    for (quote, collateral, now) in [
        (
            &vector!("dcap-qvl/tdx_quote.bin")[..],
            &vector!("dcap-qvl/tdx_quote_collateral.json")[..],
            "2025-06-22T00:00:00Z",
        ),
        (
            vector!("dcap-qvl/tdx_quote_td15ex.bin"),
            vector!("dcap-qvl/tdx_quote_td15ex_collateral.json"),
            "2026-10-11T00:00:00Z",
        ),
        (
            vector!("flashbots/gcp-tdx-1782809233226668671"),
            vector!("flashbots/gcp-tdx-collateral-1782809233226668671.json"),
            "2026-07-01T00:00:00Z",
        ),
    ] {
        let mut case = Case::of(collateral, registers(quote), now);
        let attested = case.verify(quote, Form::Quote).unwrap();
        assert_eq!(attested.tcb_status.as_deref(), Some("UpToDate"));
        assert_eq!(attested.measured.iter().filter(|one| one.expected.is_some()).count(), 5);
        assert!(attested.warnings[0].contains("a bare quote"));
        assert!(attested.until <= case.collateral.until());
        assert_eq!(platform(quote, Form::Quote).unwrap().0, case.collateral.fmspc());

        // Before and after Intel's word for it.
        for now in ["2020-01-01T00:00:00Z", "2027-01-01T00:00:00Z"] {
            case.now = now;
            assert_eq!(case.refused(quote, Form::Quote).0, "collateral");
        }
        case.now = now;
        // Another machine.
        case.expected = registers(vector!("dcap-qvl/tdx_quote_outdated.bin"));
        let (at, reason) = case.refused(quote, Form::Quote);
        assert!(at == "measurements" && reason.contains("MRTD is "), "{reason}");
    }
}

#[test]
fn a_platform_that_is_behind_is_refused() {
    let quote = vector!("dcap-qvl/tdx_quote_outdated.bin");
    let collateral = vector!("dcap-qvl/tdx_quote_outdated_collateral.json");
    let case = Case::of(collateral, registers(quote), "2026-02-21T00:00:00Z");
    let (at, reason) = case.refused(quote, Form::Quote);
    assert!(at == "signatures" && reason.contains("No matching TCB level found"), "{at}: {reason}");
}

#[test]
fn collateral_of_another_platform_or_none_is_refused() {
    let quote = vector!("dcap-qvl/tdx_quote.bin");
    let collateral = vector!("flashbots/azure-2025-12-collateral.json");
    let mut case = Case::of(collateral, registers(quote), "2026-02-20T00:00:00Z");
    let (at, reason) = case.refused(quote, Form::Quote);
    assert!(at == "collateral" && reason.contains("FMSPC 90C06F000000"), "{reason}");
    let refusal = verify(quote, Form::Quote, &Terms { collateral: None, ..case.terms() }).unwrap_err();
    assert!(
        refusal.step == "collateral" && refusal.reason.contains("none for FMSPC B0C06F000000"),
        "{refusal}"
    );
    let sgx = include_bytes!("../../tests/vectors/sgx/sgx_quote_collateral.json");
    case.collateral = Collateral::from_json(sgx).unwrap();
    assert!(case.refused(quote, Form::Quote).1.contains("for SGX"));
}

#[test]
fn real_evidence_of_azure_holds_from_intel_s_root_to_the_pcrs() {
    for (document, collateral, now) in [
        (
            &vector!("flashbots/azure-2025-12.json")[..],
            &vector!("flashbots/azure-2025-12-collateral.json")[..],
            "2026-02-20T00:00:00Z",
        ),
        (
            vector!("flashbots/azure-2026-06.json"),
            vector!("flashbots/azure-2026-06-collateral.json"),
            "2026-06-09T00:00:00Z",
        ),
    ] {
        let read: Value = serde_json::from_slice(document).unwrap();
        let pcr = |pcr: &str| {
            let value = &read["Attestation"]["quotes"][0]["pcrs"]["pcrs"][pcr];
            json!({"expected": const_hex::encode(STANDARD.decode(value.as_str().unwrap()).unwrap())})
        };
        let measurements = json!({"4": pcr("4"), "9": pcr("9"), "pcr11": pcr("11")});
        let file = json!({"attestation_type": "azure-tdx", "measurements": measurements}).to_string();
        let mut case = Case::of(collateral, TdxMeasurements::from_json(file.as_bytes()).unwrap(), now);
        let attested = case.verify(document, Form::Azure).unwrap();
        assert_eq!((attested.kind, attested.warnings.len()), (Kind::Tdx, 2), "{:?}", attested.warnings);

        for (path, step) in [
            ("/Attestation/quotes/0/pcrs/pcrs/4", "pcr digest"),
            ("/Attestation/ak_pub", "attestation key"),
            ("/Attestation/quotes/0/raw_sig", "quote"),
            ("/Attestation/quotes/0/quote", "quote"),
        ] {
            let mut other = read.clone();
            let field = other.pointer_mut(path).unwrap();
            let mut bytes = STANDARD.decode(field.as_str().unwrap()).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            *field = json!(STANDARD.encode(bytes));
            assert_eq!(case.refused(other.to_string().as_bytes(), Form::Azure).0, step, "{path}");
        }
        // Its TPM quoted for nobody's connection.
        case.nonce = Some(vec![0x4e; 32]);
        assert_eq!(case.refused(document, Form::Azure).0, "nonce");
    }
}

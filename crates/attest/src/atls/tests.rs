use rcgen::{
    CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, SignatureAlgorithm, date_time_ymd,
};

use super::*;
use crate::measurements::Measurements;
use crate::sev::{Policy, Roots};
use crate::when::read;

const NOW: &str = "2026-11-21T12:00:00Z";
const SEV: &[u64] = &[1, 3, 9900, 4, 1];
const DOCUMENT: &[u8] = include_bytes!("../../tests/vectors/synthetic/attdoc.json");
const ROOT: &[u8] = include_bytes!("../../tests/vectors/synthetic/ark.pem");
const EXPECTED: &[u8] = include_bytes!("../../tests/vectors/synthetic/measurements.json");

/// A certificate and its key.
fn certificate(kind: &'static SignatureAlgorithm, extensions: &[(&[u64], &[u8])]) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate_for(kind).unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.not_before = date_time_ymd(2026, 11, 20);
    params.not_after = date_time_ymd(2026, 11, 22);
    for (oid, content) in extensions {
        params.custom_extensions.push(CustomExtension::from_oid_content(oid, content.to_vec()));
    }
    (params.self_signed(&key).unwrap().der().to_vec(), key.public_key_der())
}

fn shown(der: &[u8], now: &str) -> Result<Shown, (&'static str, String)> {
    Shown::of_certificate(der, read(now).unwrap()).map_err(|refusal| (refusal.step, refusal.reason))
}

#[test]
fn a_certificate_shows_its_document_and_key() {
    for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let (der, key) = certificate(kind, &[(&[1, 2, 3], b"x"), (SEV, b"{\"UserData\":null}")]);
        let shown = shown(&der, NOW).unwrap();
        assert_eq!((shown.variant, &shown.document[..]), (Variant::AzureSev, &b"{\"UserData\":null}"[..]));
        assert_eq!(shown.key, key);
    }
    for (oid, variant) in [
        (&[1, 3, 9900, 4, 3][..], Variant::AzureTdx),
        (&[1, 3, 9900, 5, 99], Variant::DcapTdx),
        (SEV, Variant::AzureSev),
    ] {
        let (der, _) = certificate(&PKCS_ECDSA_P256_SHA256, &[(oid, b"{}")]);
        assert_eq!(shown(&der, NOW).unwrap().variant, variant);
    }
}

#[test]
fn the_first_document_of_several_counts() {
    let (der, _) = certificate(&PKCS_ECDSA_P256_SHA256, &[(&[1, 3, 9900, 5, 99], b"1"), (SEV, b"2")]);
    let shown = shown(&der, NOW).unwrap();
    assert_eq!((shown.variant, &shown.document[..]), (Variant::DcapTdx, &b"1"[..]));
}

#[test]
fn a_variant_that_proves_nothing_is_told() {
    let (der, _) = certificate(&PKCS_ECDSA_P256_SHA256, &[(&[1, 3, 9900, 1, 1], b"{}")]);
    let (at, reason) = shown(&der, NOW).unwrap_err();
    assert!(at == "evidence" && reason.contains("1.3.9900.1.1"), "{reason}");
    let (der, _) = certificate(&PKCS_ECDSA_P256_SHA256, &[]);
    let (at, reason) = shown(&der, NOW).unwrap_err();
    assert!(at == "evidence" && reason.contains("doesn't speak aTLS"), "{reason}");
}

#[test]
fn a_certificate_is_its_own_and_of_now() {
    let (der, _) = certificate(&PKCS_ECDSA_P256_SHA256, &[(SEV, b"{}")]);
    for now in ["2026-11-19T23:59:59Z", "2026-11-22T00:00:01Z"] {
        let (at, reason) = shown(&der, now).unwrap_err();
        assert!(at == "certificate" && reason.contains("valid from 2026-11-20"), "{reason}");
    }
    for byte in 0..der.len() {
        let mut other = der.clone();
        other[byte] ^= 1 << (byte % 8);
        assert!(shown(&other, NOW).is_err(), "byte {byte}");
    }
    let (ed25519, _) = certificate(&PKCS_ED25519, &[(SEV, b"{}")]);
    assert!(shown(&ed25519, NOW).unwrap_err().1.contains("not by ECDSA"));
    assert_eq!(shown(b"", NOW).unwrap_err().0, "certificate");
    let (at, reason) = shown(&vec![0x30; 600_000], NOW).unwrap_err();
    assert!(at == "certificate" && reason.contains("longer than"), "{reason}");
}

#[test]
fn the_document_is_for_the_certificate_s_key() {
    let expected = Measurements::from_json(EXPECTED).unwrap();
    let roots = Roots::from_pem(ROOT).unwrap();
    let terms = azure::Terms {
        expected: &expected,
        session: Session { nonce: None, key: Some(b"spki") },
        policy: &Policy::default(),
        roots: &roots,
        now: read(NOW).unwrap(),
    };
    // Genuine, but for the key whose DER is "spki".
    azure::verify(DOCUMENT, &terms).unwrap();
    let (der, _) = certificate(&PKCS_ECDSA_P256_SHA256, &[(SEV, DOCUMENT)]);
    let refusal = shown(&der, NOW).unwrap().verify_sev(&terms).unwrap_err();
    assert_eq!(refusal.step, "key");
    let steps: Vec<&str> = refusal.steps.iter().map(|(step, _)| step).collect();
    assert_eq!(steps, ["certificate", "evidence", "document"]);

    let (der, _) = certificate(&PKCS_ECDSA_P256_SHA256, &[(&[1, 3, 9900, 4, 3], DOCUMENT)]);
    assert_eq!(shown(&der, NOW).unwrap().verify_sev(&terms).unwrap_err().step, "evidence");
}

proptest::proptest! {
    #[test]
    fn a_nonce_is_a_name_that_tls_libraries_send(random: [[u8; 20]; 2]) {
        let random: [u8; 40] = random.concat().try_into().unwrap();
        let nonce = Nonce::new(&random);
        let name = rustls_pki_types::ServerName::try_from(nonce.server_name()).unwrap();
        assert!(matches!(name, rustls_pki_types::ServerName::DnsName(_)));
        assert_eq!((nonce.bytes().len(), nonce.server_name().len()), (30, 40));
        assert_eq!(STANDARD.encode(nonce.bytes()), nonce.server_name());
        // As who compares names without regard to case may write it.
        assert_eq!(nonce.server_name().to_ascii_lowercase(), nonce.server_name());
    }
}

#[test]
fn another_byte_is_another_nonce() {
    let one = Nonce::new(&[0; 40]);
    for at in 0..40 {
        let mut random = [0; 40];
        random[at] = 1;
        assert_ne!(Nonce::new(&random).bytes(), one.bytes(), "{at}");
    }
}

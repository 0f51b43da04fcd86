//! Enclaves under an Intel of our own: what holds, and what is refused at which step.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::LazyLock;
use std::time::Duration;

use common::*;
use mainstay_attest::collateral::Collateral;
use mainstay_attest::sgx::{Evidence, Policy, Root, Terms};
use mainstay_attest::uri::MrEnclave;
use mainstay_attest::{Attested, Kind, Refusal};
use ring::digest;

static INTEL: LazyLock<Intel> = LazyLock::new(Intel::new);
static ROOT: LazyLock<Root> = LazyLock::new(|| INTEL.root());
static COLLATERAL: LazyLock<Collateral> = LazyLock::new(|| INTEL.read(&Told::default()));

fn verify(certificate: &[u8], terms: &Terms<'_>) -> Result<Attested, Refusal> {
    Evidence::of_certificate(certificate)?.verify(terms)
}

/// Under the usual terms.
fn usual(certificate: &[u8]) -> Result<Attested, Refusal> {
    verify(certificate, &terms(&ROOT, &COLLATERAL))
}

#[track_caller]
fn refused(done: Result<Attested, Refusal>, step: &str, part: &str) -> Refusal {
    let refusal = done.unwrap_err();
    assert_eq!(refusal.step, step, "{refusal}");
    assert!(refusal.reason.contains(part), "{refusal}");
    refusal
}

const STEPS: [&str; 8] =
    ["certificate", "evidence", "quote", "key", "enclave", "attributes", "collateral", "signatures"];

#[test]
fn both_forms_of_evidence_hold() {
    for (certificate, _) in [INTEL.legacy(&Enclave::default()), INTEL.dice(&Enclave::default())] {
        let attested = usual(&certificate).unwrap();
        assert_eq!(attested.kind, Kind::Sgx);
        assert_eq!(attested.tcb_status.as_deref(), Some("UpToDate"));
        assert_eq!(attested.warnings, [""; 0]);
        assert_eq!(attested.until, time("2026-12-01T00:00:00Z"));
        let steps: Vec<&str> = attested.steps.iter().map(|(step, _)| step).collect();
        assert_eq!(steps, [&STEPS[..], &["tcb"]].concat());
        let enclave = &attested.measured[0];
        assert_eq!((enclave.name.as_str(), &enclave.value), ("MRENCLAVE", &enclave.expected));
        assert_eq!(enclave.value, Some("e5".repeat(32)));
        let json = serde_json::to_value(&attested).unwrap();
        assert_eq!(json["until"], "2026-12-01T00:00:00Z");
    }
}

#[test]
fn the_key_is_hashed_as_the_claims_say() {
    for (algorithm, by) in [(1, &digest::SHA256), (7, &digest::SHA384), (8, &digest::SHA512)] {
        let key = server_key();
        let claims = claims(algorithm, digest::digest(by, &key.public_key_der()).as_ref());
        let evidence = INTEL.tagged(&Enclave::default(), &claims);
        assert!(usual(&certificate(&key, &[(DICE, evidence)])).is_ok(), "{algorithm}");
    }
}

#[test]
fn a_quote_alone_holds_for_the_key_that_is_given() {
    let (_, key) = INTEL.legacy(&Enclave::default());
    let spki = key.public_key_der();
    let quote = INTEL.quote(&Enclave { report_data: sha256(&spki), ..Enclave::default() });
    let terms = terms(&ROOT, &COLLATERAL);
    let bare = Evidence::of_quote(&quote).unwrap();
    let attested = bare.clone().verify(&terms).unwrap();
    assert!(attested.warnings[0].contains("no key was given"), "{:?}", attested.warnings);
    let attested = bare.clone().for_key(&spki).unwrap().verify(&terms).unwrap();
    assert_eq!(attested.warnings, [""; 0]);
    let refusal = bare.for_key(&server_key().public_key_der()).unwrap_err();
    assert_eq!(refusal.step, "key");
}

#[test]
fn the_connection_has_to_have_the_certificates_key() {
    let (certificate, key) = INTEL.dice(&Enclave::default());
    let evidence = Evidence::of_certificate(&certificate).unwrap();
    assert!(evidence.clone().for_key(&key.public_key_der()).is_ok());
    assert_eq!(evidence.for_key(&server_key().public_key_der()).unwrap_err().step, "key");
}

#[test]
fn evidence_of_another_key_is_refused() {
    let other = server_key();
    let quote = INTEL.quote(&Enclave { report_data: sha256(&other.public_key_der()), ..Enclave::default() });
    refused(usual(&certificate(&server_key(), &[(LEGACY, quote)])), "key", "another public key");
    let evidence = INTEL.tagged(&Enclave::default(), &claims(1, &sha256(&other.public_key_der())));
    refused(usual(&certificate(&server_key(), &[(DICE, evidence)])), "evidence", "another key than");
}

#[test]
fn claims_without_a_hash_of_the_key_are_refused() {
    let evidence = INTEL.tagged(&Enclave::default(), &map(&[("nonce", number(1))]));
    refused(usual(&certificate(&server_key(), &[(DICE, evidence)])), "evidence", "no pubkey-hash");
    let evidence = INTEL.tagged(&Enclave::default(), &map(&[]));
    refused(usual(&certificate(&server_key(), &[(DICE, evidence)])), "evidence", "no pubkey-hash");
}

#[test]
fn claims_that_the_quote_is_not_bound_to_are_refused() {
    let key = server_key();
    let quote = INTEL.quote(&Enclave { report_data: sha256(b"others"), ..Enclave::default() });
    let evidence = evidence(&quote, &claims(1, &sha256(&key.public_key_der())));
    refused(usual(&certificate(&key, &[(DICE, evidence)])), "key", "another claims");
}

#[test]
fn bad_evidence_is_not_mended_by_the_older_form() {
    let (key, enclave) = (server_key(), Enclave::default());
    let good = INTEL.quote(&Enclave { report_data: sha256(&key.public_key_der()), ..enclave.clone() });
    for bad in [vec![], vec![0xd9], INTEL.tagged(&enclave, &map(&[])), good.clone()] {
        for extensions in
            [[(DICE, bad.clone()), (LEGACY, good.clone())], [(LEGACY, good.clone()), (DICE, bad.clone())]]
        {
            refused(usual(&certificate(&key, &extensions)), "evidence", "TCG DICE");
        }
    }
    let both = INTEL.tagged(&enclave, &claims(1, &sha256(&key.public_key_der())));
    assert!(usual(&certificate(&key, &[(LEGACY, b"not looked at".to_vec()), (DICE, both)])).is_ok());
}

#[test]
fn evidence_of_another_form_is_refused() {
    let key = server_key();
    let hash = sha256(&key.public_key_der());
    let quote = INTEL.quote(&Enclave { report_data: sha256(&claims(1, &hash)), ..Enclave::default() });
    let good = evidence(&quote, &claims(1, &hash));
    let untagged = good[3..].to_vec();
    let other_tag = [&[0xd9, 0xea, 0x61], &good[3..]].concat();
    let three = [&good[..3], &[0x83], &good[4..], &[0x40]].concat();
    let long = [&good[..], &[0]].concat();
    let indefinite = [&good[..3], &[0x9f], &good[4..], &[0xff]].concat();
    let twice = map(&[("pubkey-hash", key_hash(1, &hash)), ("pubkey-hash", key_hash(1, &hash))]);
    for (evidence, part) in [
        (untagged, "expected a tag"),
        (other_tag, "tag 60001"),
        (three, "3 items"),
        (long, "1 bytes too many"),
        (indefinite, "indefinite"),
        (INTEL.tagged(&Enclave::default(), &twice), "twice"),
        (INTEL.tagged(&Enclave::default(), &claims(2, &hash)), "unknown algorithm 2"),
        (INTEL.tagged(&Enclave::default(), &claims(7, &hash)), "another key"),
        (INTEL.tagged(&Enclave::default(), &[&claims(1, &hash)[..], &[0]].concat()), "too many"),
        (INTEL.tagged(&Enclave::default(), b"\x81\x00"), "expected a map"),
    ] {
        refused(usual(&certificate(&key, &[(DICE, evidence)])), "evidence", part);
    }
}

#[test]
fn a_certificate_without_or_with_two_quotes_is_refused() {
    refused(usual(&certificate(&server_key(), &[])), "evidence", "no quote of SGX");
    let other = [(&[1, 2, 840, 113_741, 1337, 6][..], vec![1])];
    refused(usual(&certificate(&server_key(), &other)), "evidence", "no quote of SGX");
    let (key, quote) = (server_key(), vec![1]);
    for oid in [LEGACY, DICE] {
        let twice = [(oid, quote.clone()), (oid, quote.clone())];
        refused(usual(&certificate(&key, &twice)), "evidence", "twice");
    }
    refused(usual(b""), "certificate", "not an X.509 certificate");
    refused(usual(&[0x30; 70_000]), "certificate", "longer than");
}

#[test]
fn another_enclave_is_refused() {
    let (certificate, _) = INTEL.dice(&Enclave { measured: MrEnclave([1; 32]), ..Enclave::default() });
    let refusal = refused(usual(&certificate), "enclave", "expected e5e5e5");
    assert!(refusal.reason.contains(&"01".repeat(32)), "{refusal}");
    let held: Vec<&str> = refusal.steps.iter().map(|(step, _)| step).collect();
    assert_eq!(held, STEPS[..4]);
}

#[test]
fn attributes_are_those_of_an_enclave_in_production() {
    let policies = [Policy::default(), Policy { debug_enclave: true, ..Policy::default() }];
    for (flags, part) in [
        (0x04, "INIT"),
        (0x01, "MODE64"),
        (0x15, "PROVISION_KEY"),
        (0x25, "EINITTOKEN_KEY"),
        (0x37, "PROVISION_KEY"),
    ] {
        let (certificate, _) = INTEL.legacy(&Enclave { flags, ..Enclave::default() });
        for policy in policies {
            refused(verify(&certificate, &Terms { policy, ..terms(&ROOT, &COLLATERAL) }), "attributes", part);
        }
    }
    let (certificate, _) = INTEL.legacy(&Enclave { flags: 0x07, ..Enclave::default() });
    refused(usual(&certificate), "attributes", "RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE");
    let attested = verify(&certificate, &Terms { policy: policies[1], ..terms(&ROOT, &COLLATERAL) }).unwrap();
    assert!(attested.warnings[0].contains("debug"), "{:?}", attested.warnings);
}

#[test]
fn collateral_is_of_the_platform_and_fresh() {
    let (certificate, _) = INTEL.legacy(&Enclave::default());
    let usual = terms(&ROOT, &COLLATERAL);
    refused(
        verify(&certificate, &Terms { collateral: None, ..usual.clone() }),
        "collateral",
        "none for FMSPC 00906EA10000",
    );
    let other = INTEL.read(&Told { fmspc: [1; 6], ..Told::default() });
    refused(verify(&certificate, &terms(&ROOT, &other)), "collateral", "for FMSPC 010101010101");
    let tdx = INTEL.read(&Told { id: "TDX", ..Told::default() });
    refused(verify(&certificate, &terms(&ROOT, &tdx)), "collateral", "TDX");

    let second = Duration::from_secs(1);
    let at = |now| verify(&certificate, &Terms { now, ..usual.clone() });
    let (from, until) = (COLLATERAL.from(), COLLATERAL.until());
    refused(at(from - second), "collateral", "not valid before 2026-11-01T00:00:00Z");
    assert!(at(from).is_ok());
    assert!(at(until - second).is_ok());
    refused(at(until), "collateral", "expired on 2026-12-01T00:00:00Z");
    refused(at(std::time::UNIX_EPOCH - second), "collateral", "not valid before");
}

#[test]
fn expired_collateral_can_be_allowed_and_is_kept_for_no_time() {
    let (certificate, _) = INTEL.legacy(&Enclave::default());
    let policy = Policy { outdated_tcb: true, ..Policy::default() };
    let now = COLLATERAL.until() + Duration::from_secs(86_400);
    let attested = verify(&certificate, &Terms { policy, now, ..terms(&ROOT, &COLLATERAL) }).unwrap();
    assert_eq!(attested.until, now);
    assert!(attested.warnings[0].contains("expired on 2026-12-01"), "{:?}", attested.warnings);
    let early = COLLATERAL.from() - Duration::from_secs(1);
    refused(
        verify(&certificate, &Terms { policy, now: early, ..terms(&ROOT, &COLLATERAL) }),
        "collateral",
        "not valid before",
    );
}

#[test]
fn a_platforms_status_is_taken_as_the_policy_says() {
    let (certificate, _) = INTEL.dice(&Enclave::default());
    let allowing =
        |variables: &[&str]| Policy::from_variables(|name| variables.contains(&name).then(|| "1".to_owned()));
    let (outdated, config, hardening) = (
        "RA_TLS_ALLOW_OUTDATED_TCB_INSECURE",
        "RA_TLS_ALLOW_HW_CONFIG_NEEDED",
        "RA_TLS_ALLOW_SW_HARDENING_NEEDED",
    );
    for (status, qe_status, outcome, needed) in [
        ("OutOfDate", "UpToDate", "OutOfDate", &[outdated][..]),
        ("UpToDate", "OutOfDate", "OutOfDate", &[outdated]),
        ("ConfigurationNeeded", "UpToDate", "ConfigurationNeeded", &[config]),
        ("ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", &[outdated, config]),
        ("OutOfDateConfigurationNeeded", "UpToDate", "OutOfDateConfigurationNeeded", &[outdated, config]),
        ("SWHardeningNeeded", "UpToDate", "SWHardeningNeeded", &[hardening]),
        (
            "ConfigurationAndSWHardeningNeeded",
            "UpToDate",
            "ConfigurationAndSWHardeningNeeded",
            &[config, hardening],
        ),
    ] {
        let collateral = INTEL.read(&Told { status, qe_status, ..Told::default() });
        let usual = terms(&ROOT, &collateral);
        let refusal = refused(verify(&certificate, &usual), "tcb", outcome);
        assert!(needed.iter().all(|name| refusal.reason.contains(name)), "{refusal}");
        for missing in needed {
            let rest: Vec<&str> =
                [outdated, config, hardening].into_iter().filter(|name| name != missing).collect();
            refused(
                verify(&certificate, &Terms { policy: allowing(&rest), ..usual.clone() }),
                "tcb",
                missing,
            );
        }
        let attested = verify(&certificate, &Terms { policy: allowing(needed), ..usual }).unwrap();
        assert_eq!(attested.tcb_status.as_deref(), Some(outcome));
        assert!(attested.warnings[0].contains(outcome), "{:?}", attested.warnings);
    }
    let all = allowing(&["RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE", outdated, config, hardening]);
    for (status, qe_status) in [("Revoked", "UpToDate"), ("UpToDate", "Revoked")] {
        let collateral = INTEL.read(&Told { status, qe_status, ..Told::default() });
        refused(
            verify(&certificate, &Terms { policy: all, ..terms(&ROOT, &collateral) }),
            "signatures",
            "Revoked",
        );
    }
}

#[test]
fn revoked_certificates_are_refused() {
    let (certificate, _) = INTEL.dice(&Enclave::default());
    for revoked in [&[2][..], &[3], &[4]] {
        let collateral = INTEL.read(&Told { revoked, ..Told::default() });
        refused(verify(&certificate, &terms(&ROOT, &collateral)), "signatures", "CertRevoked");
    }
}

#[test]
fn what_another_root_vouches_for_is_refused() {
    let (certificate, _) = INTEL.dice(&Enclave::default());
    let (intel, other) = (Root::intel(), Intel::new());
    refused(verify(&certificate, &terms(&intel, &COLLATERAL)), "signatures", "");
    refused(verify(&certificate, &terms(&other.root(), &COLLATERAL)), "signatures", "");
    let theirs = other.read(&Told::default());
    refused(verify(&certificate, &terms(&ROOT, &theirs)), "signatures", "");
    refused(verify(&certificate, &terms(&other.root(), &theirs)), "signatures", "");
    refused(verify(&certificate, &terms(&Root::of_der(vec![1, 2]), &COLLATERAL)), "signatures", "");
}

#[test]
fn forged_quotes_are_refused() {
    let enclave = Enclave::default();
    let chain = INTEL.chain();
    let key = INTEL.attested_key();
    let other_signer = rcgen::KeyPair::generate().unwrap();
    let verify = |quote: &[u8]| Evidence::of_quote(quote)?.verify(&terms(&ROOT, &COLLATERAL));
    let by_another = INTEL.quote_with(&enclave, &sha256(&key), 5, chain.as_bytes(), &other_signer);
    refused(verify(&by_another), "signatures", "ISV enclave report signature is invalid");
    let not_vouched = INTEL.quote_with(&enclave, &[0; 32], 5, chain.as_bytes(), &other_signer);
    refused(verify(&not_vouched), "signatures", "QE report hash mismatch");
    let others_platform =
        INTEL.quote_with(&enclave, &sha256(&key), 5, Intel::new().chain().as_bytes(), &other_signer);
    refused(verify(&others_platform), "signatures", "");
    let without_chain = INTEL.quote_with(&enclave, &sha256(&key), 1, &[0; 36], &other_signer);
    refused(verify(&without_chain), "quote", "certification data of type 1");
    let no_chain = INTEL.quote_with(&enclave, &sha256(&key), 5, b"", &other_signer);
    refused(verify(&no_chain), "quote", "certificate can't be read");

    let strange = INTEL.read(&Told { qe_signer: [1; 32], ..Told::default() });
    let quote = INTEL.quote(&enclave);
    refused(
        Evidence::of_quote(&quote).and_then(|read| read.verify(&terms(&ROOT, &strange))),
        "signatures",
        "MRSIGNER",
    );
    refused(verify(&[&quote[..], &[0]].concat()), "quote", "has ");
    for length in (0..quote.len()).step_by(97) {
        refused(verify(&quote[..length]), "quote", "");
    }
}

#[test]
fn a_chain_beside_the_quotes_own_is_not_looked_at() {
    let (certificate, _) = INTEL.dice(&Enclave::default());
    let mut json = INTEL.collateral(&Told::default());
    json["pck_certificate_chain"] = Intel::new().chain().into();
    assert!(verify(&certificate, &terms(&ROOT, &read(&json))).is_ok());
}

#[test]
fn collateral_that_can_not_be_read_is_told() {
    let good = INTEL.collateral(&Told::default());
    for (part, value, told) in [
        ("tcb_info", "{}", "tcb_info: missing field"),
        ("qe_identity", "no", "qe_identity"),
        ("root_ca_crl", "00", "root_ca_crl"),
        ("pck_crl", "xx", ""),
        ("tcb_info", r#"{"id":"TDX","fmspc":"00","issueDate":"","nextUpdate":""}"#, "no fmspc"),
        ("tcb_info", r#"{"id":"NO","fmspc":"00","issueDate":"","nextUpdate":""}"#, "neither SGX nor TDX"),
        (
            "tcb_info",
            r#"{"id":"SGX","fmspc":"000000000000","issueDate":"?","nextUpdate":"?"}"#,
            "\"?\" is no date",
        ),
    ] {
        let mut json = good.clone();
        json[part] = value.into();
        let why = Collateral::from_json(json.to_string().as_bytes()).unwrap_err().to_string();
        assert!(why.starts_with("collateral: ") && why.contains(told), "{why}");
    }
    assert!(Collateral::from_json(b"").is_err());
    assert!(Collateral::from_json(&[b' '; 2 * 1024 * 1024]).unwrap_err().to_string().contains("longer"));
    let never = INTEL.collateral(&Told { issued: "2026-11-20T00:00:00Z", ..Told::default() });
    let mut json = good;
    json["root_ca_crl"] =
        INTEL.collateral(&Told { next: "2026-11-10T00:00:00Z", ..Told::default() })["root_ca_crl"].clone();
    json["pck_crl"] = never["pck_crl"].clone();
    assert!(
        Collateral::from_json(json.to_string().as_bytes()).unwrap_err().to_string().contains("never valid")
    );
}

#[test]
fn collateral_is_asked_for_of_certified_platforms_only() {
    let other = Intel::new();
    let evidence = Evidence::of_quote(&INTEL.quote(&Enclave::default())).unwrap();
    let now = time(NOW);
    assert_eq!(evidence.certified_platform(&ROOT, now).unwrap(), evidence.platform());
    for root in [other.root(), Root::intel(), Root::of_der(vec![1])] {
        let refusal = evidence.certified_platform(&root, now).unwrap_err();
        assert_eq!(refusal.step, "platform", "{refusal}");
    }
    for never in ["1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
        assert_eq!(evidence.certified_platform(&ROOT, time(never)).unwrap_err().step, "platform");
    }
    // A platform that nobody certified, behind an authority that is genuine.
    let key = rcgen::KeyPair::generate().unwrap();
    let chain = INTEL.chain();
    let theirs = other.chain();
    let end = "-----END CERTIFICATE-----\n";
    let forged = format!(
        "{}{}",
        &theirs[..theirs.find(end).unwrap() + end.len()],
        &chain[chain.find(end).unwrap() + end.len()..]
    );
    let quote = INTEL.quote_with(&Enclave::default(), &sha256(b""), 5, forged.as_bytes(), &key);
    let forged = Evidence::of_quote(&quote).unwrap();
    assert_eq!(forged.platform(), evidence.platform());
    assert_eq!(forged.certified_platform(&ROOT, now).unwrap_err().step, "platform");
}

#[test]
fn collateral_is_kept_if_intel_signed_all_of_it() {
    let good = INTEL.collateral(&Told::default());
    let theirs = Intel::new().collateral(&Told::default());
    let judge =
        |json: &serde_json::Value| read(json).signed_under(&ROOT, time(NOW)).map_err(|why| why.to_string());
    judge(&good).unwrap();
    assert!(judge(&theirs).is_err());
    let again = Collateral::from_json(&COLLATERAL.to_json().unwrap()).unwrap();
    assert_eq!(again, *COLLATERAL);
    for (part, says) in [
        ("tcb_info", "tcb_info: the signature"),
        ("tcb_info_signature", "tcb_info: the signature"),
        ("tcb_info_issuer_chain", "tcb_info: the trusted root has not signed it"),
        ("qe_identity_signature", "qe_identity: the signature"),
        ("qe_identity_issuer_chain", "qe_identity: the trusted root has not signed it"),
        ("pck_crl", "pck_crl: the signature"),
        ("pck_crl_issuer_chain", "pck_crl: the trusted root has not signed it"),
        ("root_ca_crl", "root_ca_crl: the signature"),
    ] {
        let mut json = good.clone();
        json[part] = match part {
            // Both are the same text.
            "tcb_info" => good["tcb_info"].as_str().unwrap().replace("UpToDate", "uptodate").into(),
            _ => theirs[part].clone(),
        };
        let why = judge(&json).unwrap_err();
        assert!(why.contains(says), "{part}: {why}");
    }
    let late = COLLATERAL.signed_under(&ROOT, time("9999-01-01T00:00:00Z")).unwrap_err().to_string();
    assert!(late.contains("doesn't hold"), "{late}");
}

/// Where `part` is in `whole`.
fn range(whole: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let start = whole.windows(part.len()).position(|window| window == part).unwrap();
    start..start + part.len()
}

#[test]
fn every_byte_of_key_claims_and_quote_counts() {
    let terms = terms(&ROOT, &COLLATERAL);
    let key = server_key();
    let spki = key.public_key_der();
    let legacy = INTEL.quote(&Enclave { report_data: sha256(&spki), ..Enclave::default() });
    let dice = INTEL.tagged(&Enclave::default(), &claims(1, &sha256(&spki)));
    for (oid, evidence) in [(LEGACY, legacy), (DICE, dice)] {
        let certificate = certificate(&key, &[(oid, evidence.clone())]);
        let quote = range(&certificate, &[3, 0, 2, 0, 0, 0, 0, 0]).start;
        // The text around the platform's certificates, and the root's copy, may be another: nobody reads it.
        let chain = range(&certificate, INTEL.chain().as_bytes());
        for byte in range(&certificate, &spki).chain(range(&certificate, &evidence)) {
            let mut altered = certificate.clone();
            altered[byte] ^= 1 << (byte % 8);
            if let Ok(attested) = verify(&altered, &terms) {
                assert!(chain.contains(&byte), "{byte} of {}: {attested:?}", certificate.len());
                assert_eq!(vouched_for(&altered[quote..]), vouched_for(&certificate[quote..]), "{byte}");
            }
        }
    }
}

#[test]
fn every_byte_of_collateral_counts() {
    let (certificate, _) = INTEL.dice(&Enclave::default());
    let good = INTEL.collateral(&Told::default());
    let mut held = 0;
    for part in
        ["tcb_info", "qe_identity", "tcb_info_signature", "qe_identity_signature", "root_ca_crl", "pck_crl"]
    {
        let text = good[part].as_str().unwrap();
        for byte in 0..text.len() {
            let mut altered = text.as_bytes().to_vec();
            // Stays a letter or a digit of hex, but another.
            altered[byte] ^= 1;
            let mut json = good.clone();
            json[part] = String::from_utf8(altered).unwrap().into();
            let read = Collateral::from_json(json.to_string().as_bytes());
            let done = read.map(|collateral| verify(&certificate, &terms(&ROOT, &collateral)));
            held += u32::from(matches!(done, Ok(Ok(_))));
            assert_eq!(held, 0, "{part}, byte {byte}");
        }
    }
    // The signers' certificate; the root's copy behind it is not looked at.
    for part in ["tcb_info_issuer_chain", "qe_identity_issuer_chain"] {
        let text = good[part].as_str().unwrap();
        for line in 1..text.lines().position(|line| line.starts_with("-----END")).unwrap() {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let (first, rest) = lines[line].split_at(1);
            lines[line] = format!("{}{rest}", if first == "A" { "B" } else { "A" });
            let mut json = good.clone();
            json[part] = lines.join("\n").into();
            refused(verify(&certificate, &terms(&ROOT, &read(&json))), "signatures", "");
        }
    }
}

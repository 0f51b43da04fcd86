//! Whole documents of Azure SEV-SNP: the published stand-in, and forged ones that hold but for one thing.
#![allow(clippy::unwrap_used)]

mod chips;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chips::{NOW, Scene, at};
use mainstay_attest::azure::Terms;
use mainstay_attest::measurements::Measurements;
use mainstay_attest::sev::{Policy, Roots};
use mainstay_attest::{Attested, Kind, Refusal, Session, azure};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("vectors/synthetic/attdoc.json");
const FORGED: &str = include_str!("vectors/synthetic/attdoc_forged_only_sha256.json");
const EXPECTED: &[u8] = include_bytes!("vectors/synthetic/measurements.json");
const EXPECTED_FORGED: &[u8] = include_bytes!("vectors/synthetic/measurements_pcr4_forged.json");
const ROOT: &[u8] = include_bytes!("vectors/synthetic/ark.pem");
const NONCE: &str = "78377b525757b494427f89014f97d79928f3938d14eb51e20fb5dec9834eb304";

fn synthetic(document: &str, expected: &[u8], roots: &Roots, now: &str) -> Result<Attested, Refusal> {
    let expected = Measurements::from_json(expected).unwrap();
    let nonce = chips::hex(NONCE);
    let session = Session { nonce: Some(&nonce), key: Some(b"spki") };
    let terms = Terms { expected: &expected, session, policy: &Policy::default(), roots, now: at(now) };
    azure::verify(document.as_bytes(), &terms)
}

fn root() -> Roots {
    Roots::from_pem(ROOT).unwrap()
}

fn parsed(document: &str) -> Value {
    serde_json::from_str(document).unwrap()
}

#[test]
fn the_published_document_holds_with_one_warning() {
    let attested = synthetic(DOCUMENT, EXPECTED, &root(), NOW).unwrap();
    assert_eq!(attested.kind, Kind::Sev);
    assert_eq!(attested.warnings.len(), 1, "{:?}", attested.warnings);
    assert!(attested.warnings[0].starts_with("PCR 14 is "), "{:?}", attested.warnings);
    assert_eq!(attested.until, at("2046-11-21T03:02:47Z"));
    assert_eq!(attested.tcb_status.as_deref(), Some("boot loader 3, TEE 0, SNP 8, microcode 115"));
    let steps: Vec<&str> = attested.steps.iter().map(|(step, _)| step).collect();
    assert_eq!(
        steps,
        [
            "document",
            "key",
            "chain",
            "policy",
            "tcb",
            "signer's versions",
            "report signature",
            "id key",
            "runtime data",
            "attestation key",
            "quote",
            "nonce",
            "measurements"
        ]
    );
    assert_eq!(attested.measured.len(), 25);
}

#[test]
fn amd_s_own_roots_refuse_it() {
    let refusal = synthetic(DOCUMENT, EXPECTED, &Roots::amd(), NOW).unwrap_err();
    assert_eq!(refusal.step, "chain");
    assert!(refusal.reason.contains("no trusted root"), "{refusal}");
    assert_eq!(refusal.steps.iter().count(), 2);
}

#[test]
fn it_holds_while_its_certificates_do() {
    for (now, holds) in [
        ("2026-11-21T02:02:46Z", false),
        ("2026-11-21T02:02:47Z", true),
        ("2046-11-21T03:02:47Z", true),
        ("2046-11-21T03:02:48Z", false),
    ] {
        let result = synthetic(DOCUMENT, EXPECTED, &root(), now);
        assert_eq!(
            result.as_ref().err().map(|refusal| refusal.step),
            (!holds).then_some("chain"),
            "{now}: {result:?}"
        );
    }
}

#[test]
fn another_connection_s_nonce_or_key_is_refused() {
    let expected = Measurements::from_json(EXPECTED).unwrap();
    let judge = |session| {
        let terms =
            Terms { expected: &expected, session, policy: &Policy::default(), roots: &root(), now: at(NOW) };
        azure::verify(DOCUMENT.as_bytes(), &terms)
    };
    let nonce = chips::hex(NONCE);
    let other = Session { nonce: Some(&[7; 32]), key: Some(b"spki") };
    let refusal = judge(other).unwrap_err();
    assert!(refusal.step == "nonce" && refusal.reason.contains("extraData"), "{refusal}");
    let refusal = judge(Session { nonce: Some(&nonce), key: Some(b"spkj") }).unwrap_err();
    assert!(refusal.step == "key" && refusal.reason.contains("another key"), "{refusal}");

    // Kept evidence, whose connection nobody remembers.
    let attested = judge(Session::default()).unwrap();
    assert_eq!(attested.warnings.len(), 3, "{:?}", attested.warnings);
    assert!(attested.steps.iter().all(|(step, _)| step != "nonce" && step != "key"));
}

#[test]
fn pcrs_that_weren_t_signed_are_refused_whatever_other_banks_say() {
    // With the SHA-256 quote alone …
    let refusal = synthetic(FORGED, EXPECTED_FORGED, &root(), NOW).unwrap_err();
    assert!(refusal.step == "pcr digest" && refusal.reason.contains("was signed"), "{refusal}");
    // … and with those of SHA-1, 384 and 512 beside it, all genuine: a verifier that is content with one of them would be fooled.
    let mut document = parsed(DOCUMENT);
    let altered = parsed(FORGED)["Attestation"]["quotes"][0]["pcrs"]["pcrs"]["4"].clone();
    let quotes = document["Attestation"]["quotes"].as_array_mut().unwrap();
    assert_eq!(quotes.len(), 4);
    let sha256 = quotes.iter_mut().find(|quote| quote["pcrs"]["hash"] == 11).unwrap();
    sha256["pcrs"]["pcrs"]["4"] = altered;
    let refusal = synthetic(&document.to_string(), EXPECTED_FORGED, &root(), NOW).unwrap_err();
    assert_eq!(refusal.step, "pcr digest");
}

#[test]
fn other_banks_aren_t_needed_and_can_t_stand_in() {
    let with = |keep: &dyn Fn(&Value) -> bool| {
        let mut document = parsed(DOCUMENT);
        document["Attestation"]["quotes"].as_array_mut().unwrap().retain(|quote| keep(quote));
        synthetic(&document.to_string(), EXPECTED, &root(), NOW)
    };
    with(&|quote| quote["pcrs"]["hash"] == 11).unwrap();
    let refusal = with(&|quote| quote["pcrs"]["hash"] != 11).unwrap_err();
    assert!(
        refusal.step == "document" && refusal.reason.contains("no quote of the SHA-256 bank"),
        "{refusal}"
    );
    // The quote of another bank, given out as that of SHA-256.
    for (bank, step) in [(4, "document"), (12, "pcr digest"), (13, "pcr digest")] {
        let mut document = parsed(DOCUMENT);
        let quotes = document["Attestation"]["quotes"].as_array_mut().unwrap();
        let values = quotes.iter().find(|quote| quote["pcrs"]["hash"] == 11).unwrap()["pcrs"].clone();
        quotes.retain(|quote| quote["pcrs"]["hash"] == bank);
        if bank != 4 {
            quotes[0]["pcrs"] = values;
        } else {
            quotes[0]["pcrs"]["hash"] = json!(11);
        }
        let refusal = synthetic(&document.to_string(), EXPECTED, &root(), NOW).unwrap_err();
        assert_eq!(refusal.step, step, "{bank}: {refusal}");
    }
    let mut twice = parsed(DOCUMENT);
    let quotes = twice["Attestation"]["quotes"].as_array_mut().unwrap();
    quotes.push(quotes.iter().find(|quote| quote["pcrs"]["hash"] == 11).unwrap().clone());
    assert_eq!(synthetic(&twice.to_string(), EXPECTED, &root(), NOW).unwrap_err().step, "document");
}

#[test]
fn keys_are_matched_as_go_does() {
    let shouted = DOCUMENT.replace("\"UserData\"", "\"USERDATA\"").replace("\"ak_pub\"", "\"AK_Pub\"");
    synthetic(&shouted, EXPECTED, &root(), NOW).unwrap();
    let user_data = parsed(DOCUMENT)["UserData"].clone();
    let mut twice = parsed(DOCUMENT);
    twice["userdata"] = user_data;
    assert!(synthetic(&twice.to_string(), EXPECTED, &root(), NOW).unwrap_err().reason.contains("twice"));
    let mut null = parsed(DOCUMENT);
    null["UserData"] = Value::Null;
    assert_eq!(synthetic(&null.to_string(), EXPECTED, &root(), NOW).unwrap_err().step, "key");
}

/// Every field that is base64, as it is reached: what it is in, its value.
fn fields(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| fields(value, &format!("{path}/{name}"), found));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| fields(value, &format!("{path}/{index}"), found));
        }
        Value::String(text) if !text.is_empty() => found.push(path.to_owned()),
        _ => {}
    }
}

/// What is in the field at `path`.
fn bytes(value: &Value, path: &str) -> Vec<u8> {
    STANDARD.decode(value.pointer(path).unwrap().as_str().unwrap()).unwrap()
}

/// `value` with other bytes in the field at `path`.
fn with(value: &Value, path: &str, bytes: &[u8]) -> Value {
    let mut value = value.clone();
    *value.pointer_mut(path).unwrap() = json!(STANDARD.encode(bytes));
    value
}

/// The published document with nothing in it but what is verified.
fn lean() -> Value {
    let mut document = parsed(DOCUMENT);
    document["Attestation"]["quotes"].as_array_mut().unwrap().retain(|quote| quote["pcrs"]["hash"] == 11);
    document
}

/// The certificate that comes first in a PEM file.
fn first(pem: &[u8]) -> Option<Vec<u8>> {
    CertificateDer::pem_slice_iter(pem).next()?.ok().map(|der| der.to_vec())
}

#[test]
fn each_byte_of_each_field_flipped_in_turn_is_refused() {
    let document = lean();
    let judge = |document: &Value| synthetic(&document.to_string(), EXPECTED, &root(), NOW);
    judge(&document).unwrap();
    let mut outer = Vec::new();
    fields(&document, "", &mut outer);
    outer.retain(|path| path != "/InstanceInfo");
    assert_eq!(outer.len(), 3 + 1 + 24, "{outer:?}");
    for path in &outer {
        let good = bytes(&document, path);
        for byte in 0..good.len() {
            // Of the key's attributes (bytes 4 to 7) nothing is made but of restricted, decrypt and sign.
            let attributes = path == "/Attestation/ak_pub" && (4..8).contains(&byte);
            let bits = if attributes { 0..8 } else { byte % 8..byte % 8 + 1 };
            for bit in bits {
                let mut other = good.clone();
                other[byte] ^= 1 << bit;
                let free = attributes && !(byte == 5 && bit < 3);
                assert_eq!(
                    judge(&with(&document, path, &other)).is_ok(),
                    free,
                    "{path}, byte {byte}, bit {bit}"
                );
            }
        }
    }
}

#[test]
fn each_byte_of_the_instance_flipped_in_turn_is_refused() {
    let document = lean();
    let instance: Value = serde_json::from_slice(&bytes(&document, "/InstanceInfo")).unwrap();
    let judge = |instance: &Value| {
        let document = with(&document, "/InstanceInfo", instance.to_string().as_bytes());
        synthetic(&document.to_string(), EXPECTED, &root(), NOW)
    };
    judge(&instance).unwrap();
    let mut inner = Vec::new();
    fields(&instance, "", &mut inner);
    inner.sort();
    assert_eq!(inner, ["/AttestationReport", "/CertChain", "/RuntimeData", "/Vcek"]);
    for path in &inner {
        let good = bytes(&instance, path);
        // All of a report is signed, or signature.
        assert!(path != "/AttestationReport" || good.len() == 1184);
        // Behind the ASK there is the root, which counts only as it is built in.
        let end = match path.as_str() {
            "/CertChain" => good.windows(9).position(|window| window == b"-----END ").unwrap(),
            _ => good.len(),
        };
        let pem = matches!(path.as_str(), "/CertChain" | "/Vcek");
        for byte in 0..end {
            let mut other = good.clone();
            other[byte] ^= 1 << (byte % 8);
            // In PEM there is text that says nothing: ends of lines, and bits of the last letter that fill up a byte.
            let free = pem && first(&other) == first(&good);
            assert_eq!(judge(&with(&instance, path, &other)).is_ok(), free, "{path}, byte {byte}");
            assert!(!free || !good[byte].is_ascii_alphanumeric() || byte > end - 64, "{path}, byte {byte}");
        }
    }
}

#[test]
fn any_byte_of_the_json_matters_or_means_nothing() {
    let document = lean().to_string();
    let good = synthetic(&document, EXPECTED, &root(), NOW).unwrap();
    // What is between the fields: names, punctuation, numbers.
    let mut inside = false;
    let mut letters = 0;
    let mut structure = Vec::new();
    for (at, byte) in document.bytes().enumerate() {
        if byte == b'"' {
            (inside, letters) = (!inside, 0);
        } else if inside {
            letters += 1;
        }
        if letters < 20 {
            structure.push(at);
        }
    }
    assert!(structure.len() > 500 && structure.len() < 2_000, "{}", structure.len());
    for byte in structure {
        let mut other = document.clone().into_bytes();
        other[byte] ^= 1 << (byte % 7);
        let Ok(other) = String::from_utf8(other) else { continue };
        if let Ok(attested) = synthetic(&other, EXPECTED, &root(), NOW) {
            assert_eq!(attested, good, "byte {byte}");
        }
    }
}

#[test]
fn user_data_are_a_hash() {
    // Its length is what keeps it and the nonce apart, known or not.
    for length in [0, 31, 33, 64] {
        let mut document = parsed(DOCUMENT);
        document["UserData"] = json!(STANDARD.encode(vec![0; length]));
        let expected = Measurements::from_json(EXPECTED).unwrap();
        let session = Session::default();
        let terms =
            Terms { expected: &expected, session, policy: &Policy::default(), roots: &root(), now: at(NOW) };
        let refusal = azure::verify(document.to_string().as_bytes(), &terms).unwrap_err();
        assert!(refusal.step == "key" && refusal.reason.contains("a SHA-256 hash has 32"), "{refusal}");
    }
}

#[test]
fn quotes_and_their_values_are_counted() {
    let judge = |document: &Value| {
        let refusal = synthetic(&document.to_string(), EXPECTED, &root(), NOW).unwrap_err();
        assert_eq!(refusal.step, "document", "{refusal}");
        refusal.reason
    };
    let mut many = parsed(DOCUMENT);
    let quotes = many["Attestation"]["quotes"].as_array_mut().unwrap();
    let sha1 = quotes.iter().find(|quote| quote["pcrs"]["hash"] == 4).unwrap().clone();
    quotes.extend(std::iter::repeat_n(sha1, 12));
    synthetic(&many.to_string(), EXPECTED, &root(), NOW).unwrap();
    let quotes = many["Attestation"]["quotes"].as_array_mut().unwrap();
    quotes.push(quotes[0].clone());
    assert!(judge(&many).contains("17 quotes"));
    for name in ["04", "24", "+4", "", "-1", "300"] {
        let mut named = lean();
        let pcrs = &mut named["Attestation"]["quotes"][0]["pcrs"]["pcrs"];
        pcrs[name] = pcrs["4"].clone();
        assert!(judge(&named).contains("a PCR that no TPM has"), "{name}");
    }
}

#[test]
fn a_forged_scene_holds_in_both_dialects() {
    let mut scene = Scene::good();
    for newer in [false, true] {
        scene.newer = newer;
        let attested = scene.verify().unwrap();
        assert!(attested.warnings.is_empty());
        assert_eq!(attested.until, at("2040-11-22T00:00:00Z"));
    }
}

#[test]
fn the_newer_dialect_s_quote_covers_the_instance() {
    for newer in [false, true] {
        let scene = Scene { newer, covered: Some(!newer), ..Scene::good() };
        assert_eq!(scene.refused().0, "nonce", "{newer}");
    }
}

#[test]
fn what_amd_s_chip_says_is_refused_by_name() {
    type Change = fn(&mut Scene);
    let cases: [(&str, Change, &str, &str); 17] = [
        ("debugging", |scene| scene.report[0x0a] |= 8, "policy", "debugged"),
        ("privilege level", |scene| scene.report[0x30] = 1, "policy", "privilege level 1"),
        ("boot loader", |scene| tcb(scene, &[0x1e0, 0x1f0], 0, 1), "tcb", "older than the minimum"),
        ("SNP", |scene| tcb(scene, &[0x1e0, 0x1f0], 6, 5), "tcb", "older than the minimum"),
        ("microcode", |scene| tcb(scene, &[0x1e0, 0x1f0], 7, 92), "tcb", "older than the minimum"),
        ("launch", |scene| tcb(scene, &[0x1f0], 7, 116), "tcb", "started on other versions"),
        ("current", |scene| tcb(scene, &[0x38], 7, 114), "tcb", "current versions"),
        (
            "certified",
            |scene| scene.certified[3].1 = 0x80,
            "signer's versions",
            "certified for microcode version 128",
        ),
        ("certified for more", |scene| scene.certified.push((9, 1)), "signer's versions", "FMC version 1"),
        ("of Turin", |scene| scene.product = "Turin", "tcb", "older than the minimum"),
        ("unsigned", |scene| scene.sign_report = false, "report signature", "isn't one of the certified key"),
        ("algorithm", |scene| scene.report[0x34] = 2, "report signature", "algorithm 2"),
        ("appended", |scene| scene.report[0x2a0 + 144] = 1, "report signature", "behind the numbers"),
        ("id key", |scene| scene.report[0xe0] ^= 1, "id key", "isn't allowed"),
        ("runtime data", |scene| scene.report[0x50] = 1, "runtime data", "speaks for runtime data"),
        ("version", |scene| scene.report[0] = 1, "report", "version 1"),
        ("cut", |scene| scene.report.truncate(1183), "report", "1183 bytes"),
    ];
    for (what, change, step, says) in cases {
        let mut scene = Scene::good();
        change(&mut scene);
        let (at, reason) = scene.refused();
        assert!(at == step && reason.contains(says), "{what}: {at}: {reason}");
    }
}

fn tcb(scene: &mut Scene, places: &[usize], part: usize, version: u8) {
    places.iter().for_each(|at| scene.report[at + part] = version);
}

#[test]
fn newer_current_versions_are_fine() {
    let mut scene = Scene::good();
    tcb(&mut scene, &[0x38], 7, 0xce);
    scene.certified.clear();
    scene.verify().unwrap();
}

#[test]
fn what_the_tpm_says_is_refused_by_name() {
    type Change = fn(&mut Scene);
    let cases: [(&str, Change, &str, &str); 8] = [
        (
            "key of another machine",
            |scene| scene.other_key = Some(chips::public().iter().map(|byte| byte ^ 1).collect()),
            "attestation key",
            "isn't HCLAkPub",
        ),
        ("no such key", |scene| scene.key_name = "HCLAkPriv", "attestation key", "0 keys HCLAkPub"),
        ("PCR altered", |scene| scene.pcrs.get_mut(&4).unwrap()[0] ^= 1, "pcr digest", "was signed"),
        (
            "PCR left out",
            |scene| scene.pcrs.retain(|pcr, _| *pcr != 15),
            "pcr digest",
            "the quote is of PCRs",
        ),
        (
            "other software, honestly",
            |scene| {
                scene.pcrs.get_mut(&9).unwrap()[0] ^= 1;
                scene.signed = scene.pcrs.clone();
            },
            "measurements",
            "PCR 9 is 08",
        ),
        (
            "old quote",
            |scene| {
                let message = chips::attest(&[1; 32], &scene.pcrs);
                scene.quote = Some((message.clone(), chips::sign(&message)));
            },
            "nonce",
            "not for this connection's",
        ),
        (
            "no quote",
            |scene| {
                let mut message = chips::attest(&scene.extra_data(), &scene.pcrs);
                message[5] = 0x17;
                scene.quote = Some((message.clone(), chips::sign(&message)));
            },
            "quote",
            "is no quote",
        ),
        (
            "not by a TPM",
            |scene| {
                let mut message = chips::attest(&scene.extra_data(), &scene.pcrs);
                message[0] = 0;
                scene.quote = Some((message.clone(), chips::sign(&message)));
            },
            "quote",
            "wasn't made by a TPM",
        ),
    ];
    for (what, change, step, says) in cases {
        let mut scene = Scene::good();
        change(&mut scene);
        let (at, reason) = scene.refused();
        assert!(at == step && reason.contains(says), "{what}: {at}: {reason}");
    }
}

#[test]
fn a_chip_s_certificate_has_its_dates() {
    let scene = Scene::good();
    assert_eq!(scene.verify_at("2026-11-21T23:59:59Z").unwrap_err().step, "chain");
    scene.verify_at("2040-11-22T00:00:00Z").unwrap();
    assert_eq!(scene.verify_at("2040-11-22T00:00:01Z").unwrap_err().step, "chain");
}

#[test]
fn id_keys_and_minimum_are_settings() {
    let mut scene = Scene::good();
    scene.report[0xe0] ^= 1;
    let document = scene.document().to_string();
    let judge = |policy: &Policy| {
        chips::verify(&document, Session { nonce: Some(&scene.nonce), key: Some(&scene.key) }, policy, NOW)
    };
    let mut policy = Policy::default();
    policy.id_keys.push(scene.report[0xe0..0x110].try_into().unwrap());
    judge(&policy).unwrap();
    policy.minimum.snp = 8;
    policy.minimum.microcode = 115;
    judge(&policy).unwrap();
    policy.minimum.microcode = 116;
    assert_eq!(judge(&policy).unwrap_err().step, "tcb");
}

#[test]
fn documents_are_bounded_and_no_nonsense() {
    let judge =
        |document: &str| chips::verify(document, Session::default(), &Policy::default(), NOW).unwrap_err();
    let spaces = " ".repeat(256 * 1024);
    for (document, says) in [
        ("", "can't be read"),
        ("[]", "no object"),
        ("{}", "has no Attestation"),
        (r#"{"Attestation":{}}"#, "no quotes"),
        (r#"{"Attestation":{"quotes":[{}]}}"#, "has no pcrs"),
        (&format!("{{{spaces}}}"), "is the most"),
        (&"[".repeat(100_000), "can't be read"),
    ] {
        let refusal = judge(document);
        assert!(refusal.step == "document" && refusal.reason.contains(says), "{refusal}");
    }
}

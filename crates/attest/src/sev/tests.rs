use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode as _};

use super::*;

const AZURE_REPORT: &[u8] = include_bytes!("../../tests/vectors/sev/azure/azure_report.bin");
const AZURE_VCEK: &[u8] = include_bytes!("../../tests/vectors/sev/azure/azure_vcek.pem");
const HCL: &[u8] = include_bytes!("../../tests/vectors/sev/azure-hcl/hcl-report-snp.bin");
const HCL_CHAIN: &str = include_str!("../../tests/vectors/sev/azure-hcl/certs.pem");
const MILAN_REPORT: &str = include_str!("../../tests/vectors/sev/virtee/report_milan.hex");
const MILAN_VCEK: &[u8] = include_bytes!("../../tests/vectors/sev/virtee/vcek_milan.der");
const MILAN_CHAIN: &[u8] = include_bytes!("../../tests/vectors/sev/virtee/cert_chain_milan");
const TURIN_VCEK: &[u8] = include_bytes!("../../tests/vectors/sev/virtee/vcek_turin.der");
const TURIN_CHAIN: &[u8] = include_bytes!("../../tests/vectors/sev/virtee/cert_chain_turin");
const AWS_REPORT: &str = include_str!("../../tests/vectors/sev/aws/report.b64.txt");
const AWS_VLEK: &[u8] = include_bytes!("../../tests/vectors/sev/aws/vlek.pem");
const AWS_CHAIN: &[u8] = include_bytes!("../../tests/vectors/sev/aws/certchain.pem");
const GENOA_ASK: &[u8] = include_bytes!("../../roots/amd/ask-genoa.pem");

fn at(time: &str) -> SystemTime {
    UNIX_EPOCH + time.parse::<DateTime>().unwrap().unix_duration()
}

fn pem(der: &[u8]) -> Vec<u8> {
    let body = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n").into_bytes()
}

/// The one certificate of a PEM file.
fn der(pem: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(pem).unwrap();
    STANDARD.decode(text.lines().filter(|line| !line.starts_with("--")).collect::<String>()).unwrap()
}

/// A policy that allows the identity key of `report`.
fn allowing(report: &[u8]) -> Policy {
    Policy { id_keys: vec![report[0xe0..0x110].try_into().unwrap()], ..Policy::default() }
}

fn azure(report: &[u8], policy: &Policy, now: &str) -> Result<Verified, Fault> {
    let evidence = Evidence { report, signer: AZURE_VCEK, chain: MILAN_CHAIN };
    verify(&evidence, policy, &Roots::amd(), at(now), &mut Steps::default())
}

fn step<T: std::fmt::Debug>(result: Result<T, Fault>) -> (&'static str, String) {
    let refusal = result.unwrap_err().after(Steps::default());
    (refusal.step, refusal.reason)
}

fn signer(leaf: &[u8], chain: &[u8], roots: &Roots, now: &str) -> Result<Signer, Fault> {
    Signer::verify(leaf, chain, roots, at(now), &mut Steps::default())
}

#[test]
fn a_real_report_of_azure_is_refused_for_its_firmware_key_unless_that_is_allowed() {
    let (at, reason) = step(azure(AZURE_REPORT, &Policy::default(), "2023-01-01T00:00:00Z"));
    assert_eq!(at, "id key");
    assert!(reason.contains("57e229e0"), "{reason}");

    let verified = azure(AZURE_REPORT, &allowing(AZURE_REPORT), "2023-01-01T00:00:00Z").unwrap();
    assert_eq!(verified.committed.to_string(), "boot loader 2, TEE 0, SNP 6, microcode 93");
    assert_eq!(verified.until, self::at("2029-06-29T16:31:30Z"));
    // Without what Azure appends.
    azure(&AZURE_REPORT[..1184], &allowing(AZURE_REPORT), "2023-01-01T00:00:00Z").unwrap();
    assert_eq!(
        step(azure(&AZURE_REPORT[..1183], &allowing(AZURE_REPORT), "2023-01-01T00:00:00Z")).0,
        "report"
    );
}

#[test]
fn each_byte_of_the_report_matters() {
    for byte in 0..1184 {
        let mut report = AZURE_REPORT.to_vec();
        report[byte] ^= 1 << (byte % 8);
        let policy = allowing(&report);
        assert!(azure(&report, &policy, "2023-01-01T00:00:00Z").is_err(), "byte {byte}");
    }
}

#[test]
fn each_byte_of_the_certificates_matters() {
    let milan_ask = include_bytes!("../../roots/amd/ask-milan.pem");
    let (leaf, ask) = (der(AZURE_VCEK), der(milan_ask));
    let check =
        |leaf: &[u8], ask: &[u8]| signer(&pem(leaf), &pem(ask), &Roots::amd(), "2023-01-01T00:00:00Z");
    check(&leaf, &ask).unwrap();
    for byte in 0..leaf.len() {
        let mut other = leaf.clone();
        other[byte] ^= 1 << (byte % 8);
        assert!(check(&other, &ask).is_err(), "VCEK, byte {byte}");
    }
    for byte in 0..ask.len() {
        let mut other = ask.clone();
        other[byte] ^= 1 << (byte % 8);
        assert!(check(&leaf, &other).is_err(), "ASK, byte {byte}");
    }
}

#[test]
fn the_clock_is_held_against_every_certificate() {
    for (now, says) in [
        ("2022-06-29T16:31:29Z", "valid from"),
        ("2029-06-29T16:31:31Z", "expired"),
        ("2050-01-01T00:00:00Z", "expired"),
    ] {
        let (at, reason) = step(azure(AZURE_REPORT, &allowing(AZURE_REPORT), now));
        assert_eq!(at, "chain");
        assert!(reason.contains(says), "{now}: {reason}");
    }
    for now in ["2022-06-29T16:31:30Z", "2029-06-29T16:31:30Z"] {
        azure(AZURE_REPORT, &allowing(AZURE_REPORT), now).unwrap();
    }
}

/// AMD's root of Milan with other dates: whom one trusts needs no signature.
fn milan_root(from: &str, until: &str) -> Roots {
    let mut root = der(include_bytes!("../../roots/amd/ark-milan.pem"));
    for (old, new) in [("201022172305Z", from), ("451022172305Z", until)] {
        let at = root.windows(13).position(|window| window == old.as_bytes()).unwrap();
        root[at..at + 13].copy_from_slice(new.as_bytes());
    }
    Roots::from_pem(&pem(&root)).unwrap()
}

#[test]
fn the_root_s_own_dates_count_too() {
    // The chain below it is of 2022 to 2029.
    let now = "2023-06-01T00:00:00Z";
    for (from, until, holds) in [
        ("201022172305Z", "451022172305Z", true),
        ("230601000000Z", "451022172305Z", true),
        ("230601000001Z", "451022172305Z", false),
        ("201022172305Z", "230601000000Z", true),
        ("201022172305Z", "230531235959Z", false),
    ] {
        let result = signer(AZURE_VCEK, MILAN_CHAIN, &milan_root(from, until), now);
        assert_eq!(result.is_ok(), holds, "{from} to {until}");
        if !holds {
            let (at, reason) = step(result);
            assert!(at == "chain" && reason.contains("its root is valid from"), "{reason}");
        }
    }
}

#[test]
fn a_chain_holds_until_the_first_of_its_certificates_expires() {
    let until = |roots: &Roots| signer(AZURE_VCEK, MILAN_CHAIN, roots, "2023-06-01T00:00:00Z").unwrap().until;
    assert_eq!(until(&Roots::amd()), at("2029-06-29T16:31:30Z"));
    assert_eq!(until(&milan_root("201022172305Z", "240101000000Z")), at("2024-01-01T00:00:00Z"));
}

#[test]
fn no_part_may_be_older_than_the_minimum() {
    let minimum = Tcb { fmc: Some(2), boot_loader: 2, tee: 2, snp: 2, microcode: 2 };
    assert!(minimum.reaches(&minimum));
    for behind in [
        Tcb { fmc: Some(1), ..minimum },
        Tcb { fmc: None, ..minimum },
        Tcb { boot_loader: 1, ..minimum },
        Tcb { tee: 1, ..minimum },
        Tcb { snp: 1, ..minimum },
        Tcb { microcode: 1, ..minimum },
    ] {
        assert!(!behind.reaches(&minimum), "{behind}");
        assert!(minimum.reaches(&behind), "{behind}");
    }
}

#[test]
fn reports_of_milan_hold_with_chains_of_milan_only() {
    let report = const_hex::decode(MILAN_REPORT.trim()).unwrap();
    let leaf = pem(MILAN_VCEK);
    let evidence = Evidence { report: &report, signer: &leaf, chain: MILAN_CHAIN };
    let check = |evidence: &Evidence<'_>, roots: &Roots| {
        verify(evidence, &allowing(&report), roots, at("2024-01-01T00:00:00Z"), &mut Steps::default())
    };
    assert_eq!(check(&evidence, &Roots::amd()).unwrap().committed.microcode, 115);

    for chain in [&b""[..], TURIN_CHAIN, GENOA_ASK, AWS_CHAIN] {
        let (at, reason) = step(check(&Evidence { chain, ..evidence }, &Roots::amd()));
        assert_eq!(at, "chain");
        assert!(reason.contains("no trusted root"), "{reason}");
    }
    let others = Roots::from_pem(include_bytes!("../../roots/amd/ark-genoa.pem")).unwrap();
    assert!(step(check(&evidence, &others)).1.contains("no trusted root"));
    let azure = Evidence { report: AZURE_REPORT, ..evidence };
    assert!(step(check(&azure, &Roots::amd())).0.starts_with("signer's versions"));
}

#[test]
fn a_chain_of_another_chip_is_valid_and_its_key_didn_t_sign() {
    let end = "-----END CERTIFICATE-----\n";
    let split = HCL_CHAIN.find(end).unwrap() + end.len();
    let (leaf, chain) = HCL_CHAIN.split_at(split);
    let signer = signer(leaf.as_bytes(), chain.as_bytes(), &Roots::amd(), "2024-01-01T00:00:00Z").unwrap();
    let report = Report::parse(&HCL[0x20..]).unwrap();
    assert!(report.verify(&signer.point).unwrap_err().contains("isn't one of the certified key"));
    assert!(Policy::default().id_keys.contains(&report.id_key_digest()));
    let evidence = Evidence { report: &HCL[0x20..], signer: leaf.as_bytes(), chain: chain.as_bytes() };
    let refused = verify(
        &evidence,
        &Policy::default(),
        &Roots::amd(),
        at("2024-01-01T00:00:00Z"),
        &mut Steps::default(),
    );
    assert_eq!(step(refused).0, "report signature");
}

#[test]
fn a_chain_of_turin_holds_and_has_a_part_more() {
    let signer = signer(&pem(TURIN_VCEK), TURIN_CHAIN, &Roots::amd(), "2025-01-01T00:00:00Z").unwrap();
    assert_eq!(signer.product.as_deref(), Some("Turin"));
    assert_eq!(signer.versions.len(), 5);
    let tcb = Tcb::read([9, 1, 2, 3, 0, 0, 4, 5], true);
    assert_eq!(tcb, Tcb { fmc: Some(9), boot_loader: 1, tee: 2, snp: 3, microcode: 5 });
    assert_eq!(tcb.to_string(), "FMC 9, boot loader 1, TEE 2, SNP 3, microcode 5");
    assert!(signer.is_for(&Tcb::read([9, 1, 2, 3, 0, 0, 4, 5], false)).is_err());
}

#[test]
fn a_report_of_aws_is_signed_by_its_vlek() {
    let report = STANDARD.decode(AWS_REPORT.trim()).unwrap();
    let vlek = signer(AWS_VLEK, AWS_CHAIN, &Roots::amd(), "2024-06-01T00:00:00Z").unwrap();
    Report::parse(&report).unwrap().verify(&vlek.point).unwrap();
    // Its key is of the reported versions, which are behind the committed ones: nothing that runs on Azure.
    let evidence = Evidence { report: &report, signer: AWS_VLEK, chain: AWS_CHAIN };
    let check = |now| verify(&evidence, &allowing(&report), &Roots::amd(), at(now), &mut Steps::default());
    assert_eq!(step(check("2024-06-01T00:00:00Z")).0, "signer's versions");
    assert!(step(check("2025-05-06T00:00:00Z")).1.contains("expired"));
}

#[test]
fn roots_are_amd_s_three_or_what_is_given() {
    let amd = Roots::amd();
    let names: Vec<String> = amd.names().collect();
    assert_eq!(names.len(), 3);
    for (name, product) in names.iter().zip(["Milan", "Genoa", "Turin"]) {
        assert!(name.contains(&format!("CN=ARK-{product}")), "{name}");
    }
    assert!(Roots::from_pem(b"").unwrap_err().contains("no certificate"));
    assert!(Roots::from_pem(b"-----BEGIN CERTIFICATE-----\nAA\n").is_err());
    assert!(Roots::from_pem(&pem(b"nonsense")).is_err());
}

#[test]
fn a_signer_has_a_key_on_p_384() {
    // AMD's own intermediate, RSA, where the chip's certificate ought to be.
    let certificate = Certificate::from_der(&der(include_bytes!("../../roots/amd/ask-milan.pem"))).unwrap();
    let refused = Signer::read(&certificate, UNIX_EPOCH).unwrap_err();
    assert!(refused.contains("no key on P-384"), "{refused}");
}

#[test]
fn the_signer_is_one_certificate_in_pem() {
    let now = "2023-01-01T00:00:00Z";
    for (leaf, says) in [
        (&b""[..], "0 certificates"),
        (MILAN_CHAIN, "2 certificates"),
        (&pem(b"x"), "can't be read"),
        (b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", "no PEM"),
    ] {
        let (at, reason) = step(signer(leaf, MILAN_CHAIN, &Roots::amd(), now));
        assert!(at == "chain" && reason.contains(says), "{reason}");
    }
    let many = MILAN_CHAIN.repeat(5);
    assert!(step(signer(AZURE_VCEK, &many, &Roots::amd(), now)).1.contains("8 is the most"));
}

#[test]
fn the_defaults_are_those_of_prio_load_balancer() {
    let policy = Policy::default();
    let keys: Vec<String> = policy.id_keys.iter().map(|key| const_hex::encode(key)[..8].to_owned()).collect();
    assert_eq!(keys, ["57486a44", "03562158", "934f68bd"]);
    assert_eq!(policy.minimum.to_string(), "boot loader 2, TEE 0, SNP 6, microcode 93");
}

//! Nodes that are to attest what they run, as an operator meets them.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{Done, Place};

const OTHER: &str = "http://127.0.0.1:2";
const HEX: &str = "f94ccbe6a504676b2edbefdcb8781a512913f7d8864c6f88592a843d0f9d4a66";

/// What can't be checked isn't used, rather than used unchecked: in whatever list it stands.
#[test]
fn no_role_takes_a_node_that_it_cannot_verify() {
    let place = Place::new();
    let right = format!("https://SGX_{HEX}");
    for (user, part) in [
        (right.as_str(), "set [attest] collateral_url"),
        (&right.replace("https", "http"), "reached by https"),
        (&right[..right.len() - 1], "followed by 63 digits"),
        ("https://SGX_", "any enclave"),
        ("http://SGX_", "reached by https"),
        ("https://sgx_00", "in capitals"),
        ("https://SEV_H4sIAAAA", "SEV_: the measurements"),
        ("https://TDX_H4sIAAAA", "TDX_: the measurements"),
        ("https://SEV_H4sIAAAA:password", "no password"),
    ] {
        let uri = format!("{user}@127.0.0.1:1");
        for flags in [
            &["engine", "--jwt-secret", "jwt.hex", "--nodes", &uri][..],
            &["engine", "--jwt-secret", "jwt.hex", "--nodes", OTHER, "--mirror", &uri],
            &["sync", "--jwt-secret", "jwt.hex", "--nodes", &uri],
            &["sync", "--jwt-secret", "jwt.hex", "--nodes", OTHER, "--proxies", &uri],
            &["rpc", "--listen", "127.0.0.1:0", "--nodes", &uri],
            &["beacon", "--listen", "127.0.0.1:0", "--beacon-node", &uri],
            &["beacon", "--beacon-node", OTHER, "--execution-node", &uri],
        ] {
            let done = place.run(&[&["check"], flags, &["--attest-collateral-url", "off"]].concat(), &[]);
            assert_eq!(done.status, Some(2), "{flags:?}: {}{}", done.out, done.err);
            assert!(done.err.contains(part), "{flags:?}: {}", done.err);
            assert!(!done.err.contains(&HEX[..8]), "{}", done.err);
        }
    }
}

#[test]
fn a_node_that_can_be_verified_is_taken_in_every_list() {
    let place = Place::new();
    let uri = format!("https://SGX_{HEX}@127.0.0.1:1");
    for flags in [
        ["engine", "--nodes", &uri, "--jwt-secret", "jwt.hex"],
        ["rpc", "--nodes", &uri, "--listen", "127.0.0.1:0"],
        ["beacon", "--beacon-node", &uri, "--listen", "127.0.0.1:0"],
    ] {
        let done = place.run(&[&["check"], &flags[..]].concat(), &[]);
        assert_eq!(done.status, Some(0), "{flags:?}: {}{}", done.out, done.err);
        assert!(!done.out.contains(&HEX[..8]), "{}", done.out);
    }
}

#[test]
fn what_is_allowed_is_shown_and_warned_of() {
    let place = Place::new();
    let listed = |variables: &[(&str, &str)]| {
        let done = place.run(&["config", "rpc", "--nodes", "http://127.0.0.1:1"], variables);
        assert_eq!(done.status, Some(0), "{}", done.err);
        let line = done.out.lines().find(|line| line.starts_with("allow_outdated_tcb")).unwrap().to_owned();
        (line, done.err)
    };
    let name = "RA_TLS_ALLOW_OUTDATED_TCB_INSECURE";
    assert_eq!(listed(&[]), ("allow_outdated_tcb = false # default".to_owned(), String::new()));
    // As with Gramine, whatever else stands there allows nothing.
    assert_eq!(listed(&[(name, "true")]).0, "allow_outdated_tcb = false # default");
    let (line, warned) = listed(&[(name, "1")]);
    assert_eq!(line, format!("allow_outdated_tcb = true # {name}"));
    assert_eq!(warned, "warning: [attest] allow_outdated_tcb: nodes are taken that Intel warns of\n");
}

const ENCLAVE: &str = "33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb";
/// What the platform of the published quote needs.
const ALLOWED: [(&str, &str); 2] =
    [("RA_TLS_ALLOW_HW_CONFIG_NEEDED", "1"), ("RA_TLS_ALLOW_SW_HARDENING_NEEDED", "1")];
const AT: &str = "2025-07-01T00:00:00Z";

fn vector(name: &str) -> String {
    format!("{}/../attest/tests/vectors/sgx/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn verify(place: &Place, expect: &str, more: &[&str], variables: &[(&str, &str)]) -> Done {
    place.run(&[&["attest", "verify", "--kind", "sgx", "--expect", expect], more].concat(), variables)
}

#[test]
fn evidence_that_holds_is_explained() {
    let place = Place::new();
    let (quote, collateral) = (vector("dcapqvl_sgx_quote_v3.bin"), vector("sgx_quote_collateral.json"));
    let arguments = [quote.as_str(), "--collateral", &collateral, "--at", AT];
    let told = format!(
        "\
quote       held  version 3, of a platform with FMSPC 00A067110000
enclave     held  MRENCLAVE {ENCLAVE}
attributes  held  0x5
collateral  held  for FMSPC 00A067110000, from 2025-06-19T10:56:11Z until 2025-07-19T10:01:18Z
signatures  held  quote, quoting enclave, platform and collateral, up to the root
tcb         held  ConfigurationAndSWHardeningNeeded (INTEL-SA-00289, INTEL-SA-00615)

MRENCLAVE  {ENCLAVE}  as expected
MRSIGNER   815f42f11cf64430c30bab7816ba596a1da0130c3b028b673133a66cf9a3e0e6
ISVPRODID  0000
ISVSVN     0000

warning: no key was given: nothing says whom the quote speaks for
warning: the platform is ConfigurationAndSWHardeningNeeded (INTEL-SA-00289, INTEL-SA-00615)
verified: holds until 2025-07-19T10:01:18Z
"
    );
    for expect in
        [format!("SGX_{ENCLAVE}"), ENCLAVE.to_uppercase(), format!("https://SGX_{ENCLAVE}@host/?_workers=8")]
    {
        assert_eq!(verify(&place, &expect, &arguments, &ALLOWED).fine(), told);
    }
    let done = verify(&place, ENCLAVE, &[&arguments[..], &["--json"]].concat(), &ALLOWED);
    let json: Value = serde_json::from_str(done.fine()).unwrap();
    assert_eq!((&json["kind"], &json["verdict"]), (&"sgx".into(), &"held".into()));
    assert_eq!(json["steps"][5]["step"], "tcb");
    assert_eq!(
        (&json["measured"][0]["value"], &json["until"]),
        (&ENCLAVE.into(), &"2025-07-19T10:01:18Z".into())
    );
}

#[test]
fn evidence_that_is_refused_says_at_which_step() {
    let place = Place::new();
    let (certificate, quote) = (vector("gramine_ratls_cert.der"), vector("dcapqvl_sgx_quote_v3.bin"));
    let collateral = vector("sgx_quote_collateral.json");
    let done = verify(&place, HEX, &[&certificate, "--at", "1685577600"], &[]);
    let told = format!(
        "\
certificate  held     public key of SHA-256 e85653f309bf2d3b958f2c11129454fd20d30af04c6a42338016557c0f7b4c30
evidence     held     legacy, quote of 4730 bytes
quote        held     version 3, of a platform with FMSPC 00606A000000
key          held     the quote is bound to the certificate's public key
enclave      held     MRENCLAVE {HEX}
attributes   held     0x5
collateral   refused  there is none for FMSPC 00606A000000 (platform CA)

refused: collateral
"
    );
    assert_eq!((done.status, done.out, done.err), (Some(3), told, String::new()));

    let other = "--collateral=".to_owned() + &collateral;
    place.file("junk", "junk");
    let key = "3059301306072a8648ce3d020106082a8648ce3d03010703420004".to_owned() + &"11".repeat(64);
    for (expect, more, variables, step) in [
        (HEX, vec![&*certificate, &other], &[][..], "collateral"),
        (ENCLAVE, vec![&*certificate], &[], "enclave"),
        (HEX, vec![&*certificate, "--key", &key], &[], "key"),
        (HEX, vec!["junk"], &[], "certificate"),
        (ENCLAVE, vec![&*quote, &other], &[], "tcb"),
        (ENCLAVE, vec![&*quote, &other], &[ALLOWED[0], (ALLOWED[1].0, "true")], "tcb"),
        (ENCLAVE, vec![&*quote, &other, "--at=2026-11-21T00:00:00Z"], &ALLOWED, "collateral"),
        (ENCLAVE, vec![&*quote, &other, "--at", AT, "--key", &key], &ALLOWED, "key"),
    ] {
        let at = if more.iter().any(|flag| flag.starts_with("--at")) { vec![] } else { vec!["--at", AT] };
        let done = verify(&place, expect, &[&more[..], &at, &["--json"]].concat(), variables);
        assert_eq!(done.status, Some(3), "{more:?}: {}{}", done.out, done.err);
        let json: Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!((&json["verdict"], &json["step"]), (&"refused".into(), &step.into()), "{}", done.out);
        assert!(json["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
    // As of now, long after the collateral expired.
    let done = verify(&place, ENCLAVE, &[&quote, &other], &ALLOWED);
    assert_eq!(done.status, Some(3));
    assert!(done.out.ends_with("expired on 2025-07-19T10:01:18Z\n\nrefused: collateral\n"), "{}", done.out);
}

#[test]
fn what_can_not_be_asked_has_status_2() {
    let place = Place::new();
    place.file("junk", "junk");
    let quote = vector("dcapqvl_sgx_quote_v3.bin");
    for (expect, more, part) in [
        ("SGX_", vec![&*quote], "--expect: SGX_ with nothing after it would be any enclave"),
        ("SGX_00", vec![&*quote], "--expect: SGX_ is followed by 2 digits"),
        ("", vec![&*quote], "--expect: SGX_ with nothing after it would be any enclave"),
        ("https://me@host", vec![&*quote], "--expect: the URI asks for no attestation"),
        (HEX, vec!["nowhere"], "nowhere: cannot be read"),
        (HEX, vec!["/dev/zero"], "/dev/zero: larger than"),
        (HEX, vec![&*quote, "--at", "yesterday"], "--at: \"yesterday\" is no time"),
        (HEX, vec![&*quote, "--key", "00"], "--key: neither a public key in DER"),
        (HEX, vec![&*quote, "--key", "junk"], "--key: neither a public key in DER"),
        (HEX, vec![&*quote, "--roots", "junk"], "junk: neither a certificate"),
        (HEX, vec![&*quote, "--collateral", "junk"], "junk: collateral: "),
    ] {
        let done = verify(&place, expect, &more, &[]);
        assert_eq!((done.status, done.out.as_str()), (Some(2), ""), "{more:?}");
        assert!(done.err.starts_with(&format!("error: {part}")), "{}", done.err);
    }
}

const SYNTHETIC_NONCE: &str = "78377b525757b494427f89014f97d79928f3938d14eb51e20fb5dec9834eb304";

fn published(name: &str) -> String {
    format!("{}/../attest/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn documents_of_sev_are_verified() {
    let place = Place::new();
    let (document, root) = (published("synthetic/attdoc.json"), published("synthetic/ark.pem"));
    let measurements = published("synthetic/measurements.json");
    let user = place.run(&["attest", "encode", &measurements], &[]).fine().trim_end().to_owned();
    assert!(user.starts_with("SEV_"), "{user}");
    let at = ["--kind", "sev", "--at", "2026-12-01T00:00:00Z"];
    let verify = |expect: &str, more: &[&str]| {
        place.run(&[&["attest", "verify"], &at[..], &["--expect", expect], more].concat(), &[])
    };
    let own = [document.as_str(), "--roots", &root, "--nonce", SYNTHETIC_NONCE];
    for expect in [&user, &measurements, &format!("https://{user}@host:8443"), &user[4..].to_owned()] {
        let done = verify(expect, &own);
        let told = done.fine();
        assert!(told.contains("nonce              held  the quote was made for this connection\n"), "{told}");
        assert!(told.contains("warning: PCR 14 is "), "{told}");
        assert!(told.contains("warning: the connection's key isn't known"), "{told}");
        assert!(told.ends_with("verified: holds until 2046-11-21T03:02:47Z\n"), "{told}");
    }

    let other = published("synthetic/measurements_pcr4_forged.json");
    let forged = published("synthetic/attdoc_forged_only_sha256.json");
    let zeros = "00".repeat(32);
    for (expect, more, step) in [
        (&user, vec![&*document, "--nonce", SYNTHETIC_NONCE], "chain"),
        (&user, vec![&*document, "--roots", &root, "--nonce", &zeros], "nonce"),
        (&other, vec![&*document, "--roots", &root], "measurements"),
        (&other, vec![&*forged, "--roots", &root], "pcr digest"),
        (&user, vec![&*root, "--roots", &root], "certificate"),
    ] {
        let done = verify(expect, &[&more[..], &["--json"]].concat());
        assert_eq!(done.status, Some(3), "{more:?}: {}{}", done.out, done.err);
        let json: Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!((&json["kind"], &json["step"]), (&"sev".into(), &step.into()), "{}", done.out);
    }
    for (expect, more, part) in [
        ("TDX_x", vec![&*document], "--expect: TDX_"),
        (&*user, vec![&*document, "--nonce", "x"], "--nonce: is no hex"),
        (
            &*user,
            vec![&*document, "--roots", &measurements],
            &*format!("{measurements}: the roots hold no certificate"),
        ),
    ] {
        let done = verify(expect, &more);
        assert_eq!((done.status, done.out.as_str()), (Some(2), ""), "{more:?}");
        assert!(done.err.starts_with(&format!("error: {part}")), "{}", done.err);
    }
}

#[test]
fn evidence_of_tdx_is_verified() {
    let place = Place::new();
    let (document, collateral) = (
        published("tdx/flashbots/azure-2025-12.json"),
        published("tdx/flashbots/azure-2025-12-collateral.json"),
    );
    let file = published("tdx/flashbots/measurements.json");
    let user = place.run(&["attest", "encode", &file], &[]).fine().trim_end().to_owned();
    assert!(user.starts_with("TDX_"), "{user}");
    let at = ["--at", "2026-02-20T00:00:00Z", "--json"];
    let verify = |expect: &str, more: &[&str]| {
        let done = place
            .run(&[&["attest", "verify", "--kind", "tdx", "--expect", expect], &at[..], more].concat(), &[]);
        (done.status, serde_json::from_str::<Value>(&done.out).unwrap())
    };
    let (status, json) = verify(&user, &[&document, "--collateral", &collateral]);
    assert_eq!((status, &json["step"]), (Some(3), &"measurements".into()), "{json}");
    let (status, json) = verify(&user, &[&document]);
    assert_eq!((status, &json["step"]), (Some(3), &"collateral".into()), "{json}");

    // Its own PCR, as that refusal tells it.
    let (_, json) = verify(&user, &[&document, "--collateral", &collateral]);
    let reason = json["reason"].as_str().unwrap();
    let pcr = &reason[reason.find("PCR 4 is ").unwrap() + 9..][..64];
    place.file(
        "own.json",
        &format!(r#"{{"attestation_type":"azure-tdx","measurements":{{"4":{{"expected":"{pcr}"}}}}}}"#),
    );
    let (status, json) = verify("own.json", &[&document, "--collateral", &collateral]);
    assert_eq!((status, &json["verdict"], &json["kind"]), (Some(0), &"held".into(), &"tdx".into()), "{json}");
}

#[test]
fn measurements_that_can_not_be_met_are_not_encoded() {
    let place = Place::new();
    place.file("few.json", r#"{"4": "0000000000000000000000000000000000000000000000000000000000000000"}"#);
    let done = place.run(&["attest", "encode", "few.json"], &[]);
    assert_eq!((done.status, done.out.as_str()), (Some(2), ""));
    assert!(done.err.starts_with("error: few.json: PCR 9 is missing"), "{}", done.err);
    assert_eq!(place.run(&["attest", "encode", "nowhere.json"], &[]).status, Some(2));
}

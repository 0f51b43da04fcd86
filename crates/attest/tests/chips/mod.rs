//! Documents of our own making, signed as real ones are: what no chip would sign can be shown to be refused for the right reason.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mainstay_attest::Session;
use mainstay_attest::measurements::Measurements;
use mainstay_attest::sev::{Policy, Roots};
use mainstay_attest::{Attested, Refusal, azure};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA384, RsaKeyPair,
};
use serde_json::{Value, json};
use x509_cert::der::DateTime;

pub(crate) const ARK: &[u8] = include_bytes!("../vectors/forged/ark.pem");
const ASK: &[u8] = include_bytes!("../vectors/forged/ask.pem");
const ASK_KEY: &[u8] = include_bytes!("../vectors/forged/ask.pk8");
const AK_KEY: &[u8] = include_bytes!("../vectors/forged/ak.pk8");
/// When forged certificates hold.
pub(crate) const NOW: &str = "2026-12-01T00:00:00Z";
/// RSASSA-PSS with SHA-384, an AlgorithmIdentifier.
const PSS: &str = "304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130";

pub(crate) fn at(time: &str) -> SystemTime {
    UNIX_EPOCH + time.parse::<DateTime>().unwrap().unix_duration()
}

pub(crate) fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

/// A machine and its connection, with whatever a test wants to be otherwise.
pub(crate) struct Scene {
    /// Of the chip's certificate: OID under 1.3.6.1.4.1.3704.1.3, version.
    pub(crate) certified: Vec<(u8, u8)>,
    /// Of the chip's certificate.
    pub(crate) product: &'static str,
    /// Of the chip's certificate, as UTCTime has it.
    pub(crate) validity: (&'static str, &'static str),
    /// Before it is signed; holds the hash of the runtime data if that is left zero.
    pub(crate) report: Vec<u8>,
    /// Whether what is put into the report is signed.
    pub(crate) sign_report: bool,
    /// The name of the attestation key in the runtime data.
    pub(crate) key_name: &'static str,
    /// The attestation key in the runtime data; else the one that signs.
    pub(crate) other_key: Option<Vec<u8>>,
    /// TPMT_PUBLIC and what signs a TPMS_ATTEST; else a key of our own.
    pub(crate) public: Option<Vec<u8>>,
    pub(crate) quote: Option<(Vec<u8>, Vec<u8>)>,
    /// The values of the document.
    pub(crate) pcrs: BTreeMap<u8, [u8; 32]>,
    /// The values that are signed.
    pub(crate) signed: BTreeMap<u8, [u8; 32]>,
    pub(crate) nonce: Vec<u8>,
    pub(crate) key: Vec<u8>,
    /// Whether it is of the dialect after v2.7.
    pub(crate) newer: bool,
    /// Whether the quote covers the instance's data; else as its dialect has it.
    pub(crate) covered: Option<bool>,
}

impl Scene {
    /// A machine that holds.
    pub(crate) fn good() -> Self {
        let mut report = vec![0; 1184];
        report[0] = 2;
        report[0x08..0x0c].copy_from_slice(&0x0003_001fu32.to_le_bytes());
        report[0x34] = 1;
        for tcb in [0x38, 0x180, 0x1e0, 0x1f0] {
            report[tcb..tcb + 8].copy_from_slice(&[3, 0, 0, 0, 0, 0, 8, 115]);
        }
        report[0xe0..0x110].copy_from_slice(&Policy::default().id_keys[2]);
        let mut pcrs: BTreeMap<u8, [u8; 32]> = (0..24).map(|pcr| (pcr, [0; 32])).collect();
        for pcr in [4, 9, 12] {
            pcrs.insert(pcr, [pcr; 32]);
        }
        Self {
            certified: vec![(1, 3), (2, 0), (3, 8), (8, 115)],
            product: "Milan-B0",
            validity: ("261122000000Z", "401122000000Z"),
            report,
            sign_report: true,
            key_name: "HCLAkPub",
            other_key: None,
            public: None,
            quote: None,
            signed: pcrs.clone(),
            pcrs,
            nonce: vec![0x4e; 32],
            key: b"the peer's key".to_vec(),
            newer: false,
            covered: None,
        }
    }

    pub(crate) fn user_data(&self) -> Vec<u8> {
        sha256(&[&self.key])
    }

    /// What a TPM is to quote for it, in the older dialect.
    pub(crate) fn extra_data(&self) -> Vec<u8> {
        sha256(&[&self.user_data(), &self.nonce])
    }

    pub(crate) fn document(&self) -> Value {
        let instance_info = self.instance_info().to_string();
        let (message, signature) = match &self.quote {
            Some(quote) => quote.clone(),
            None => {
                let mut extra = self.extra_data();
                if self.covered.unwrap_or(self.newer) {
                    extra = sha256(&[instance_info.as_bytes(), &extra]);
                }
                let message = attest(&extra, &self.signed);
                let signature = sign(&message);
                (message, signature)
            }
        };
        let pcrs: BTreeMap<String, String> =
            self.pcrs.iter().map(|(pcr, value)| (pcr.to_string(), STANDARD.encode(value))).collect();
        let public = self.public.clone().unwrap_or_else(public);
        json!({
            "Attestation": {
                "ak_pub": STANDARD.encode(public),
                "quotes": [{
                    "quote": STANDARD.encode(message),
                    "raw_sig": STANDARD.encode(signature),
                    "pcrs": {"hash": 11, "pcrs": pcrs},
                }],
                "TeeAttestation": null,
            },
            "InstanceInfo": STANDARD.encode(instance_info),
            "UserData": STANDARD.encode(self.user_data()),
        })
    }

    fn instance_info(&self) -> Value {
        let runtime = self.runtime_data();
        let mut report = self.report.clone();
        if report[0x50..0x70].iter().all(|byte| *byte == 0) {
            report[0x50..0x70].copy_from_slice(&sha256(&[&runtime]));
        }
        let chip = chip();
        if self.sign_report {
            let signature = chip.sign(&SystemRandom::new(), &report[..0x2a0]).unwrap();
            for (to, from) in [0x2a0, 0x2a0 + 72].into_iter().zip(signature.as_ref().chunks(48)) {
                from.iter().rev().zip(&mut report[to..]).for_each(|(from, to)| *to = *from);
            }
        }
        let (leaf, chain) = (STANDARD.encode(self.certificate(&chip)), STANDARD.encode([ASK, ARK].concat()));
        let (report, runtime) = (STANDARD.encode(report), STANDARD.encode(runtime));
        if self.newer {
            json!({"ReportSigner": leaf, "CertChain": chain, "AttestationReport": report, "Azure": {"RuntimeData": runtime, "MAAToken": ""}})
        } else {
            json!({"Vcek": leaf, "CertChain": chain, "AttestationReport": report, "RuntimeData": runtime, "MAAToken": ""})
        }
    }

    fn runtime_data(&self) -> Vec<u8> {
        let public = self.other_key.clone().or(self.public.clone()).unwrap_or_else(public);
        let modulus = URL_SAFE_NO_PAD.encode(&public[public.len() - 256..]);
        let key = json!({"kid": self.key_name, "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": modulus});
        json!({"keys": [{"kid": "HCLEkPub", "kty": "RSA", "e": "AQAB", "n": "AQAB"}, key], "user-data": "00"})
            .to_string()
            .into_bytes()
    }

    /// The chip's certificate, in PEM.
    fn certificate(&self, chip: &EcdsaKeyPair) -> String {
        let mut extensions = vec![extension(&[2], &der(0x16, self.product.as_bytes()))];
        for (part, version) in &self.certified {
            // An INTEGER is signed: 0x80 and more need a zero before them.
            let number: &[u8] = if *version < 0x80 { &[*version] } else { &[0, *version] };
            extensions.push(extension(&[3, *part], &der(0x02, number)));
        }
        let key = sequence(&[
            hex("301006072a8648ce3d020106052b81040022"),
            der(0x03, &[&[0], chip.public_key().as_ref()].concat()),
        ]);
        let time = |time: &str| der(0x17, time.as_bytes());
        let tbs = sequence(&[
            hex("a003020102020100"),
            hex(PSS),
            name("SEV-Forged"),
            sequence(&[time(self.validity.0), time(self.validity.1)]),
            name("SEV-VCEK"),
            key,
            der(0xa3, &sequence(&extensions)),
        ]);
        let ask = RsaKeyPair::from_pkcs8(ASK_KEY).unwrap();
        let signature = rsa(&ask, &RSA_PSS_SHA384, &tbs);
        let certificate = sequence(&[tbs, hex(PSS), der(0x03, &[&[0], &signature[..]].concat())]);
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(certificate))
    }

    /// What comes of it, at [`NOW`] if nothing else is said, under the forged root.
    pub(crate) fn verify(&self) -> Result<Attested, Refusal> {
        self.verify_at(NOW)
    }

    pub(crate) fn verify_at(&self, now: &str) -> Result<Attested, Refusal> {
        let session = Session { nonce: Some(&self.nonce), key: Some(&self.key) };
        verify(&self.document().to_string(), session, &Policy::default(), now)
    }

    /// The word and the reason of its refusal.
    pub(crate) fn refused(&self) -> (&'static str, String) {
        let refusal = self.verify().unwrap_err();
        (refusal.step, refusal.reason)
    }
}

/// Under the forged root, with the measurements of [`Scene::good`].
pub(crate) fn verify(
    document: &str,
    session: Session<'_>,
    policy: &Policy,
    now: &str,
) -> Result<Attested, Refusal> {
    let roots = Roots::from_pem(ARK).unwrap();
    let measurement = |pcr: u8| const_hex::encode([pcr; 32]);
    let expected = json!({"4": measurement(4), "9": measurement(9), "12": measurement(12)}).to_string();
    let expected = Measurements::from_json(expected.as_bytes()).unwrap();
    let terms = azure::Terms { expected: &expected, session, policy, roots: &roots, now: at(now) };
    azure::verify(document.as_bytes(), &terms)
}

/// TPMT_PUBLIC of our own attestation key.
pub(crate) fn public() -> Vec<u8> {
    let key = RsaKeyPair::from_pkcs8(AK_KEY).unwrap();
    let modulus = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public()).n;
    [hex("0001000b00050472000000100014000b0800000000000100"), modulus].concat()
}

/// A TPMS_ATTEST of a quote.
pub(crate) fn attest(extra: &[u8], pcrs: &BTreeMap<u8, [u8; 32]>) -> Vec<u8> {
    let values: Vec<&[u8]> = pcrs.values().map(|value| &value[..]).collect();
    let mut message = hex("ff54434780180000");
    message.extend((extra.len() as u16).to_be_bytes());
    message.extend(extra);
    message.extend([0; 25]);
    message.extend(hex("00000001000b03ffffff0020"));
    message.extend(sha256(&values));
    message
}

/// A TPMT_SIGNATURE of our own attestation key.
pub(crate) fn sign(message: &[u8]) -> Vec<u8> {
    let key = RsaKeyPair::from_pkcs8(AK_KEY).unwrap();
    [hex("0014000b0100"), rsa(&key, &RSA_PKCS1_SHA256, message)].concat()
}

fn rsa(key: &RsaKeyPair, padding: &'static dyn ring::signature::RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn chip() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let kind = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).unwrap()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    const_hex::decode(text).unwrap()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [&head, content].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

fn name(common: &str) -> Vec<u8> {
    der(0x30, &der(0x31, &sequence(&[hex("0603550403"), der(0x0c, common.as_bytes())])))
}

/// One under 1.3.6.1.4.1.3704.1.
fn extension(under: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[der(0x06, &[&hex("2b060104019c7801"), under].concat()), der(0x04, value)])
}

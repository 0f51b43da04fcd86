//! An Intel of our own: root, platform authority, a platform, collateral, and enclaves whose quotes it vouches for.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_attest::collateral::Collateral;
use mainstay_attest::sgx::{Policy, Root, Terms};
use mainstay_attest::uri::MrEnclave;
use mainstay_attest::when;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DnType, IsCa, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

pub mod tdx;

pub const NOW: &str = "2026-11-15T00:00:00Z";
pub const FMSPC: [u8; 6] = [0x00, 0x90, 0x6e, 0xa1, 0x00, 0x00];
pub const ENCLAVE: MrEnclave = MrEnclave([0xe5; 32]);
/// The quoting enclave's.
const QE_SIGNER: [u8; 32] = [0x8c; 32];
const INTEL: &str = "939a7233f79c4ca9940a0db3957f0607";
const QE_DATA: [u8; 32] = [7; 32];

pub const DICE: &[u64] = &[2, 23, 133, 5, 4, 9];
pub const LEGACY: &[u64] = &[0, 6, 9, 42, 840, 113_741, 1337, 6];

pub fn time(text: &str) -> SystemTime {
    when::read(text).unwrap()
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

/// ECDSA, both numbers as they are.
fn signed(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random).unwrap();
    key.sign(&random, message).unwrap().as_ref().to_vec()
}

pub fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// A value of DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=127 => vec![tag, length as u8],
        128..=255 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [&head[..], content].concat()
}

/// An entry of Intel's extension: `1.2.840.113741.1.13.1` and what follows it.
fn entry(arcs: &[u8], value: Vec<u8>) -> Vec<u8> {
    let oid = [&[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01], arcs].concat();
    der(0x30, &[der(6, &oid), value].concat())
}

fn platform_extension(fmspc: [u8; 6], svn: u8) -> Vec<u8> {
    let mut tcb: Vec<u8> = (1..=16).flat_map(|i| entry(&[2, i], der(2, &[svn]))).collect();
    tcb.extend(entry(&[2, 17], der(2, &[13])));
    tcb.extend(entry(&[2, 18], der(4, &[svn; 16])));
    let all = [
        entry(&[1], der(4, &[9; 16])),
        entry(&[2], der(0x30, &tcb)),
        entry(&[3], der(4, &[0; 2])),
        entry(&[4], der(4, &fmspc)),
        entry(&[5], der(10, &[0])),
    ];
    der(0x30, &all.concat())
}

struct Party {
    certificate: Certificate,
    key: KeyPair,
}

fn party(
    name: &str,
    serial: u64,
    authority: bool,
    extension: Option<CustomExtension>,
    by: Option<&Party>,
) -> Party {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2036, 1, 1));
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    }
    params.custom_extensions.extend(extension);
    let certificate = match by {
        Some(by) => params.signed_by(&key, &by.certificate, &by.key).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Party { certificate, key }
}

/// What collateral says.
pub struct Told {
    pub fmspc: [u8; 6],
    pub id: &'static str,
    pub issued: &'static str,
    pub next: &'static str,
    /// Of platforms with a TCB of 5 or more; ours has 7.
    pub status: &'static str,
    pub qe_status: &'static str,
    pub qe_signer: [u8; 32],
    /// Serial numbers: 2 is the platform authority, 3 the signer of collateral, 4 the platform.
    pub revoked: &'static [u64],
}

impl Default for Told {
    fn default() -> Self {
        Self {
            fmspc: FMSPC,
            id: "SGX",
            issued: "2026-11-01T00:00:00Z",
            next: "2026-12-01T00:00:00Z",
            status: "UpToDate",
            qe_status: "UpToDate",
            qe_signer: QE_SIGNER,
            revoked: &[],
        }
    }
}

/// What an enclave's report says.
#[derive(Clone)]
pub struct Enclave {
    pub measured: MrEnclave,
    pub flags: u8,
    pub report_data: [u8; 32],
}

impl Default for Enclave {
    fn default() -> Self {
        Self { measured: ENCLAVE, flags: 0x05, report_data: [0; 32] }
    }
}

pub struct Intel {
    root: Party,
    authority: Party,
    signer: Party,
    platform: Party,
    attestation: KeyPair,
}

impl Intel {
    pub fn new() -> Self {
        let root = party("Mock SGX Root CA", 1, true, None, None);
        let authority = party("Mock SGX PCK Platform CA", 2, true, None, Some(&root));
        let signer = party("Mock SGX TCB Signing", 3, false, None, Some(&root));
        let oid = &[1, 2, 840, 113_741, 1, 13, 1];
        let extension = CustomExtension::from_oid_content(oid, platform_extension(FMSPC, 7));
        let platform = party("Mock SGX PCK Certificate", 4, false, Some(extension), Some(&authority));
        Self { root, authority, signer, platform, attestation: KeyPair::generate().unwrap() }
    }

    pub fn root(&self) -> Root {
        Root::of_der(self.root.certificate.der().to_vec())
    }

    pub fn root_pem(&self) -> String {
        pem(self.root.certificate.der())
    }

    /// The platform's certificates, as a quote has them.
    pub fn chain(&self) -> String {
        let parties = [&self.platform, &self.authority, &self.root];
        parties.iter().map(|party| pem(party.certificate.der())).collect()
    }

    fn crl(&self, by: &Party, told: &Told, serials: &[u64]) -> String {
        let day = |text: &str| {
            let number = |range| text.get(range).and_then(|part: &str| part.parse::<u8>().ok()).unwrap();
            let year = text.get(..4).and_then(|part| part.parse().ok()).unwrap();
            date_time_ymd(year, number(5..7), number(8..10))
        };
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: day(told.issued),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: day(told.issued),
            next_update: day(told.next),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: told
                .revoked
                .iter()
                .filter(|serial| serials.contains(serial))
                .map(revoked)
                .collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        const_hex::encode(list.signed_by(&by.certificate, &by.key).unwrap().der())
    }

    /// Collateral in JSON.
    pub fn collateral(&self, told: &Told) -> Value {
        let level = |svn: u8, status: &str| {
            let components = vec![json!({"svn": svn}); 16];
            let tcb = match told.id {
                "TDX" => {
                    json!({"sgxtcbcomponents": components, "tdxtcbcomponents": components, "pcesvn": 11})
                }
                _ => json!({"sgxtcbcomponents": components, "pcesvn": 11}),
            };
            json!({"tcb": tcb, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": ["INTEL-SA-00615"]})
        };
        let info = json!({
            "id": told.id, "version": 3, "issueDate": told.issued, "nextUpdate": told.next,
            "fmspc": const_hex::encode_upper(told.fmspc), "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 17,
            "tcbLevels": [level(9, "UpToDate"), level(5, told.status), level(1, "Revoked")],
        });
        let identity = json!({
            "id": "QE", "version": 2, "issueDate": told.issued, "nextUpdate": told.next, "tcbEvaluationDataNumber": 17,
            "miscselect": "00000000", "miscselectMask": "ffffffff", "attributes": "11000000000000000000000000000000",
            "attributesMask": "fbffffffffffffff0000000000000000", "mrsigner": const_hex::encode(told.qe_signer),
            "isvprodid": 1, "tcbLevels": [
                {"tcb": {"isvsvn": 6}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": told.qe_status},
            ],
        });
        let (info, identity) = (info.to_string(), identity.to_string());
        let sign = |text: &str| const_hex::encode(signed(&self.signer.key, text.as_bytes()));
        let signers = format!("{}{}", pem(self.signer.certificate.der()), pem(self.root.certificate.der()));
        json!({
            "pck_crl_issuer_chain": format!("{}{}", pem(self.authority.certificate.der()), pem(self.root.certificate.der())),
            "root_ca_crl": self.crl(&self.root, told, &[2, 3]),
            "pck_crl": self.crl(&self.authority, told, &[4]),
            "tcb_info_issuer_chain": signers, "tcb_info_signature": sign(&info), "tcb_info": info,
            "qe_identity_issuer_chain": signers, "qe_identity_signature": sign(&identity), "qe_identity": identity,
        })
    }

    /// The same, read.
    pub fn read(&self, told: &Told) -> Collateral {
        read(&self.collateral(told))
    }

    /// A quote of an enclave.
    pub fn quote(&self, enclave: &Enclave) -> Vec<u8> {
        self.quote_with(enclave, &sha256(&self.attested_key()), 5, self.chain().as_bytes(), &self.attestation)
    }

    /// Key and data that the quoting enclave vouches for.
    pub fn attested_key(&self) -> Vec<u8> {
        [&self.attestation.public_key_raw()[1..], &QE_DATA].concat()
    }

    /// A quote whose parts are as they are told: what the quoting enclave reports, type and content of the certification data, and who
    /// signs the enclave's report.
    pub fn quote_with(
        &self,
        enclave: &Enclave,
        qe_says: &[u8; 32],
        kind: u16,
        data: &[u8],
        by: &KeyPair,
    ) -> Vec<u8> {
        let report = |flags: u8, measured: [u8; 32], signer: [u8; 32], isvsvn: u16, says: &[u8; 32]| {
            let mut body = vec![0; 384];
            body[..16].fill(7);
            body[48] = flags;
            body[64..96].copy_from_slice(&measured);
            body[128..160].copy_from_slice(&signer);
            body[256..258].copy_from_slice(&1u16.to_le_bytes());
            body[258..260].copy_from_slice(&isvsvn.to_le_bytes());
            body[320..352].copy_from_slice(says);
            body
        };
        let mut quote = Vec::new();
        quote.extend([3, 0, 2, 0, 0, 0, 0, 0, 8, 0, 13, 0]);
        quote.extend(const_hex::decode(INTEL).unwrap());
        quote.extend([0x55; 20]);
        quote.extend(report(enclave.flags, enclave.measured.0, [0x28; 32], 3, &enclave.report_data));
        let qe = report(0x11, [0x19; 32], QE_SIGNER, 8, qe_says);
        let signature = signed(by, &quote);
        let auth = [
            &signature[..],
            &self.attestation.public_key_raw()[1..],
            &qe,
            &signed(&self.platform.key, &qe),
            &32u16.to_le_bytes(),
            &QE_DATA,
            &kind.to_le_bytes(),
            &u32::try_from(data.len()).unwrap().to_le_bytes(),
            data,
        ]
        .concat();
        quote.extend(u32::try_from(auth.len()).unwrap().to_le_bytes());
        quote.extend(auth);
        quote
    }

    /// The certificate of an RA-TLS server in the older form, and its key.
    pub fn legacy(&self, enclave: &Enclave) -> (Vec<u8>, KeyPair) {
        let key = server_key();
        let quote = self.quote(&Enclave { report_data: sha256(&key.public_key_der()), ..enclave.clone() });
        (certificate(&key, &[(LEGACY, quote)]), key)
    }

    /// In the newer form.
    pub fn dice(&self, enclave: &Enclave) -> (Vec<u8>, KeyPair) {
        let key = server_key();
        let evidence = self.tagged(enclave, &claims(1, &sha256(&key.public_key_der())));
        (certificate(&key, &[(DICE, evidence)]), key)
    }

    /// Tagged evidence of a quote that is bound to these claims.
    pub fn tagged(&self, enclave: &Enclave, claims: &[u8]) -> Vec<u8> {
        let quote = self.quote(&Enclave { report_data: sha256(claims), ..enclave.clone() });
        evidence(&quote, claims)
    }
}

pub fn read(collateral: &Value) -> Collateral {
    Collateral::from_json(collateral.to_string().as_bytes()).unwrap()
}

pub fn server_key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()
}

pub fn certificate(key: &KeyPair, extensions: &[(&[u64], Vec<u8>)]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "RATLS");
    for (oid, content) in extensions {
        params.custom_extensions.push(CustomExtension::from_oid_content(oid, content.clone()));
    }
    params.self_signed(key).unwrap().der().to_vec()
}

fn head(major: u8, number: usize) -> Vec<u8> {
    match number {
        0..=23 => vec![major << 5 | number as u8],
        24..=255 => vec![major << 5 | 24, number as u8],
        _ => vec![major << 5 | 25, (number >> 8) as u8, number as u8],
    }
}

pub fn bstr(bytes: &[u8]) -> Vec<u8> {
    [&head(2, bytes.len())[..], bytes].concat()
}

pub fn tstr(text: &str) -> Vec<u8> {
    [&head(3, text.len())[..], text.as_bytes()].concat()
}

pub fn array(items: &[&[u8]]) -> Vec<u8> {
    [&head(4, items.len())[..], &items.concat()].concat()
}

pub fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let pairs_text: Vec<u8> =
        pairs.iter().flat_map(|(key, value)| [tstr(key), value.clone()].concat()).collect();
    [&head(5, pairs.len())[..], &pairs_text].concat()
}

pub fn number(number: usize) -> Vec<u8> {
    head(0, number)
}

/// Claims with the hash of a key, and one that nobody knows.
pub fn claims(algorithm: usize, hash: &[u8]) -> Vec<u8> {
    map(&[("nonce", array(&[&number(300), &tstr("?")])), ("pubkey-hash", key_hash(algorithm, hash))])
}

pub fn key_hash(algorithm: usize, hash: &[u8]) -> Vec<u8> {
    bstr(&array(&[&number(algorithm), &bstr(hash)]))
}

pub fn evidence(quote: &[u8], claims: &[u8]) -> Vec<u8> {
    [&head(6, 60_000)[..], &array(&[&bstr(quote), &bstr(claims)])].concat()
}

/// The terms of a test, in which nothing is allowed.
pub fn terms<'a>(root: &'a Root, collateral: &'a Collateral) -> Terms<'a> {
    Terms { enclave: ENCLAVE, root, collateral: Some(collateral), policy: Policy::default(), now: time(NOW) }
}

/// All that a quote is believed for: its bytes up to the certificates, and those of the platform and its authority.
pub fn vouched_for(quote: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let start = quote.windows(11).position(|window| window == b"-----BEGIN " as &[u8]).unwrap();
    let parsed = dcap_qvl::quote::Quote::parse(quote).unwrap();
    let chain = dcap_qvl::intel::extract_cert_chain(&parsed).unwrap();
    (quote[..start].to_vec(), chain[..2].to_vec())
}

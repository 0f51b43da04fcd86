//! The chain of certificates from a root of AMD (ARK) by an ASK to the key that signs a chip's reports (VCEK, or VLEK).
//!
//! AMD signs with RSA-PSS and SHA-384. The path is built and checked by rustls-webpki: signatures, dates, who may sign, how deep.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime,
};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier};

use super::Tcb;
use crate::Steps;
use crate::checks::Fault;

const STEP: &str = "chain";
/// Beyond what any chain is made of.
const MAX_CERTIFICATES: usize = 8;
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const PRODUCT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
/// Security versions that a report's key was derived for.
const BOOT_LOADER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const TEE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SNP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const MICROCODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const FMC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");

/// The root keys that are trusted to sign chains.
#[derive(Clone, Debug)]
pub struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// AMD's own, of Milan, Genoa and Turin.
    #[must_use]
    pub fn amd() -> Self {
        let files = [
            &include_bytes!("../../roots/amd/ark-milan.pem")[..],
            include_bytes!("../../roots/amd/ark-genoa.pem"),
            include_bytes!("../../roots/amd/ark-turin.pem"),
        ];
        Self(files.into_iter().flat_map(CertificateDer::pem_slice_iter).flatten().collect())
    }

    /// Others in their place, in PEM: for tests, and to look at evidence under other roots.
    ///
    /// # Errors
    /// It has no certificate, or one that can't be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let roots = certificates(pem).map_err(|what| format!("the roots can't be read: {what}"))?;
        if roots.is_empty() {
            return Err("the roots hold no certificate".to_owned());
        }
        let roots = Self(roots);
        for root in &roots.0 {
            read(root).map_err(|what| format!("the roots: {what}"))?;
        }
        Ok(roots)
    }

    /// Whose they are.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|root| Some(read(root).ok()?.tbs_certificate().subject().to_string()))
    }
}

/// The key that signs a chip's reports, with what AMD certified of it.
#[derive(Debug)]
pub(super) struct Signer {
    /// A point on P-384, uncompressed.
    pub(super) point: Vec<u8>,
    /// `Milan-B0`, `Turin` …; nothing if the certificate is silent.
    pub(super) product: Option<String>,
    /// What the certificate says of security versions: a part, what it is to be.
    pub(super) versions: Vec<(&'static str, ObjectIdentifier, u8)>,
    /// When the first certificate of the chain expires.
    pub(super) until: SystemTime,
}

impl Signer {
    /// Verifies the chain at `now`. `leaf` and `chain` are PEM, as evidence has them.
    pub(super) fn verify(
        leaf: &[u8],
        chain: &[u8],
        roots: &Roots,
        now: SystemTime,
        steps: &mut Steps,
    ) -> Result<Self, Fault> {
        let fault = |what: String| Fault::new(STEP, what);
        let leaf = match &certificates(leaf).map_err(|what| fault(format!("the report's signer: {what}")))?[..]
        {
            [leaf] => leaf.clone(),
            others => {
                return Err(fault(format!(
                    "the report's signer is {} certificates, one is expected",
                    others.len()
                )));
            }
        };
        let chain = certificates(chain).map_err(|what| fault(format!("the chain: {what}")))?;
        if chain.len() > MAX_CERTIFICATES {
            return Err(fault(format!(
                "the chain has {} certificates, {MAX_CERTIFICATES} is the most",
                chain.len()
            )));
        }
        let parsed = read(&leaf).map_err(|what| fault(format!("the report's signer: {what}")))?;
        let path = path(&leaf, &chain, roots, now).map_err(fault)?;
        let mut until = not_after(&parsed);
        for certificate in &path {
            let certificate = read(certificate).map_err(fault)?;
            until = until.min(not_after(&certificate));
        }
        let signer = Self::read(&parsed, until).map_err(fault)?;
        steps.held(
            STEP,
            format!(
                "{} is certified by {}",
                parsed.tbs_certificate().subject(),
                parsed.tbs_certificate().issuer()
            ),
        );
        Ok(signer)
    }

    pub(super) fn read(certificate: &Certificate, until: SystemTime) -> Result<Self, String> {
        let tbs = certificate.tbs_certificate();
        let key = tbs.subject_public_key_info();
        let curve = key
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
        if key.algorithm.oid != EC_PUBLIC_KEY || curve != Some(SECP384R1) {
            return Err("the report's signer has no key on P-384".to_owned());
        }
        let point = key.subject_public_key.raw_bytes().to_vec();
        let extension = |oid: ObjectIdentifier| {
            tbs.extensions()
                .into_iter()
                .flatten()
                .find(|extension| extension.extn_id == oid)
                .map(|found| found.extn_value.as_bytes())
        };
        let product = match extension(PRODUCT) {
            None => None,
            Some(value) => {
                let text = Ia5StringRef::from_der(value)
                    .map_err(|_| "the name of the signer's product can't be read")?;
                Some(text.as_str().to_owned())
            }
        };
        let mut versions = Vec::new();
        for (name, oid) in
            [("boot loader", BOOT_LOADER), ("TEE", TEE), ("SNP", SNP), ("microcode", MICROCODE), ("FMC", FMC)]
        {
            if let Some(value) = extension(oid) {
                let version =
                    u8::from_der(value).map_err(|_| format!("the signer's {name} version can't be read"))?;
                versions.push((name, oid, version));
            }
        }
        Ok(Self { point, product, versions, until })
    }

    /// Holds the security versions that the key is certified for against a report's. How many there were.
    pub(super) fn is_for(&self, tcb: &Tcb) -> Result<usize, String> {
        for (name, oid, certified) in &self.versions {
            let reported = match *oid {
                BOOT_LOADER => Some(tcb.boot_loader),
                TEE => Some(tcb.tee),
                SNP => Some(tcb.snp),
                MICROCODE => Some(tcb.microcode),
                _ => tcb.fmc,
            };
            if reported != Some(*certified) {
                return Err(format!(
                    "the report's signer is certified for {name} version {certified}, the report's committed one is {}",
                    reported.map_or("unknown".to_owned(), |version| version.to_string())
                ));
            }
        }
        Ok(self.versions.len())
    }
}

/// The verified path: what is between the leaf and a root, and the root.
fn path<'a>(
    leaf: &'a CertificateDer<'_>,
    chain: &'a [CertificateDer<'static>],
    roots: &'a Roots,
    now: SystemTime,
) -> Result<Vec<CertificateDer<'a>>, String> {
    let unix = now.duration_since(UNIX_EPOCH).map_err(|_| "the time is before 1970".to_owned())?;
    let end =
        EndEntityCert::try_from(leaf).map_err(|why| format!("the report's signer can't be read: {why:?}"))?;
    let anchors: Vec<_> = roots.0.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    let algorithms: [&dyn SignatureVerificationAlgorithm; 2] = [&AmdPss(PSS), &AmdPss(PSS_WITH_TRAILER)];
    // No usage is asked for: certificates of AMD name none, and this is how webpki spells that.
    let usage = KeyUsage::client_auth();
    let path = end
        .verify_for_usage(&algorithms, &anchors, chain, UnixTime::since_unix_epoch(unix), usage, None, None)
        .map_err(|why| match why {
            Error::UnknownIssuer => {
                "no trusted root has signed it: the chain is of another maker, or of a product whose root isn't built in".to_owned()
            }
            Error::CertExpired { not_after, .. } => {
                format!("a certificate of it expired {} s after 1970, the time is {}", not_after.as_secs(), unix.as_secs())
            }
            Error::CertNotValidYet { not_before, .. } => {
                format!("a certificate of it is valid from {} s after 1970, the time is {}", not_before.as_secs(), unix.as_secs())
            }
            Error::InvalidSignatureForPublicKey => "a signature in it isn't its issuer's".to_owned(),
            other => format!("it doesn't hold: {other:?}"),
        })?;
    let root = roots
        .0
        .iter()
        .find(|root| anchor_from_trusted_cert(root).is_ok_and(|anchor| anchor == *path.anchor()))
        .ok_or("its root is gone")?;
    // An anchor's own dates are nobody's business for webpki.
    let validity = *read(root)?.tbs_certificate().validity();
    if now < validity.not_before.to_system_time() || now > validity.not_after.to_system_time() {
        return Err(format!("its root is valid from {} to {}", validity.not_before, validity.not_after));
    }
    Ok(path
        .intermediate_certificates()
        .map(|certificate| certificate.der())
        .chain([root.clone()])
        .map(|der| der.into_owned())
        .collect())
}

fn not_after(certificate: &Certificate) -> SystemTime {
    certificate.tbs_certificate().validity().not_after.to_system_time()
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .take(MAX_CERTIFICATES + 1)
        .collect::<Result<_, _>>()
        .map_err(|why| format!("no PEM: {why}"))
}

fn read(der: &CertificateDer<'_>) -> Result<Certificate, String> {
    Certificate::from_der(der).map_err(|why| format!("a certificate can't be read: {why}"))
}

/// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes.
const PSS: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d,
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a,
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86,
    0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x30,
];
/// The same with the trailer field written out, which DER forbids and AMD does.
const PSS_WITH_TRAILER: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x39, 0xa0, 0x0f, 0x30, 0x0d,
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a,
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86,
    0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x30, 0xa3, 0x03, 0x02,
    0x01, 0x01,
];

/// webpki's RSA-PSS under the identifier that AMD writes: webpki compares identifiers byte by byte.
#[derive(Debug)]
struct AmdPss(&'static [u8]);

impl SignatureVerificationAlgorithm for AmdPss {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        webpki::ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        webpki::ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(self.0)
    }
}

//! What a server shows over Constellation's aTLS: a certificate of its own making, with an attestation document in an extension.
//!
//! The server made both for the connection: the document speaks for the certificate's key and for the nonce that the client sent as the name
//! of the server (SNI). That the peer holds the key is TLS's to prove.

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};

use crate::checks::{Fault, Session};
use crate::{Attested, Refusal, Steps, azure, tdx, when};

/// A nonce for one connection. The client sends it in base64 as the name of the server (SNI).
///
/// Servers take whatever base64 they find there. It is chosen so that this is a name by the rules, small letters and digits alone: 30 bytes need
/// no padding, and of 40 characters each is drawn for itself. Small ones, as names mean the same in capitals, and whoever stands in between
/// (rustls on the server's side too) may write them so. Constellation's own clients send 32 bytes, with a `=` behind them that a careful TLS
/// library refuses to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce {
    name: String,
    bytes: Vec<u8>,
}

impl Nonce {
    /// One of random bytes, which must never be used twice. More than 200 bits of them are in it.
    #[must_use]
    pub fn new(random: &[u8; 40]) -> Self {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        // A letter first, as digits alone would be no name.
        let most = |at: usize| if at == 0 { 26 } else { 36 };
        let name: String = random
            .iter()
            .enumerate()
            .map(|(at, byte)| char::from(ALPHABET[usize::from(*byte) % most(at)]))
            .collect();
        let bytes = STANDARD.decode(&name).unwrap_or_default();
        Self { name, bytes }
    }

    /// The name of the server to ask for.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.name
    }

    /// What the document is to be made for.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The most that is read of a certificate.
const MAX_CERTIFICATE: usize = 512 * 1024;
const P256_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const P384_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
/// All variants are under it.
const ATTESTATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.9900");

/// Whose document a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// `azure-sev-snp`, 1.3.9900.4.1.
    AzureSev,
    /// `azure-tdx`, 1.3.9900.4.3.
    AzureTdx,
    /// `dcap-tdx`, 1.3.9900.5.99.
    DcapTdx,
}

impl Variant {
    fn of(oid: ObjectIdentifier) -> Option<Self> {
        [("1.3.9900.4.1", Self::AzureSev), ("1.3.9900.4.3", Self::AzureTdx), ("1.3.9900.5.99", Self::DcapTdx)]
            .into_iter()
            .find_map(|(text, variant)| (ObjectIdentifier::new(text) == Ok(oid)).then_some(variant))
    }
}

/// What a certificate shows. Of it the certificate's own signature and dates have been verified, nothing of the document.
#[derive(Clone, Debug)]
pub struct Shown {
    steps: Steps,
    /// Whose document it is.
    pub variant: Variant,
    /// The document.
    pub document: Vec<u8>,
    /// The certificate's key: a SubjectPublicKeyInfo in DER.
    pub key: Vec<u8>,
}

impl Shown {
    /// Reads the certificate (DER) of a server at `now`.
    ///
    /// # Errors
    /// `certificate` (it can't be read, isn't signed by its own key, or isn't valid now), `evidence` (it has no document of a known variant).
    pub fn of_certificate(der: &[u8], now: SystemTime) -> Result<Self, Refusal> {
        let mut steps = Steps::default();
        match read(der, now, &mut steps) {
            Ok((variant, document, key)) => Ok(Self { steps, variant, document, key }),
            Err(fault) => Err(fault.after(steps)),
        }
    }

    /// Verifies a document of SEV-SNP. Its key is the certificate's, whatever `terms` have.
    ///
    /// # Errors
    /// As of [`azure::verify`]; `evidence` if it is of another variant.
    pub fn verify_sev(&self, terms: &azure::Terms<'_>) -> Result<Attested, Refusal> {
        if self.variant != Variant::AzureSev {
            return Err(self.another("SEV-SNP on Azure"));
        }
        let terms = azure::Terms { session: self.session(terms.session), ..*terms };
        azure::verify_after(&self.document, &terms, self.steps.clone())
    }

    /// Verifies a document of TDX. Its key is the certificate's, whatever `terms` have.
    ///
    /// # Errors
    /// As of [`tdx::verify`]; `evidence` if it is of another variant.
    pub fn verify_tdx(&self, terms: &tdx::Terms<'_>) -> Result<Attested, Refusal> {
        let form = match self.variant {
            Variant::AzureTdx => tdx::Form::Azure,
            Variant::DcapTdx => tdx::Form::Dcap,
            Variant::AzureSev => return Err(self.another("TDX")),
        };
        let terms = tdx::Terms { session: self.session(terms.session), ..*terms };
        tdx::verify_after(&self.document, form, &terms, self.steps.clone())
    }

    fn session<'a>(&'a self, given: Session<'a>) -> Session<'a> {
        Session { nonce: given.nonce, key: Some(&self.key) }
    }

    fn another(&self, expected: &str) -> Refusal {
        let reason = format!("the document is of {:?}, {expected} is expected", self.variant);
        Refusal::new(self.steps.clone(), "evidence", reason)
    }
}

fn read(der: &[u8], now: SystemTime, steps: &mut Steps) -> Result<(Variant, Vec<u8>, Vec<u8>), Fault> {
    let fault = |what: String| Fault::new("certificate", what);
    if der.len() > MAX_CERTIFICATE {
        return Err(fault(format!("it is longer than {MAX_CERTIFICATE} bytes")));
    }
    let certificate = Certificate::from_der(der).map_err(|why| fault(format!("it can't be read: {why}")))?;
    let tbs = certificate.tbs_certificate();
    let validity = tbs.validity();
    let (from, until) = (validity.not_before.to_system_time(), validity.not_after.to_system_time());
    if now < from || now > until {
        return Err(fault(format!("it is valid from {} to {}", when::written(from), when::written(until))));
    }
    let algorithm: &dyn VerificationAlgorithm = match certificate.signature_algorithm().oid {
        P256_SHA256 => &ECDSA_P256_SHA256_ASN1,
        P384_SHA384 => &ECDSA_P384_SHA384_ASN1,
        other => return Err(fault(format!("it is signed by {other}, not by ECDSA on P-256 or P-384"))),
    };
    let spki = tbs.subject_public_key_info();
    let encoded = |why| fault(format!("it can't be written again: {why}"));
    let signed = tbs.to_der().map_err(encoded)?;
    UnparsedPublicKey::new(algorithm, spki.subject_public_key.raw_bytes())
        .verify(&signed, certificate.signature().raw_bytes())
        .map_err(|_| fault("it isn't signed by its own key".to_owned()))?;
    steps.held("certificate", format!("signed by its own key, valid until {}", when::written(until)));

    let extensions = || tbs.extensions().into_iter().flatten();
    let found = extensions().find_map(|extension| Some((Variant::of(extension.extn_id)?, extension)));
    let Some((variant, extension)) = found else {
        let other = extensions().find(|extension| extension.extn_id.starts_with(ATTESTATION));
        return Err(Fault::new(
            "evidence",
            match other {
                Some(other) => format!(
                    "the certificate attests as {}, which isn't verified: azure-sev-snp (1.3.9900.4.1), azure-tdx (4.3) and dcap-tdx (5.99) are",
                    other.extn_id
                ),
                None => {
                    "the certificate has no attestation document: the server doesn't speak aTLS".to_owned()
                }
            },
        ));
    };
    steps.held("evidence", format!("{variant:?}, {}", extension.extn_id));
    let key = spki.to_der().map_err(encoded)?;
    Ok((variant, extension.extn_value.as_bytes().to_vec(), key))
}

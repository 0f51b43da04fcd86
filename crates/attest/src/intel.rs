//! Chains of certificates under Intel's root: who may speak for platforms, and who for collateral.
//!
//! A quote is verified beside collateral, so whose collateral to ask for has to be known before: of a platform that nobody certified none is
//! fetched. And what a service answers is kept only if its signers are Intel's, so that it can't take the place of what is good.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::error::Unspecified;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode as _, Encode as _};

use crate::sgx::Root;

/// Beyond what any chain is made of.
const MAX_CERTIFICATES: usize = 8;

/// Whether the first of `chain` is certified by `root` at `now`, by the others. Whether any of them is revoked isn't looked at.
pub(crate) fn certified(chain: &[CertificateDer<'_>], root: &Root, now: SystemTime) -> Result<(), String> {
    let [leaf, between @ ..] = chain else { return Err("there is no certificate".to_owned()) };
    if between.len() >= MAX_CERTIFICATES {
        return Err(format!("more than {MAX_CERTIFICATES} certificates"));
    }
    let since = now.duration_since(UNIX_EPOCH).map_err(|_| "the time is before 1970".to_owned())?;
    let root = CertificateDer::from(root.der());
    let anchor = anchor_from_trusted_cert(&root).map_err(|why| format!("the root can't be read: {why:?}"))?;
    let end = EndEntityCert::try_from(leaf).map_err(|why| format!("it can't be read: {why:?}"))?;
    // No usage is asked for: certificates of Intel name none, and this is how webpki spells that.
    let usage = KeyUsage::client_auth();
    let time = UnixTime::since_unix_epoch(since);
    end.verify_for_usage(&[webpki::ring::ECDSA_P256_SHA256], &[anchor], between, time, usage, None, None)
        .map(|_| ())
        .map_err(|why| match why {
            Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => {
                "the trusted root has not signed it".to_owned()
            }
            other => format!("it doesn't hold: {other:?}"),
        })
}

/// A key that signs collateral.
pub(crate) struct Signer {
    /// A point on P-256, uncompressed.
    point: Vec<u8>,
}

impl Signer {
    /// The first of a chain in PEM, if `root` certifies it at `now`.
    pub(crate) fn of_chain(pem: &[u8], root: &Root, now: SystemTime) -> Result<Self, String> {
        let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem)
            .take(MAX_CERTIFICATES + 1)
            .collect::<Result<_, _>>()
            .map_err(|why| format!("no PEM: {why}"))?;
        certified(&chain, root, now)?;
        Self::of(chain.first().map(AsRef::as_ref).unwrap_or_default())
    }

    /// The first of a chain in PEM, an authority that `root` itself certifies at `now`.
    pub(crate) fn of_authority(pem: &[u8], root: &Root, now: SystemTime) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|why| format!("no PEM: {why}"))?;
        let certificate = parsed(&der)?;
        let tbs = certificate.tbs_certificate();
        let signed = tbs.to_der().map_err(|why| format!("it can't be written again: {why}"))?;
        Self::of(root.der())?
            .signed_asn1(&signed, certificate.signature().raw_bytes())
            .map_err(|_| "the trusted root has not signed it".to_owned())?;
        let (from, until) = (tbs.validity().not_before, tbs.validity().not_after);
        if now < from.to_system_time() || now > until.to_system_time() {
            return Err(format!("it doesn't hold: valid from {from} to {until}"));
        }
        Self::of(&der)
    }

    /// That of a certificate (DER).
    pub(crate) fn of(der: &[u8]) -> Result<Self, String> {
        let certificate = parsed(der)?;
        let key = certificate.tbs_certificate().subject_public_key_info();
        Ok(Self { point: key.subject_public_key.raw_bytes().to_vec() })
    }

    /// Whether it signed a text; both numbers of the signature as they are.
    pub(crate) fn signed(&self, text: &[u8], signature: &[u8]) -> Result<(), String> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point)
            .verify(text, signature)
            .map_err(|_| "the signature isn't its signer's".to_owned())
    }

    /// Whether it signed a list of revoked certificates (DER).
    pub(crate) fn signed_list(&self, der: &[u8]) -> Result<(), String> {
        let list = CertificateList::<Rfc5280>::from_der(der)
            .map_err(|why| format!("no list of revoked certificates: {why}"))?;
        let signed =
            list.tbs_cert_list.to_der().map_err(|why| format!("it can't be written again: {why}"))?;
        self.signed_asn1(&signed, list.signature.raw_bytes())
            .map_err(|_| "the signature isn't its signer's".to_owned())
    }

    fn signed_asn1(&self, text: &[u8], signature: &[u8]) -> Result<(), Unspecified> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(text, signature)
    }
}

fn parsed(der: &[u8]) -> Result<Certificate, String> {
    Certificate::from_der(der).map_err(|why| format!("it can't be read: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::when;

    fn pem(der: &[u8]) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn an_authority_counts_from_its_first_day_to_its_last() {
        let root = Root::intel();
        // The root certifies itself, too.
        let pem = pem(root.der());
        let at = |time| Signer::of_authority(pem.as_bytes(), &root, when::read(time).unwrap()).map(|_| ());
        assert_eq!(at("2018-05-22T00:00:00Z"), Ok(()));
        assert_eq!(at("2049-12-31T00:00:00Z"), Ok(()));
        for time in ["2018-05-20T00:00:00Z", "2050-01-01T00:00:00Z"] {
            let why = at(time).unwrap_err();
            assert!(why.starts_with("it doesn't hold: valid from 2018-05-21"), "{time}: {why}");
        }
    }

    #[test]
    fn a_chain_has_an_end() {
        let root = Root::intel();
        let now = when::read("2026-01-01T00:00:00Z").unwrap();
        let pem = pem(root.der()).repeat(MAX_CERTIFICATES + 1);
        let why = Signer::of_chain(pem.as_bytes(), &root, now).map(|_| ()).unwrap_err();
        assert_eq!(why, "more than 8 certificates");
    }
}

//! Files as people have them: DER, or the same in PEM.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_cert::der::Decode as _;
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// The first certificate of a file, as DER. Whether it is one that can be read isn't looked at.
///
/// # Errors
/// It is neither DER nor PEM with a certificate in it.
pub fn certificate(file: &[u8]) -> Result<Vec<u8>, String> {
    if file.starts_with(&[0x30]) {
        return Ok(file.to_vec());
    }
    match CertificateDer::from_pem_slice(file) {
        Ok(certificate) => Ok(certificate.to_vec()),
        Err(_) => Err("neither a certificate in DER nor PEM with BEGIN CERTIFICATE in it".to_owned()),
    }
}

/// The public key of a file (SubjectPublicKeyInfo), as DER.
///
/// # Errors
/// It is neither DER nor PEM with a public key in it.
pub fn public_key(file: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = || {
        "neither a public key in DER (SubjectPublicKeyInfo) nor PEM with BEGIN PUBLIC KEY in it".to_owned()
    };
    let key = match file.starts_with(&[0x30]) {
        true => file.to_vec(),
        false => SubjectPublicKeyInfoDer::from_pem_slice(file).map_err(|_| wrong())?.to_vec(),
    };
    SubjectPublicKeyInfoRef::from_der(&key).map_err(|_| wrong())?;
    Ok(key)
}

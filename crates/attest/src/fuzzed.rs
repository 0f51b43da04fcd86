//! What only fuzz targets reach directly.

/// CBOR of evidence in a certificate.
pub fn cbor(evidence: &[u8]) {
    crate::gramine::fuzzed(evidence);
}

/// The message of a TPM's quote.
pub fn quote(message: &[u8]) {
    crate::tpm::fuzzed(message);
}

//! What only fuzz targets reach directly.

/// CBOR of evidence in a certificate.
pub fn cbor(evidence: &[u8]) {
    crate::gramine::fuzzed(evidence);
}

//! A quote in the certificate of an RA-TLS server, as Gramine makes it.
//!
//! Two forms, both in an extension of a self-signed certificate. The newer one (TCG DICE tagged evidence, Gramine 1.8) has the quote beside
//! claims in CBOR, and the quote's report data is the hash of the claims, one of which is the hash of the key. The older one is the bare
//! quote, whose report data is the hash of the key. Where the newer one is there it alone counts: evidence that is bad is not mended by other
//! evidence.

mod cbor;

use ring::digest;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};

use crate::{Refusal, Steps};
use cbor::Reader;

/// The largest certificate that is read, in bytes; one of Gramine has about 5,000.
pub(crate) const MAX_CERTIFICATE: usize = 64 * 1024;

/// TCG DICE: tagged evidence.
const DICE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.9");
/// Intel's 1.2.840.113741.1337.6 as Gramine writes it: encoded twice, so that its length and tag are arcs too.
const LEGACY: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.6.9.42.840.113741.1337.6");
/// The CBOR tag of evidence that is a quote.
const TEE_QUOTE: u64 = 60_000;

/// What a certificate says.
#[derive(Debug)]
pub(crate) struct RaTls {
    pub(crate) quote: Vec<u8>,
    /// The certificate's public key, DER.
    pub(crate) key: Vec<u8>,
    /// What the first half of the quote's report data has to be.
    pub(crate) bound: [u8; 32],
    /// What `bound` is.
    pub(crate) bound_to: &'static str,
}

/// Reads a certificate (DER). Its signature, names and dates say nothing: the quote speaks for the key, and the key's owner is proved by TLS.
pub(crate) fn read(der: &[u8], steps: &mut Steps) -> Result<RaTls, Refusal> {
    let refused = |steps: &Steps, step, reason: String| Err(Refusal::new(steps.clone(), step, reason));
    if der.len() > MAX_CERTIFICATE {
        return refused(steps, "certificate", format!("longer than {MAX_CERTIFICATE} bytes"));
    }
    let certificate = match Certificate::from_der(der) {
        Ok(certificate) => certificate,
        Err(why) => return refused(steps, "certificate", format!("not an X.509 certificate: {why}")),
    };
    let tbs = certificate.tbs_certificate();
    let key = match tbs.subject_public_key_info().to_der() {
        Ok(key) => key,
        Err(why) => return refused(steps, "certificate", format!("its public key can't be read: {why}")),
    };
    steps.held("certificate", format!("public key of SHA-256 {}", const_hex::encode(sha256(&key))));
    let found = |oid| {
        let mut all =
            tbs.extensions().into_iter().flatten().filter(move |extension| extension.extn_id == oid);
        (all.next().map(|extension| extension.extn_value.as_bytes()), all.next().is_some())
    };
    let ((dice, dice_again), (legacy, legacy_again)) = (found(DICE), found(LEGACY));
    if dice_again || legacy_again {
        return refused(steps, "evidence", "the certificate has the same extension twice".to_owned());
    }
    match (dice, legacy) {
        (Some(evidence), _) => match tagged(evidence, &key) {
            Ok((quote, claims)) => {
                let (quote, bound) = (quote.to_vec(), sha256(claims));
                steps.held(
                    "evidence",
                    format!("TCG DICE, quote of {} bytes, claims with the key's hash", quote.len()),
                );
                Ok(RaTls { quote, key, bound, bound_to: "claims" })
            }
            Err(why) => refused(steps, "evidence", format!("TCG DICE: {why}")),
        },
        (None, Some(quote)) => {
            steps.held("evidence", format!("legacy, quote of {} bytes", quote.len()));
            let bound = sha256(&key);
            Ok(RaTls { quote: quote.to_vec(), key, bound, bound_to: "public key" })
        }
        (None, None) => refused(
            steps,
            "evidence",
            "the certificate has no quote of SGX in it: not a server of RA-TLS".to_owned(),
        ),
    }
}

/// The quote and the claims of tagged evidence, after the claims have been found to name the key.
fn tagged<'a>(evidence: &'a [u8], key: &[u8]) -> Result<(&'a [u8], &'a [u8]), String> {
    let mut reader = Reader::new(evidence);
    let (tag, items) = (reader.tag()?, reader.array()?);
    if tag != TEE_QUOTE {
        return Err(format!("CBOR tag {tag} instead of {TEE_QUOTE}"));
    }
    if items != 2 {
        return Err(format!("{items} items instead of a quote and claims"));
    }
    let (quote, claims) = (reader.bytes()?, reader.bytes()?);
    reader.end()?;
    let (algorithm, hash) = key_hash(claims)?;
    let own = match algorithm {
        1 => digest::digest(&digest::SHA256, key),
        7 => digest::digest(&digest::SHA384, key),
        8 => digest::digest(&digest::SHA512, key),
        other => return Err(format!("pubkey-hash by unknown algorithm {other}")),
    };
    if own.as_ref() != hash {
        return Err("pubkey-hash is of another key than the certificate's".to_owned());
    }
    Ok((quote, claims))
}

/// The claim `pubkey-hash`: algorithm and hash.
fn key_hash(claims: &[u8]) -> Result<(u64, &[u8]), String> {
    let mut reader = Reader::new(claims);
    let mut found = None;
    for _ in 0..reader.map()? {
        if reader.text()? != "pubkey-hash" {
            reader.skip()?;
        } else if found.replace(reader.bytes()?).is_some() {
            return Err("pubkey-hash is there twice".to_owned());
        }
    }
    reader.end()?;
    let Some(claim) = found else {
        return Err("the claims have no pubkey-hash, so nothing binds them to a key".to_owned());
    };
    let mut reader = Reader::new(claim);
    let items = reader.array()?;
    if items != 2 {
        return Err(format!("pubkey-hash has {items} items instead of algorithm and hash"));
    }
    let hash = (reader.uint()?, reader.bytes()?);
    reader.end()?;
    Ok(hash)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// For the fuzzer: claims and a key, which can't make it panic.
#[cfg(fuzzing)]
pub(crate) fn fuzzed(evidence: &[u8]) {
    let _ = tagged(evidence, b"key");
    let _ = key_hash(evidence);
    let mut reader = Reader::new(evidence);
    let _ = reader.skip();
}

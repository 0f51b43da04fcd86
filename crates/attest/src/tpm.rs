//! Quotes of a TPM: that a key of its own signed these PCRs, for this nonce.
//!
//! TPM 2.0 part 2: TPMT_PUBLIC, TPMT_SIGNATURE, TPMS_ATTEST and TPML_PCR_SELECTION are read by hand, every length exact and bounded, nothing
//! left over. [`Quote::verify`] judges one quote and exactly the PCR values that are compared afterwards: they hash to the digest in *its* signed
//! message. Another quote of the same document proves nothing about them.

mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use ring::digest;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::measurements::PCRS;
use reader::Reader;

/// TPM_ALG_SHA256, by which a bank of PCRs is named too.
pub const SHA256: u16 = 0x000b;
const SHA384: u16 = 0x000c;
const SHA512: u16 = 0x000d;
const RSA: u16 = 0x0001;
const ECC: u16 = 0x0023;
const NULL: u16 = 0x0010;
const RSASSA: u16 = 0x0014;
const ECDSA: u16 = 0x0018;
const NIST_P256: u16 = 0x0003;
const NIST_P384: u16 = 0x0004;
/// TPMA_OBJECT: the key signs only what the TPM itself has made.
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;
/// "What follows was made in a TPM."
const GENERATED: u32 = 0xff54_4347;
const ATTEST_QUOTE: u16 = 0x8018;
/// What a TPM means by an exponent of 0.
const DEFAULT_EXPONENT: u32 = 65_537;
/// Of a name or a digest with its algorithm: SHA-512's.
const MAX_NAME: usize = 66;
const MAX_DIGEST: usize = 64;
/// Of a number in RSA, 8192 bits.
const MAX_NUMBER: usize = 1024;

/// Why a quote, a signature or a key isn't taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmError {
    /// It can't be read as what it is said to be.
    Malformed(String),
    /// The key isn't one that only signs what its TPM made.
    Key(String),
    /// The signature isn't the key's, or not over this message.
    Signature(String),
    /// The signed message isn't a quote made by a TPM.
    NotAQuote(String),
    /// The quote was made for other data: another nonce, another connection.
    ExtraData {
        /// In hex.
        found: String,
        /// In hex.
        expected: String,
    },
    /// The quote isn't of these PCRs.
    Selection(String),
    /// The values aren't those that were signed.
    PcrDigest {
        /// What the values hash to, in hex.
        found: String,
        /// What was signed, in hex.
        signed: String,
    },
}

impl fmt::Display for TpmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what)
            | Self::Key(what)
            | Self::Signature(what)
            | Self::NotAQuote(what)
            | Self::Selection(what) => f.write_str(what),
            Self::ExtraData { found, expected } => {
                write!(f, "the quote was made for {found}, not for this connection's {expected} (extraData)")
            }
            Self::PcrDigest { found, signed } => {
                write!(f, "the PCR values hash to {found}, but {signed} was signed")
            }
        }
    }
}

impl std::error::Error for TpmError {}

/// The public half of an attestation key: a TPMT_PUBLIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationKey(KeyKind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyKind {
    Rsa {
        modulus: Vec<u8>,
        exponent: u32,
    },
    /// The point, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl AttestationKey {
    /// Reads a TPMT_PUBLIC.
    ///
    /// # Errors
    /// It isn't one, exactly, or its key may do anything but sign what the TPM has made.
    pub fn parse(public: &[u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new("TPMT_PUBLIC", public);
        let kind = reader.u16()?;
        hash(&reader, "nameAlg")(reader.u16()?)?;
        let attributes = reader.u32()?;
        if attributes & (RESTRICTED | SIGN | DECRYPT) != RESTRICTED | SIGN {
            return Err(TpmError::Key(format!(
                "TPMT_PUBLIC: attributes {attributes:#010x} aren't those of a restricted signing key, which signs only what its TPM made"
            )));
        }
        reader.sized(MAX_DIGEST)?;
        if reader.u16()? != NULL {
            return Err(reader.malformed("a signing key with a symmetric algorithm"));
        }
        let (scheme, own) = match kind {
            RSA => (RSASSA, "RSASSA"),
            ECC => (ECDSA, "ECDSA"),
            other => return Err(reader.malformed(&format!("keys of algorithm {other:#06x} are unknown"))),
        };
        match reader.u16()? {
            NULL => {}
            given if given == scheme => hash(&reader, "the scheme's hash")(reader.u16()?)?,
            given => return Err(reader.malformed(&format!("scheme {given:#06x} where {own} is known"))),
        }
        let key = if kind == RSA { rsa(&mut reader)? } else { ecc(&mut reader)? };
        reader.end()?;
        Ok(Self(key))
    }

    /// Modulus (no leading zeros) and exponent, of an RSA key.
    pub(crate) fn rsa(&self) -> Option<(&[u8], u32)> {
        match &self.0 {
            KeyKind::Rsa { modulus, exponent } => Some((modulus, *exponent)),
            _ => None,
        }
    }

    /// Whether this key made `signature`, a TPMT_SIGNATURE, over `message`. Which hash it took, in words.
    fn verify(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(&'static digest::Algorithm, &'static str), TpmError> {
        let mut reader = Reader::new("TPMT_SIGNATURE", signature);
        let scheme = reader.u16()?;
        let hash = reader.u16()?;
        let held = match (scheme, &self.0) {
            (RSASSA, KeyKind::Rsa { modulus, exponent }) => {
                let (ours, shown, hashed): (&signature::RsaParameters, _, _) = match hash {
                    SHA256 => (&RSA_PKCS1_2048_8192_SHA256, "RSASSA with SHA-256", &digest::SHA256),
                    SHA384 => (&RSA_PKCS1_2048_8192_SHA384, "RSASSA with SHA-384", &digest::SHA384),
                    SHA512 => (&RSA_PKCS1_2048_8192_SHA512, "RSASSA with SHA-512", &digest::SHA512),
                    _ => return Err(unknown(scheme, hash)),
                };
                let value = reader.sized(MAX_NUMBER)?;
                reader.end()?;
                let exponent: Vec<u8> =
                    exponent.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
                RsaPublicKeyComponents { n: &modulus[..], e: &exponent[..] }
                    .verify(ours, message, value)
                    .map(|()| (hashed, shown))
            }
            (ECDSA, KeyKind::P256(point)) if hash == SHA256 => {
                let value = pair(&mut reader, 32)?;
                reader.end()?;
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, &value)
                    .map(|()| (&digest::SHA256, "ECDSA P-256 with SHA-256"))
            }
            (ECDSA, KeyKind::P384(point)) if hash == SHA384 => {
                let value = pair(&mut reader, 48)?;
                reader.end()?;
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, &value)
                    .map(|()| (&digest::SHA384, "ECDSA P-384 with SHA-384"))
            }
            _ => return Err(unknown(scheme, hash)),
        };
        held.map_err(|_| {
            TpmError::Signature(
                "the quote's signature isn't one of the attestation key over this message".to_owned(),
            )
        })
    }
}

fn unknown(scheme: u16, hash: u16) -> TpmError {
    TpmError::Signature(format!(
        "the quote's signature (scheme {scheme:#06x}, hash {hash:#06x}) isn't of a kind that is taken for its key: RSASSA with SHA-256, 384 or 512, \
         ECDSA P-256 with SHA-256, P-384 with SHA-384"
    ))
}

/// A check that a number names a hash which is taken.
fn hash<'r>(reader: &Reader<'r>, what: &'static str) -> impl Fn(u16) -> Result<(), TpmError> + use<'r> {
    let refused = reader.malformed(&format!("{what} isn't SHA-256, 384 or 512"));
    move |number| if matches!(number, SHA256 | SHA384 | SHA512) { Ok(()) } else { Err(refused.clone()) }
}

fn rsa(reader: &mut Reader<'_>) -> Result<KeyKind, TpmError> {
    let bits = usize::from(reader.u16()?);
    let exponent = match reader.u32()? {
        0 => DEFAULT_EXPONENT,
        given => given,
    };
    let modulus = reader.sized(MAX_NUMBER)?;
    if modulus.len() * 8 != bits || modulus.first().is_none_or(|first| *first < 0x80) {
        return Err(
            reader.malformed(&format!("a modulus of {} bytes in a key of {bits} bits", modulus.len()))
        );
    }
    Ok(KeyKind::Rsa { modulus: modulus.to_vec(), exponent })
}

fn ecc(reader: &mut Reader<'_>) -> Result<KeyKind, TpmError> {
    let curve = reader.u16()?;
    if reader.u16()? != NULL {
        return Err(reader.malformed("a signing key with a key derivation"));
    }
    let (length, kind): (usize, fn(Vec<u8>) -> KeyKind) = match curve {
        NIST_P256 => (32, KeyKind::P256),
        NIST_P384 => (48, KeyKind::P384),
        other => return Err(reader.malformed(&format!("curve {other:#06x} where P-256 and P-384 are known"))),
    };
    let mut point = vec![4];
    point.extend(pair(reader, length)?);
    Ok(kind(point))
}

/// Two numbers, each of `length` bytes: a TPM may leave leading zeros out.
fn pair(reader: &mut Reader<'_>, length: usize) -> Result<Vec<u8>, TpmError> {
    let mut both = Vec::with_capacity(2 * length);
    for _ in 0..2 {
        let number = reader.sized(length)?;
        both.resize(both.len() + length - number.len(), 0);
        both.extend_from_slice(number);
    }
    Ok(both)
}

/// A quote with the PCRs that it is said to be of.
#[derive(Clone, Copy, Debug)]
pub struct Quote<'a> {
    /// TPMS_ATTEST, as it was signed.
    pub message: &'a [u8],
    /// TPMT_SIGNATURE.
    pub signature: &'a [u8],
    /// The SHA-256 bank: nothing of another one is ever compared.
    pub pcrs: &'a BTreeMap<u8, [u8; 32]>,
}

impl Quote<'_> {
    /// Verifies that `key` signed a quote of exactly these PCRs for `extra_data`. Which signature it was, in words. What it was made for isn't
    /// asked without `extra_data`: that is for kept evidence only.
    ///
    /// # Errors
    /// The first of: signature, magic, type, extraData, selection, digest that doesn't hold, or what can't be read.
    pub fn verify(&self, key: &AttestationKey, extra_data: Option<&[u8]>) -> Result<&'static str, TpmError> {
        let (hashed, shown) = key.verify(self.message, self.signature)?;
        let quoted = Quoted::parse(self.message)?;
        if let Some(extra_data) = extra_data
            && quoted.extra_data != extra_data
        {
            return Err(TpmError::ExtraData {
                found: const_hex::encode(quoted.extra_data),
                expected: const_hex::encode(extra_data),
            });
        }
        let [selection] = &quoted.selections[..] else {
            return Err(TpmError::Selection(format!(
                "the quote is of {} banks of PCRs, one is expected",
                quoted.selections.len()
            )));
        };
        let given: Vec<u8> = self.pcrs.keys().copied().collect();
        if selection.bank != SHA256 || selection.pcrs != given || given.is_empty() {
            return Err(TpmError::Selection(format!(
                "the quote is of PCRs {:?} of bank {:#06x}, the values are of {given:?} of SHA-256",
                selection.pcrs, selection.bank
            )));
        }
        let mut context = digest::Context::new(hashed);
        self.pcrs.values().for_each(|value| context.update(value));
        let found = context.finish();
        if found.as_ref() != quoted.pcr_digest {
            return Err(TpmError::PcrDigest {
                found: const_hex::encode(found),
                signed: const_hex::encode(quoted.pcr_digest),
            });
        }
        Ok(shown)
    }
}

/// What of a TPMS_ATTEST of a quote is looked at.
struct Quoted<'a> {
    extra_data: &'a [u8],
    selections: Vec<Selection>,
    pcr_digest: &'a [u8],
}

/// A TPMS_PCR_SELECTION.
struct Selection {
    bank: u16,
    /// Ascending.
    pcrs: Vec<u8>,
}

impl<'a> Quoted<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new("TPMS_ATTEST", message);
        let magic = reader.u32()?;
        if magic != GENERATED {
            return Err(TpmError::NotAQuote(format!(
                "magic {magic:#010x}: what was signed wasn't made by a TPM"
            )));
        }
        let kind = reader.u16()?;
        if kind != ATTEST_QUOTE {
            return Err(TpmError::NotAQuote(format!("type {kind:#06x}: what was signed is no quote")));
        }
        reader.sized(MAX_NAME)?;
        let extra_data = reader.sized(MAX_NAME)?;
        // TPMS_CLOCK_INFO: clock, resetCount, restartCount, safe.
        let _clock = (reader.u64()?, reader.u32()?, reader.u32()?);
        if reader.u8()? > 1 {
            return Err(reader.malformed("safe is neither yes nor no"));
        }
        let _firmware = reader.u64()?;
        let selections = selections(&mut reader)?;
        let pcr_digest = reader.sized(MAX_DIGEST)?;
        reader.end()?;
        Ok(Self { extra_data, selections, pcr_digest })
    }
}

/// Reads any bytes as a quote's message.
#[cfg(fuzzing)]
pub(crate) fn fuzzed(message: &[u8]) {
    if let Ok(quoted) = Quoted::parse(message) {
        assert!(quoted.extra_data.len() <= MAX_NAME && quoted.pcr_digest.len() <= MAX_DIGEST);
    }
}

/// TPML_PCR_SELECTION.
fn selections(reader: &mut Reader<'_>) -> Result<Vec<Selection>, TpmError> {
    /// The most banks that a TPM can have by its specification.
    const MAX_BANKS: u32 = 16;
    let count = reader.u32()?;
    if count > MAX_BANKS {
        return Err(reader.malformed(&format!("{count} banks of PCRs")));
    }
    let mut selections = Vec::new();
    for _ in 0..count {
        let bank = reader.u16()?;
        let size = usize::from(reader.u8()?);
        if size > 4 {
            return Err(reader.malformed(&format!("a selection of PCRs in {size} bytes")));
        }
        let bits = reader.bytes(size)?;
        let pcrs: Vec<u8> =
            (0..8 * size as u8).filter(|pcr| bits[usize::from(pcr / 8)] & (1 << (pcr % 8)) != 0).collect();
        if pcrs.iter().any(|pcr| *pcr >= PCRS) {
            return Err(reader.malformed("a selection of PCRs that no TPM has"));
        }
        selections.push(Selection { bank, pcrs });
    }
    Ok(selections)
}

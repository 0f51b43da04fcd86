//! The development key, and what it signs.

use k256::ecdsa::{RecoveryId, Signature, SigningKey};
use ring::digest::{SHA256, digest};
use ripemd::{Digest, Ripemd160};

use crate::{Failure, Result, ensure};

/// The well-known private key that every nodeos signs blocks with where nobody gave it another.
const SECRET: &str = "d2653ff7cbb2d8ff129ac27ef5781ce68b2558c41a74af1f2ddca635cbeef07d";

/// The key of all accounts and producers of a test's chain.
pub struct Key(SigningKey);

impl Key {
    /// The development key.
    ///
    /// # Errors
    /// Never: it is a constant.
    pub fn development() -> Result<Key> {
        let secret = SigningKey::from_slice(&unhex(SECRET)?);
        Ok(Key(secret.map_err(|error| Failure::new(error.to_string()))?))
    }

    /// The public key as chains write it: its type and the compressed point.
    pub fn public(&self) -> Vec<u8> {
        let point = self.0.verifying_key().to_encoded_point(true);
        [&[0], point.as_bytes()].concat()
    }

    /// The text of a signature of `transaction`, or `None` where it isn't one that nodes take: its numbers would need a sign byte. Then
    /// the transaction has to be another one.
    ///
    /// # Errors
    /// If the key can't sign.
    pub fn sign(&self, chain: &[u8; 32], transaction: &[u8]) -> Result<Option<String>> {
        let signed = sha256(&[chain, transaction, &[0; 32]].concat());
        let (signature, recovery) = self
            .0
            .sign_prehash_recoverable(&signed)
            .map_err(|error| Failure::new(format!("cannot sign: {error}")))?;
        Ok(canonical(&signature).then(|| text(&signature, recovery)))
    }
}

fn canonical(signature: &Signature) -> bool {
    let bytes = signature.to_bytes();
    let (r, s) = bytes.split_at(32);
    [r, s].iter().all(|part| part[0] & 0x80 == 0 && !(part[0] == 0 && part[1] & 0x80 == 0))
}

/// `SIG_K1_…`: base58 of the recovery id, the two numbers, and a checksum.
fn text(signature: &Signature, recovery: RecoveryId) -> String {
    let mut bytes = vec![31 + recovery.to_byte()];
    bytes.extend_from_slice(&signature.to_bytes());
    let checksum = Ripemd160::digest([&bytes, "K1".as_bytes()].concat());
    bytes.extend_from_slice(&checksum[..4]);
    format!("SIG_K1_{}", base58(&bytes))
}

/// Base58 of bytes that don't begin with a zero.
fn base58(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    digits.iter().rev().map(|digit| char::from(ALPHABET[usize::from(*digit)])).collect()
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that `text` is the hex of.
///
/// # Errors
/// If it is none.
pub fn unhex(text: &str) -> Result<Vec<u8>> {
    ensure!(text.is_ascii() && text.len().is_multiple_of(2), "not hex: {text}");
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?)).collect()
}

/// The 32 bytes that `text` is the hex of.
///
/// # Errors
/// If it is none.
pub fn unhex32(text: &str) -> Result<[u8; 32]> {
    let bytes = unhex(text)?;
    bytes.try_into().map_err(|_| Failure::new(format!("not 32 bytes: {text}")))
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::VerifyingKey;
    use serde_json::Value;

    use super::*;

    /// Another implementation signs the same with another number of its own; its text is made the same way, and its signature shows our
    /// public key, as ours does.
    #[test]
    fn a_signature_is_written_as_the_vector_is_and_names_the_key() {
        let known: Value =
            serde_json::from_str(include_str!("../../../../crates/antelope/tests/vectors/primitives.json"))
                .unwrap();
        let key = Key::development().unwrap();
        assert_eq!(hex(&key.public()), known["dev_key"]["public_packed"].as_str().unwrap());
        let known = &known["transaction_signature"];
        let of = |name: &str| unhex(known[name].as_str().unwrap()).unwrap();
        let (chain, transaction, packed) = (of("chain_id"), of("packed_trx"), of("signature_packed"));
        let signed = sha256(&[&chain[..], &transaction, &[0; 32]].concat());
        assert_eq!(hex(&signed), known["digest"].as_str().unwrap());

        let theirs = Signature::from_slice(&packed[2..]).unwrap();
        let recovery = RecoveryId::from_byte(packed[1] - 31).unwrap();
        assert_eq!(text(&theirs, recovery), known["signature_text"].as_str().unwrap());
        assert!(canonical(&theirs));
        let names = |signature, recovery| VerifyingKey::recover_from_prehash(&signed, signature, recovery);
        assert_eq!(names(&theirs, recovery).unwrap(), *key.0.verifying_key());
        let (ours, recovery) = key.0.sign_prehash_recoverable(&signed).unwrap();
        assert_eq!(names(&ours, recovery).unwrap(), *key.0.verifying_key());
    }
}

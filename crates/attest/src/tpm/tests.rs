use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::*;

const PUBLIC: &[u8] = include_bytes!("../../tests/vectors/vtpm/swtpm/ak.tpmt");
const MESSAGE: &[u8] = include_bytes!("../../tests/vectors/vtpm/swtpm/quote.msg");
const SIGNATURE: &[u8] = include_bytes!("../../tests/vectors/vtpm/swtpm/quote.tpmtsig");
const VALUES: &str = include_str!("../../tests/vectors/vtpm/swtpm/pcrs.txt");
const EXTRA: &str = include_str!("../../tests/vectors/vtpm/swtpm/extra.txt");
const AZURE: &[u8] = include_bytes!("../../tests/vectors/vtpm/azure/quote.bin");
const AZURE_KEY: &str = include_str!("../../tests/vectors/vtpm/azure/akpub.pem");

fn extra() -> Vec<u8> {
    let hex = EXTRA.split_whitespace().find_map(|word| word.strip_prefix("extra=")).unwrap();
    const_hex::decode(hex).unwrap()
}

fn pcrs() -> BTreeMap<u8, [u8; 32]> {
    let lines = VALUES.lines().filter_map(|line| line.split_once(": 0x"));
    lines
        .map(|(pcr, hex)| (pcr.trim().parse().unwrap(), const_hex::decode(hex).unwrap().try_into().unwrap()))
        .collect()
}

fn verify(public: &[u8], message: &[u8], signature: &[u8], extra: &[u8]) -> Result<&'static str, TpmError> {
    let key = AttestationKey::parse(public)?;
    Quote { message, signature, pcrs: &pcrs() }.verify(&key, Some(extra))
}

#[test]
fn a_quote_of_a_software_tpm_holds() {
    assert_eq!(pcrs().len(), 24);
    assert_eq!(verify(PUBLIC, MESSAGE, SIGNATURE, &extra()), Ok("RSASSA with SHA-256"));
}

#[test]
fn each_bit_of_message_and_signature_matters() {
    for (of, length) in [(0, MESSAGE.len()), (1, SIGNATURE.len())] {
        for bit in 0..length * 8 {
            let mut parts = [MESSAGE.to_vec(), SIGNATURE.to_vec()];
            parts[of][bit / 8] ^= 1 << (bit % 8);
            let refused = verify(PUBLIC, &parts[0], &parts[1], &extra());
            assert!(refused.is_err(), "bit {bit} of part {of}");
        }
    }
}

#[test]
fn each_byte_of_the_key_matters_but_for_words_that_nothing_is_made_of() {
    // Attributes other than sign, restricted and decrypt, and which of three hashes its name would be made with.
    let free = 3..8;
    for byte in (0..PUBLIC.len()).filter(|byte| !free.contains(byte)) {
        for flip in [1, 0x80] {
            let mut public = PUBLIC.to_vec();
            public[byte] ^= flip;
            assert!(verify(&public, MESSAGE, SIGNATURE, &extra()).is_err(), "byte {byte}");
        }
    }
}

#[test]
fn lengths_are_exact() {
    for cut in 0..MESSAGE.len() {
        assert!(Quoted::parse(&MESSAGE[..cut]).is_err(), "{cut}");
    }
    for cut in 0..PUBLIC.len() {
        assert!(AttestationKey::parse(&PUBLIC[..cut]).is_err(), "{cut}");
    }
    for cut in 0..SIGNATURE.len() {
        assert!(verify(PUBLIC, MESSAGE, &SIGNATURE[..cut], &extra()).is_err(), "{cut}");
    }
    assert!(Quoted::parse(&[MESSAGE, b"\0"].concat()).is_err());
    assert!(AttestationKey::parse(&[PUBLIC, b"\0"].concat()).is_err());
    assert!(verify(PUBLIC, MESSAGE, &[SIGNATURE, b"\0"].concat(), &extra()).is_err());
}

#[test]
fn another_nonce_is_told() {
    let Err(TpmError::ExtraData { found, .. }) = verify(PUBLIC, MESSAGE, SIGNATURE, &[7; 32]) else {
        panic!("another nonce held")
    };
    assert_eq!(found, const_hex::encode(extra()));
}

#[test]
fn values_that_weren_t_signed_are_told() {
    let key = AttestationKey::parse(PUBLIC).unwrap();
    let judge = |pcrs: &BTreeMap<u8, [u8; 32]>| {
        Quote { message: MESSAGE, signature: SIGNATURE, pcrs }.verify(&key, Some(&extra())).unwrap_err()
    };
    for pcr in 0..24 {
        let mut other = pcrs();
        other.get_mut(&pcr).unwrap()[0] ^= 1;
        assert!(matches!(judge(&other), TpmError::PcrDigest { .. }), "{pcr}");
        other.remove(&pcr);
        assert!(matches!(judge(&other), TpmError::Selection(_)), "{pcr}");
    }
    assert!(matches!(judge(&BTreeMap::new()), TpmError::Selection(_)));
    let mut swapped = pcrs();
    let (four, five) = (swapped[&4], swapped[&5]);
    swapped.extend([(4, five), (5, four)]);
    assert!(matches!(judge(&swapped), TpmError::PcrDigest { .. }));
}

#[test]
fn a_key_that_may_sign_anything_is_refused() {
    // Restricted, decrypt, sign.
    for (byte, bit) in [(5, 1 << 0), (5, 1 << 1), (5, 1 << 2)] {
        let mut public = PUBLIC.to_vec();
        public[byte] ^= bit;
        assert!(matches!(AttestationKey::parse(&public), Err(TpmError::Key(_))), "{bit}");
    }
}

#[test]
fn an_exponent_of_zero_is_65537() {
    let (modulus, exponent) = AttestationKey::parse(PUBLIC)
        .map(|key| (key.rsa().unwrap().0.to_vec(), key.rsa().unwrap().1))
        .unwrap();
    assert_eq!((modulus.len(), exponent), (256, 65_537));
    let at = PUBLIC.len() - 256 - 2 - 4;
    let mut said = PUBLIC.to_vec();
    said[at..at + 4].copy_from_slice(&65_537u32.to_be_bytes());
    assert!(verify(&said, MESSAGE, SIGNATURE, &extra()).is_ok());
    said[at..at + 4].copy_from_slice(&3u32.to_be_bytes());
    assert!(matches!(verify(&said, MESSAGE, SIGNATURE, &extra()), Err(TpmError::Signature(_))));
}

#[test]
fn a_real_quote_of_azure_holds_under_its_own_key_only() {
    // {signature, message, pcrs}, each behind its length in 8 bytes.
    let mut rest = AZURE;
    let mut next = || {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let (taken, left) = rest[8..].split_at(length);
        rest = left;
        taken.to_vec()
    };
    let (signature, message) = (next(), next());
    let quoted = Quoted::parse(&message).unwrap();
    assert_eq!(quoted.extra_data, b"challenge");
    assert_eq!(quoted.selections[0].bank, SHA256);
    let wrapped = [&[0, 0x14, 0, 0x0b, 1, 0][..], &signature].concat();
    let own = AttestationKey(modulus_of_pem(AZURE_KEY));
    assert!(own.verify(&message, &wrapped).is_ok());
    let other = AttestationKey::parse(PUBLIC).unwrap();
    assert!(matches!(other.verify(&message, &wrapped), Err(TpmError::Signature(_))));
}

/// Of a 2048-bit SubjectPublicKeyInfo: its end is `02 82 01 01 00 MODULUS 02 03 01 00 01`.
fn modulus_of_pem(pem: &str) -> KeyKind {
    let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    let der = STANDARD.decode(body).unwrap();
    let end = der.len() - 5;
    KeyKind::Rsa { modulus: der[end - 256..end].to_vec(), exponent: DEFAULT_EXPONENT }
}

/// A key that signs by ECDSA, as a TPM shows it, and its signature over `message`.
fn ecdsa(message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let random = SystemRandom::new();
    let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).unwrap();
    let point = key.public_key().as_ref();
    let mut public = const_hex::decode("0023000b00050472000000100018000b00030010").unwrap();
    let mut signature = const_hex::decode("0018000b").unwrap();
    let signed = key.sign(&random, message).unwrap();
    for (to, from) in [(&mut public, &point[1..]), (&mut signature, signed.as_ref())] {
        for number in from.chunks(32) {
            to.extend([0, 32]);
            to.extend(number);
        }
    }
    (public, signature)
}

#[test]
fn ecdsa_holds_too() {
    let (public, signature) = ecdsa(MESSAGE);
    assert_eq!(verify(&public, MESSAGE, &signature, &extra()), Ok("ECDSA P-256 with SHA-256"));
    let refused = verify(PUBLIC, MESSAGE, &signature, &extra());
    assert!(matches!(refused, Err(TpmError::Signature(_))), "{refused:?}");
    let (other, _) = ecdsa(MESSAGE);
    assert!(matches!(verify(&other, MESSAGE, &signature, &extra()), Err(TpmError::Signature(_))));
}

#[test]
fn a_genuine_signature_over_something_else_is_no_quote() {
    for (at, to) in [(0, 0xfe), (5, 0x17), (4, 0x80 ^ 1)] {
        let mut message = MESSAGE.to_vec();
        message[at] = to;
        let (public, signature) = ecdsa(&message);
        let refused = verify(&public, &message, &signature, &extra());
        assert!(matches!(refused, Err(TpmError::NotAQuote(_))), "{at}: {refused:?}");
    }
}

#[test]
fn a_genuine_quote_of_another_bank_or_of_two_is_refused() {
    // The selection is before the digest: count, bank, size, bits, then 2 + 32 bytes.
    let at = MESSAGE.len() - 34 - 10;
    let mut sha1 = MESSAGE.to_vec();
    sha1[at + 5] = 4;
    let mut two = MESSAGE.to_vec();
    two[at + 3] = 2;
    two.splice(at + 10..at + 10, [0, 4, 3, 255, 255, 255]);
    let mut none = MESSAGE.to_vec();
    none[at + 7..at + 10].fill(0);
    for message in [sha1, two, none] {
        let (public, signature) = ecdsa(&message);
        let refused = verify(&public, &message, &signature, &extra());
        assert!(matches!(refused, Err(TpmError::Selection(_))), "{refused:?}");
    }
}

#[test]
fn a_genuine_quote_of_no_pcrs_is_refused() {
    // Nothing selected, nothing given, and the digest of nothing.
    let at = MESSAGE.len() - 34 - 10;
    let mut message = MESSAGE.to_vec();
    message[at + 7..at + 10].fill(0);
    let end = message.len() - 32;
    message[end..].copy_from_slice(digest::digest(&digest::SHA256, b"").as_ref());
    let (public, signature) = ecdsa(&message);
    let key = AttestationKey::parse(&public).unwrap();
    let quote = Quote { message: &message, signature: &signature, pcrs: &BTreeMap::new() };
    assert!(matches!(quote.verify(&key, Some(&extra())), Err(TpmError::Selection(_))));
}

#[test]
fn a_message_has_the_form_of_a_quote_to_the_bit() {
    let at = MESSAGE.len() - 34 - 10;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = MESSAGE.to_vec();
        change(&mut message);
        Quoted::parse(&message).map(|quoted| quoted.selections.len()).map_err(|why| why.to_string())
    };
    let says = |done: Result<usize, String>, part: &str| {
        let why = done.unwrap_err();
        assert!(why.contains(part), "{why}");
    };
    assert_eq!(with(&|_| ()), Ok(1));
    // Clock, counts and "safe" are before the firmware's version, which is before the selection.
    assert_eq!(with(&|message| message[at - 9] = 0), Ok(1));
    assert_eq!(with(&|message| message[at - 9] = 1), Ok(1));
    says(with(&|message| message[at - 9] = 2), "safe");
    // More banks than any TPM has, each with nothing selected.
    let empty = [0, 11, 0];
    let banks = |count: u8| {
        move |message: &mut Vec<u8>| {
            message[at + 3] = count;
            message.splice(at + 4..at + 10, empty.repeat(count.into()));
        }
    };
    assert_eq!(with(&banks(16)), Ok(16));
    says(with(&banks(17)), "17 banks");
    // A selection in more bytes than there are PCRs for, empty there or not.
    let wide = |bytes: &'static [u8]| {
        move |message: &mut Vec<u8>| {
            message[at + 6] = bytes.len() as u8;
            message.splice(at + 7..at + 10, bytes.iter().copied());
        }
    };
    assert_eq!(with(&wide(&[255, 255, 255, 0])), Ok(1));
    says(with(&wide(&[255, 255, 255, 1])), "PCRs that no TPM has");
    says(with(&wide(&[255, 255, 255, 0, 0])), "in 5 bytes");
}

#[test]
fn a_modulus_has_the_bits_that_its_key_says() {
    let at = PUBLIC.len() - 256;
    let mut short = PUBLIC.to_vec();
    short[at] = 0x7f;
    let mut other = PUBLIC.to_vec();
    other[at - 8..at - 6].copy_from_slice(&2040u16.to_be_bytes());
    for public in [short, other] {
        let refused = AttestationKey::parse(&public).unwrap_err().to_string();
        assert!(refused.contains("modulus of 256 bytes"), "{refused}");
    }
}

#[test]
fn a_weak_hash_isn_t_taken() {
    let mut sha1 = SIGNATURE.to_vec();
    sha1[3] = 4;
    let said = verify(PUBLIC, MESSAGE, &sha1, &extra()).unwrap_err().to_string();
    assert!(said.contains("hash 0x0004"), "{said}");
}

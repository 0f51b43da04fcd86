//! Public keys as people write them.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use ripemd::{Digest, Ripemd160};

use crate::{OnCurve, PublicKey};

/// Bytes of a compressed point.
const POINT: usize = 33;
/// Bytes of the checksum behind it.
const CHECKSUM: usize = 4;

/// A public key of one's own, on secp256k1 or secp256r1, and its text: `PUB_K1_…`, `PUB_R1_…`; `EOS…`, the older form of the first, is read
/// too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnedKey {
    /// On secp256k1.
    K1([u8; POINT]),
    /// On secp256r1.
    R1([u8; POINT]),
}

impl OwnedKey {
    /// That of a message; `None` for an empty one, and one of WebAuthn.
    #[must_use]
    pub fn of(key: &PublicKey<'_>) -> Option<Self> {
        match key {
            empty if *empty == PublicKey::EMPTY => None,
            OnCurve::K1(data) => Some(Self::K1(**data)),
            OnCurve::R1(data) => Some(Self::R1(**data)),
            OnCurve::WebAuthn(..) => None,
        }
    }
}

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAKey {
    /// It begins as no key does.
    Prefix,
    /// It is a private one.
    Private,
    /// A letter is wrong, or one is missing.
    Checksum,
}

impl fmt::Display for NotAKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "a public key is expected, PUB_K1_…, PUB_R1_… or EOS…",
            Self::Private => {
                "this is a private key: give the public one, and make a new pair, as this one has been shown"
            }
            Self::Checksum => "a letter of this key is wrong or missing (its checksum doesn't fit)",
        })
    }
}

impl Error for NotAKey {}

impl FromStr for OwnedKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        if let Some(rest) = text.strip_prefix("PUB_K1_") {
            return point(rest, b"K1").map(Self::K1);
        }
        if let Some(rest) = text.strip_prefix("PUB_R1_") {
            return point(rest, b"R1").map(Self::R1);
        }
        if let Some(rest) = text.strip_prefix("EOS") {
            return point(rest, b"").map(Self::K1);
        }
        // The older form of private keys has 51 characters and begins so.
        let private = text.starts_with("PVT_") || (text.starts_with('5') && text.len() == 51);
        Err(if private { NotAKey::Private } else { NotAKey::Prefix })
    }
}

impl fmt::Display for OwnedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, point, kind) = match self {
            Self::K1(point) => ("PUB_K1_", point, b"K1"),
            Self::R1(point) => ("PUB_R1_", point, b"R1"),
        };
        let mut data = point.to_vec();
        data.extend(checksum(point, kind));
        write!(f, "{prefix}{}", bs58::encode(data).into_string())
    }
}

fn point(text: &str, kind: &[u8]) -> Result<[u8; POINT], NotAKey> {
    let mut data = [0; POINT + CHECKSUM];
    // It says no where there isn't room for all of it.
    let length = bs58::decode(text).onto(&mut data[..]).map_err(|_| NotAKey::Checksum)?;
    let (point, told) = data.split_first_chunk::<POINT>().ok_or(NotAKey::Checksum)?;
    if length != POINT + CHECKSUM || *told != checksum(point, kind) {
        return Err(NotAKey::Checksum);
    }
    Ok(*point)
}

fn checksum(point: &[u8; POINT], kind: &[u8]) -> [u8; CHECKSUM] {
    let hash = Ripemd160::new().chain_update(point).chain_update(kind).finalize();
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&hash[..CHECKSUM]);
    checksum
}

//! Public keys and signatures of accounts and blocks.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::pack::{Pack, Reader, Sink};
use crate::{Blob, DecodeError, Fault, Text, Varuint};

/// A public key. The empty one is 33 zero bytes of K1. Serialises as `type` and `data` (hex), and what WebAuthn adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKey<'a> {
    /// On secp256k1, compressed.
    K1(&'a [u8; 33]),
    /// On secp256r1, compressed.
    R1(&'a [u8; 33]),
    /// Of an authenticator.
    WebAuthn {
        /// On secp256r1, compressed.
        key: &'a [u8; 33],
        /// What the authenticator must have seen of its user.
        presence: u8,
        /// Of whom it is.
        rpid: Text<'a>,
    },
}

/// A signature. The empty one is 65 zero bytes of K1. Serialises as `type` and `data` (hex), and what WebAuthn adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature<'a> {
    /// On secp256k1, recoverable.
    K1(&'a [u8; 65]),
    /// On secp256r1, recoverable.
    R1(&'a [u8; 65]),
    /// Of an authenticator.
    WebAuthn {
        /// On secp256r1, recoverable.
        signature: &'a [u8; 65],
        /// The authenticator's data.
        auth_data: Blob<'a>,
        /// What its client signed.
        client_json: Text<'a>,
    },
}

impl<'a> PublicKey<'a> {
    /// No key, as in an unsigned handshake.
    pub const EMPTY: PublicKey<'static> = PublicKey::K1(&[0; 33]);

    /// Its type on the wire, and its point.
    #[must_use]
    pub fn parts(&self) -> (u32, &'a [u8; 33]) {
        match self {
            Self::K1(key) => (0, key),
            Self::R1(key) => (1, key),
            Self::WebAuthn { key, .. } => (2, key),
        }
    }
}

impl<'a> Signature<'a> {
    /// No signature, as in an unsigned handshake.
    pub const EMPTY: Signature<'static> = Signature::K1(&[0; 65]);

    /// Its type on the wire, and its numbers.
    #[must_use]
    pub fn parts(&self) -> (u32, &'a [u8; 65]) {
        match self {
            Self::K1(signature) => (0, signature),
            Self::R1(signature) => (1, signature),
            Self::WebAuthn { signature, .. } => (2, signature),
        }
    }
}

impl<'a> Pack<'a> for PublicKey<'a> {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = from.at();
        match Varuint::unpack(from)?.0 {
            0 => from.array().map(Self::K1),
            1 => from.array().map(Self::R1),
            2 => Ok(Self::WebAuthn {
                key: from.array()?,
                presence: u8::unpack(from)?,
                rpid: Text::unpack(from)?,
            }),
            other => Err(DecodeError { at, field: None, fault: Fault::Variant(other) }),
        }
    }

    fn pack(&self, to: &mut impl Sink) {
        let (kind, key) = self.parts();
        Varuint(kind).pack(to);
        to.put(key);
        if let Self::WebAuthn { presence, rpid, .. } = self {
            presence.pack(to);
            rpid.pack(to);
        }
    }
}

impl<'a> Pack<'a> for Signature<'a> {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = from.at();
        match Varuint::unpack(from)?.0 {
            0 => from.array().map(Self::K1),
            1 => from.array().map(Self::R1),
            2 => Ok(Self::WebAuthn {
                signature: from.array()?,
                auth_data: Blob::unpack(from)?,
                client_json: Text::unpack(from)?,
            }),
            other => Err(DecodeError { at, field: None, fault: Fault::Variant(other) }),
        }
    }

    fn pack(&self, to: &mut impl Sink) {
        let (kind, signature) = self.parts();
        Varuint(kind).pack(to);
        to.put(signature);
        if let Self::WebAuthn { auth_data, client_json, .. } = self {
            auth_data.pack(to);
            client_json.pack(to);
        }
    }
}

impl Serialize for PublicKey<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (kind, key) = self.parts();
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("type", &kind)?;
        map.serialize_entry("data", &Blob(key))?;
        if let Self::WebAuthn { presence, rpid, .. } = self {
            map.serialize_entry("presence", presence)?;
            map.serialize_entry("rpid", rpid)?;
        }
        map.end()
    }
}

impl Serialize for Signature<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (kind, signature) = self.parts();
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("type", &kind)?;
        map.serialize_entry("data", &Blob(signature))?;
        if let Self::WebAuthn { auth_data, client_json, .. } = self {
            map.serialize_entry("auth_data", auth_data)?;
            map.serialize_entry("client_json", client_json)?;
        }
        map.end()
    }
}

//! Public keys and signatures of accounts and blocks.

use serde::{Serialize, Serializer};

use crate::pack::{Pack, Reader, Sink, packed};
use crate::{Blob, DecodeError, Fault, Text, Varuint};

/// A public key: a compressed point.
pub type PublicKey<'a> = OnCurve<'a, 33, Authenticator<'a>>;
/// A signature, from which the key can be recovered.
pub type Signature<'a> = OnCurve<'a, 65, Assertion<'a>>;

/// A key or a signature. Serialises as `type` and `data` (hex), and what WebAuthn adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCurve<'a, const N: usize, W> {
    /// On secp256k1.
    K1(&'a [u8; N]),
    /// On secp256r1.
    R1(&'a [u8; N]),
    /// On secp256r1, of an authenticator, and what it adds.
    WebAuthn(&'a [u8; N], W),
}

/// What WebAuthn adds to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Authenticator<'a> {
    /// What the authenticator must have seen of its user.
    pub presence: u8,
    /// Of whom the key is.
    pub rpid: Text<'a>,
}
packed!(Authenticator<'a> { presence, rpid });

/// What WebAuthn adds to a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Assertion<'a> {
    /// The authenticator's data.
    pub auth_data: Blob<'a>,
    /// What its client signed.
    pub client_json: Text<'a>,
}
packed!(Assertion<'a> { auth_data, client_json });

impl<'a, const N: usize, W> OnCurve<'a, N, W> {
    /// None, as in an unsigned handshake: zeros of K1.
    pub const EMPTY: Self = Self::K1(&[0; N]);

    /// Its type on the wire, its bytes, and what WebAuthn adds.
    fn parts(&self) -> (u32, &'a [u8; N], Option<&W>) {
        match self {
            Self::K1(data) => (0, data, None),
            Self::R1(data) => (1, data, None),
            Self::WebAuthn(data, more) => (2, data, Some(more)),
        }
    }
}

impl<'a, const N: usize, W: Pack<'a>> Pack<'a> for OnCurve<'a, N, W> {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = from.at();
        match Varuint::unpack(from)?.0 {
            0 => from.array().map(Self::K1),
            1 => from.array().map(Self::R1),
            2 => Ok(Self::WebAuthn(from.array()?, W::unpack(from)?)),
            other => Err(DecodeError { at, field: None, fault: Fault::Variant(other) }),
        }
    }

    fn pack(&self, to: &mut impl Sink) {
        let (kind, data, more) = self.parts();
        Varuint(kind).pack(to);
        to.put(data);
        if let Some(more) = more {
            more.pack(to);
        }
    }
}

impl<const N: usize, W: Serialize> Serialize for OnCurve<'_, N, W> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a, W> {
            #[serde(rename = "type")]
            kind: u32,
            data: Blob<'a>,
            #[serde(flatten)]
            more: Option<&'a W>,
        }
        let (kind, data, more) = self.parts();
        Shown { kind, data: Blob(data), more }.serialize(to)
    }
}

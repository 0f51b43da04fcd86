//! The small values that messages are made of.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::pack::{Pack, Reader, Sink, packed};
use crate::{DecodeError, Fault};

/// A number of up to 32 bits, 7 of them a byte, low ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Varuint(pub u32);

/// No varuint is longer.
pub(crate) const VARUINT_BYTES: usize = 5;

impl<'a> Pack<'a> for Varuint {
    /// Takes longer forms than needed too (`86 80 80 80 00` is 6), as nodes do.
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = from.at();
        let mut value = 0_u64;
        for i in 0..VARUINT_BYTES {
            let byte = u8::unpack(from)?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                let wide = DecodeError { at, field: None, fault: Fault::Varuint };
                return u32::try_from(value).map(Self).map_err(|_| wide);
            }
        }
        Err(DecodeError { at, field: None, fault: Fault::Varuint })
    }

    fn pack(&self, to: &mut impl Sink) {
        let mut left = self.0;
        while left > 0x7f {
            to.put(&[left as u8 & 0x7f | 0x80]);
            left >>= 7;
        }
        to.put(&[left as u8]);
    }
}

/// 32 bytes: a SHA-256, the id of a chain, node, block or transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 32]);

impl Id {
    /// All zero: nothing, or "reset" in a block_nack.
    pub const ZERO: Self = Self([0; 32]);

    /// The number of the block with this id, which its first four bytes are.
    #[must_use]
    pub fn block_num(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl<'a> Pack<'a> for Id {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        from.array().copied().map(Self)
    }

    fn pack(&self, to: &mut impl Sink) {
        to.put(&self.0);
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(const_hex::Buffer::<32>::new().format(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A time or a span in nanoseconds (some old nodes send microseconds in `time`). Serialises as text: not every reader of JSON keeps
/// numbers of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);
packed!(Nanos(..));

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

/// Bytes of any number. Serialises as hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blob<'a>(pub &'a [u8]);
packed!(Blob<'a>(..));

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&const_hex::encode(self.0))
    }
}

/// `N` bytes with their number before them, as BLS keys (96) and signatures (192) are sent. Serialises as hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fixed<'a, const N: usize>(pub &'a [u8; N]);

impl<'a, const N: usize> Pack<'a> for Fixed<'a, N> {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = from.at();
        let Varuint(found) = Varuint::unpack(from)?;
        if found as usize != N {
            return Err(DecodeError { at, field: None, fault: Fault::Length { found, expected: N } });
        }
        from.array().map(Self)
    }

    fn pack(&self, to: &mut impl Sink) {
        self.0.as_slice().pack(to);
    }
}

impl<const N: usize> Serialize for Fixed<'_, N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&const_hex::encode(self.0))
    }
}

/// Text as a peer sent it: any bytes. Shown with what isn't UTF-8 replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text<'a>(pub &'a [u8]);
packed!(Text<'a>(..));

impl<'a> Text<'a> {
    /// As UTF-8, with replacement characters where it isn't.
    #[must_use]
    pub fn lossy(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.0)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.lossy())
    }
}

//! How values are packed: one trait, with which a struct is the list of its fields.
//!
//! Packing goes to a [`Sink`], so that a hash of packed bytes needs no buffer for them.

use bytes::BytesMut;
use sha2::{Digest, Sha256};

use crate::{DecodeError, Fault, Varuint};

/// Where packed bytes go.
pub trait Sink {
    /// Takes the next bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for Sha256 {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// A value with a packed form.
pub trait Pack<'a>: Sized {
    /// Reads one; what it borrows is a slice of the frame.
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Writes it, in the one form that nodes write.
    fn pack(&self, to: &mut impl Sink);
}

/// A place in a frame, from which values are read.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `frame` from byte `at` on; errors count from the start of `frame`.
    #[must_use]
    pub fn new(frame: &'a [u8], at: usize) -> Self {
        Self { frame, at: at.min(frame.len()) }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.frame.len() - self.at
    }

    /// Where the next byte is.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// All up to `end`, which is a place of this frame.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.frame[start..self.at]
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.frame[self.at..];
        let taken = rest.get(..length).ok_or(DecodeError {
            at: self.at,
            field: None,
            fault: Fault::Missing { needed: length, left: rest.len() },
        })?;
        self.at += length;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let at = self.at;
        let taken = self.take(N)?;
        let missing = DecodeError { at, field: None, fault: Fault::Missing { needed: N, left: taken.len() } };
        taken.try_into().map_err(|_| missing)
    }

    /// That nothing follows.
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError { at: self.at, field: None, fault: Fault::Trailing(left) }),
        }
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl<'a> Pack<'a> for $number {
            fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
                from.array().map(|bytes| <$number>::from_le_bytes(*bytes))
            }

            fn pack(&self, to: &mut impl Sink) {
                to.put(&self.to_le_bytes());
            }
        }
    )+};
}
numbers!(u8, u16, u32, u64, i16, i64);

impl<'a> Pack<'a> for bool {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = from.at();
        match u8::unpack(from)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError { at, field: None, fault: Fault::Flag(other) }),
        }
    }

    fn pack(&self, to: &mut impl Sink) {
        to.put(&[u8::from(*self)]);
    }
}

impl<'a, T: Pack<'a>> Pack<'a> for Option<T> {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if bool::unpack(from)? { T::unpack(from).map(Some) } else { Ok(None) }
    }

    fn pack(&self, to: &mut impl Sink) {
        self.is_some().pack(to);
        if let Some(value) = self {
            value.pack(to);
        }
    }
}

/// Bytes with their number before them. Nothing that a frame can hold is longer than `u32` counts.
impl<'a> Pack<'a> for &'a [u8] {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let Varuint(length) = Varuint::unpack(from)?;
        from.take(length as usize)
    }

    fn pack(&self, to: &mut impl Sink) {
        count(self.len()).pack(to);
        to.put(self);
    }
}

/// A number of bytes or items.
pub(crate) fn count(number: usize) -> Varuint {
    Varuint(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Implements [`Pack`] for a struct: its fields in the order of the wire; or, with `(..)`, the one that it has without a name.
macro_rules! packed {
    ($type:ident<$life:lifetime>(..)) => {
        impl<$life> $crate::pack::Pack<$life> for $type<$life> {
            $crate::pack::packed!(@only $life);
        }
    };
    ($type:ident(..)) => {
        impl<'a> $crate::pack::Pack<'a> for $type {
            $crate::pack::packed!(@only 'a);
        }
    };
    (@only $life:lifetime) => {
        fn unpack(from: &mut $crate::pack::Reader<$life>) -> Result<Self, $crate::DecodeError> {
            $crate::pack::Pack::unpack(from).map(Self)
        }

        fn pack(&self, to: &mut impl $crate::pack::Sink) {
            $crate::pack::Pack::pack(&self.0, to);
        }
    };
    ($type:ident<$life:lifetime> { $($field:ident),+ $(,)? }) => {
        impl<$life> $crate::pack::Pack<$life> for $type<$life> {
            $crate::pack::packed!(@fields $life $($field)+);
        }
    };
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl<'a> $crate::pack::Pack<'a> for $type {
            $crate::pack::packed!(@fields 'a $($field)+);
        }
    };
    (@fields $life:lifetime $($field:ident)+) => {
        fn unpack(from: &mut $crate::pack::Reader<$life>) -> Result<Self, $crate::DecodeError> {
            Ok(Self {
                $($field: $crate::pack::Pack::unpack(from).map_err(|why| why.within(stringify!($field)))?),+
            })
        }

        fn pack(&self, to: &mut impl $crate::pack::Sink) {
            $($crate::pack::Pack::pack(&self.$field, to);)+
        }
    };
}
pub(crate) use packed;

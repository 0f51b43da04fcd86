//! Lists that are read where they lie.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::DecodeError;
use crate::Varuint;
use crate::pack::{Pack, Reader, Sink, count};

/// Any number of items. One that was decoded is a slice of its frame whose every item has been read once, so that reading them again
/// can't fail; one to be sent borrows its items.
#[derive(Clone, Copy)]
pub enum List<'a, T> {
    /// Packed items and their number, as they lie in a frame.
    Packed(Packed<'a>),
    /// Items to be packed.
    Items(&'a [T]),
}

/// Items that are known to be whole.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    items: usize,
    bytes: &'a [u8],
}

impl<'a, T> List<'a, T> {
    /// No items.
    pub const EMPTY: Self = Self::Items(&[]);

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.items,
            Self::Items(items) => items.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, T: Pack<'a> + Clone> List<'a, T> {
    /// The items in order.
    #[must_use]
    pub fn iter(&self) -> ListItems<'a, T> {
        match self {
            Self::Packed(packed) => ListItems::Packed(Reader::new(packed.bytes, 0)),
            Self::Items(items) => ListItems::Items(items.iter()),
        }
    }
}

/// The items of a [`List`].
#[derive(Debug)]
pub enum ListItems<'a, T> {
    /// Read from a frame.
    Packed(Reader<'a>),
    /// Given.
    Items(std::slice::Iter<'a, T>),
}

impl<'a, T: Pack<'a> + Clone> Iterator for ListItems<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Packed(reader) if reader.left() == 0 => None,
            Self::Packed(reader) => T::unpack(reader).ok(),
            Self::Items(items) => items.next().cloned(),
        }
    }
}

impl<'a, T: Pack<'a> + Clone> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = ListItems<'a, T>;

    fn into_iter(self) -> ListItems<'a, T> {
        self.iter()
    }
}

impl<'a, T: Pack<'a> + Clone> Pack<'a> for List<'a, T> {
    /// No item is shorter than a byte, so that a frame bounds how long this takes, whatever number it tells.
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let Varuint(items) = Varuint::unpack(from)?;
        let start = from.at();
        for _ in 0..items {
            T::unpack(from)?;
        }
        Ok(Self::Packed(Packed { items: items as usize, bytes: from.since(start) }))
    }

    fn pack(&self, to: &mut impl Sink) {
        count(self.len()).pack(to);
        for item in self {
            item.pack(to);
        }
    }
}

impl<'a, T: Pack<'a> + Clone + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Pack<'a> + Clone + Eq> Eq for List<'a, T> {}

impl<'a, T: Pack<'a> + Clone + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a, T: Pack<'a> + Clone + Serialize> Serialize for List<'a, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self)
    }
}

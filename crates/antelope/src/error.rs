//! What can be wrong with a stream, and with what is in a frame.

use std::error::Error;
use std::fmt;

use crate::Kind;

/// Why a stream can't be cut any further. Nothing behind it can be read: where the next frame begins isn't known, or isn't to be
/// believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A frame of length 0 has not even a type.
    Empty,
    /// The length, in bytes, is above the limit of any frame or of its type.
    TooLong {
        /// The length told.
        length: u32,
        /// The limit.
        limit: u32,
        /// The type, where it is its limit.
        kind: Option<Kind>,
    },
    /// The type is no varuint, or the frame ends within it.
    Type,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a frame of length 0"),
            Self::TooLong { length, limit, kind: None } => {
                write!(f, "a frame of {length} bytes, the limit is {limit}")
            }
            Self::TooLong { length, limit, kind: Some(kind) } => {
                write!(f, "a frame of {length} bytes with type {kind}, whose limit is {limit}")
            }
            Self::Type => f.write_str("the frame's type is not a varuint that ends within the frame"),
        }
    }
}

impl Error for FrameError {}

/// Why a frame's content isn't what its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// Where, in bytes from the start of the frame (its length included).
    pub at: usize,
    /// The innermost field that was being read.
    pub field: Option<&'static str>,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The frame ends too early.
    Missing {
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes follow where the message has ended: how many.
    Trailing(usize),
    /// A varuint of more than 32 bits or five bytes.
    Varuint,
    /// A boolean, or the mark of an optional, other than 0 and 1.
    Flag(u8),
    /// An index that no variant of its type has.
    Variant(u32),
    /// The length of something that has always the same.
    Length {
        /// What it is.
        found: u32,
        /// What it is always.
        expected: usize,
    },
}

impl DecodeError {
    /// The same, where no inner field is known yet: in `field`.
    #[must_use]
    pub fn within(mut self, field: &'static str) -> Self {
        self.field.get_or_insert(field);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = self.field {
            write!(f, "{field}: ")?;
        }
        match self.fault {
            Fault::Missing { needed, left } => write!(f, "{needed} bytes are needed, {left} are left")?,
            Fault::Trailing(bytes) => write!(f, "{bytes} bytes follow its end")?,
            Fault::Varuint => f.write_str("a varuint above 32 bits")?,
            Fault::Flag(found) => write!(f, "{found} is neither 0 nor 1")?,
            Fault::Variant(found) => write!(f, "there is no variant {found}")?,
            Fault::Length { found, expected } => write!(f, "{found} bytes long, not {expected}")?,
        }
        write!(f, " (at byte {} of the frame)", self.at)
    }
}

impl Error for DecodeError {}

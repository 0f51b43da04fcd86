//! What can go wrong with a store.

use std::fmt;

use crate::MAX_DOCUMENT;

/// Why a store did not do what it was asked for. The texts are for people, and hold no credentials and no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It could not be asked; nothing was changed.
    Unreachable(String),
    /// It was asked for a change and gave no answer: whether it was made shows when it is back.
    Unknown(String),
    /// What is kept there is not what it should be; nothing was changed.
    Unreadable(String),
    /// Others changed the document each time, or held its lock until the deadline; nothing was changed.
    Busy(String),
    /// The document would be larger than a store keeps; nothing was changed.
    TooLarge {
        /// How large, in bytes.
        bytes: usize,
    },
}

impl StoreError {
    /// Refuses what is larger than a store keeps.
    pub(crate) fn unless_small(value: &[u8]) -> Result<(), Self> {
        if value.len() > MAX_DOCUMENT { Err(Self::TooLarge { bytes: value.len() }) } else { Ok(()) }
    }

    /// Whether it is certain that nothing was changed.
    pub fn unchanged(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Unreadable(why) | Self::Busy(why) => f.write_str(why),
            Self::Unknown(why) => write!(f, "{why}; whether the change was made is not known"),
            Self::TooLarge { bytes } => {
                write!(f, "a document of {bytes} bytes is more than the {MAX_DOCUMENT} that a store keeps")
            }
        }
    }
}

impl std::error::Error for StoreError {}

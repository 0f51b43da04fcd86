//! What a document is called and how it is seen.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

/// Bytes that a document may have; a list of ten thousand nodes is well under it.
pub const MAX_DOCUMENT: usize = 1024 * 1024;

/// What a document is called. Two forms, since a key that others use already is no good file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    key: Cow<'static, str>,
    file: Cow<'static, str>,
}

impl Name {
    /// `key` is what follows the prefix in Redis; `file` is a plain file name, without any `/`.
    pub const fn new(key: &'static str, file: &'static str) -> Self {
        Self { key: Cow::Borrowed(key), file: Cow::Borrowed(file) }
    }

    /// The key, without any prefix.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The file's name, without its directory.
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// Whether the store can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It answered when last asked.
    Ok,
    /// It didn't, or what it has can't be read.
    Lost {
        /// What is wrong, for people; no credentials in it.
        why: Arc<str>,
        /// Since when, whatever was wrong first.
        since: Instant,
    },
}

impl Reach {
    /// Whether it answered when last asked.
    pub fn is_ok(&self) -> bool {
        *self == Self::Ok
    }
}

/// A document as it was last seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// The last value known; `None` if there is no document, or none has been seen yet.
    pub value: Option<Bytes>,
    /// Whether `value` is what the store has.
    pub reach: Reach,
}

/// Without the content: it may hold credentials.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.value.as_ref().map(Bytes::len);
        f.debug_struct("Seen").field("bytes", &bytes).field("reach", &self.reach).finish()
    }
}

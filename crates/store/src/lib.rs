//! What outlives a process or is shared between several.
//!
//! A [`Store`] keeps small named documents. There is one operation that changes one, compare and swap, so that no
//! process overwrites what another has just written; whoever wants to know of changes watches. Everything else is built
//! on that and is the same for every backend: the list of nodes ([`NodeList`]), and the limits
//! that live instances share ([`Fleet`]).
//!
//! Backends: a directory ([`FileStore`], the default), Redis ([`RedisStore`]), memory ([`MemoryStore`], gone with the process). Another one (etcd
//! has compare and swap, and watches) is another implementation of the four functions of [`Store`].
//!
//! What has to change several things in one step isn't a document: it is a script in Redis ([`RedisScripts`]).
//!
//! A store that can't be reached never stops anything: the last value known stays, [`Reach`] says what is wrong and since
//! when, changes are refused. When it is back, what it holds is the truth.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod authority;
mod board;
mod document;
mod error;
mod file;
mod fleet;
mod memory;
mod nodes;
mod redis;
mod tasks;

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::watch;

pub use authority::AddressError;
pub use document::{MAX_DOCUMENT, Name, Reach, Seen};
pub use error::StoreError;
pub use file::FileStore;
pub use fleet::{Fleet, Portion, Share};
pub use memory::MemoryStore;
pub use nodes::{Listed, NodeList};
pub use redis::{RedisAddress, RedisScripts, RedisStore};

/// A future that an object-safe trait can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What became of a [`Store::swap`].
#[derive(Clone, PartialEq, Eq)]
pub enum Swap {
    /// The new value is in place.
    Done,
    /// The document was another than expected, nothing was changed; what it is.
    Changed(Option<Bytes>),
}

/// Keeps named documents of at most [`MAX_DOCUMENT`] bytes, for this process or several. Every operation has a deadline of
/// its own, of some seconds at most.
pub trait Store: Send + Sync + 'static {
    /// The document as the store has it now; `None` if there is none.
    ///
    /// # Errors
    /// The store could not be asked, or has something under that name that is no document.
    fn read<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Puts `value` in the document's place if that still is `expected` (`None`: there is none), in one step. Where `value`
    /// is in place already there is nothing to do.
    ///
    /// # Errors
    /// The store could not be asked. Nothing was changed then, except where [`StoreError::Unknown`] says that nobody knows.
    fn swap<'a>(
        &'a self,
        name: &'a Name,
        expected: Option<&'a Bytes>,
        value: Bytes,
    ) -> BoxFuture<'a, Result<Swap, StoreError>>;

    /// The last value known and whether the store can be reached, from now on. A change made here is seen at once, one
    /// made elsewhere within a second.
    fn watch(&self, name: &Name) -> watch::Receiver<Seen>;

    /// Moves a document that its reader can't read, and that still is `value`, out of the way, so that the next read finds
    /// none; gives where it is kept. `None`: this store leaves it where it is, since it may be somebody else's; so does a
    /// store that doesn't say otherwise.
    ///
    /// # Errors
    /// It could not be moved.
    fn set_aside<'a>(
        &'a self,
        name: &'a Name,
        value: &'a Bytes,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let (_, _) = (name, value);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Where the documents are, for logs and health: no credentials in it.
    fn place(&self) -> &str;
}

impl Swap {
    /// What [`Store::swap`] comes to where the document is `current` and nobody else changes it; `None`: `value` is to be
    /// written.
    fn of(current: Option<&Bytes>, expected: Option<&Bytes>, value: &Bytes) -> Option<Self> {
        match current {
            now if now == Some(value) => Some(Self::Done),
            now if now != expected => Some(Self::Changed(now.cloned())),
            _ => None,
        }
    }
}

/// Without the content: it may hold credentials.
impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Changed(value) => f.debug_tuple("Changed").field(&value.as_ref().map(Bytes::len)).finish(),
        }
    }
}

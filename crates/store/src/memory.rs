//! Documents that are gone with the process: for tests, and where nobody wants anything kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::board::Board;
use crate::{BoxFuture, Name, Seen, Store, StoreError, Swap};

/// Keeps documents in memory; clones share them.
#[derive(Clone)]
pub struct MemoryStore {
    documents: Arc<Mutex<HashMap<Name, Bytes>>>,
    board: Arc<Board>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { documents: Arc::default(), board: Arc::new(Board::new("memory".into())) }
    }

    fn documents(&self) -> MutexGuard<'_, HashMap<Name, Bytes>> {
        // Nothing under this lock panics half way.
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn read<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move { Ok(self.documents().get(name).cloned()) })
    }

    fn swap<'a>(
        &'a self,
        name: &'a Name,
        expected: Option<&'a Bytes>,
        value: Bytes,
    ) -> BoxFuture<'a, Result<Swap, StoreError>> {
        Box::pin(async move {
            StoreError::unless_small(&value)?;
            let mut documents = self.documents();
            if let Some(swap) = Swap::of(documents.get(name), expected, &value) {
                return Ok(swap);
            }
            documents.insert(name.clone(), value.clone());
            // Still under the lock, so that watchers see the values in their order.
            self.board.post(name, Some(value));
            Ok(Swap::Done)
        })
    }

    fn watch(&self, name: &Name) -> watch::Receiver<Seen> {
        let receiver = self.board.watch(name);
        let documents = self.documents();
        self.board.post(name, documents.get(name).cloned());
        receiver
    }

    fn place(&self) -> &str {
        self.board.place()
    }
}

//! The lock of the shared queue, by itself so that the model checker's can stand in its place.

use std::sync::{Mutex, PoisonError};

/// Held for a few lines, never across an await.
#[derive(Debug)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        // A panic elsewhere must not make every request fail: the queue's steps leave it whole.
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! The lock of the shared queue, by itself so that the model checker's can stand in its place.

use std::hint::spin_loop;
use std::sync::{Mutex, PoisonError, TryLockError};

/// How often a taken lock is tried again before the thread sleeps, and for how long it looks away in between. A step takes
/// some ten nanoseconds: sleeping and being woken costs a hundred times that, and looking all the time
/// takes the memory away from whoever has the lock.
const TRIES: u32 = 20;
const SPINS: u32 = 60;

/// Held for a few lines, never across an await.
#[derive(Debug)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        for _ in 0..TRIES {
            match self.0.try_lock() {
                Ok(mut value) => return run(&mut value),
                Err(TryLockError::WouldBlock) => (0..SPINS).for_each(|_| spin_loop()),
                Err(TryLockError::Poisoned(_)) => break,
            }
        }
        // A panic elsewhere must not make every request fail: the queue's steps leave it whole.
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

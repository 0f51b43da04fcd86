//! The lock of the shared queue, by itself so that the model checker's can stand in its place.

use std::hint::spin_loop;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::yield_now;

/// How often a taken lock is tried again before others are let run, and how often the processor is told to pause in between (some
/// microseconds each time). A step takes some ten nanoseconds, to hand the lock's memory to another core takes several times that: two cores
/// that take turns at every step are slower than one, so whoever finds it taken looks away for the time of many steps.
const TRIES: u32 = 10;
const SPINS: u32 = 200;
/// How often it then lets others run, one of whom has the lock and no core: once threads sleep for a lock, every unlock has one to wake.
const YIELDS: u32 = 50;

/// Held for a few lines, never across an await.
#[derive(Debug)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    #[inline]
    pub(crate) fn with<R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.try_lock().unwrap_or_else(|_| self.wait());
        run(&mut value)
    }

    #[inline(never)]
    fn wait(&self) -> MutexGuard<'_, T> {
        for tries in 0..TRIES + YIELDS {
            match self.0.try_lock() {
                Ok(value) => return value,
                Err(TryLockError::WouldBlock) if tries < TRIES => (0..SPINS).for_each(|_| spin_loop()),
                Err(TryLockError::WouldBlock) => yield_now(),
                Err(TryLockError::Poisoned(_)) => break,
            }
        }
        // A panic elsewhere must not make every request fail: the queue's steps leave it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

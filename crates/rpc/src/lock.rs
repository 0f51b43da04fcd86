//! The lock of the shared queue, by itself so that the model checker's can stand in its place.

use std::hint::spin_loop;
use std::thread::{sleep, yield_now};
use std::time::Duration;

use spinning_top::Spinlock;
use spinning_top::guard::SpinlockGuard;

/// How often a taken lock is tried again before others are let run, and how often the processor is told to pause in between (some
/// microseconds each time). A step takes some ten nanoseconds, to hand the lock's memory to another core takes several times that: two cores
/// that take turns at every step are slower than one, so whoever finds it taken looks away for the time of many steps.
const TRIES: u32 = 10;
const SPINS: u32 = 200;
/// How often it then lets others run, one of whom has the lock and no core.
const YIELDS: u32 = 50;
/// Tries before it sleeps.
const ALL: u32 = TRIES + YIELDS;
/// How long it then sleeps between tries: whoever has the lock may be of lower priority, and not run as long as others want to.
const SLEEP: Duration = Duration::from_micros(50);

/// Held for a few lines, never across an await. Freeing it is a plain store: to exchange, as locks do that keep who sleeps, would be a
/// fifth of a step. A panic under it frees it too: the queue's steps leave it whole, and one must not make every request fail.
#[derive(Debug)]
pub(crate) struct Lock<T>(Spinlock<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Spinlock::new(value))
    }

    #[inline]
    pub(crate) fn with<R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.try_lock().unwrap_or_else(|| self.wait());
        run(&mut value)
    }

    #[inline(never)]
    #[allow(clippy::disallowed_methods, reason = "whoever has the lock may need this very thread's core")]
    fn wait(&self) -> SpinlockGuard<'_, T> {
        let mut tries = 0;
        loop {
            if let Some(value) = self.0.try_lock() {
                return value;
            }
            match tries {
                ..TRIES => (0..SPINS).for_each(|_| spin_loop()),
                TRIES..ALL => yield_now(),
                _ => sleep(SLEEP),
            }
            tries = (tries + 1).min(ALL);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn one_at_a_time() {
        let lock = Arc::new(Lock::new(0u64));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || (0..10_000).for_each(|_| lock.with(|count| *count += 1)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(lock.with(|count| *count), 80_000);
    }

    /// For so long that who waits has spun, yielded and slept.
    #[test]
    fn who_waits_long_gets_it_too() {
        let lock = Arc::new(Lock::new(0));
        let (begin, begun) = channel();
        let other = lock.clone();
        let holder = thread::spawn(move || {
            other.with(|count| {
                begin.send(()).unwrap();
                sleep(Duration::from_millis(50));
                *count += 1;
            });
        });
        begun.recv().unwrap();
        assert_eq!(lock.with(|count| *count), 1);
        holder.join().unwrap();
    }

    #[test]
    fn a_panic_frees_it() {
        let lock = Lock::new(1);
        assert!(catch_unwind(AssertUnwindSafe(|| lock.with(|_| panic!("on purpose")))).is_err());
        assert_eq!(lock.with(|value| *value), 1);
    }
}

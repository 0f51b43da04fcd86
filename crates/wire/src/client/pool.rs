//! Idle connections, newest first: what was used last is the likeliest to be open still.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;

pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    max_idle: usize,
    idle_timeout: Duration,
}

struct Idle {
    link: Link,
    since: Instant,
}

impl Pool {
    pub(super) fn new(max_idle: usize, idle_timeout: Duration) -> Self {
        Self { idle: Mutex::default(), max_idle, idle_timeout }
    }

    /// The newest connection that is still open.
    pub(super) fn take(&self, now: Instant) -> Option<Link> {
        loop {
            let newest = self.lock().pop_back()?;
            let mut link = newest.link;
            if now.saturating_duration_since(newest.since) < self.idle_timeout && link.is_ready() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection if it is good for another call; the oldest ones go where there are too many or they have been idle
    /// for too long.
    pub(super) fn put(&self, mut link: Link) {
        if !link.is_kept() {
            return;
        }
        let since = Instant::now();
        let mut idle = self.lock();
        idle.push_back(Idle { link, since });
        while idle.len() > self.max_idle
            || idle.front().is_some_and(|oldest| since.duration_since(oldest.since) >= self.idle_timeout)
        {
            idle.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        // Nothing that is done under the lock can leave the queue half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

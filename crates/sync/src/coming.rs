//! What one asks for and several wait for. They are told in the order in which they came, so that a run of a simulation is the same
//! every time (tokio's `watch` wakes by lot).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

#[derive(Debug)]
struct Shared<T> {
    told: OnceLock<T>,
    is_gone: AtomicBool,
    wake: Notify,
}

/// Tells it, once. Dropped: it never will.
#[derive(Debug)]
pub struct Tell<T>(Arc<Shared<T>>);

/// Waits for it.
#[derive(Debug)]
pub struct Coming<T>(Arc<Shared<T>>);

impl<T> Clone for Coming<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Both ends.
#[must_use]
pub fn pair<T>() -> (Tell<T>, Coming<T>) {
    let shared = Shared { told: OnceLock::new(), is_gone: AtomicBool::new(false), wake: Notify::new() };
    let shared = Arc::new(shared);
    (Tell(shared.clone()), Coming(shared))
}

impl<T> Tell<T> {
    /// Tells all who wait, and who comes later.
    pub fn tell(self, told: T) {
        // There is one of these, and it is used up.
        let _ = self.0.told.set(told);
    }

    /// Another who waits.
    #[must_use]
    pub fn coming(&self) -> Coming<T> {
        Coming(self.0.clone())
    }
}

impl<T> Drop for Tell<T> {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::SeqCst);
        self.0.wake.notify_waiters();
    }
}

impl<T: Clone> Coming<T> {
    /// What is told; `None`: whoever was to tell is gone without a word.
    pub async fn told(self) -> Option<T> {
        let woken = self.0.wake.notified();
        tokio::pin!(woken);
        // Registered before the look, so that nothing slips between look and wait.
        woken.as_mut().enable();
        if !self.0.is_gone.load(Ordering::SeqCst) {
            woken.await;
        }
        self.now()
    }

    /// What has been told.
    #[must_use]
    pub fn now(&self) -> Option<T> {
        self.0.told.get().cloned()
    }

    /// Nothing was told, and nothing will be.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        self.0.is_gone.load(Ordering::SeqCst) && self.0.told.get().is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[tokio::test]
    async fn all_are_told_in_the_order_in_which_they_came() {
        for _ in 0..20 {
            let (tell, coming) = pair();
            let order: Arc<Mutex<Vec<usize>>> = Arc::default();
            let mut waiting = tokio::task::JoinSet::new();
            for n in 0..16 {
                let (coming, order) = (coming.clone(), order.clone());
                waiting.spawn(async move {
                    assert_eq!(coming.told().await, Some(7));
                    order.lock().unwrap_or_else(PoisonError::into_inner).push(n);
                });
            }
            tokio::task::yield_now().await;
            tell.tell(7);
            waiting.join_all().await;
            assert_eq!(*order.lock().unwrap_or_else(PoisonError::into_inner), (0..16).collect::<Vec<_>>());
            assert_eq!((coming.now(), coming.is_in_vain(), coming.told().await), (Some(7), false, Some(7)));
        }
    }

    #[tokio::test]
    async fn who_goes_without_a_word_keeps_nobody_waiting() {
        let (tell, coming) = pair::<u8>();
        assert!(!coming.is_in_vain());
        let waiting = tokio::spawn(coming.clone().told());
        tokio::task::yield_now().await;
        drop(tell);
        assert_eq!(waiting.await.ok(), Some(None));
        assert!(coming.is_in_vain());
        assert_eq!(coming.told().await, None);
    }
}

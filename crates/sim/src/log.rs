//! What a simulated node was asked, kept for tests to look at.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use mainstay_wire::jwt::Claims;
use tokio::{sync::Notify, time::Instant};

use crate::fault::Family;

/// One call that a node received.
#[derive(Clone)]
pub struct Received {
    /// 0 for the first call that the node ever got; calls of one batch follow each other.
    pub seq: u64,
    /// The method.
    pub method: String,
    /// The call's own bytes (of a batch: this element's).
    pub raw: Bytes,
    /// Its parameters as JSON.
    pub params: Option<Bytes>,
    /// When it had arrived whole.
    pub at: Instant,
    /// The claims of its token; `None` where the node asks for no token.
    pub claims: Option<Claims>,
}

impl Received {
    /// Its method's family.
    pub fn family(&self) -> Family {
        Family::of(&self.method)
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} ({} bytes)", self.seq, self.method, self.raw.len())
    }
}

/// What a log keeps.
pub(crate) trait Entry: Clone {
    /// Its number, counted from 0.
    fn seq(&mut self) -> &mut u64;
    /// About what it holds in memory.
    fn bytes(&self) -> usize;
    /// What it was, in a word.
    fn label(&self) -> String;
}

impl Entry for Received {
    fn seq(&mut self) -> &mut u64 {
        &mut self.seq
    }

    fn bytes(&self) -> usize {
        self.raw.len()
    }

    fn label(&self) -> String {
        self.method.clone()
    }
}

/// What one node was last asked, bounded by number and bytes.
pub(crate) struct Log<T> {
    inner: Mutex<Inner<T>>,
    arrived: Notify,
    most_bytes: usize,
}

/// What an execution client was last asked.
pub(crate) type CallLog = Log<Received>;

struct Inner<T> {
    calls: VecDeque<T>,
    bytes: usize,
    next: u64,
    refused: u64,
}

/// So many calls are kept; older ones go first.
const MOST_CALLS: usize = 4096;
/// So many bytes of calls an execution client keeps.
pub(crate) const MOST_BYTES: usize = 64 << 20;

/// Nothing that a test waited for came in time.
#[derive(Clone, Debug)]
pub struct NotSeen {
    /// How long it waited.
    pub within: Duration,
    /// What was asked instead (methods; or methods and paths), oldest first, at most 32.
    pub seen: Vec<String>,
}

impl fmt::Display for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen.join(", ");
        write!(f, "not seen within {:?}; last calls: [{seen}]", self.within)
    }
}

impl std::error::Error for NotSeen {}

impl<T: Entry> Log<T> {
    pub(crate) fn new(most_bytes: usize) -> Log<T> {
        Log {
            inner: Mutex::new(Inner { calls: VecDeque::new(), bytes: 0, next: 0, refused: 0 }),
            arrived: Notify::new(),
            most_bytes,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an entry and gives its number.
    pub(crate) fn add(&self, mut call: T) -> u64 {
        let mut inner = self.inner();
        let seq = inner.next;
        *call.seq() = seq;
        inner.next += 1;
        inner.bytes += call.bytes();
        inner.calls.push_back(call);
        inner.trim(self.most_bytes);
        drop(inner);
        self.arrived.notify_waiters();
        seq
    }

    /// Writes more into an entry, where it is still kept.
    pub(crate) fn amend(&self, seq: u64, amend: impl FnOnce(&mut T)) {
        let mut guard = self.inner();
        let inner = &mut *guard;
        // It is among the last ones.
        if let Some(call) = inner.calls.iter_mut().rev().find_map(|call| (*call.seq() == seq).then_some(call))
        {
            inner.bytes -= call.bytes();
            amend(call);
            inner.bytes += call.bytes();
            inner.trim(self.most_bytes);
        }
        drop(guard);
        self.arrived.notify_waiters();
    }

    /// Counts a request that got a 401.
    pub(crate) fn refuse(&self) {
        self.inner().refused += 1;
        self.arrived.notify_waiters();
    }

    /// Says that something a waiter may look at has changed.
    pub(crate) fn changed(&self) {
        self.arrived.notify_waiters();
    }

    pub(crate) fn refused(&self) -> u64 {
        self.inner().refused
    }

    pub(crate) fn calls(&self) -> Vec<T> {
        self.inner().calls.iter().cloned().collect()
    }

    pub(crate) fn count(&self, counts: impl Fn(&T) -> bool) -> usize {
        self.inner().calls.iter().filter(|call| counts(call)).count()
    }

    pub(crate) fn clear(&self) {
        let mut inner = self.inner();
        inner.calls.clear();
        inner.bytes = 0;
    }

    /// Waits until `enough` says yes to the calls kept; asked again after every call and change.
    pub(crate) async fn wait_for(
        &self,
        within: Duration,
        mut enough: impl FnMut(&[T]) -> bool,
    ) -> Result<(), NotSeen> {
        let waiting = async {
            loop {
                let arrived = self.arrived.notified();
                tokio::pin!(arrived);
                // Registered before the look, so that nothing slips between look and wait.
                arrived.as_mut().enable();
                if enough(self.inner().calls.make_contiguous()) {
                    return;
                }
                arrived.await;
            }
        };
        match tokio::time::timeout(within, waiting).await {
            Ok(()) => Ok(()),
            Err(_) => Err(NotSeen { within, seen: self.last_labels() }),
        }
    }

    fn last_labels(&self) -> Vec<String> {
        let inner = self.inner();
        let skip = inner.calls.len().saturating_sub(32);
        inner.calls.iter().skip(skip).map(T::label).collect()
    }
}

impl<T: Entry> Inner<T> {
    fn trim(&mut self, most_bytes: usize) {
        while self.calls.len() > MOST_CALLS || self.bytes > most_bytes {
            let Some(oldest) = self.calls.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn call(method: &str, bytes: usize) -> Received {
        Received {
            seq: 0,
            method: method.to_owned(),
            raw: Bytes::from(vec![0; bytes]),
            params: None,
            at: Instant::now(),
            claims: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded_by_number_and_bytes() {
        let log = CallLog::new(MOST_BYTES);
        for _ in 0..MOST_CALLS + 5 {
            log.add(call("eth_chainId", 1));
        }
        assert_eq!(log.calls().len(), MOST_CALLS);
        assert_eq!(log.calls()[0].seq, 5);
        log.add(call("engine_newPayloadV4", MOST_BYTES - 10));
        assert_eq!(log.calls().len(), 11);
        assert_eq!(log.count(|call| call.family() == Family::NewPayload), 1);
        log.clear();
        assert!(log.calls().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_call_or_the_deadline() {
        let log = std::sync::Arc::new(CallLog::new(MOST_BYTES));
        let other = log.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            other.add(call("eth_syncing", 1));
        });
        let start = Instant::now();
        let seen = |calls: &[Received]| calls.iter().any(|call| call.method == "eth_syncing");
        log.wait_for(Duration::from_secs(9), seen).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        let missing = log.wait_for(Duration::from_secs(2), |calls| calls.len() > 1).await;
        let text = missing.unwrap_err().to_string();
        assert_eq!(text, "not seen within 2s; last calls: [eth_syncing]");
    }
}

//! The lock around [`Fanout`], and who is woken by what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_antelope::Frame;
use tokio::sync::Notify;

use crate::clock;
use crate::egress::Leg;
use crate::fanout::{Fanout, Heard};

/// What legs tell each other's nodes. No other lock is taken while this one is held.
#[derive(Default)]
pub(crate) struct Spread(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    fanout: Fanout,
    wakes: BTreeMap<Leg, Arc<Notify>>,
}

/// A leg's end of it, taken back when it is dropped.
pub(crate) struct Line {
    spread: Arc<Spread>,
    leg: Leg,
    wake: Arc<Notify>,
}

impl Spread {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        // What is under the lock is no worse for a panic of who held it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A leg is there.
    pub(crate) fn opened(self: &Arc<Self>, leg: Leg) -> Line {
        let wake = Arc::new(Notify::new());
        let mut lines = self.lines();
        lines.fanout.opened(leg);
        lines.wakes.insert(leg, wake.clone());
        drop(lines);
        Line { spread: self.clone(), leg, wake }
    }
}

impl Line {
    /// Its node has sent a frame.
    pub(crate) fn sent(&self, frame: &Frame) {
        self.spread.lines().fanout.sent(self.leg, frame, clock::now());
    }

    /// Its outer peer has sent one that passes.
    pub(crate) fn heard(&self, frame: &Frame) -> Heard {
        let mut lines = self.spread.lines();
        let heard = lines.fanout.heard(self.leg, frame, clock::now());
        for leg in &heard.told {
            if let Some(wake) = lines.wakes.get(leg) {
                wake.notify_one();
            }
        }
        heard
    }

    /// What waits for its node, in its order.
    pub(crate) fn take(&self) -> VecDeque<Frame> {
        self.spread.lines().fanout.take(self.leg)
    }

    /// Waits until something does.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut lines = self.spread.lines();
        lines.fanout.closed(self.leg);
        lines.wakes.remove(&self.leg);
    }
}

#[cfg(test)]
mod tests {
    use mainstay_antelope::{Id, Version};

    use super::*;
    use crate::frames::{handshake, transaction};

    #[tokio::test]
    async fn who_is_told_is_woken_and_who_is_gone_leaves_nothing() {
        let spread = Arc::new(Spread::default());
        let (a, b) = (spread.opened(Leg(1)), spread.opened(Leg(2)));
        let greeting = handshake(Version::NEWEST, Id::ZERO);
        for line in [&a, &b] {
            line.sent(&greeting);
            line.heard(&greeting);
        }
        let one = transaction(b"one");
        assert_eq!(a.heard(&one).told, [Leg(2)]);
        b.woken().await;
        assert_eq!(b.take(), [one]);
        drop(b);
        assert_eq!(a.heard(&transaction(b"two")), Heard::default());
        assert_eq!(spread.lines().wakes.len(), 1);
    }
}

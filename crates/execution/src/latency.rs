//! How fast a node usually answers: what its straggler wait comes from.

use std::collections::VecDeque;
use std::time::Duration;

/// Answers remembered.
const KEPT: usize = 128;
/// Never wait less for a straggler.
const LEAST: Duration = Duration::from_millis(20);
/// Never wait more; also the wait for a node of which too little is known.
const MOST: Duration = Duration::from_millis(500);
/// Answers needed before the node's own figures are believed.
const ENOUGH: usize = 8;

/// The last answers' times of one node and method family.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    recent: VecDeque<Duration>,
    /// The same, from the shortest on: asked for several times with every call.
    sorted: Vec<Duration>,
}

impl Latency {
    /// Takes an answer's time.
    pub fn add(&mut self, took: Duration) {
        if self.recent.len() == KEPT
            && let Some(oldest) = self.recent.pop_front()
            && let Ok(index) = self.sorted.binary_search(&oldest)
        {
            self.sorted.remove(index);
        }
        self.recent.push_back(took);
        let index = self.sorted.partition_point(|other| *other < took);
        self.sorted.insert(index, took);
    }

    /// The 95th percentile, if anything is known.
    #[must_use]
    pub fn p95(&self) -> Option<Duration> {
        let index = (self.sorted.len() * 95).div_ceil(100).checked_sub(1)?;
        self.sorted.get(index).copied()
    }

    /// How long to wait for it once the majority stands: 1.5 × p95, within 20…500 ms.
    #[must_use]
    pub fn straggler_wait(&self) -> Duration {
        match self.p95() {
            Some(p95) if self.recent.len() >= ENOUGH => (p95 * 3 / 2).clamp(LEAST, MOST),
            _ => MOST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_nodes_own_figures_within_bounds() {
        let mut latency = Latency::default();
        assert_eq!(latency.straggler_wait(), MOST);
        for _ in 0..ENOUGH {
            latency.add(Duration::from_millis(1));
        }
        assert_eq!(latency.straggler_wait(), LEAST);
        for _ in 0..KEPT {
            latency.add(Duration::from_millis(100));
        }
        assert_eq!(latency.straggler_wait(), Duration::from_millis(150));
        for _ in 0..KEPT {
            latency.add(Duration::from_secs(5));
        }
        assert_eq!(latency.straggler_wait(), MOST);
        assert_eq!(latency.recent.len(), KEPT);
    }

    #[test]
    fn one_slow_answer_in_twenty_is_p95_and_fewer_are_not() {
        let mut latency = Latency::default();
        for i in 1..=100 {
            latency.add(Duration::from_millis(i));
        }
        assert_eq!(latency.p95(), Some(Duration::from_millis(95)));
        assert_eq!(Latency::default().p95(), None);
    }

    #[test]
    fn the_sorted_ones_are_the_recent_ones() {
        let mut latency = Latency::default();
        // Equal ones among them, and each leaves in its turn.
        for i in 0..3 * KEPT as u64 {
            latency.add(Duration::from_millis(i * 7919 % 97));
            let mut recent: Vec<Duration> = latency.recent.iter().copied().collect();
            recent.sort_unstable();
            assert_eq!(latency.sorted, recent, "after {i}");
        }
        assert_eq!(latency.sorted.len(), KEPT);
    }
}

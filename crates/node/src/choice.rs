//! Which node is the primary: the one that calls for a single node go to.
//!
//! The first fit node in the order given, primary tier before backup. It changes only when it is no longer fit; an
//! earlier node takes the place back only after it has been fit for `failback_after`. Failing back too early is
//! the second complaint of operators (the first is not failing over).

use std::time::{Duration, Instant};

use crate::spec::Tier;

/// What the choice knows of a node; candidates come in the order given by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Stable identity of the node.
    pub id: u64,
    /// Its tier.
    pub tier: Tier,
    /// Since when it has been fit without a break; `None` if it isn't.
    pub fit_since: Option<Instant>,
    /// It has been fit ever since it was first seen: it has nothing to prove. At start whose first probe ends first must not
    /// decide who is the primary.
    pub never_left: bool,
}

/// The choice, with its memory.
#[derive(Debug)]
pub struct Primary {
    current: Option<u64>,
    failback_after: Duration,
}

impl Primary {
    /// No primary yet.
    #[must_use]
    pub fn new(failback_after: Duration) -> Self {
        Self { current: None, failback_after }
    }

    /// Another time from now on.
    pub fn set_failback_after(&mut self, failback_after: Duration) {
        self.failback_after = failback_after;
    }

    /// The primary at `now`; `None` if no candidate is fit.
    pub fn choose(&mut self, candidates: &[Candidate], now: Instant) -> Option<u64> {
        let best = |ready: &dyn Fn(&Candidate) -> bool| {
            candidates.iter().filter(|c| c.fit_since.is_some() && ready(c)).min_by_key(|c| c.tier)
        };
        let standing = candidates.iter().position(|c| Some(c.id) == self.current && c.fit_since.is_some());
        self.current = match standing {
            None => best(&|_| true).map(|c| c.id),
            Some(place) => {
                let steady = best(&|c| {
                    let fit_for = c.fit_since.map(|since| now.saturating_duration_since(since));
                    c.never_left || fit_for.is_some_and(|d| d >= self.failback_after)
                });
                let incumbent = &candidates[place];
                match steady {
                    Some(c) if rank(candidates, c) < rank(candidates, incumbent) => Some(c.id),
                    _ => Some(incumbent.id),
                }
            }
        };
        self.current
    }

    /// The primary as last chosen.
    #[must_use]
    pub fn current(&self) -> Option<u64> {
        self.current
    }
}

fn rank(candidates: &[Candidate], of: &Candidate) -> (Tier, usize) {
    (of.tier, candidates.iter().position(|c| c.id == of.id).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;
    use proptest::prelude::*;

    const WAIT: Duration = Duration::from_secs(30);

    fn node(id: u64, tier: Tier, fit_since: Option<Instant>) -> Candidate {
        Candidate { id, tier, fit_since, never_left: false }
    }

    #[test]
    fn at_start_the_first_in_order_is_the_primary_whoever_was_probed_first() {
        let t = Instant::now();
        let fresh =
            |id, fit: bool| Candidate { never_left: true, ..node(id, Tier::Primary, fit.then_some(t)) };
        let mut primary = Primary::new(WAIT);
        assert_eq!(primary.choose(&[fresh(0, false), fresh(1, true)], t), Some(1));
        assert_eq!(primary.choose(&[fresh(0, true), fresh(1, true)], t), Some(0));
    }

    #[test]
    fn first_fit_node_of_the_primary_tier() {
        let t = Instant::now();
        let mut primary = Primary::new(WAIT);
        let nodes =
            [node(0, Tier::Backup, Some(t)), node(1, Tier::Primary, None), node(2, Tier::Primary, Some(t))];
        assert_eq!(primary.choose(&nodes, t), Some(2));
        assert_eq!(Primary::new(WAIT).choose(&nodes[..2], t), Some(0));
        assert_eq!(Primary::new(WAIT).choose(&nodes[1..2], t), None);
    }

    #[test]
    fn it_changes_at_once_when_unfit_and_returns_only_after_failback() {
        let t = Instant::now();
        let mut primary = Primary::new(WAIT);
        let both = [node(0, Tier::Primary, Some(t)), node(1, Tier::Primary, Some(t))];
        assert_eq!(primary.choose(&both, t), Some(0));
        let down = [node(0, Tier::Primary, None), node(1, Tier::Primary, Some(t))];
        assert_eq!(primary.choose(&down, t), Some(1));
        let back_at = t + Duration::from_secs(5);
        let back = [node(0, Tier::Primary, Some(back_at)), node(1, Tier::Primary, Some(t))];
        assert_eq!(primary.choose(&back, back_at), Some(1));
        assert_eq!(primary.choose(&back, back_at + WAIT - Duration::from_millis(1)), Some(1));
        assert_eq!(primary.choose(&back, back_at + WAIT), Some(0));
    }

    #[test]
    fn a_faster_or_later_node_never_takes_over_from_a_fit_one() {
        let t = Instant::now();
        let mut primary = Primary::new(WAIT);
        assert_eq!(primary.choose(&[node(0, Tier::Primary, Some(t))], t), Some(0));
        let grown = [node(0, Tier::Primary, Some(t)), node(1, Tier::Primary, Some(t))];
        assert_eq!(primary.choose(&grown, t + WAIT * 10), Some(0));
    }

    proptest! {
        #[test]
        fn the_choice_is_always_fit(steps in prop::collection::vec((prop::collection::vec(any::<bool>(), 4), 0u64..40), 1..40)) {
            let start = Instant::now();
            let mut since: Vec<Option<Instant>> = vec![None; 4];
            let mut now = start;
            let mut primary = Primary::new(WAIT);
            for (fit, seconds) in steps {
                now += Duration::from_secs(seconds);
                for (slot, fit) in since.iter_mut().zip(&fit) {
                    *slot = if *fit { slot.or(Some(now)) } else { None };
                }
                let nodes: Vec<_> = since.iter().enumerate()
                    .map(|(i, s)| node(i as u64, if i == 3 { Tier::Backup } else { Tier::Primary }, *s)).collect();
                let before = primary.current();
                let chosen = primary.choose(&nodes, now);
                prop_assert_eq!(chosen.is_some(), fit.iter().any(|f| *f));
                if let Some(id) = chosen {
                    prop_assert!(nodes[id as usize].fit_since.is_some());
                    // A change away from a fit incumbent goes only to an earlier node that has been fit long enough.
                    if let Some(old) = before.filter(|old| *old != id && nodes[*old as usize].fit_since.is_some()) {
                        prop_assert!(id < old);
                        prop_assert!(nodes[id as usize].fit_since.is_some_and(|s| now - s >= WAIT));
                    }
                }
            }
        }
    }
}

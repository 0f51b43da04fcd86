//! How many handshakes may be under way. Pure.
//!
//! Who opens connections and says nothing takes places. So each source has few, and where all are taken the source with most of them loses its
//! oldest: a node that shakes hands as nodes do is through before anybody can push it out.

use std::collections::VecDeque;

/// Handshakes that may be under way at once.
pub const MOST: usize = 64;
/// And of those, from one source.
pub const MOST_OF_ONE: usize = 8;

/// Handshakes that are under way, oldest first.
#[derive(Debug)]
pub struct Crowd<S> {
    under_way: VecDeque<(u64, S)>,
    next: u64,
}

impl<S> Default for Crowd<S> {
    fn default() -> Self {
        Self { under_way: VecDeque::new(), next: 0 }
    }
}

impl<S: Copy + Eq> Crowd<S> {
    /// One begins: its number, and the one that is to be cut for it, with its source.
    pub fn come(&mut self, source: S) -> (u64, Option<(u64, S)>) {
        let crowded = if self.of(source) >= MOST_OF_ONE {
            Some(source)
        } else if self.under_way.len() >= MOST {
            // The oldest of those with most.
            self.under_way.iter().rev().map(|(_, source)| *source).max_by_key(|source| self.of(*source))
        } else {
            None
        };
        let cut = crowded.and_then(|crowded| {
            let at = self.under_way.iter().position(|(_, source)| *source == crowded)?;
            self.under_way.remove(at)
        });
        let id = self.next;
        self.next += 1;
        self.under_way.push_back((id, source));
        (id, cut)
    }

    /// One is over.
    pub fn done(&mut self, id: u64) {
        self.under_way.retain(|(other, _)| *other != id);
    }

    fn of(&self, source: S) -> usize {
        self.under_way.iter().filter(|(_, other)| *other == source).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_opens_too_many_loses_its_own_oldest() {
        let mut crowd = Crowd::default();
        let (node, _) = crowd.come("node");
        let ids: Vec<u64> = (0..MOST_OF_ONE).map(|_| crowd.come("silent").0).collect();
        for (nth, expected) in ids.iter().enumerate() {
            assert_eq!(crowd.come("silent").1, Some((*expected, "silent")), "{nth}");
        }
        crowd.done(node);
        // Places that were given back are free.
        let mut crowd = Crowd::default();
        for _ in 0..3 * MOST_OF_ONE {
            let (id, cut) = crowd.come("node");
            assert_eq!(cut, None);
            crowd.done(id);
        }
    }

    #[test]
    fn where_all_places_are_taken_the_source_with_most_loses_its_oldest() {
        let mut crowd = Crowd::default();
        let node = crowd.come(1000).0;
        let of_two = [crowd.come(1001).0, crowd.come(1001).0];
        for source in 3..MOST {
            assert_eq!(crowd.come(source).1, None);
        }
        assert_eq!(crowd.come(2000).1, Some((of_two[0], 1001)));
        // All have one now: the oldest of all goes.
        assert_eq!(crowd.come(2001).1, Some((node, 1000)));
    }
}

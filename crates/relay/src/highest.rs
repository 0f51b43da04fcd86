//! A map with a bound.

use std::collections::BTreeMap;

/// Keeps the `LIMIT` highest keys.
///
/// A block's id begins with its number, so of ids it keeps those of the highest blocks: a node that syncs through the relay shows it
/// thousands of old blocks a second, and none of them may push out those that the next one builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Highest<K, V, const LIMIT: usize>(BTreeMap<K, V>);

impl<K, V, const LIMIT: usize> Default for Highest<K, V, LIMIT> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V, const LIMIT: usize> Highest<K, V, LIMIT> {
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.0.insert(key, value);
        if self.0.len() > LIMIT {
            self.0.pop_first();
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub(crate) fn has(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_go() {
        let mut highest = Highest::<u32, (), 3>::default();
        for key in [5, 1, 9, 7, 2, 9] {
            highest.insert(key, ());
        }
        assert_eq!(highest.len(), 3);
        assert!([5, 7, 9].iter().all(|key| highest.has(key)) && !highest.has(&1) && !highest.has(&2));
    }
}

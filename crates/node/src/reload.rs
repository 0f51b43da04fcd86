//! Other settings for a role that runs: what changes between two lists of nodes, and a change that was checked whole and waits to be
//! carried out. Pure.

/// A change that was checked and can't fail any more. Dropped it changes nothing.
#[must_use = "nothing changes before it is applied"]
pub struct Prepared {
    apply: Box<dyn FnOnce() + Send>,
    notes: Vec<String>,
}

impl Prepared {
    /// With what is worth telling beside the keys that differ, without secrets; `apply` doesn't block.
    pub fn new(notes: Vec<String>, apply: impl FnOnce() + Send + 'static) -> Self {
        Self { apply: Box::new(apply), notes }
    }

    /// Does `then` too, after it.
    pub fn and(self, then: impl FnOnce() + Send + 'static) -> Self {
        let Self { apply, notes } = self;
        let both = || {
            apply();
            then();
        };
        Self { apply: Box::new(both), notes }
    }

    /// What is worth telling beside the keys that differ.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Carries it out.
    pub fn apply(self) {
        (self.apply)();
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("notes", &self.notes).finish_non_exhaustive()
    }
}

/// What to do with the nodes that run, so that the difference of two lists of the settings holds for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeChange<T> {
    /// On the new list alone, and not running.
    pub added: Vec<T>,
    /// On the old list alone, and running.
    pub removed: Vec<T>,
    /// On both with other options, or on the new one while somebody else has added it; and running. As the new list has them.
    pub changed: Vec<T>,
}

/// The difference of `before` and `now`, lists of the settings, for the nodes that run. What was added or removed at run time and is on both
/// lists or on neither stays as it is. `same`: they mean one node; `equal`: with the same options.
pub fn node_change<T: Clone, R>(
    before: &[T],
    now: &[T],
    running: &[R],
    same: impl Fn(&T, &T) -> bool,
    equal: impl Fn(&T, &T) -> bool,
    runs_as: impl Fn(&R, &T) -> bool,
) -> NodeChange<T> {
    let runs = |node: &T| running.iter().any(|running| runs_as(running, node));
    let find = |list: &'_ [T], node: &T| list.iter().position(|other| same(other, node));
    let mut change = NodeChange { added: Vec::new(), removed: Vec::new(), changed: Vec::new() };
    for node in now {
        let old = find(before, node).and_then(|at| before.get(at));
        match (old, runs(node)) {
            (None, false) => change.added.push(node.clone()),
            (None, true) => change.changed.push(node.clone()),
            (Some(old), true) if !equal(old, node) => change.changed.push(node.clone()),
            (Some(_), _) => {}
        }
    }
    let gone = before.iter().filter(|node| find(now, node).is_none() && runs(node));
    change.removed.extend(gone.cloned());
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes as `name:option`; running ones by name.
    fn change(before: &[&str], now: &[&str], running: &[&str]) -> [String; 3] {
        let name = |node: &str| node.split(':').next().unwrap_or_default().to_owned();
        let owned = |list: &[&str]| list.iter().map(|node| (*node).to_owned()).collect::<Vec<_>>();
        let change = node_change(
            &owned(before),
            &owned(now),
            running,
            |one, other| name(one) == name(other),
            |one, other| one == other,
            |running, node| *running == name(node),
        );
        [change.added.join(" "), change.removed.join(" "), change.changed.join(" ")]
    }

    #[test]
    fn the_difference_of_the_file_and_nothing_else_is_applied() {
        for (before, now, running, [added, removed, changed], why) in [
            (&["a:1", "b:1"][..], &["a:1", "b:1"][..], &["a", "b"][..], ["", "", ""], "nothing differs"),
            (&["b:1", "a:1"], &["a:1", "b:1"], &["a", "b"], ["", "", ""], "order is no difference of nodes"),
            (&["a:1"], &["a:1", "b:1"], &["a"], ["b:1", "", ""], "one more"),
            (&["a:1", "b:1"], &["a:1"], &["a", "b"], ["", "b:1", ""], "one less"),
            (&["a:1"], &["a:2"], &["a"], ["", "", "a:2"], "other options"),
            (&["a:1"], &["b:1"], &["a"], ["b:1", "a:1", ""], "one for another"),
            (&["a:1"], &["a:1"], &["a", "x"], ["", "", ""], "what the API added stays"),
            (&["a:1", "b:1"], &["a:1", "b:1"], &["a"], ["", "", ""], "what the API removed stays removed"),
            (&["a:1", "b:1"], &["a:1", "b:2"], &["a"], ["", "", ""], "with other options too"),
            (&["a:1", "b:1"], &["a:1"], &["a"], ["", "", ""], "removed by both"),
            (&["a:1"], &["a:1", "x:1"], &["a", "x"], ["", "", "x:1"], "added by both: as the file has it"),
        ] {
            assert_eq!(change(before, now, running), [added, removed, changed], "{why}");
        }
    }

    #[test]
    fn nothing_happens_before_it_is_applied() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU32, Ordering};
        let done = Arc::new(AtomicU32::new(0));
        let prepared = |by: u32| {
            let done = done.clone();
            Prepared::new(vec!["a note".to_owned()], move || {
                done.fetch_add(by, Ordering::Relaxed);
            })
        };
        drop(prepared(1));
        assert_eq!(done.load(Ordering::Relaxed), 0);
        let after = done.clone();
        let both = prepared(2).and(move || {
            after.fetch_add(40, Ordering::Relaxed);
        });
        assert_eq!(both.notes(), ["a note"]);
        both.apply();
        assert_eq!(done.load(Ordering::Relaxed), 42);
    }
}

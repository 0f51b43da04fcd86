//! What differs between two readings of the settings, and whether a reload can change it. Pure.

use mainstay_admin::Changed;
use mainstay_settings::{Difference, Origin, Settings, difference};

/// The settings of one role.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// Its kind.
    pub(super) kind: &'a str,
    /// Which of its kind.
    pub(super) name: &'a str,
    pub(super) settings: &'a Settings,
}

/// What comes of it.
#[derive(Default)]
pub(super) struct Compared {
    /// Every key that differs.
    pub(super) changes: Vec<Changed>,
    /// Those of them that need a restart, and roles that came or went: with one of them nothing may change.
    pub(super) problems: Vec<String>,
    /// For each role of the new settings the place of the one that it was; as many as there are, if there are no problems.
    pub(super) of: Vec<usize>,
}

/// Compares the settings that belong to no role, and those of every role with what they were.
pub(super) fn compare(
    shared_before: &[Settings],
    shared_now: &[Settings],
    before: &[Part<'_>],
    now: &[Part<'_>],
) -> Compared {
    let mut compared = Compared::default();
    for (was, is) in shared_before.iter().zip(shared_now) {
        compared.add(("", ""), difference(was, is));
    }
    let pairs = pairs(before, now);
    for (part, pair) in now.iter().zip(&pairs) {
        match pair.and_then(|at| before.get(at)) {
            Some(was) => compared.add((part.kind, was.name), difference(was.settings, part.settings)),
            None => {
                let what = format!("[{}] {}: one role more, which needs a restart", part.kind, part.name);
                compared.problems.push(what);
            }
        }
    }
    let gone = before.iter().enumerate().filter(|(at, _)| !pairs.contains(&Some(*at)));
    let gone =
        gone.map(|(_, part)| format!("[{}] {}: one role less, which needs a restart", part.kind, part.name));
    compared.problems.extend(gone);
    compared.of = pairs.into_iter().flatten().collect();
    compared
}

/// For each of `now` which of `before` it was: the one of that name; where one of a kind is left on each side, that one, renamed.
fn pairs(before: &[Part<'_>], now: &[Part<'_>]) -> Vec<Option<usize>> {
    let named =
        |part: &Part<'_>| before.iter().position(|was| was.kind == part.kind && was.name == part.name);
    let by_name: Vec<Option<usize>> = now.iter().map(named).collect();
    let pair = |(part, pair): (&Part<'_>, &Option<usize>)| {
        let left = |(at, was): (usize, &Part<'_>)| {
            (was.kind == part.kind && !by_name.contains(&Some(at))).then_some(at)
        };
        let left: Vec<usize> = before.iter().enumerate().filter_map(left).collect();
        let new = now.iter().zip(&by_name).filter(|(other, pair)| other.kind == part.kind && pair.is_none());
        match (pair, left.as_slice(), new.count()) {
            (None, [only], 1) => Some(*only),
            (pair, ..) => *pair,
        }
    };
    now.iter().zip(&by_name).map(pair).collect()
}

impl Compared {
    fn add(&mut self, (role, name): (&str, &str), differences: Vec<Difference>) {
        for one in differences {
            let place = match &one.origin {
                Origin::Default => String::new(),
                origin => format!("{origin}: "),
            };
            if !one.live {
                self.problems.push(format!("{place}{}: needs a restart ({})", one.key, one.would));
            }
            self.changes.push(Changed {
                role: role.to_owned(),
                name: name.to_owned(),
                origin: one.origin.to_string(),
                text: one.to_string(),
                key: one.key,
                was: one.was,
                now: one.now,
            });
        }
    }
}

#[cfg(test)]
mod tests;

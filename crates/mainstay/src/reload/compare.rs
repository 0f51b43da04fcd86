//! What differs between two readings of the settings, and what a reload does about it. Pure.

use mainstay_admin::Changed;
use mainstay_settings::{Difference, Origin, Settings, difference};
use serde_json::Value;

/// The settings of one role.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// Its kind.
    pub(super) kind: &'a str,
    /// Which of its kind.
    pub(super) name: &'a str,
    pub(super) settings: &'a Settings,
    /// Another of it may serve while it ends what it has, so that one with any other settings can take its place.
    pub(super) can_be_replaced: bool,
}

/// What becomes of a role of the new settings; by the place of the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is that one, and takes what differs while it serves.
    Stays(usize),
    /// It is that one with a key that it can't take while it serves: another takes its place.
    Replaces(usize),
    /// It was not there.
    New,
}

/// What comes of it.
#[derive(Default)]
pub(super) struct Compared {
    /// Every key that differs, and every role that comes, goes or takes the place of another.
    pub(super) changes: Vec<Changed>,
    /// Those of them that need a restart: with one of them nothing may change.
    pub(super) problems: Vec<String>,
    /// What becomes of each role of the new settings.
    pub(super) fates: Vec<Fate>,
    /// The places of those that the new settings don't have.
    pub(super) gone: Vec<usize>,
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
        let differences = difference(was, is);
        compared.refuse(&differences);
        compared.add(("", ""), differences);
    }
    let pairs = pairs(before, now);
    for (part, pair) in now.iter().zip(&pairs) {
        let Some((at, was)) = pair.and_then(|at| Some((at, before.get(at)?))) else {
            compared.changes.push(of_role(part, "one role more"));
            compared.fates.push(Fate::New);
            continue;
        };
        let differences = difference(was.settings, part.settings);
        let is_live = differences.iter().all(|one| one.live);
        if !was.can_be_replaced {
            compared.refuse(&differences);
        }
        compared.add((part.kind, was.name), differences);
        if is_live || !was.can_be_replaced {
            compared.fates.push(Fate::Stays(at));
        } else {
            compared.changes.push(of_role(part, "started anew, the one before ends what it has"));
            compared.fates.push(Fate::Replaces(at));
        }
    }
    for (at, part) in before.iter().enumerate().filter(|(at, _)| !pairs.contains(&Some(*at))) {
        compared.changes.push(of_role(part, "one role less, which ends what it has"));
        compared.gone.push(at);
    }
    compared
}

/// Something that no key says.
fn of_role(part: &Part<'_>, what: &str) -> Changed {
    noted(part.kind, part.name, &format!("[{}] {}: {what}", part.kind, part.name))
}

/// The same, in these words.
pub(super) fn noted(role: &str, name: &str, text: &str) -> Changed {
    Changed {
        role: role.to_owned(),
        name: name.to_owned(),
        key: String::new(),
        origin: String::new(),
        was: Value::Null,
        now: Value::Null,
        text: text.to_owned(),
    }
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
    /// What of these can't hold before a restart is a problem.
    fn refuse(&mut self, differences: &[Difference]) {
        for one in differences.iter().filter(|one| !one.live) {
            let place = match &one.origin {
                Origin::Default => String::new(),
                origin => format!("{origin}: "),
            };
            self.problems.push(format!("{place}{}: needs a restart ({})", one.key, one.would));
        }
    }

    fn add(&mut self, (role, name): (&str, &str), differences: Vec<Difference>) {
        let changed = |one: Difference| Changed {
            role: role.to_owned(),
            name: name.to_owned(),
            origin: one.origin.to_string(),
            text: one.to_string(),
            key: one.key,
            was: one.was,
            now: one.now,
        };
        self.changes.extend(differences.into_iter().map(changed));
    }
}

#[cfg(test)]
mod tests;

//! What a section came to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kind::{Read, Value};
use crate::listen::Listen;
use crate::origin::{Origin, Problem};
use crate::table::{Key, Section};

/// The resolved value of one key.
pub(crate) struct Entry {
    /// One for a scalar, any number for a list.
    pub(crate) values: Vec<Read>,
    pub(crate) origin: Origin,
    /// Where each of `values` stands; as long as `values`.
    pub(crate) item_origins: Vec<Origin>,
}

/// One resolved section. Every value has been checked against its key's kind, so a getter gives
/// `None` only where the key is not set (or is a word such as `"off"` in the place of the kind).
///
/// A getter asked for a key that the table does not have gives `None` too, and fails in debug builds.
pub struct Settings {
    pub(crate) section: &'static Section,
    pub(crate) entries: BTreeMap<&'static str, Entry>,
    /// The tables of each key of [`crate::Kind::Tables`], in the order of the file.
    pub(crate) tables: BTreeMap<&'static str, Vec<Settings>>,
    /// Keys of which a problem has been told; their value is the default.
    pub(crate) broken: Vec<&'static str>,
}

impl Settings {
    /// The table that this was resolved against.
    pub fn section(&self) -> &'static Section {
        self.section
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        debug_assert!(self.section.key(name).is_some(), "[{}] has no key {name}", self.section.name);
        self.entries.get(name)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        Some(&self.entry(name)?.values.first()?.value)
    }

    /// The value as it was written (trimmed), whatever its kind; not for lists of more than one.
    pub fn text(&self, name: &str) -> Option<&str> {
        Some(&self.entry(name)?.values.first()?.text)
    }

    /// A path; one that stood in a file has become relative to that file's folder.
    pub fn path(&self, name: &str) -> Option<&Path> {
        match self.value(name)? {
            Value::Path(path) => Some(path),
            _ => None,
        }
    }

    /// An address to listen on.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        match self.value(name)? {
            Value::Address(address) => Some(*address),
            _ => None,
        }
    }

    /// Where to listen: an address or a unix socket.
    pub fn listen(&self, name: &str) -> Option<Listen> {
        match self.value(name)? {
            Value::Listen(listen) => Some(listen.clone()),
            _ => None,
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.value(name)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A duration.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name)? {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    /// A number of bytes.
    pub fn size(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Size(bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// On or off; off where it is not set.
    pub fn switch(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Switch(true)))
    }

    /// The items of a list as they were written (trimmed); empty where it is not set.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.entry(name)
            .map_or_else(Vec::new, |entry| entry.values.iter().map(|read| read.text.clone()).collect())
    }

    /// The paths of a list of paths, located as [`Settings::path`] does.
    pub fn paths(&self, name: &str) -> Vec<PathBuf> {
        let values = self.entry(name).map_or(&[][..], |entry| &entry.values);
        values
            .iter()
            .filter_map(|read| match &read.value {
                Value::Path(path) => Some(path.clone()),
                _ => None,
            })
            .collect()
    }

    /// The tables inside this section under `name`, `[[rpc.rule]]`, in the order of the file.
    pub fn tables(&self, name: &str) -> &[Self] {
        self.tables.get(name).map_or(&[], Vec::as_slice)
    }

    /// Where the value came from; that of a list as a whole.
    pub fn origin(&self, name: &str) -> &Origin {
        self.entry(name).map_or(&Origin::Default, |entry| &entry.origin)
    }

    /// Where the item at `index` of a list stands.
    pub fn item_origin(&self, name: &str, index: usize) -> &Origin {
        self.entry(name).and_then(|entry| entry.item_origins.get(index)).unwrap_or(&Origin::Default)
    }

    /// Whether somebody set it: flag, variable or file.
    pub fn is_set(&self, name: &str) -> bool {
        *self.origin(name) != Origin::Default
    }

    /// Something that a role finds wrong with a value.
    pub fn problem(&self, name: &str, what: impl Into<String>) -> Problem {
        Problem { origin: self.origin(name).clone(), key: self.section.title(name), what: what.into() }
    }

    /// Something that a role finds wrong with the item at `index` of a list. Says which item it is where the place doesn't.
    pub fn item_problem(&self, name: &str, index: usize, what: impl Into<String>) -> Problem {
        let origin = self.item_origin(name, index);
        let items = self.entry(name).map_or(&[][..], |entry| &entry.item_origins);
        let mut what = what.into();
        if items.iter().filter(|other| *other == origin).count() > 1 {
            what = format!("item {}: {what}", index + 1);
        }
        Problem { origin: origin.clone(), ..self.problem(name, what) }
    }

    /// Lets a role validate further, and drops what it says of keys that are known to be wrong.
    pub fn validate<T>(
        &self,
        problems: &mut Vec<Problem>,
        role: impl FnOnce(&Self, &mut Vec<Problem>) -> Option<T>,
    ) -> Option<T> {
        let mut found = Vec::new();
        let built = role(self, &mut found);
        let told: Vec<String> = self.broken.iter().map(|key| self.section.title(key)).collect();
        let inner = || self.tables.values().flatten();
        let complete =
            found.is_empty() && self.broken.is_empty() && inner().all(|table| table.broken.is_empty());
        let told_inside = |problem: &Problem| {
            inner().any(|table| {
                let same = |key: &&str| {
                    table.section.title(key) == problem.key && *table.origin(key) == problem.origin
                };
                table.broken.iter().any(same)
            })
        };
        found.retain(|problem| !told.contains(&problem.key) && !told_inside(problem));
        problems.extend(found);
        built.filter(|_| complete)
    }

    /// Every key of the table with its entry, in the table's order.
    pub(crate) fn listing(&self) -> impl Iterator<Item = (&'static Key, Option<&Entry>)> {
        let plain = self.section.keys.iter().filter(|key| !matches!(key.kind, crate::Kind::Tables(_)));
        plain.map(|key| (key, self.entries.get(key.name)))
    }
}

impl fmt::Debug for Settings {
    /// As `mainstay config` shows it: without sensitive values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.section.name, crate::describe_json(self))
    }
}

//! Flag over variable over file over default, with every problem collected.

use std::collections::BTreeMap;

use crate::file::{File, Instance};
use crate::kind::{Kind, Read, Value};
use crate::nearest;
use crate::node::{Node, NodeValue};
use crate::origin::{Origin, Problem, redact};
use crate::settings::{Entry, Settings};
use crate::table::{Key, Scope, Section};

/// The environment, as far as it can be read as text.
pub type Variables = BTreeMap<String, String>;

/// What the command line says where there is none.
static NO_FLAGS: Flags = Flags { given: BTreeMap::new() };

/// What the command line said of one section.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    given: BTreeMap<String, (String, Vec<String>)>,
}

impl Flags {
    /// Notes the values of `flag` (as messages should call it, with its dashes) for `key`.
    /// A list may have several; of others the last counts.
    pub fn set(&mut self, key: &str, flag: impl Into<String>, values: Vec<String>) {
        self.given.insert(key.to_owned(), (flag.into(), values));
    }

    /// Whether `key` was given.
    pub fn has(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }
}

/// Where the values of one section instance come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The section of the file.
    pub file: Option<Instance<'a>>,
    /// The environment. A variable that is set to nothing counts as not set. `None`: this instance
    /// takes none (one of several `[[engine]]`).
    pub variables: Option<&'a Variables>,
    /// More variables to look at, as (key, variable), where the key's own is not set.
    pub fallbacks: &'a [(&'a str, &'a str)],
    /// The command line.
    pub flags: &'a Flags,
}

impl Default for Sources<'_> {
    /// None: all keys have their defaults.
    fn default() -> Self {
        Self { file: None, variables: None, fallbacks: &[], flags: &NO_FLAGS }
    }
}

/// Resolves one instance of `section`. What is wrong is added to `problems`; the key then has its
/// default, so that a role can look at the rest and more problems are found at once. Nothing may be
/// started while there is a problem.
pub fn resolve(section: &'static Section, sources: &Sources<'_>, problems: &mut Vec<Problem>) -> Settings {
    let mut settings =
        Settings { section, entries: BTreeMap::new(), tables: BTreeMap::new(), broken: Vec::new() };
    for key in section.keys {
        if let Kind::Tables(inner) = key.kind {
            let mut found = Vec::new();
            settings.tables.insert(key.name, inner_tables(section, key, inner, sources, &mut found));
            problems.append(&mut found);
            continue;
        }
        let mut found = Vec::new();
        let entry = set_value(section, key, sources, &mut found);
        if !found.is_empty() {
            settings.broken.push(key.name);
        }
        problems.append(&mut found);
        match entry.or_else(|| default_value(section, key, problems)) {
            Some(entry) => {
                if key.required && entry.values.is_empty() {
                    settings.broken.push(key.name);
                    problems.push(Problem {
                        origin: entry.origin.clone(),
                        key: section.title(key.name),
                        what: format!("is empty, expected {}", key.kind.expected()),
                    });
                }
                settings.entries.insert(key.name, entry);
            }
            None if key.required && !settings.broken.contains(&key.name) => {
                settings.broken.push(key.name);
                problems.push(missing(section, key, sources));
            }
            None => {}
        }
    }
    if let Some(instance) = sources.file {
        unknown_entries(section, instance, problems);
    }
    settings
}

/// The tables inside a section that the file has under `key`.
fn inner_tables(
    section: &Section,
    key: &Key,
    inner: &'static Section,
    sources: &Sources<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Settings> {
    let Some((instance, entry)) = sources.file.and_then(|file| Some((file, file.entry(key.name)?))) else {
        return Vec::new();
    };
    let Some(tables) = instance.inner(entry) else {
        problems.push(Problem {
            origin: instance.file.origin(entry.at),
            key: section.title(key.name),
            what: format!("expected {}", key.kind.expected()),
        });
        return Vec::new();
    };
    let flags = Flags::default();
    let one = |table| Sources { file: Some(table), variables: None, fallbacks: &[], flags: &flags };
    tables.into_iter().map(|table| resolve(inner, &one(table), problems)).collect()
}

/// The value that somebody set, from the strongest source that has one.
fn set_value(
    section: &Section,
    key: &Key,
    sources: &Sources<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    if let Some((flag, values)) = sources.flags.given.get(key.name) {
        return from_text(section, key, Origin::Flag(flag.clone()), values, problems);
    }
    if let Some(variables) = sources.variables {
        let own = section.variable(key.name);
        let others = sources.fallbacks.iter().filter(|(name, _)| *name == key.name);
        for name in std::iter::once(own.as_str()).chain(others.map(|(_, variable)| *variable)) {
            if let Some(value) = variables.get(name).filter(|value| !value.trim().is_empty()) {
                let origin = Origin::Variable(name.to_owned());
                return from_text(section, key, origin, std::slice::from_ref(value), problems);
            }
        }
    }
    let instance = sources.file?;
    from_file(section, key, instance.file, &instance.entry(key.name)?.node, problems)
}

fn default_value(section: &Section, key: &Key, problems: &mut Vec<Problem>) -> Option<Entry> {
    let text = key.default?.to_owned();
    from_text(section, key, Origin::Default, &[text], problems)
}

/// Reads what a flag or a variable says.
fn from_text(
    section: &Section,
    key: &Key,
    origin: Origin,
    values: &[String],
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    let mut items = Collected::new(section, key);
    if let Kind::List(kind) = key.kind {
        for item in values.iter().flat_map(|value| value.split(',')) {
            items.take(origin.clone(), kind.read_text(item), problems);
        }
    } else if let Some(value) = values.last() {
        items.take(origin.clone(), key.kind.read_text(value), problems);
    }
    items.finish(origin)
}

/// Reads what the file says.
fn from_file(
    section: &Section,
    key: &Key,
    file: &File,
    node: &Node,
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    let origin = file.origin(node.at);
    let mut items = Collected::new(section, key);
    match (&key.kind, &node.value) {
        (Kind::List(item), NodeValue::List(array)) => {
            for element in array {
                items.take(file.origin(element.at), item.read_toml(&element.value), problems);
            }
        }
        (Kind::List(item), NodeValue::Text(text)) => {
            for part in text.split(',') {
                items.take(origin.clone(), item.read_text(part), problems);
            }
        }
        (Kind::List(_), other) => {
            // A single number or switch is no list: say what a list looks like.
            let told = key.kind.read_toml(other);
            items.take(origin.clone(), told, problems);
        }
        (kind, value) => items.take(origin.clone(), kind.read_toml(value), problems),
    }
    items.finish(origin)
}

/// The values of one key while they are read.
struct Collected<'a> {
    section: &'a Section,
    key: &'a Key,
    values: Vec<Read>,
    origins: Vec<Origin>,
    failed: bool,
}

impl<'a> Collected<'a> {
    fn new(section: &'a Section, key: &'a Key) -> Self {
        Self { section, key, values: Vec::new(), origins: Vec::new(), failed: false }
    }

    fn take(&mut self, origin: Origin, read: Result<Read, String>, problems: &mut Vec<Problem>) {
        match read {
            Ok(mut read) => {
                if let Value::Path(path) = &mut read.value {
                    *path = origin.locate(path);
                }
                self.values.push(read);
                self.origins.push(origin);
            }
            Err(what) => {
                self.failed = true;
                let what = if self.key.sensitive {
                    format!("expected {}", self.key.kind.item().expected())
                } else {
                    what
                };
                problems.push(Problem { origin, key: self.section.title(self.key.name), what });
            }
        }
    }

    fn finish(self, origin: Origin) -> Option<Entry> {
        (!self.failed).then_some(Entry { values: self.values, origin, item_origins: self.origins })
    }
}

fn missing(section: &Section, key: &Key, sources: &Sources<'_>) -> Problem {
    let what = if section.scope == Scope::Nested {
        "is missing".to_owned()
    } else {
        let flag = section.flag(key.name);
        let variable = section.variable(key.name);
        format!("is missing, give --{flag}, {variable} or `{}` in the config file", key.name)
    };
    Problem {
        origin: sources.file.map_or(Origin::Default, |instance| instance.origin()),
        key: section.title(key.name),
        what,
    }
}

fn unknown_entries(section: &Section, instance: Instance<'_>, problems: &mut Vec<Problem>) {
    if section.scope == Scope::Top {
        return; // `check_file` knows the sections too.
    }
    for entry in &instance.table.0 {
        if section.key(&entry.name).is_none() {
            let keys = section.keys.iter().map(|key| key.name);
            problems.push(Problem {
                origin: instance.file.origin(entry.at),
                key: section.title(&shown(&entry.name)),
                what: unknown("unknown key", &entry.name, keys),
            });
        }
    }
}

/// Looks for entries of the file that are neither a section nor a key at the top, and for sections
/// that are not tables. `sections` are all that exist.
pub fn check_file(file: &File, sections: &[&'static Section], problems: &mut Vec<Problem>) {
    let is_top = |name: &str| {
        sections.iter().any(|section| section.scope == Scope::Top && section.key(name).is_some())
    };
    for entry in &file.table.0 {
        let text = entry.name.as_str();
        if is_top(text) {
            continue;
        }
        let mut problem = |origin, key: String, what: String| problems.push(Problem { origin, key, what });
        let origin = file.origin(entry.at);
        let section = sections.iter().find(|section| section.scope != Scope::Top && section.name == text);
        let looks_like_section = match &entry.node.value {
            NodeValue::Table(_) => true,
            NodeValue::List(items) => {
                !items.is_empty() && items.iter().all(|item| matches!(item.value, NodeValue::Table(_)))
            }
            _ => false,
        };
        match section {
            Some(section) => match &entry.node.value {
                NodeValue::Table(_) => {}
                NodeValue::List(_) if looks_like_section && section.scope == Scope::Role => {}
                NodeValue::List(_) if looks_like_section => {
                    problem(origin, format!("[{text}]"), format!("there is only one, write [{text}]"));
                }
                _ => problem(origin, text.to_owned(), format!("is a section, write [{text}]")),
            },
            None if looks_like_section => {
                let names = sections.iter().map(|section| section.name).filter(|name| !name.is_empty());
                problem(origin, format!("[{}]", shown(text)), unknown("unknown section", text, names));
            }
            None => {
                let tops = sections.iter().filter(|section| section.scope == Scope::Top);
                let keys = tops.flat_map(|section| section.keys).map(|key| key.name);
                let home = sections
                    .iter()
                    .find(|section| section.scope != Scope::Top && section.key(text).is_some());
                let what = match home {
                    Some(section) => format!("unknown key here, it belongs under [{}]", section.name),
                    None => unknown("unknown key", text, keys),
                };
                problem(origin, shown(text), what);
            }
        }
    }
}

/// Looks for `MAINSTAY_…` variables that nothing reads. `sections` are all that exist, each with how
/// many instances there are: a role's variable with none or with several is a problem too, as it
/// could not mean one of them.
///
/// `also` are variables that are read elsewhere (`MAINSTAY_CONFIG`). What Kubernetes sets for a
/// service called mainstay is passed over.
pub fn check_variables(
    variables: &Variables,
    sections: &[(&'static Section, usize)],
    also: &[&str],
    problems: &mut Vec<Problem>,
) {
    let known: Vec<(String, &Section, usize)> = sections
        .iter()
        .flat_map(|(section, count)| {
            section.plain_keys().map(|key| (section.variable(key.name), *section, *count))
        })
        .collect();
    for (name, value) in variables {
        if !name.starts_with("MAINSTAY_") || also.contains(&name.as_str()) {
            continue;
        }
        let mut problem = |what: String| {
            problems.push(Problem { origin: Origin::Variable(name.clone()), key: String::new(), what });
        };
        match known.iter().find(|(known, ..)| known == name) {
            Some((_, section, 0)) if section.scope == Scope::Role => problem(format!(
                "there is no [{0}] for it to be set in, add [{0}] to the config file or unset it",
                section.name
            )),
            Some((_, section, count)) if section.scope == Scope::Role && *count > 1 => problem(format!(
                "there are {count} [[{0}]] in the config file and it could mean any of them, set it in the file",
                section.name
            )),
            Some(_) => {}
            None if from_kubernetes(name, value) => {}
            None => {
                let names = known.iter().map(|(known, ..)| known.as_str());
                problem(unknown("unknown variable", name, names.chain(also.iter().copied())));
            }
        }
    }
}

/// `MAINSTAY_SERVICE_HOST`, `MAINSTAY_PORT_7000_TCP_ADDR` and their like are set in every pod that
/// runs beside a service of this name.
fn from_kubernetes(name: &str, value: &str) -> bool {
    let port_of_service =
        name.split_once("_PORT_").and_then(|(_, rest)| rest.split_once('_')).is_some_and(|(port, rest)| {
            port.bytes().all(|byte| byte.is_ascii_digit())
                && ["TCP", "UDP", "SCTP"].iter().any(|protocol| rest.starts_with(protocol))
        });
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || port_of_service
        || (name.ends_with("_PORT") && value.contains("://"))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("{what}, did you mean `{near}`?"),
        None => {
            let all: Vec<&str> = known.take(24).collect();
            format!("{what}, known are: {}", all.join(", "))
        }
    }
}

/// A name out of a file, fit for one line of a message.
fn shown(name: &str) -> String {
    let line: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    redact(&line)
}

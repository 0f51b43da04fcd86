//! What a section says now that it didn't say before. Pure.

use std::fmt;

use serde_json::{Value as Json, json};

use crate::describe::{HIDDEN, shown};
use crate::kind::Kind;
use crate::origin::Origin;
use crate::settings::{Entry, Settings};
use crate::table::Key;

/// A key that has another value than before. Neither its texts nor its values hold anything secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// As messages call the key, `[engine] majority`.
    pub key: String,
    /// Where the new value stands; where nobody sets it any more, where the section does.
    pub origin: Origin,
    /// Whether a reload can give the key another value, see [`Key::live`].
    pub live: bool,
    /// The value before; null: it wasn't set.
    pub was: Json,
    /// The value now.
    pub now: Json,
    /// The two in words: `3 (was 2)`, `+ http://b, - http://a`.
    pub words: String,
    /// The same as long as it doesn't hold: `was 2, would be 3`.
    pub would: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.words)
    }
}

/// Every key whose value differs, in the order of the table. A value that was only written otherwise (`1s`, `1000ms`), or comes from
/// another place, is the same. Both have to be of one section.
#[must_use]
pub fn difference(before: &Settings, now: &Settings) -> Vec<Difference> {
    let mut found = Vec::new();
    for key in now.section.keys {
        if matches!(key.kind, Kind::Tables(_)) {
            of_tables(key, before, now, &mut found);
            continue;
        }
        let (was, is) = (before.entries.get(key.name), now.entries.get(key.name));
        if !is_same(was, is) {
            found.push(of_key(key, now, was, is));
        }
    }
    found
}

fn is_same(was: Option<&Entry>, is: Option<&Entry>) -> bool {
    let values = |entry: Option<&Entry>| -> Vec<_> {
        entry.map_or_else(Vec::new, |entry| entry.values.iter().map(|read| read.value.clone()).collect())
    };
    values(was) == values(is)
}

fn of_key(key: &Key, now: &Settings, was: Option<&Entry>, is: Option<&Entry>) -> Difference {
    let value = |entry: Option<&Entry>| entry.map_or(Json::Null, |entry| shown(key, entry));
    let (before, after) = (value(was), value(is));
    let words = match (&before, &after) {
        _ if key.sensitive => format!("another value ({HIDDEN})"),
        (Json::Array(before), Json::Array(after)) => of_items(before, after),
        (Json::Array(before), Json::Null) => of_items(before, &[]),
        (Json::Null, Json::Array(after)) => of_items(&[], after),
        _ if before == after => "another value, of which what is secret isn't shown".to_owned(),
        _ => format!("{} (was {})", word(&after), word(&before)),
    };
    let is_list = before.is_array() || after.is_array();
    let plain = !is_list && !key.sensitive && before != after;
    let would = if plain { would(&before, &after) } else { words.clone() };
    Difference {
        key: now.section.title(key.name),
        origin: now.origin(key.name).clone(),
        live: key.live,
        was: before,
        now: after,
        words,
        would,
    }
}

fn would(was: &Json, now: &Json) -> String {
    format!("was {}, would be {}", word(was), word(now))
}

/// Of lists: what came and what went.
fn of_items(before: &[Json], after: &[Json]) -> String {
    let lacks = |items: &[Json], of: &Json| !items.contains(of);
    let came = after.iter().filter(|item| lacks(before, item)).map(|item| format!("+ {}", word(item)));
    let went = before.iter().filter(|item| lacks(after, item)).map(|item| format!("- {}", word(item)));
    let all: Vec<String> = came.chain(went).collect();
    if !all.is_empty() {
        return all.join(", ");
    }
    if before != after && before.len() == after.len() {
        return "in another order".to_owned();
    }
    "other values, of which what is secret isn't shown".to_owned()
}

fn word(value: &Json) -> String {
    match value {
        Json::Null => "not set".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Where a table stands, as far as a key of it says so.
fn place(table: &Settings) -> Origin {
    let origins = table.entries.values().map(|entry| &entry.origin);
    origins
        .filter(|origin| **origin != Origin::Default)
        .min_by_key(|origin| match origin {
            Origin::File { line, .. } => *line,
            _ => usize::MAX,
        })
        .cloned()
        .unwrap_or(Origin::Default)
}

/// Of tables inside the section. The nth is compared with the nth.
fn of_tables(key: &Key, before: &Settings, now: &Settings, found: &mut Vec<Difference>) {
    let (was, is) = (before.tables(key.name), now.tables(key.name));
    if was.len() == is.len() {
        let inner = was
            .iter()
            .zip(is)
            .enumerate()
            .flat_map(|(nth, (was, is))| difference(was, is).into_iter().map(move |one| (nth, one)));
        found.extend(inner.map(|(nth, one)| Difference {
            key: if is.len() > 1 { format!("{} (table {})", one.key, nth + 1) } else { one.key },
            ..one
        }));
        return;
    }
    let count = |tables: &[Settings]| match tables.len() {
        1 => "1 table".to_owned(),
        many => format!("{many} tables"),
    };
    let (before, after) = (json!(count(was)), json!(count(is)));
    found.push(Difference {
        key: now.section.title(key.name),
        origin: is.last().map_or(Origin::Default, place),
        live: key.live,
        words: format!("{} (was {})", word(&after), word(&before)),
        would: would(&before, &after),
        was: before,
        now: after,
    });
}

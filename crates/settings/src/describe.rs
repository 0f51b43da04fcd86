//! The resolved settings, to be shown: where each value came from, secrets left out.

use serde_json::{Map, Value as Json, json};

use crate::kind::{Kind, Value};
use crate::origin::redact;
use crate::settings::{Entry, Settings};
use crate::table::{Key, Scope};

/// What stands in the place of a value that is not shown.
pub(crate) const HIDDEN: &str = "<set>";

/// Every key of the section as `{"value": …, "origin": "mainstay.toml:7"}`; a key that is not set has
/// the value null.
pub fn describe_json(settings: &Settings) -> Json {
    let mut keys = Map::new();
    for (key, entry) in settings.listing() {
        let described = match entry {
            Some(entry) => json!({"value": shown(key, entry), "origin": entry.origin.to_string()}),
            None => json!({"value": null, "origin": "not set"}),
        };
        keys.insert(key.name.to_owned(), described);
    }
    for (name, tables) in &settings.tables {
        keys.insert((*name).to_owned(), tables.iter().map(describe_json).collect());
    }
    Json::Object(keys)
}

/// The section as it would stand in a file, with a comment after each value that says where it came
/// from. `many`: as `[[engine]]` instead of `[engine]`.
pub fn describe_toml(settings: &Settings, many: bool) -> String {
    let section = settings.section;
    let mut text = match section.scope {
        Scope::Top => String::new(),
        Scope::Role if many => format!("[[{}]]\n", section.name),
        Scope::Role | Scope::Shared => format!("[{}]\n", section.name),
        Scope::Nested => format!("\n[[{}]]\n", section.name),
    };
    for (key, entry) in settings.listing() {
        match entry {
            Some(entry) => {
                let value = toml_text(&shown(key, entry));
                text.push_str(&format!("{} = {value} # {}\n", key.name, entry.origin));
            }
            None => text.push_str(&format!("# {} is not set\n", key.name)),
        }
    }
    for table in settings.tables.values().flatten() {
        text.push_str(&describe_toml(table, false));
    }
    text
}

pub(crate) fn shown(key: &Key, entry: &Entry) -> Json {
    let item = |value: &Value, text: &str| match value {
        _ if key.sensitive => json!(HIDDEN),
        Value::Integer(number) => json!(number),
        Value::Number(number) => json!(number),
        Value::Switch(on) => json!(on),
        Value::Path(path) => json!(path.to_string_lossy()),
        Value::Size(_) | Value::Duration(_) | Value::Address(_) | Value::Listen(_) | Value::Text(_) => {
            json!(redact(text))
        }
    };
    let mut items = entry.values.iter().map(|read| item(&read.value, &read.text));
    match key.kind {
        Kind::List(_) => Json::Array(items.collect()),
        _ => items.next().unwrap_or(Json::Null),
    }
}

/// JSON's strings, numbers, booleans and arrays of them are TOML's too, but for one escape.
fn toml_text(value: &Json) -> String {
    match value {
        Json::String(text) => toml::Value::String(text.clone()).to_string(),
        Json::Array(items) if items.len() > 1 => {
            let items: Vec<String> = items.iter().map(|item| format!("  {},\n", toml_text(item))).collect();
            format!("[\n{}]", items.concat())
        }
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_text).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

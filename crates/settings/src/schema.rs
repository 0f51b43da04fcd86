//! The JSON Schema (draft 2020-12) of the config file, from the tables.

use serde_json::{Map, Value as Json, json};

use crate::kind::Kind;
use crate::table::{Key, Scope, Section};

/// The schema of a file with these sections. A role may stand once or, as an array, several times.
pub fn schema(title: &str, sections: &[&'static Section]) -> Json {
    let mut properties = Map::new();
    let mut definitions = Map::new();
    for section in sections {
        match section.scope {
            Scope::Top => {
                for key in section.keys {
                    properties.insert(key.name.to_owned(), property(section, key));
                }
            }
            Scope::Shared | Scope::Role => {
                let reference = json!({"$ref": format!("#/$defs/{}", section.name)});
                let property = if section.scope == Scope::Role {
                    json!({"anyOf": [reference, {"type": "array", "items": reference, "minItems": 1}]})
                } else {
                    reference
                };
                properties.insert(section.name.to_owned(), property);
                definitions.insert(section.name.to_owned(), table(section));
                for key in section.keys {
                    if let Kind::Tables(inner) = key.kind {
                        definitions.insert(inner.name.to_owned(), table(inner));
                    }
                }
            }
            // Stands inside the section that has it.
            Scope::Nested => {}
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": definitions,
    })
}

fn table(section: &Section) -> Json {
    let properties: Map<String, Json> =
        section.keys.iter().map(|key| (key.name.to_owned(), property(section, key))).collect();
    // Nothing is `required`: a variable can give what the file leaves out.
    json!({
        "description": section.about,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn property(section: &Section, key: &Key) -> Json {
    let mut property = kind(&key.kind);
    if let Json::Object(fields) = &mut property {
        let required = if key.required { "Required. " } else { "" };
        let changes = if key.live { ". Changed by a reload" } else { "" };
        let mut description = format!("{required}{}{changes}", key.help);
        if section.plain_keys().any(|plain| plain.name == key.name) {
            let (flag, variable) = (section.flag(key.name), section.variable(key.name));
            description.push_str(&format!(". Flag --{flag}, variable {variable}"));
        }
        fields.insert("description".into(), json!(description));
        if let Some(default) = key.default {
            fields.insert("default".into(), default_of(&key.kind, default));
        }
    }
    property
}

fn default_of(kind: &Kind, text: &str) -> Json {
    match kind {
        Kind::Integer { .. } | Kind::Number { .. } | Kind::Switch => {
            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
        }
        Kind::List(_) => json!(text.split(',').map(str::trim).collect::<Vec<_>>()),
        _ => json!(text),
    }
}

fn kind(of: &Kind) -> Json {
    const DURATION: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|h)\s*$";
    match of {
        Kind::Text | Kind::Path => json!({"type": "string", "minLength": 1}),
        Kind::Address => json!({"type": "string", "pattern": r":[0-9]{1,5}$"}),
        Kind::Listen => json!({"type": "string", "pattern": r"^unix:/|:[0-9]{1,5}$"}),
        Kind::Url => json!({"type": "string", "format": "uri"}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Kind::Duration => json!({"type": "string", "pattern": DURATION}),
        Kind::DurationMs => json!({"anyOf": [
            {"type": "string", "pattern": r"^\s*[0-9]+((\.[0-9]+)?\s*(us|ms|s|m|h))?\s*$"},
            {"type": "integer", "minimum": 0},
        ]}),
        Kind::Size => json!({"anyOf": [
            {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([KkMmGg][Ii]?)?[Bb]?\s*$"},
            {"type": "integer", "minimum": 0},
        ]}),
        Kind::Switch => json!({"type": "boolean"}),
        Kind::OneOf(words) => json!({"enum": words}),
        Kind::Or(other, words) => json!({"anyOf": [{"enum": words}, kind(other)]}),
        Kind::Tables(section) => {
            let table = json!({"$ref": format!("#/$defs/{}", section.name)});
            json!({"anyOf": [{"type": "array", "items": table}, table]})
        }
        Kind::List(item) => json!({"anyOf": [
            {"type": "array", "items": kind(item)},
            {"type": "string", "minLength": 1},
        ]}),
    }
}

//! docs/config.md from the JSON Schema of the config file.

use serde_json::{Map, Value};

const HEAD: &str = "\
# Configuration, every key

Made from [config.schema.json](config.schema.json); the same is told by `mainstay engine --help` and so on.

A key is set by its flag, else by its variable, else in the file (`mainstay.toml`, `--config FILE` or `MAINSTAY_CONFIG`), else it has its default. `mainstay config` prints what came of it, with where each value is from;
`mainstay check` says what is wrong. Paths in a file are relative to that file. A role stands once (`[engine]`) or several times (`[[engine]]`, each with a `name` and a `listen` of its own). Lists are `[\"a\", \"b\"]` in the file and
`a,b` elsewhere. Durations have a unit: `250ms`, `2s`, `5m`.
";

/// The page.
pub(crate) fn of(schema: &Value) -> String {
    let mut page = HEAD.to_owned();
    let defs = schema["$defs"].as_object().unwrap();
    page.push_str("\n## The whole process\n\nAt the top of the file, before any section.\n");
    let top: Map<String, Value> = schema["properties"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !defs.contains_key(*name))
        .map(|(name, key)| (name.clone(), key.clone()))
        .collect();
    keys(&mut page, "", &top);
    // Sections that roles share come first.
    let role = |name: &str| schema["properties"][name.split('.').next().unwrap()].get("anyOf").is_some();
    for roles in [false, true] {
        for (name, section) in defs.iter().filter(|(name, _)| role(name) == roles) {
            let form = match (name.contains('.'), roles) {
                (true, _) => format!("`[[{name}]]`, in the file only"),
                (false, true) => format!("`[{name}]`, or several as `[[{name}]]`"),
                (false, false) => format!("`[{name}]`"),
            };
            page.push_str(&format!("\n## {name}\n\n{}. {form}.\n", text(&section["description"])));
            keys(&mut page, name, section["properties"].as_object().unwrap());
        }
    }
    page
}

fn keys(page: &mut String, section: &str, keys: &Map<String, Value>) {
    for (name, key) in keys {
        let described = text(&key["description"]);
        let (about, set) = described.split_once(". Flag ").unwrap_or((described, ""));
        let title = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        page.push_str(&format!("\n### {title}\n\n{}.\n\n- {}", escaped(about), takes(key)));
        if let Some(default) = key.get("default") {
            page.push_str(&format!("; default {}", shown(default)));
        }
        page.push('\n');
        if let Some((flag, variable)) = set.split_once(", variable ") {
            page.push_str(&format!("- `{flag}`, `{variable}`\n"));
        }
    }
}

/// What values it takes.
fn takes(key: &Value) -> String {
    let words = |words: &Value| {
        let words: Vec<String> = words.as_array().unwrap().iter().map(shown).collect();
        words.join(", ")
    };
    if let Some(reference) = key["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return format!("tables, [`[[{name}]]`](#{})", name.replace('.', ""));
    }
    if key.get("enum").is_some() {
        return format!("one of {}", words(&key["enum"]));
    }
    if let Some(forms) = key["anyOf"].as_array() {
        let [one, other] = forms.as_slice() else { panic!("{key}") };
        return match (text(&one["type"]), &one["enum"]) {
            ("array", _) if one["items"].get("$ref").is_some() => takes(&one["items"]),
            ("array", _) => format!("a list, each item {}", takes(&one["items"])),
            (_, Value::Array(_)) => format!("{}, or {}", takes(other), words(&one["enum"])),
            ("string", _) if text(&one["pattern"]).contains("[Kk") => "a size, `64MiB`, or bytes".to_owned(),
            ("string", _) => "a duration, or milliseconds".to_owned(),
            _ => panic!("{key}"),
        };
    }
    let bounds = |what: &str| match (&key["minimum"], &key["maximum"]) {
        (min, max) if max.as_f64().is_some_and(|max| max < 1e15) => format!("{what} from {min} to {max}"),
        (min, _) => format!("{what}, at least {min}"),
    };
    match (text(&key["type"]), text(&key["pattern"])) {
        ("boolean", _) => "true or false".to_owned(),
        ("integer", _) => bounds("a whole number"),
        ("number", _) => bounds("a number"),
        ("string", pattern) if pattern.starts_with(':') => "an IP address with a port".to_owned(),
        ("string", pattern) if pattern.contains("ms|s") => "a duration".to_owned(),
        ("string", _) if key.get("format").is_some() => "a URL".to_owned(),
        ("string", _) => "text".to_owned(),
        other => panic!("{other:?}: {key}"),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => format!("`{other}`"),
    }
}

/// Nothing of a sentence is taken for HTML or a link.
fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('[', "\\[")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

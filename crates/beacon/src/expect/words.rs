//! What is said to operators: short, in one line, without control characters and credentials.

use cel::ExecutionError;
use cel::common::types::{CelOptional, Kind};
use cel::common::value::Val;
use mainstay_settings::redact;
use serde_json::Value;

use super::Seen;
use super::paths::Path;

/// The longest value that is shown, in characters.
const MAX_VALUE: usize = 40;

/// `text` in one line of at most `most` characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let mut plain = text.chars().filter(|c| !c.is_control());
    let mut short: String = plain.by_ref().take(most).collect();
    if plain.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

/// `what`, and in brackets what was seen, of which something has to give way.
pub(super) fn with(what: &str, seen: &str, most: usize) -> String {
    let what = short(what, most);
    let left = most - what.chars().count();
    if left < 16 { what } else { format!("{what} ({})", short(seen, left - 3)) }
}

/// The status, and what was found where the expression reads.
pub(super) fn seen(reads: &[Path], seen: &Seen) -> String {
    let mut told = format!("status = {}", seen.status);
    for path in reads {
        if path.is_of("status") || told.len() > 4 * super::MAX_SAW {
            continue;
        }
        let Some(value) = path.found(seen) else { continue };
        // Where nodes are is not for those who read this.
        let is_told = match &*value {
            Value::String(_) => !path.is_of("guard"),
            Value::Object(_) => !path.is_of("guard") && !path.is_of("headers"),
            _ => true,
        };
        if is_told {
            told.push_str(&format!(", {path} = {}", shown(&value)));
        }
    }
    told
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", short(&redact(&short(text, 400)), MAX_VALUE)),
        Value::Array(items) => format!("{} items", items.len()),
        Value::Object(entries) => format!("{} entries", entries.len()),
        other => other.to_string(),
    }
}

/// What a JSON value is.
pub(super) fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a value is.
pub(super) fn kind(value: &dyn Val) -> &'static str {
    match value.get_type().kind() {
        Kind::Boolean => "true or false",
        Kind::Int | Kind::UInt | Kind::Double => "a number",
        Kind::String => "text",
        Kind::Bytes => "bytes",
        Kind::List => "a list",
        Kind::Map => "an object",
        Kind::NullType => "null",
        Kind::Type => "a type",
        _ if value.downcast_ref::<CelOptional>().is_some() => "a value that may be missing",
        _ => "something else",
    }
}

/// A type of the library by the word that [`kind`] has for it.
fn named(name: &str) -> &str {
    match name {
        "bool" => "true or false",
        "int" | "uint" | "double" | "float" => "a number",
        "string" => "text",
        "list" => "a list",
        "map" => "an object",
        "null_type" => "null",
        "iterable" => "a list or an object",
        "optional_type" => "a value that may be missing",
        other => other,
    }
}

/// An error of the library. Never with a whole value in it, as some of its texts have.
pub(super) fn error(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { function, message } if function.is_empty() => message.clone(),
        ExecutionError::FunctionError { function, message } => format!("{function}(): {message}"),
        ExecutionError::NoSuchKey(key) => format!("{key}: no such key"),
        ExecutionError::NoSuchOverload(found) => {
            let name = found.function().trim_matches('_');
            let types: Vec<&str> = found.argument_types().iter().map(|name| named(name)).collect();
            format!("{name} can't be used on {}", types.join(" and "))
        }
        ExecutionError::UnexpectedType { got, want } => {
            format!("{} is wanted, not {}", named(want), short(named(got), 40))
        }
        ExecutionError::UnsupportedBinaryOperator(name, left, right) => {
            let name = if *name == "add" { "+" } else { name };
            format!(
                "{name} can't be used on {} and {}",
                named(&left.type_of().to_string()),
                named(&right.type_of().to_string())
            )
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!(
                "{} can't be compared with {}",
                named(&left.type_of().to_string()),
                named(&right.type_of().to_string())
            )
        }
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "remainder of a division by zero".to_owned(),
        ExecutionError::Overflow(..) => "a number is out of range".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "a list has fewer items".to_owned(),
        ExecutionError::UnsupportedIndex(..) => "a place in a list is a whole number".to_owned(),
        ExecutionError::UnsupportedKeyType(key) => {
            format!("{} can't be a key of a map", named(&key.type_of().to_string()))
        }
        ExecutionError::DuplicateKey(_) => "a map has a key twice".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("there is no {name}"),
        _ => "the expression can't be evaluated".to_owned(),
    }
}

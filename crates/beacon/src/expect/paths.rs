//! What an expression reads: `body.data.peers`, `headers["x-node"]`. Told to operators with what was found there, and looked at to
//! say which part of a path was missing.

use std::borrow::Cow;

use cel::ExecutionError;
use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators as op};
use serde_json::{Value, json};

use super::{Seen, names, seconds, words};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(i64),
}

/// A variable and the steps from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    root: String,
    steps: Vec<Step>,
    /// Something else than what was seen: a macro's variable.
    local: bool,
    /// It may be missing: `has(…)`, `.?`.
    optional: bool,
}

impl std::fmt::Display for Path {
    /// As it is written.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.upto(self.steps.len()))
    }
}

impl Path {
    fn upto(&self, count: usize) -> String {
        let mut text = self.root.clone();
        for step in &self.steps[..count] {
            match step {
                Step::Key(key) if is_name(key) => text.extend([".", key]),
                Step::Key(key) => text.push_str(&format!("[{key:?}]")),
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    /// What was found there; `None` if there is nothing, or if it isn't known.
    pub(super) fn found<'a>(&self, seen: &'a Seen) -> Option<Cow<'a, Value>> {
        if self.local {
            return None;
        }
        let root = variable(&self.root, seen);
        match root {
            Cow::Borrowed(value) => self.walk(value).ok().map(Cow::Borrowed),
            Cow::Owned(value) => self.walk(&value).ok().cloned().map(Cow::Owned),
        }
    }

    pub(super) fn is_of(&self, root: &str) -> bool {
        self.root == root
    }

    fn walk<'v>(&self, mut value: &'v Value) -> Result<&'v Value, String> {
        for (i, step) in self.steps.iter().enumerate() {
            let next = match (step, value) {
                (Step::Key(key), Value::Object(entries)) => entries.get(key),
                (Step::Index(index), Value::Array(items)) => {
                    usize::try_from(*index).ok().and_then(|index| items.get(index))
                }
                (_, other) => return Err(format!("{} is {}", self.upto(i), words::shape(other))),
            };
            value = next.ok_or_else(|| match value {
                Value::Array(items) => format!("{}: there are {} items", self.upto(i + 1), items.len()),
                _ => format!("{}: no such key", self.upto(i + 1)),
            })?;
        }
        Ok(value)
    }
}

fn is_name(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A variable's value.
pub(super) fn variable<'a>(name: &str, seen: &'a Seen) -> Cow<'a, Value> {
    match name {
        "body" => Cow::Borrowed(&seen.body),
        "status" => Cow::Owned(json!(seen.status)),
        "headers" => Cow::Owned(json!(seen.headers)),
        "now" => Cow::Owned(json!(seconds(seen.now))),
        "guard" => {
            let guard = &seen.guard;
            Cow::Owned(json!({
                "name": guard.name,
                "beacon_node": guard.beacon_node,
                "execution_node": guard.execution_node,
                "min_peers": guard.min_peers,
                "listen": guard.listen,
                "attnets": guard.attnets,
            }))
        }
        _ => Cow::Owned(Value::Null),
    }
}

/// The variables among what is read.
pub(super) fn roots(paths: &[Path]) -> impl Iterator<Item = &'static str> + '_ {
    let is_read = |name: &str| paths.iter().any(|path| !path.local && path.is_of(name));
    names::VARIABLES.into_iter().filter(move |name| is_read(name))
}

/// How a path is written; `None` for other expressions.
pub(super) fn written(expression: &IdedExpr) -> Option<String> {
    read(expression).map(|path| path.to_string())
}

/// What an expression reads, each path once.
pub(super) fn of(expression: &IdedExpr) -> Vec<Path> {
    let mut found = Vec::new();
    gather(expression, &mut Vec::new(), &mut found);
    found
}

/// The path that an expression is.
fn read(expression: &IdedExpr) -> Option<Path> {
    let step = |operand: &IdedExpr, step, optional| {
        let mut path = read(operand)?;
        path.steps.push(step);
        path.optional |= optional;
        Some(path)
    };
    match &expression.expr {
        Expr::Ident(name) if !name.starts_with('@') => {
            let root = name.trim_start_matches('.').to_owned();
            Some(Path { root, steps: Vec::new(), local: false, optional: false })
        }
        Expr::Select(select) => step(&select.operand, Step::Key(select.field.clone()), select.test),
        Expr::Call(call) => {
            let optional = match call.func_name.as_str() {
                op::INDEX => false,
                op::OPT_INDEX | op::OPT_SELECT => true,
                _ => return None,
            };
            match &call.args[..] {
                [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] => {
                    step(operand, Step::Key(key.inner().to_owned()), optional)
                }
                [operand, IdedExpr { expr: Expr::Literal(LiteralValue::Int(index)), .. }] => {
                    step(operand, Step::Index(*index.inner()), optional)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn gather<'a>(expression: &'a IdedExpr, bound: &mut Vec<&'a str>, found: &mut Vec<Path>) {
    if let Some(mut path) = read(expression) {
        path.local = bound.contains(&path.root.as_str()) || !names::VARIABLES.contains(&path.root.as_str());
        if !found.contains(&path) {
            found.push(path);
        }
        return;
    }
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Select(select) => gather(&select.operand, bound, found),
        Expr::Call(call) => {
            call.target.as_deref().into_iter().chain(&call.args).for_each(|part| gather(part, bound, found));
        }
        Expr::List(list) => list.elements.iter().for_each(|item| gather(item, bound, found)),
        Expr::Map(map) => map.entries.iter().for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                gather(&entry.key, bound, found);
                gather(&entry.value, bound, found);
            }
            EntryExpr::StructField(field) => gather(&field.value, bound, found),
        }),
        Expr::Struct(_) => {}
        Expr::Comprehension(macro_) => {
            gather(&macro_.iter_range, bound, found);
            bound.push(&macro_.iter_var);
            gather(&macro_.loop_step, bound, found);
            bound.pop();
        }
    }
}

/// Which path ended where it shouldn't, if that is what the error is about.
pub(super) fn explain(paths: &[Path], error: &ExecutionError, seen: &Seen) -> Option<String> {
    let key = match error {
        ExecutionError::NoSuchKey(key) => Some(key.as_str()),
        ExecutionError::IndexOutOfBounds(_) => None,
        ExecutionError::NoSuchOverload(found) if ["_._", "_[_]"].contains(&found.function()) => None,
        _ => return None,
    };
    let about = |path: &&Path| key.is_none_or(|key| path.steps.contains(&Step::Key(key.to_owned())));
    let missing = |path: &Path| path.walk(&variable(&path.root, seen)).err();
    let seen_ones = paths.iter().filter(|path| !path.local && !path.optional);
    seen_ones.filter(about).find_map(missing).or_else(|| {
        let path = paths.iter().filter(|path| path.local).find(about)?;
        Some(format!("{path}: no such key")).filter(|_| key.is_some())
    })
}

//! What an operator's own check expects: an expression in CEL (the Common Expression Language) over what the check has seen.
//!
//! ```text
//! status == 200 && int(body.data.connected) >= guard.min_peers
//! ```
//!
//! The language is the `cel` crate's; how operators write it is told in `docs/beacon-checks.md`. Around it stand four rules of our
//! own, so that a check is never good by accident and never takes the process down:
//!
//! - **What can be known beforehand is refused when the settings are read**, with its place in the text: names and functions that
//!   don't exist, patterns that are none, a result that is no truth value ([`names`], [`types`]).
//! - **Text is never compared with a number.** The Beacon API writes numbers as text. CEL says `"63" != 0` is true, and a check
//!   that says so would hold forever ([`functions`]).
//! - **Work is bounded.** CEL has no loops, but macros over lists multiply and `+` doubles. Every value that an operation takes in
//!   is weighed, and an expression that takes in more than [`MAX_WORK`] fails ([`bounds`]). Expressions are at most [`MAX_TEXT`]
//!   long and [`MAX_DEPTH`] deep, so that evaluating one needs a known stack.
//! - **Whatever goes wrong while it is evaluated is a failed check** that says so, a panic of the library too.
//!
//! Pure: the time of day is part of what was seen.

mod bounds;
mod functions;
mod names;
mod paths;
mod position;
mod types;
mod words;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::common::types::CelBool;
use cel::parser::PrattParser;
use cel::{Context, ExecutionError, Value};
use regex::Regex;

use functions::Work;
use paths::Path;

/// The longest expression, in bytes.
pub const MAX_TEXT: usize = 4096;

/// How deep operators, calls and macros may stand in one another.
pub const MAX_DEPTH: usize = 48;

/// How much an evaluation may take in, over all its operations: one for each number, truth value, item and entry, and one for
/// every 16 bytes of text.
pub const MAX_WORK: u64 = 4_000_000;

/// The longest text about what was seen, in characters.
pub const MAX_SAW: usize = 200;

/// What a check has seen, and what its expression is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Of the HTTP reply, or of the program: its exit status, or 128 and the number of the signal that ended it.
    pub status: i64,
    /// Of the HTTP reply, names in lower case; the values of a header that came several times are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// What came, parsed if it is JSON, else text; null if nothing came.
    pub body: serde_json::Value,
    /// Told to the expression as an int of seconds since 1970.
    pub now: SystemTime,
    /// The guard that asks.
    pub guard: Facts,
}

/// What an expression may know of the guard. Nothing in it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Host and port of its beacon node.
    pub beacon_node: String,
    /// Host and port of its execution node; null if it has none.
    pub execution_node: Option<String>,
    /// As configured; 0 if peers aren't asked for.
    pub min_peers: u64,
    /// Where validator clients connect, by its config.
    pub listen: String,
    /// The attestation subnets that are wanted; null if they aren't asked for.
    pub attnets: Option<Vec<u64>>,
}

/// How a check came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether what was seen is as expected. Never so if the expression couldn't be evaluated.
    pub met: bool,
    /// What was seen, or why it couldn't be judged: at most [`MAX_SAW`] characters, none of them a control character.
    pub saw: String,
}

/// An expression that has been looked through.
#[derive(Clone)]
pub struct Expectation {
    text: String,
    expression: IdedExpr,
    patterns: Arc<[Regex]>,
    /// What it reads, in the order in which it is written.
    reads: Vec<Path>,
}

/// Why an expression can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for BadExpression {
    /// `column 12: …`, with its line if it isn't the first.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for BadExpression {}

impl Expectation {
    /// Looks an expression through.
    ///
    /// # Errors
    /// The first thing that is wrong with it, and where.
    pub fn compile(text: &str) -> Result<Self, BadExpression> {
        if text.len() > MAX_TEXT {
            let message = format!("an expression has at most {MAX_TEXT} bytes, this has {}", text.len());
            return Err(BadExpression { line: 1, column: 1, message });
        }
        // A parser that panics over a text has no use for it.
        let parsed = catch_unwind(|| PrattParser::new().enable_optional_syntax(true).parse(text));
        let expression = match parsed {
            Ok(Ok(expression)) => expression,
            Ok(Err(errors)) => return Err(position::of_syntax(text, errors)),
            Err(_) => return Err(position::at_start("it can't be read")),
        };
        if bounds::is_deeper(&expression, MAX_DEPTH) {
            let message = format!("operators and calls stand more than {MAX_DEPTH} deep in one another");
            return Err(position::at_start(message));
        }
        names::check(&expression, text)?;
        types::check(&expression, text)?;
        let reads = paths::of(&expression);
        let mut patterns = Vec::new();
        let expression = bounds::bounded(expression, &mut |pattern| {
            let found = match &pattern.expr {
                Expr::Literal(LiteralValue::String(pattern)) => functions::pattern(pattern.inner()),
                _ => Err("the pattern of matches has to be written here, in quotes".to_owned()),
            };
            patterns.push(found.map_err(|why| position::of_function(text, "matches", why))?);
            Ok(patterns.len() - 1)
        })?;
        Ok(Self { text: text.to_owned(), expression, patterns: patterns.into(), reads })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates it. Bounded by [`MAX_WORK`], which is some tenths of a second: not for a thread that others wait for.
    #[must_use]
    pub fn judge(&self, seen: &Seen) -> Judged {
        let result = catch_unwind(AssertUnwindSafe(|| self.evaluate(seen)));
        let told = words::seen(&self.reads, seen);
        match result {
            Ok(Ok(true)) => Judged { met: true, saw: words::short(&told, MAX_SAW) },
            Ok(Ok(false)) => Judged { met: false, saw: words::short(&told, MAX_SAW) },
            Ok(Err(why)) => Judged { met: false, saw: words::with(&why, &told, MAX_SAW) },
            Err(_) => {
                Judged { met: false, saw: words::with("the expression can't be evaluated", &told, MAX_SAW) }
            }
        }
    }

    fn evaluate(&self, seen: &Seen) -> Result<bool, String> {
        let work = Arc::new(Work::new(MAX_WORK));
        let mut context = Context::with_env(functions::environment());
        functions::add(&mut context, &work, &self.patterns).map_err(|error| error.to_string())?;
        for name in paths::roots(&self.reads) {
            context.add_variable_from_value(name, value(&paths::variable(name, seen)));
        }
        let result = Value::resolve_val(&self.expression, &context);
        if work.is_used_up() {
            return Err("the expression is too much work for what came".to_owned());
        }
        match result {
            Ok(value) => match value.downcast_ref::<CelBool>() {
                Some(truth) => Ok(*truth.inner()),
                None => Err(format!("the expression gives {}, not true or false", words::kind(&*value))),
            },
            Err(error) => Err(self.explain(&error, seen)),
        }
    }

    fn explain(&self, error: &ExecutionError, seen: &Seen) -> String {
        paths::explain(&self.reads, error, seen).unwrap_or_else(|| words::error(error))
    }
}

impl std::fmt::Debug for Expectation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expectation").field(&self.text).finish()
    }
}

/// Seconds since 1970; 0 before that.
fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// JSON as CEL has it: whole numbers are int (uint beyond its range), others double.
fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::String(text) => Value::String(Arc::new(text.clone())),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::Array(items) => Value::List(Arc::new(items.iter().map(value).collect())),
        serde_json::Value::Object(entries) => {
            let map: std::collections::HashMap<String, Value> =
                entries.iter().map(|(name, entry)| (name.clone(), value(entry))).collect();
            Value::Map(map.into())
        }
    }
}

#[cfg(test)]
mod tests;

//! The functions that expressions have: the library's, and our own.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicU64};
use std::sync::{Arc, LazyLock};

use cel::common::ast::operators as op;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelOptional, CelString, CelUInt, STRING_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{Context, DeclarationError, Env, ExecutionError, FunctionContext, extensions};
use regex::{Regex, RegexBuilder};

use super::bounds::{COMPARE, MATCHES, WEIGH};
use super::words;

/// How large a pattern may become, in bytes: it bounds how long one takes to be compiled and to match.
const MAX_PATTERN: usize = 256 * 1024;

/// A function as the library keeps it.
type Callee = Box<
    dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError> + Send + Sync,
>;

/// What an evaluation may still take in.
pub(super) struct Work(AtomicU64);

impl Work {
    pub(super) fn new(most: u64) -> Self {
        Self(AtomicU64::new(most))
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.0.load(atomic::Ordering::Relaxed) == 0
    }

    /// Takes off what a value weighs.
    fn take(&self, value: &dyn Val) -> Result<(), ExecutionError> {
        let mut left = self.0.load(atomic::Ordering::Relaxed);
        weigh(value, &mut left);
        self.0.store(left, atomic::Ordering::Relaxed);
        if left == 0 { Err(failure("too much work")) } else { Ok(()) }
    }
}

/// Takes what a value weighs off `left`; stops where nothing is left.
fn weigh(value: &dyn Val, left: &mut u64) {
    let length = if let Some(text) = value.downcast_ref::<CelString>() {
        text.inner().len()
    } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        bytes.inner().len()
    } else {
        0
    };
    *left = left.saturating_sub(1 + length as u64 / 16);
    if *left == 0 {
        return;
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        each(list.inner().iter().map(|item| &**item), left);
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        each(map.inner().iter().flat_map(|(key, entry)| [key.inner(), &**entry]), left);
    } else if let Some(optional) = value.downcast_ref::<CelOptional>() {
        each(optional.option().into_iter(), left);
    }
}

fn each<'a>(values: impl Iterator<Item = &'a dyn Val>, left: &mut u64) {
    for value in values {
        weigh(value, left);
        if *left == 0 {
            return;
        }
    }
}

/// What is the same for all expressions.
pub(super) fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut env = Env::stdlib();
        // Names that the library has no function under yet: nothing here can fail, and a function that were missing
        // would be told as unknown by the tests.
        let _ = env.add_extension(extensions::strings);
        let _ = env.add_extension(extensions::math);
        let _ = env.add_overload("hex", "hex_string", vec![STRING_TYPE], hex);
        Arc::new(env)
    });
    ENVIRONMENT.clone()
}

/// Adds the functions that belong to one evaluation.
pub(super) fn add(
    context: &mut Context<'_, '_>,
    work: &Arc<Work>,
    patterns: &Arc<[Regex]>,
) -> Result<(), DeclarationError> {
    let weighing = work.clone();
    let weigh: Callee = Box::new(move |call| {
        let value = call.args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
        weighing.take(&*value)?;
        Ok(value)
    });
    let comparing = work.clone();
    let compare: Callee = Box::new(move |call| {
        let [operator, left, right, left_text, right_text] = &call.args[..] else {
            return Err(ExecutionError::invalid_argument_count(5, call.args.len()));
        };
        comparing.take(&**left)?;
        comparing.take(&**right)?;
        let (left, right) = ((&**left, text(&**left_text)), (&**right, text(&**right_text)));
        Ok(CowVal::owned(CelBool::from(compare(text(&**operator), left, right)?)))
    });
    let (matching, patterns) = (work.clone(), patterns.clone());
    let matches: Callee = Box::new(move |call| {
        let [subject, number] = &call.args[..] else {
            return Err(ExecutionError::invalid_argument_count(2, call.args.len()));
        };
        matching.take(&**subject)?;
        let number = number.downcast_ref::<CelInt>().and_then(|number| usize::try_from(*number.inner()).ok());
        let pattern = number.and_then(|number| patterns.get(number));
        match (subject.downcast_ref::<CelString>(), pattern) {
            (Some(subject), Some(pattern)) => {
                Ok(CowVal::owned(CelBool::from(pattern.is_match(subject.inner()))))
            }
            _ => Err(failure(format!("matches() is for text, not for {}", words::kind(&**subject)))),
        }
    });
    context.add_function(WEIGH, weigh)?;
    context.add_function(COMPARE, compare)?;
    context.add_function(MATCHES, matches)
}

/// Compiles a pattern.
pub(super) fn pattern(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN).build().map_err(|error| {
        let told = error.to_string();
        // A syntax error is drawn in several lines; the last one says it.
        let last = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("the pattern can't be used: {last}")
    })
}

fn failure(message: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError { function: String::new(), message: message.into() }
}

fn text(value: &dyn Val) -> &str {
    value.downcast_ref::<CelString>().map_or("", |text| text.inner())
}

/// Compares as CEL does, but refuses to compare text with a number.
fn compare(operator: &str, left: (&dyn Val, &str), right: (&dyn Val, &str)) -> Result<bool, ExecutionError> {
    for ((value, written), (other, _)) in [(left, right), (right, left)] {
        if let Some(text) = value.downcast_ref::<CelString>().filter(|_| is_number(other)) {
            return Err(failure(unlike(text.inner(), written)));
        }
    }
    let (left, right) = (left.0, right.0);
    let ordering = || match left.as_comparer().map(|comparer| comparer.compare(right)) {
        Some(Ok(ordering)) => Ok(ordering),
        _ => Err(failure(format!("{} can't be compared with {}", words::kind(left), words::kind(right)))),
    };
    Ok(match operator {
        op::EQUALS => left.equals(right),
        op::NOT_EQUALS => !left.equals(right),
        op::LESS => ordering()? == Ordering::Less,
        op::LESS_EQUALS => ordering()? != Ordering::Greater,
        op::GREATER => ordering()? == Ordering::Greater,
        op::GREATER_EQUALS => ordering()? != Ordering::Less,
        _ => return Err(failure(format!("{operator} compares nothing"))),
    })
}

fn is_number(value: &dyn Val) -> bool {
    value.downcast_ref::<CelInt>().is_some()
        || value.downcast_ref::<CelUInt>().is_some()
        || value.downcast_ref::<CelDouble>().is_some()
}

/// What to do about a text that is compared with a number.
fn unlike(text: &str, written: &str) -> String {
    let what = if written.is_empty() { "one side of a comparison with a number" } else { written };
    let inside = if written.is_empty() { "…" } else { written };
    let shown = words::short(text, 24);
    let function = if parse_hex(text).is_some() && text.starts_with("0x") {
        "hex"
    } else if text.parse::<i64>().is_ok() {
        "int"
    } else if text.parse::<f64>().is_ok() {
        "double"
    } else {
        return format!("{what} is text (\"{shown}\"), not a number");
    };
    format!("{what} is text (\"{shown}\"), write {function}({inside})")
}

/// `hex("0x1f")`: what JSON-RPC of execution nodes writes numbers as. An int; larger ones are errors.
fn hex<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = args.first().map_or("", |argument| text(&**argument));
    match parse_hex(text) {
        Some(number) => Ok(CowVal::owned(CelInt::from(number))),
        None => {
            Err(failure(format!("hex(\"{}\"): is no hexadecimal number of 63 bits", words::short(text, 24))))
        }
    }
}

fn parse_hex(text: &str) -> Option<i64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_plain.then(|| i64::from_str_radix(digits, 16).ok()).flatten()
}

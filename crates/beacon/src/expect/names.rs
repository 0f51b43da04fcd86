//! Which names an expression may use, and that it uses no others.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use super::{BadExpression, position};

/// The variables.
pub(super) const VARIABLES: [&str; 5] = ["status", "headers", "body", "now", "guard"];

/// The fields of `guard`.
const GUARD: [&str; 6] = ["name", "beacon_node", "execution_node", "min_peers", "listen", "attnets"];

/// What `type(x)` is compared with.
const TYPES: [&str; 8] = ["bool", "double", "int", "list", "map", "null_type", "string", "uint"];

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `f(x)`.
    Plain,
    /// `x.f(y)`.
    Member,
}

/// A function: its name, how it is called and with how many arguments (a member's target not counted), and what it gives if that is
/// always the same.
struct Function(&'static str, Form, &'static [usize], Option<&'static str>);

/// Every function there is. Those of the library that aren't here cost more than what they take in (`replace`, `join`, `indexOf`).
static FUNCTIONS: [Function; 29] = [
    Function("hex", Form::Plain, &[1], Some("int")),
    Function("int", Form::Plain, &[1], Some("int")),
    Function("uint", Form::Plain, &[1], Some("uint")),
    Function("double", Form::Plain, &[1], Some("double")),
    Function("string", Form::Plain, &[1], Some("string")),
    Function("bool", Form::Plain, &[1], Some("bool")),
    Function("type", Form::Plain, &[1], Some("type")),
    Function("size", Form::Plain, &[1], Some("int")),
    Function("size", Form::Member, &[0], Some("int")),
    Function("contains", Form::Member, &[1], Some("bool")),
    Function("startsWith", Form::Member, &[1], Some("bool")),
    Function("endsWith", Form::Member, &[1], Some("bool")),
    Function("matches", Form::Member, &[1], Some("bool")),
    Function("matches", Form::Plain, &[2], Some("bool")),
    Function("split", Form::Member, &[1, 2], Some("list")),
    Function("substring", Form::Member, &[1, 2], Some("string")),
    Function("trim", Form::Member, &[0], Some("string")),
    Function("lowerAscii", Form::Member, &[0], Some("string")),
    Function("upperAscii", Form::Member, &[0], Some("string")),
    Function("math.abs", Form::Plain, &[1], None),
    Function("math.ceil", Form::Plain, &[1], Some("double")),
    Function("math.floor", Form::Plain, &[1], Some("double")),
    Function("math.round", Form::Plain, &[1], Some("double")),
    Function("math.trunc", Form::Plain, &[1], Some("double")),
    Function("math.sign", Form::Plain, &[1], None),
    Function("hasValue", Form::Member, &[0], Some("bool")),
    Function("value", Form::Member, &[0], None),
    Function("orValue", Form::Member, &[1], None),
    Function("or", Form::Member, &[1], None),
];

/// Macros that were written another way than they are: the parser takes those for functions.
const MACROS: [(&str, &str); 6] = [
    ("has", "has(body.data.x)"),
    ("all", "list.all(x, x > 0)"),
    ("exists", "list.exists(x, x > 0)"),
    ("exists_one", "list.exists_one(x, x > 0)"),
    ("filter", "list.filter(x, x > 0)"),
    ("map", "list.map(x, x + 1)"),
];

/// Refuses names that don't exist.
pub(super) fn check(expression: &IdedExpr, text: &str) -> Result<(), BadExpression> {
    Walk { text, bound: Vec::new() }.expression(expression)
}

/// Whether a call goes by an operator's name, or by one that macros are made of.
pub(super) fn is_operator(name: &str) -> bool {
    name.starts_with(['_', '!', '-', '@'])
}

/// The name by which a call's function is known, with its namespace if it has one (`math.abs`), and whether it is a member.
pub(super) fn full_name(name: &str, target: Option<&IdedExpr>) -> (String, bool) {
    match target.map(|target| &target.expr) {
        Some(Expr::Ident(space)) if space == "math" => (format!("math.{name}"), false),
        Some(_) => (name.to_owned(), true),
        None => (name.to_owned(), false),
    }
}

/// What a function always gives.
pub(super) fn gives(call: &CallExpr) -> Option<&'static str> {
    let (name, _) = full_name(&call.func_name, call.target.as_deref());
    FUNCTIONS.iter().find(|function| function.0 == name).and_then(|function| function.3)
}

struct Walk<'a> {
    text: &'a str,
    /// Names that macros have bound.
    bound: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn expression(&mut self, expression: &'a IdedExpr) -> Result<(), BadExpression> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                self.field(&select.operand, &select.field)?;
                self.expression(&select.operand)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.expression(item)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(made) => {
                let what = format!("there are no messages of type {}", made.type_name);
                Err(position::of_variable(self.text, &made.type_name, what))
            }
            Expr::Comprehension(macro_) => {
                self.expression(&macro_.iter_range)?;
                self.expression(&macro_.accu_init)?;
                self.bound.push(&macro_.iter_var);
                let inner = [&macro_.loop_cond, &macro_.loop_step, &macro_.result];
                let looked = inner.into_iter().try_for_each(|part| self.expression(part));
                self.bound.pop();
                looked
            }
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr) -> Result<(), BadExpression> {
        match entry {
            EntryExpr::StructField(field) => self.expression(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.expression(&entry.key)?;
                self.expression(&entry.value)
            }
        }
    }

    fn variable(&self, name: &str) -> Result<(), BadExpression> {
        let known = name.starts_with('@')
            || self.bound.contains(&name)
            || VARIABLES.contains(&name)
            || TYPES.contains(&name);
        if known {
            return Ok(());
        }
        let what = format!("there is no {name}, there are {}", VARIABLES.join(", "));
        Err(position::of_variable(self.text, name.trim_start_matches('.'), what))
    }

    /// A field of `guard` that doesn't exist, or a header that can't.
    fn field(&self, operand: &IdedExpr, field: &str) -> Result<(), BadExpression> {
        let Expr::Ident(name) = &operand.expr else { return Ok(()) };
        if self.bound.contains(&name.as_str()) {
            return Ok(());
        }
        if name == "guard" && !GUARD.contains(&field) {
            let what = format!("guard has no {field}, it has {}", GUARD.join(", "));
            return Err(position::of_field(self.text, field, what));
        }
        if name == "headers" && field.chars().any(char::is_uppercase) {
            let what = format!("names of headers are in lower case: headers[\"{}\"]", field.to_lowercase());
            return Err(position::of_field(self.text, field, what));
        }
        Ok(())
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<(), BadExpression> {
        if is_operator(&call.func_name) {
            if let [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }] =
                &call.args[..]
                && call.func_name.contains(['[', '.'])
            {
                self.field(operand, field.inner())?;
            }
            return call.args.iter().try_for_each(|argument| self.expression(argument));
        }
        let (name, member) = full_name(&call.func_name, call.target.as_deref());
        if let Some(what) = misused(&name, member, call.args.len()) {
            return Err(position::of_function(self.text, &call.func_name, what));
        }
        if member && let Some(target) = &call.target {
            self.expression(target)?;
        }
        call.args.iter().try_for_each(|argument| self.expression(argument))
    }
}

/// What is wrong with calling a function so.
fn misused(name: &str, member: bool, count: usize) -> Option<String> {
    let form = if member { Form::Member } else { Form::Plain };
    let mut known = FUNCTIONS.iter().filter(|function| function.0 == name).peekable();
    if let Some((_, example)) = MACROS.iter().find(|(macro_, _)| *macro_ == name) {
        return Some(format!("{name} is written like {example}"));
    }
    if known.peek().is_none() {
        let mut names: Vec<&str> = FUNCTIONS.iter().map(|function| function.0).collect();
        names.dedup();
        return Some(format!("there is no function {name}, there are {}", names.join(", ")));
    }
    let forms: Vec<&Function> = known.collect();
    if forms.iter().any(|function| function.1 == form && function.2.contains(&count)) {
        return None;
    }
    let example = forms.iter().map(|function| {
        let count = function.2.first().copied().unwrap_or_default();
        match (function.1, count) {
            (Form::Plain, 2) => format!("{name}(x, y)"),
            (Form::Plain, _) => format!("{name}(x)"),
            (Form::Member, 0) => format!("x.{name}()"),
            (Form::Member, _) => format!("x.{name}(y)"),
        }
    });
    Some(format!("{name} is written like {}", example.collect::<Vec<_>>().join(" or ")))
}

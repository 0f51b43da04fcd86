//! What an expression gives, as far as it can be known beforehand: one that can't give true or false is refused.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators as op};

use super::{BadExpression, names, position};

/// Refuses an expression that can't give true or false, and comparisons of text with a number that are known to be one.
/// `&&`, `||`, `!` and `?:` want the same inside.
pub(super) fn check(expression: &IdedExpr, text: &str) -> Result<(), BadExpression> {
    if let Expr::Call(call) = &expression.expr {
        match (call.func_name.as_str(), &call.args[..]) {
            (op::LOGICAL_AND | op::LOGICAL_OR | op::CONDITIONAL, parts) => {
                return parts.iter().try_for_each(|part| check(part, text));
            }
            (op::LOGICAL_NOT, [part]) => return check(part, text),
            (op::EQUALS | op::NOT_EQUALS, [left, right]) => return comparable(left, right, text),
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [left, right]) => {
                return comparable(left, right, text);
            }
            _ => {}
        }
    }
    match kind(expression) {
        None | Some("bool") => Ok(()),
        Some(kind) => {
            let what = match shown(expression) {
                Some(name) => format!("{name} is {kind}, not true or false: compare it with something"),
                None => format!("it gives {kind}, not true or false"),
            };
            Err(placed(expression, text, what))
        }
    }
}

fn comparable(left: &IdedExpr, right: &IdedExpr, text: &str) -> Result<(), BadExpression> {
    let is_number = |kind: &str| ["int", "uint", "double", "a number"].contains(&kind);
    match (kind(left), kind(right)) {
        (Some("string"), Some(other)) | (Some(other), Some("string")) if is_number(other) => {
            Err(placed(left, text, "text is compared with a number".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Where the first name in it stands.
fn placed(expression: &IdedExpr, text: &str, what: String) -> BadExpression {
    match first_name(expression) {
        Some(name) => position::of_variable(text, name, what),
        None => position::at_start(what),
    }
}

fn first_name(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) => first_name(&select.operand),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).find_map(first_name),
        Expr::Comprehension(macro_) => first_name(&macro_.iter_range),
        _ => None,
    }
}

fn shown(expression: &IdedExpr) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", shown(&select.operand)?, select.field)),
        _ => None,
    }
}

/// What an expression always gives, where that is known.
fn kind(expression: &IdedExpr) -> Option<&'static str> {
    match &expression.expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Boolean(_) => "bool",
            LiteralValue::Bytes(_) => "bytes",
            LiteralValue::Double(_) => "double",
            LiteralValue::Int(_) => "int",
            LiteralValue::Null => "null",
            LiteralValue::String(_) => "string",
            LiteralValue::UInt(_) => "uint",
        }),
        Expr::List(_) => Some("a list"),
        Expr::Map(_) => Some("a map"),
        // A macro may have bound these names to something else: then nothing is known, `check` doesn't go into macros.
        Expr::Ident(name) => match name.as_str() {
            "status" | "now" => Some("int"),
            "headers" | "guard" => Some("a map"),
            _ => None,
        },
        Expr::Select(select) if select.test => Some("bool"),
        Expr::Select(select) => match (&select.operand.expr, select.field.as_str()) {
            (Expr::Ident(name), "min_peers") if name == "guard" => Some("int"),
            (Expr::Ident(name), "name" | "beacon_node" | "listen") if name == "guard" => Some("string"),
            (Expr::Ident(name), _) if name == "headers" => Some("string"),
            _ => None,
        },
        Expr::Call(call) => kind_of_call(call),
        Expr::Comprehension(macro_) => match &macro_.accu_init.expr {
            Expr::List(_) => Some("a list"),
            _ => Some("bool"),
        },
        Expr::Unspecified | Expr::Struct(_) => None,
    }
}

fn kind_of_call(call: &CallExpr) -> Option<&'static str> {
    match (call.func_name.as_str(), &call.args[..]) {
        (op::EQUALS | op::NOT_EQUALS | op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, _) => {
            Some("bool")
        }
        (op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT | op::IN, _) => Some("bool"),
        (op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO | op::NEGATE, _) => Some("a number"),
        (op::ADD, [left, right]) => kind(left).or_else(|| kind(right)),
        (op::CONDITIONAL, [_, left, right]) => kind(left).filter(|left| kind(right) == Some(left)),
        (op::INDEX, [operand, _]) => {
            matches!(&operand.expr, Expr::Ident(name) if name == "headers").then_some("string")
        }
        (name, _) if names::is_operator(name) => None,
        _ => names::gives(call),
    }
}

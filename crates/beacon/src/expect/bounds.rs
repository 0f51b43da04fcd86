//! Bounds of an expression: how deep it is, and a form of it in which everything that an operation takes in is weighed.
//!
//! What costs time or memory in CEL is what operations take in: `==` compares whole lists, `+` copies both sides, a macro goes
//! through a list and copies each item. So the operands of operators, the arguments of calls, the items of lists and the lists of
//! macros are put through [`WEIGH`], which gives them back as they are and counts. Macros whose work is used up end with the
//! next item, so the whole takes no longer than what was allowed.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, MapExpr, SelectExpr,
    operators as op,
};
use cel::common::types::{CelInt, CelString};

use super::{BadExpression, names, paths};

/// The function that weighs its argument. No expression can call it: `@` is no letter.
pub(super) const WEIGH: &str = "@weigh";
/// The function that compares: operator, left, right, and how left and right are written, if that is a path.
pub(super) const COMPARE: &str = "@compare";
/// The function that looks for a pattern: text, and which pattern.
pub(super) const MATCHES: &str = "@matches";

/// Whether parts of an expression stand more than `most` deep in one another.
pub(super) fn is_deeper(expression: &IdedExpr, most: usize) -> bool {
    let Some(most) = most.checked_sub(1) else { return true };
    parts(expression).into_iter().any(|part| is_deeper(part, most))
}

fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(MapExpr { entries }) => entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Struct(made) => made.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Comprehension(macro_) => {
            vec![&macro_.iter_range, &macro_.accu_init, &macro_.loop_cond, &macro_.loop_step, &macro_.result]
        }
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// Keeps a pattern and says under which number.
pub(super) type Keep<'a> = dyn FnMut(&IdedExpr) -> Result<usize, BadExpression> + 'a;

/// The same expression, weighed.
pub(super) fn bounded(expression: IdedExpr, keep: &mut Keep<'_>) -> Result<IdedExpr, BadExpression> {
    let id = expression.id;
    let made = match expression.expr {
        Expr::Select(select) => {
            let operand = Box::new(bounded(*select.operand, keep)?);
            Expr::Select(SelectExpr { operand, ..select })
        }
        Expr::Call(call) => return of_call(id, call, keep),
        Expr::List(mut list) => {
            list.elements = all(list.elements, weighed, keep)?;
            Expr::List(list)
        }
        Expr::Map(mut map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    entry.key = weighed(std::mem::take(&mut entry.key), keep)?;
                    entry.value = weighed(std::mem::take(&mut entry.value), keep)?;
                }
            }
            Expr::Map(map)
        }
        Expr::Comprehension(macro_) => {
            let ComprehensionExpr { iter_var, iter_var2, accu_var, .. } = *macro_;
            Expr::Comprehension(Box::new(ComprehensionExpr {
                // Always: it is what the macro goes through, a written list too.
                iter_range: weigh(bounded(macro_.iter_range, keep)?),
                accu_init: bounded(macro_.accu_init, keep)?,
                loop_cond: bounded(macro_.loop_cond, keep)?,
                loop_step: bounded(macro_.loop_step, keep)?,
                result: bounded(macro_.result, keep)?,
                iter_var,
                iter_var2,
                accu_var,
            }))
        }
        other @ (Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_)) => other,
    };
    Ok(IdedExpr { id, expr: made })
}

fn of_call(id: u64, call: CallExpr, keep: &mut Keep<'_>) -> Result<IdedExpr, BadExpression> {
    let CallExpr { func_name, target, args } = call;
    let made = |func_name: &str, target, args| {
        let expr = Expr::Call(CallExpr { func_name: func_name.to_owned(), target, args });
        IdedExpr { id, expr }
    };
    match func_name.as_str() {
        op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT | op::CONDITIONAL | op::NOT_STRICTLY_FALSE => {
            Ok(made(&func_name, None, all(args, bounded, keep)?))
        }
        op::INDEX => Ok(made(&func_name, None, all(args, bounded, keep)?)),
        // These copy what they find: weighed is what they look into, as afterwards it is too late.
        op::OPT_INDEX | op::OPT_SELECT => Ok(made(&func_name, None, all(args, weighed, keep)?)),
        op::EQUALS | op::NOT_EQUALS | op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS => {
            let written: Vec<IdedExpr> =
                args.iter().map(|side| text(paths::written(side).unwrap_or_default())).collect();
            let mut compared = vec![text(func_name)];
            compared.extend(all(args, bounded, keep)?);
            compared.extend(written);
            Ok(made(COMPARE, None, compared))
        }
        "matches" => {
            let mut args = target.map(|target| *target).into_iter().chain(args);
            let subject = args.next().unwrap_or_default();
            let number = keep(&args.next().unwrap_or_default())?;
            let number = CelInt::from(i64::try_from(number).unwrap_or(i64::MAX));
            let number = IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(number)) };
            Ok(made(MATCHES, None, vec![bounded(subject, keep)?, number]))
        }
        _ => {
            let (_, is_member) = names::full_name(&func_name, target.as_deref());
            let target = match target {
                Some(target) if is_member => Some(Box::new(weighed(*target, keep)?)),
                namespace => namespace,
            };
            Ok(made(&func_name, target, all(args, weighed, keep)?))
        }
    }
}

fn all(
    parts: Vec<IdedExpr>,
    each: fn(IdedExpr, &mut Keep<'_>) -> Result<IdedExpr, BadExpression>,
    keep: &mut Keep<'_>,
) -> Result<Vec<IdedExpr>, BadExpression> {
    parts.into_iter().map(|part| each(part, keep)).collect()
}

/// Weighed, but for what is as long as it is written, and the results that macros gather: those are recognised by their form.
fn weighed(expression: IdedExpr, keep: &mut Keep<'_>) -> Result<IdedExpr, BadExpression> {
    let plain = match &expression.expr {
        Expr::Literal(_) | Expr::List(_) | Expr::Map(_) => true,
        Expr::Ident(name) => name.starts_with('@'),
        _ => false,
    };
    let made = bounded(expression, keep)?;
    Ok(if plain { made } else { weigh(made) })
}

fn weigh(expression: IdedExpr) -> IdedExpr {
    let id = expression.id;
    let expr = Expr::Call(CallExpr { func_name: WEIGH.to_owned(), target: None, args: vec![expression] });
    IdedExpr { id, expr }
}

fn text(text: String) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::String(CelString::from(text))) }
}

//! An answer that somebody thinks up, put to the expression of an own check: whether the check holds, what it saw, and which of the
//! expression's conditions say so.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::expect::{BadExpression, Expectation, Facts, Seen};
use crate::own::parsed;

/// An answer, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The expression.
    pub expect: String,
    /// Of an HTTP reply, or a program's exit status.
    pub status: i64,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What came: JSON, else text.
    pub body: String,
    /// The time of day.
    pub now: SystemTime,
    /// The guard that asks.
    pub guard: Facts,
}

/// One of the conditions that the expression joins by `&&`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// As it is written.
    pub text: String,
    /// Whether it is met.
    pub met: bool,
    /// What it is about, or why it can't be judged.
    pub saw: String,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Whether the round is a good one.
    pub met: bool,
    /// What the check would tell.
    pub saw: String,
    /// Each condition by itself.
    pub conditions: Vec<Condition>,
}

/// Judges an answer. Bounded as [`Expectation::judge`] is: not for a thread that others wait for.
///
/// # Errors
/// What is wrong with the expression, and where.
pub fn explain(case: &Case) -> Result<Told, BadExpression> {
    let expectation = Expectation::compile(&case.expect)?;
    let seen = Seen {
        status: case.status,
        headers: case.headers.clone(),
        body: parsed(case.body.as_bytes()),
        now: case.now,
        guard: case.guard.clone(),
    };
    let judged = expectation.judge(&seen);
    let alone = |text: &str| {
        let judged = Expectation::compile(text)?.judge(&seen);
        Ok(Condition { text: text.to_owned(), met: judged.met, saw: judged.saw })
    };
    let conditions: Result<Vec<Condition>, BadExpression> =
        conditions(&case.expect).into_iter().map(alone).collect();
    // A part that isn't an expression by itself is none that was joined.
    Ok(Told { met: judged.met, saw: judged.saw, conditions: conditions.unwrap_or_default() })
}

/// What `&&` joins, outside of brackets and quotes. The whole text where something binds weaker than `&&`.
fn conditions(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), char) if open == char => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, '?') if depth == 0 => return vec![text.trim()],
            (None, '|') if depth == 0 => return vec![text.trim()],
            (None, '&') if depth == 0 && chars.next_if(|(_, next)| *next == '&').is_some() => {
                parts.push(text[start..at].trim());
                start = at + 2;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::UNIX_EPOCH;

    fn case(expect: &str) -> Case {
        Case {
            expect: expect.to_owned(),
            status: 200,
            headers: BTreeMap::from([("server".to_owned(), "b && c".to_owned())]),
            body: r#"{"data": {"connected": "63"}}"#.to_owned(),
            now: UNIX_EPOCH,
            guard: Facts { min_peers: 64, ..Facts::default() },
        }
    }

    #[test]
    fn conditions_are_told_apart() {
        let told = explain(&case(
            r#"status == 200 && int(body.data.connected) >= guard.min_peers && headers["server"] == "b && c""#,
        ))
        .unwrap();
        assert!(!told.met);
        let conditions: Vec<(&str, bool)> =
            told.conditions.iter().map(|condition| (condition.text.as_str(), condition.met)).collect();
        assert_eq!(
            conditions,
            [
                ("status == 200", true),
                ("int(body.data.connected) >= guard.min_peers", false),
                (r#"headers["server"] == "b && c""#, true),
            ]
        );
        assert!(told.conditions[1].saw.contains("63"), "{}", told.conditions[1].saw);
    }

    #[test]
    fn what_binds_weaker_is_left_whole() {
        for whole in [
            "status == 200 && true || false",
            "status == 200 && true ? true : false",
            "(status == 200 && true)",
        ] {
            let told = explain(&case(whole)).unwrap();
            assert_eq!(told.conditions.len(), 1, "{whole}");
            assert!(told.met && told.conditions[0].met, "{whole}");
        }
    }

    #[test]
    fn a_wrong_expression_is_told_with_its_place() {
        let error = explain(&case("status == 200 && nonsense")).unwrap_err();
        assert_eq!((error.line, error.column), (1, 18));
    }
}

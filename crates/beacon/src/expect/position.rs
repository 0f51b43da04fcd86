//! Where in an expression something is wrong, for people: line and column in characters.
//!
//! The parser keeps no places of what it has read, so names are looked for among the words of the text once more.

use cel::ParseErrors;
use cel::parser::pratt_parser::{Lexer, TokenKind};

use super::BadExpression;

/// Of the expression as a whole.
pub(super) fn at_start(message: impl Into<String>) -> BadExpression {
    BadExpression { line: 1, column: 1, message: message.into() }
}

/// The first of the parser's errors; the others mostly follow from it.
pub(super) fn of_syntax(text: &str, mut errors: ParseErrors) -> BadExpression {
    errors.errors.sort_by_key(|error| error.pos);
    let Some(error) = errors.errors.first() else { return at_start("it can't be read") };
    let (line, column) = error.pos;
    let at = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
    // The parser's columns count bytes.
    let start = text.split_inclusive('\n').take(at(line) - 1).map(str::len).sum::<usize>();
    let offset = (start + at(column) - 1).min(text.len());
    at_offset(text, offset, plainly(&error.msg, &text[floor(text, offset)..]))
}

/// Where `name` stands for the first time as a variable.
pub(super) fn of_variable(text: &str, name: &str, message: impl Into<String>) -> BadExpression {
    of_word(text, message, |words, i| words[i].is(name) && !words.before(i, ".") && !words.after(i, "("))
}

/// Where `name` stands for the first time as a function.
pub(super) fn of_function(text: &str, name: &str, message: impl Into<String>) -> BadExpression {
    of_word(text, message, |words, i| words[i].is(name) && words.after(i, "("))
}

/// Where `name` stands for the first time as a field or a text in brackets.
pub(super) fn of_field(text: &str, name: &str, message: impl Into<String>) -> BadExpression {
    of_word(text, message, |words, i| {
        let quoted = words[i].0.trim_matches(['"', '\'']) == name;
        (words.before(i, ".") && words[i].is(name)) || (words.before(i, "[") && quoted)
    })
}

fn of_word(
    text: &str,
    message: impl Into<String>,
    wanted: impl Fn(&Words<'_>, usize) -> bool,
) -> BadExpression {
    let words = Words::of(text);
    let found = (0..words.0.len()).find(|i| wanted(&words, *i));
    at_offset(text, found.map_or(0, |i| words[i].1), message.into())
}

/// A word and where it begins, in bytes.
struct Word<'a>(&'a str, usize);

impl Word<'_> {
    fn is(&self, name: &str) -> bool {
        self.0 == name
    }
}

struct Words<'a>(Vec<Word<'a>>);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let mut lexer = Lexer::new(text);
        let mut words = Vec::new();
        // Every token but the last takes a byte at least.
        for _ in 0..=text.len() {
            let token = lexer.lex();
            match token.kind {
                TokenKind::TokEnd | TokenKind::TokError => break,
                TokenKind::TokWhitespace | TokenKind::TokComment => {}
                _ => words.extend(text.get(token.start..token.end).map(|word| Word(word, token.start))),
            }
        }
        Self(words)
    }

    fn before(&self, i: usize, word: &str) -> bool {
        i.checked_sub(1).is_some_and(|i| self.0[i].is(word))
    }

    fn after(&self, i: usize, word: &str) -> bool {
        self.0.get(i + 1).is_some_and(|after| after.is(word))
    }
}

impl<'a> std::ops::Index<usize> for Words<'a> {
    type Output = Word<'a>;

    fn index(&self, i: usize) -> &Word<'a> {
        &self.0[i]
    }
}

fn at_offset(text: &str, offset: usize, message: String) -> BadExpression {
    let before = &text[..floor(text, offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    BadExpression { line, column, message }
}

/// The beginning of the character that `offset` is in.
fn floor(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The parser's words for somebody who has never seen a grammar. `rest` is the text from the place on.
fn plainly(message: &str, rest: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    if rest.starts_with('=') && !rest.starts_with("==") {
        return "two values are compared with ==".to_owned();
    }
    match word.as_str() {
        "and" => return "\"and\" is written &&".to_owned(),
        "or" => return "\"or\" is written ||".to_owned(),
        _ => {}
    }
    match message.strip_prefix("mismatched input ").and_then(|rest| rest.split_once(" expecting ")) {
        Some(("'<EOF>'", "expression")) => "a value is missing at the end".to_owned(),
        Some((found, "<EOF>")) => format!("{found} is not expected here"),
        Some((found, "expression")) => format!("a value is missing before {found}"),
        Some((found, wanted)) => format!("{found} is not expected here, {wanted} is"),
        None => message.replace("expression recursion limit exceeded", "it is nested too deep"),
    }
}

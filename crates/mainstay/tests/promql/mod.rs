//! Which metrics and labels an expression of PromQL names. It knows as much of the language as the dashboards use, and refuses the rest.

use std::iter::Peekable;
use std::str::CharIndices;

/// What an expression names.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query {
    /// Each metric with its matchers: label and value.
    pub(crate) metrics: Vec<(String, Vec<(String, String)>)>,
    /// Labels of `by`, `on`, ….
    pub(crate) labels: Vec<String>,
    /// What stands in brackets.
    pub(crate) ranges: Vec<String>,
}

const FUNCTIONS: [&str; 11] = [
    "changes",
    "count",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "rate",
    "sum",
    "time",
    "vector",
    "label_values",
];
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 4] = ["and", "or", "unless", "bool"];

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
    Range(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            _ if c.is_whitespace() => {}
            '[' => {
                let end = skip(&mut rest, ']').ok_or("a [ without its ]")?;
                tokens.push(Token::Range(text[at + 1..end].to_owned()));
            }
            '"' => {
                let end = skip(&mut rest, '"').ok_or("a quote without its end")?;
                tokens.push(Token::Text(text[at + 1..end].to_owned()));
            }
            _ if c.is_ascii_alphanumeric() || "_:.".contains(c) => {
                let mut end = at + 1;
                while let Some((next, _)) =
                    rest.next_if(|(_, c)| c.is_ascii_alphanumeric() || "_:.".contains(*c))
                {
                    end = next + 1;
                }
                tokens.push(Token::Word(text[at..end].to_owned()));
            }
            _ if "(){},=!~<>+-*/".contains(c) => tokens.push(Token::Sign(c)),
            _ => return Err(format!("{c:?} is not understood")),
        }
    }
    Ok(tokens)
}

fn skip(rest: &mut Peekable<CharIndices<'_>>, to: char) -> Option<usize> {
    rest.find(|(_, c)| *c == to).map(|(at, _)| at)
}

/// Reads an expression.
pub(crate) fn read(text: &str) -> Result<Query, String> {
    let mut query = Query::default();
    let mut open = 0_i32;
    let mut rest = tokens(text)?.into_iter().peekable();
    while let Some(token) = rest.next() {
        let word = match token {
            Token::Sign('(') => {
                open += 1;
                continue;
            }
            Token::Sign(')') => {
                open -= 1;
                if open < 0 {
                    return Err("a ) too many".to_owned());
                }
                continue;
            }
            Token::Sign('{' | '}') | Token::Text(_) => return Err("a selector without a metric".to_owned()),
            Token::Sign(_) => continue,
            Token::Range(range) => {
                query.ranges.push(range);
                continue;
            }
            Token::Word(word) => word,
        };
        let next = rest.peek();
        if GROUPINGS.contains(&word.as_str()) {
            if rest.next() != Some(Token::Sign('(')) {
                return Err(format!("{word} without its labels"));
            }
            loop {
                match rest.next() {
                    Some(Token::Word(label)) => query.labels.push(label),
                    Some(Token::Sign(',')) => {}
                    Some(Token::Sign(')')) => break,
                    other => return Err(format!("{other:?} among the labels of {word}")),
                }
            }
        } else if FUNCTIONS.contains(&word.as_str()) {
            let goes_on =
                matches!(next, Some(Token::Sign('('))) || matches!(next, Some(Token::Word(by)) if by == "by");
            if !goes_on {
                return Err(format!("{word} of nothing"));
            }
        } else if !OPERATORS.contains(&word.as_str()) && word.parse::<f64>().is_err() {
            let matchers = match rest.next_if_eq(&Token::Sign('{')) {
                Some(_) => matchers(&mut rest)?,
                None => Vec::new(),
            };
            query.metrics.push((word, matchers));
        }
    }
    if open == 0 { Ok(query) } else { Err("a ( without its )".to_owned()) }
}

fn matchers(rest: &mut impl Iterator<Item = Token>) -> Result<Vec<(String, String)>, String> {
    let (mut all, mut label) = (Vec::new(), None);
    for token in rest {
        match token {
            Token::Sign('}') if label.is_none() => return Ok(all),
            Token::Sign(',' | '=' | '!' | '~') => {}
            Token::Word(name) if label.is_none() => label = Some(name),
            Token::Text(value) => all.push((label.take().ok_or("a value without a label")?, value)),
            other => return Err(format!("{other:?} among matchers")),
        }
    }
    Err("a { without its }".to_owned())
}

#[test]
fn what_an_expression_names() {
    let query = read(
        r#"histogram_quantile(0.99, sum by (le, node) (rate(a_bucket{rpc=~"$rpc",x!="y|z"}[$__rate_interval]))) > on (b) group_right () c or vector(0)"#,
    );
    let pair = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    let wanted = Query {
        metrics: vec![
            ("a_bucket".to_owned(), vec![pair("rpc", "$rpc"), pair("x", "y|z")]),
            ("c".to_owned(), vec![]),
        ],
        labels: ["le", "node", "b"].map(str::to_owned).into(),
        ranges: vec!["$__rate_interval".to_owned()],
    };
    assert_eq!(query, Ok(wanted));
    for wrong in ["sum(a", "a)", "sum", "a{b=\"c\"", "{b=\"c\"}", "a{=\"c\"}", "sum by a", "a % b", "a[1"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

//! What values a key takes, and the one place that reads them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::listen::Listen;
use crate::node::NodeValue;
use crate::origin::redact;
use crate::table::Section;
use crate::units::{parse_duration, parse_size};

/// What values a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// A path of the file system; in a file relative to that file's folder.
    Path,
    /// An IP address and a port.
    Address,
    /// An IP address and a port, or a unix socket, `unix:/run/mainstay/rpc.sock`.
    Listen,
    /// An absolute URL.
    Url,
    /// A whole number within bounds, both included.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number within bounds, both included.
    Number {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// A duration with its unit, `250ms`.
    Duration,
    /// A duration with its unit, or a bare number of milliseconds (what ExecutionBackup takes).
    DurationMs,
    /// A number of bytes, `64MiB` or plain.
    Size,
    /// On or off.
    Switch,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Values of the kind, or one of these words in their place (`"off"`, `"adaptive"`).
    Or(&'static Kind, &'static [&'static str]),
    /// Several; on the command line and in a variable separated by commas.
    List(&'static Kind),
    /// Tables of their own, `[[rpc.rule]]`, any number of them. In the file only: no flag and no variable gives one.
    Tables(&'static Section),
}

/// One value that has been read.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    /// Text, a URL or a word.
    Text(String),
    Path(PathBuf),
    Address(SocketAddr),
    Listen(Listen),
    Integer(i64),
    Number(f64),
    Duration(Duration),
    Size(u64),
    Switch(bool),
}

/// A value and how it is shown.
#[derive(Clone, PartialEq)]
pub(crate) struct Read {
    pub(crate) value: Value,
    pub(crate) text: String,
}

impl Kind {
    /// What the kind of one item is: that of a list's items, else itself.
    pub(crate) fn item(&self) -> &Kind {
        match self {
            Self::List(item) => item,
            other => other,
        }
    }

    /// What is expected, with an example, for messages.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Text => "text in quotes".into(),
            Self::Path => "a path, for example \"jwt.hex\"".into(),
            Self::Address => "an IP address with a port, for example \"127.0.0.1:7000\"".into(),
            Self::Listen => {
                "an IP address with a port, for example \"127.0.0.1:7000\", or a unix socket, for example \
                 \"unix:/run/mainstay/rpc.sock\""
                    .into()
            }
            Self::Url => "a URL, for example \"http://127.0.0.1:8551\"".into(),
            Self::Integer { min, .. } => format!("a whole number, for example {}", (*min).max(1)),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Duration => "a duration with its unit, for example \"250ms\"".into(),
            Self::DurationMs => "a duration, for example \"7500ms\"".into(),
            Self::Size => "a size, for example \"64MiB\"".into(),
            Self::Switch => "true or false".into(),
            Self::OneOf(words) => format!("one of {}", quoted(words)),
            Self::Or(kind, words) => format!("{}, or {}", kind.expected(), quoted(words)),
            Self::List(item) => format!("a list in [ ], each item {}", item.expected()),
            Self::Tables(section) => format!("tables, each under [[{}]]", section.name),
        }
    }

    /// The placeholder of its value in `--help`.
    pub fn placeholder(&self) -> String {
        match self {
            Self::Text => "TEXT".into(),
            Self::Path => "PATH".into(),
            Self::Address => "IP:PORT".into(),
            Self::Listen => "IP:PORT|unix:/PATH".into(),
            Self::Url => "URL".into(),
            Self::Integer { .. } | Self::Number { .. } => "NUMBER".into(),
            Self::Duration | Self::DurationMs => "DURATION".into(),
            Self::Size => "SIZE".into(),
            Self::Switch => "BOOL".into(),
            Self::OneOf(words) => words.join("|"),
            Self::Or(kind, words) => format!("{}|{}", kind.placeholder(), words.join("|")),
            Self::List(item) => format!("{},…", item.placeholder()),
            Self::Tables(section) => format!("[[{}]]", section.name),
        }
    }

    /// Reads one value as written on the command line or in a variable.
    pub(crate) fn read_text(&self, text: &str) -> Result<Read, String> {
        let trimmed = text.trim();
        let read = |value| Ok(Read { value, text: trimmed.to_owned() });
        if trimmed.is_empty() {
            return Err(match self {
                Self::Text => "is empty".to_owned(),
                other => format!("is empty, expected {}", other.expected()),
            });
        }
        match self {
            Self::Text => read(Value::Text(trimmed.to_owned())),
            Self::Path => read(Value::Path(PathBuf::from(trimmed))),
            Self::Address => match trimmed.parse() {
                Ok(address) => read(Value::Address(address)),
                Err(_) => Err(self.refuse(trimmed)),
            },
            Self::Listen => match trimmed.parse::<Listen>() {
                Ok(listen) => read(Value::Listen(listen)),
                Err(_) if !trimmed.starts_with("unix:") => Err(self.refuse(trimmed)),
                Err(why) => Err(format!("\"{}\" {why}", redact(trimmed))),
            },
            Self::Url => match url::Url::parse(trimmed) {
                Ok(url) if url.has_host() => read(Value::Text(trimmed.to_owned())),
                Ok(_) => Err(self.refuse(trimmed)),
                Err(why) => Err(format!("\"{}\" is not a URL: {why}", redact(trimmed))),
            },
            Self::Integer { min, max } => match trimmed.parse::<i64>() {
                Ok(number) if number < *min || number > *max => {
                    Err(format!("{number} is not between {min} and {max}"))
                }
                Ok(number) => read(Value::Integer(number)),
                Err(_) => Err(self.refuse(trimmed)),
            },
            Self::Number { min, max } => match trimmed.parse::<f64>() {
                Ok(number) if number >= *min && number <= *max => read(Value::Number(number)),
                Ok(_) => Err(format!("{trimmed} is not between {min} and {max}")),
                Err(_) => Err(self.refuse(trimmed)),
            },
            Self::Duration => read(Value::Duration(parse_duration(trimmed)?)),
            Self::DurationMs => {
                let bare = trimmed.bytes().all(|byte| byte.is_ascii_digit());
                let text = if bare { format!("{trimmed}ms") } else { trimmed.to_owned() };
                let value = Value::Duration(parse_duration(&text)?);
                Ok(Read { value, text })
            }
            Self::Size => read(Value::Size(parse_size(trimmed)?)),
            Self::Switch => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => read(Value::Switch(true)),
                "false" | "0" | "no" | "off" => read(Value::Switch(false)),
                _ => Err(self.refuse(trimmed)),
            },
            Self::OneOf(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(trimmed)) {
                Some(word) => Ok(Read { value: Value::Text((*word).to_owned()), text: (*word).to_owned() }),
                None => Err(match crate::nearest(trimmed, words.iter().copied()) {
                    Some(near) => format!("{}, did you mean \"{near}\"?", self.refuse(trimmed)),
                    None => self.refuse(trimmed),
                }),
            },
            Self::Or(kind, words) => match Self::OneOf(words).read_text(trimmed) {
                Ok(word) => Ok(word),
                Err(_) => kind.read_text(trimmed).map_err(|why| {
                    if why.contains(&kind.expected()) {
                        format!("{why}, or {}", quoted(words))
                    } else {
                        format!("{why}; or it is {}", quoted(words))
                    }
                }),
            },
            Self::List(item) => item.read_text(trimmed),
            Self::Tables(_) => Err(format!("expected {} of the config file", self.expected())),
        }
    }

    /// Reads one value of a file.
    pub(crate) fn read_toml(&self, value: &NodeValue) -> Result<Read, String> {
        match (self, value) {
            (Self::Or(_, words), NodeValue::Text(text))
                if words.iter().any(|word| word.eq_ignore_ascii_case(text)) =>
            {
                self.read_text(text)
            }
            (Self::Or(kind, words), _) => kind.read_toml(value).or_else(|why| match value {
                NodeValue::Text(text) => self.read_text(text),
                _ => Err(format!("{why}; or it is {}", quoted(words))),
            }),
            (
                Self::Text
                | Self::Path
                | Self::Address
                | Self::Listen
                | Self::Url
                | Self::Duration
                | Self::DurationMs
                | Self::Size
                | Self::OneOf(_),
                NodeValue::Text(text),
            ) => self.read_text(text),
            (
                Self::Integer { .. } | Self::Number { .. } | Self::Size | Self::DurationMs | Self::Duration,
                NodeValue::Integer(number),
            ) => self.read_text(number),
            (Self::Number { .. } | Self::Duration, NodeValue::Float(number)) => self.read_text(number),
            (Self::Switch, NodeValue::Switch(on)) => {
                Ok(Read { value: Value::Switch(*on), text: on.to_string() })
            }
            _ => Err(format!("expected {}, found {}", self.expected(), found(value))),
        }
    }

    fn refuse(&self, text: &str) -> String {
        let mut shown = redact(text);
        if let Some((cut, _)) = shown.char_indices().nth(80) {
            shown.truncate(cut);
            shown.push('…');
        }
        format!("\"{shown}\" is not {}", self.expected())
    }
}

/// What stands in the file, without quoting a text (it may be a secret in the wrong place).
fn found(value: &NodeValue) -> String {
    match value {
        NodeValue::Text(_) => "text in quotes".into(),
        NodeValue::Integer(number) => format!("the number {number}"),
        NodeValue::Float(number) => format!("the number {number}"),
        NodeValue::Switch(on) => on.to_string(),
        NodeValue::Date => "a date".into(),
        NodeValue::List(_) => "a list".into(),
        NodeValue::Table(_) => "a table".into(),
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}

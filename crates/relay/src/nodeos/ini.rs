//! A config.ini as nodeos reads it (Boost's program options): `key = value`, keys as often as they like, `#` and what is behind it left out.

use std::fmt;

/// A line of the file that is neither empty nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// The lines of a config.ini.
#[derive(Debug, Clone, Default)]
pub struct Ini(Vec<Line>);

/// A line that nodeos can't read; it wouldn't start. Quotes nothing of it, as it may hold a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLine(pub usize);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected key = value, nodeos doesn't start with this line", self.0)
    }
}

impl std::error::Error for BadLine {}

impl Ini {
    /// Reads it.
    ///
    /// # Errors
    /// The first line that isn't `key = value`.
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let mut lines = Vec::new();
        let mut section = String::new();
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = format!("{}.", name.trim());
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(BadLine(number))?;
            let (key, value) = (format!("{section}{}", key.trim()), value.trim().to_owned());
            lines.push(Line { number, key, value });
        }
        Ok(Self(lines))
    }

    /// All lines with a key.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Line> {
        self.0.iter().filter(move |line| line.key == key)
    }

    /// The one line with a key; the last if there are several.
    pub(super) fn one(&self, key: &str) -> Option<&Line> {
        self.0.iter().rfind(|line| line.key == key)
    }
}

impl Line {
    /// On or off, as Boost reads it.
    pub(super) fn switch(&self) -> Option<bool> {
        match self.value.to_ascii_lowercase().as_str() {
            "" | "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    pub(super) fn number_of<T: std::str::FromStr>(&self) -> Option<T> {
        self.value.parse().ok()
    }
}

//! The config file, with the place of everything in it.

use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::node::{Named, NodeValue, Table};
use crate::origin::{Origin, Problem};

/// The most that is read of a config file.
const MAX_BYTES: u64 = 4 << 20;

/// Why [`read_text`] gives no text.
#[derive(Debug)]
pub enum ReadError {
    /// It can't be read.
    Io(std::io::Error),
    /// It has more bytes than it may have.
    TooLong,
    /// It is not UTF-8.
    NotText,
}

/// Reads the text of a file that has `most` bytes at most. It isn't asked how long it is: what has no end (`/dev/zero`) says that
/// it is empty.
///
/// # Errors
/// See [`ReadError`].
pub fn read_text(path: &Path, most: u64) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(ReadError::Io)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() as u64 > most {
        return Err(ReadError::TooLong);
    }
    String::from_utf8(bytes).map_err(|_| ReadError::NotText)
}

/// A config file that is valid TOML.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// The byte offset at which each line begins.
    lines: Vec<usize>,
    pub(crate) table: Table,
}

/// One section of a file: `[engine]`, or one of several `[[engine]]`.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'a> {
    pub(crate) file: &'a File,
    pub(crate) table: &'a Table,
    /// Where it begins; `None` for the top of the file.
    at: Option<usize>,
}

impl File {
    /// Reads the file at `path`. Fails with what is wrong: it cannot be read, is longer than 4 MiB,
    /// is not UTF-8, or is not TOML (then all errors of syntax).
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let problem = |what: String| {
            vec![Problem {
                origin: Origin::File { path: path.to_owned(), line: 0 },
                key: String::new(),
                what,
            }]
        };
        match read_text(path, MAX_BYTES) {
            Ok(text) => Self::parse(path, &text),
            Err(ReadError::Io(why)) => Err(problem(format!("cannot read the config file: {why}"))),
            Err(ReadError::TooLong) => Err(problem("is longer than 4 MiB, this is no config file".into())),
            Err(ReadError::NotText) => Err(problem("is not UTF-8 text".into())),
        }
    }

    /// Reads `text` as the content of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (table, errors) = DeTable::parse_recoverable(text);
        let file = Self { path: path.to_owned(), lines, table: Table::from(table.get_ref()) };
        if errors.is_empty() {
            return Ok(file);
        }
        let mut problems: Vec<Problem> = errors
            .iter()
            .map(|error| Problem {
                origin: file.origin(error.span().map_or(0, |span| span.start)),
                key: String::new(),
                what: format!("not valid TOML: {}", error.message().replace('\n', ", ")),
            })
            .collect();
        problems.sort_by_key(|problem| match problem.origin {
            Origin::File { line, .. } => line,
            _ => 0,
        });
        // One slip often upsets the parser twice on the same line; the first says it.
        problems.dedup_by(|later, first| later.origin == first.origin);
        Err(problems)
    }

    /// Where the file lies, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The place of a byte offset.
    pub(crate) fn origin(&self, offset: usize) -> Origin {
        Origin::File { path: self.path.clone(), line: self.lines.partition_point(|start| *start <= offset) }
    }

    /// The top of the file, before any section.
    pub fn top(&self) -> Instance<'_> {
        Instance { file: self, table: &self.table, at: None }
    }

    /// All sections called `name`: none, one `[name]`, or several `[[name]]`.
    /// An entry of that name that is no section gives none; [`crate::check_file`] reports it.
    pub fn instances(&self, name: &str) -> Vec<Instance<'_>> {
        let Some(entry) = self.table.get(name) else {
            return Vec::new();
        };
        let instance = |table, at: usize| Instance { file: self, table, at: Some(at) };
        match &entry.node.value {
            NodeValue::Table(table) => vec![instance(table, entry.at)],
            NodeValue::List(items) => items
                .iter()
                .filter_map(|item| match &item.value {
                    NodeValue::Table(table) => Some(instance(table, item.at)),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl<'a> Instance<'a> {
    /// Where the section begins.
    pub fn origin(&self) -> Origin {
        match self.at {
            Some(offset) => self.file.origin(offset),
            None => Origin::File { path: self.file.path.clone(), line: 0 },
        }
    }

    /// The tables that an entry of this section is: one, or several; `None` if it is something else.
    pub(crate) fn inner(&self, entry: &'a Named) -> Option<Vec<Self>> {
        let one = |table: &'a Table, at: usize| Self { file: self.file, table, at: Some(at) };
        match &entry.node.value {
            NodeValue::Table(table) => Some(vec![one(table, entry.at)]),
            NodeValue::List(items) => items
                .iter()
                .map(|item| match &item.value {
                    NodeValue::Table(table) => Some(one(table, item.at)),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    /// The entry called `name`.
    pub(crate) fn entry(&self, name: &str) -> Option<&'a Named> {
        self.table.get(name)
    }
}

//! The directory of records.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Id, Record};

/// The end of a record's file name.
const EXTENSION: &str = "json";
/// The end of the name of a file that is being written.
const TEMPORARY: &str = "json.tmp";
/// A file still being written after this is what a crash left behind.
const ABANDONED: Duration = Duration::from_secs(600);
/// Bytes; nothing that [`Store::save`] writes is near it unless there are dozens of nodes, so a bigger file is not ours.
const MAX_FILE: u64 = 1024 * 1024 * 1024;

/// A directory that keeps the newest records, at most so many files and so many bytes.
///
/// Files that are not records are neither counted nor touched. Several stores, also of several processes, may share a
/// directory; the bounds are then those of the one that saved last.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    max_files: usize,
    max_bytes: u64,
}

/// Why a record was not stored, listed or read. Names files, quotes no content.
#[derive(Debug)]
pub enum StoreError {
    /// The file system said no: to what, on which path, and why.
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The record alone is over the store's bound, in bytes.
    TooLarge {
        /// The record's size.
        bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// The file is no record (any more).
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where it stops being one.
        why: String,
    },
    /// There is no record of this name, or more than one that begins so.
    NoSuch(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", path.display()),
            Self::TooLarge { bytes, max_bytes } => write!(
                f,
                "evidence of {bytes} bytes is more than the {max_bytes} that the directory may hold: raise the limit"
            ),
            Self::Corrupt { path, why } => write!(f, "{} is not a readable record: {why}", path.display()),
            Self::NoSuch(id) => write!(f, "no record is called {id:?}: see `mainstay evidence list`"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A record's file, and the record if it can be read.
#[derive(Debug)]
pub struct Entry {
    /// The record's name.
    pub id: Id,
    /// The size of its file.
    pub bytes: u64,
    /// The record, or why it can't be read.
    pub record: Result<Record, StoreError>,
}

impl Store {
    /// Makes the directory if need be, removes what a crash left in it and whatever is over the bounds.
    ///
    /// # Errors
    /// The directory can't be made, listed or tidied up.
    pub fn open(dir: &Path, max_files: usize, max_bytes: u64) -> Result<Self, StoreError> {
        create_private(dir).map_err(failed("create the directory", dir))?;
        let store = Self { dir: dir.to_owned(), max_files, max_bytes };
        store.sweep()?;
        Ok(store)
    }

    /// Writes the record so that it is there whole or not at all, then deletes the oldest beyond the bounds; gives the
    /// path of its file. Blocks until the disk has it.
    ///
    /// # Errors
    /// It could not be written, or it alone is over the bounds.
    pub fn save(&self, record: &Record) -> Result<PathBuf, StoreError> {
        let path = file_of(&self.dir, &record.id, EXTENSION);
        let text = record.to_json().map_err(|error| StoreError::Io {
            what: "encode",
            path: path.clone(),
            source: error.into(),
        })?;
        let bytes = text.len() as u64;
        if bytes > self.max_bytes || self.max_files == 0 {
            return Err(StoreError::TooLarge {
                bytes,
                max_bytes: if self.max_files == 0 { 0 } else { self.max_bytes },
            });
        }
        let temporary = file_of(&self.dir, &record.id, TEMPORARY);
        write_whole(&temporary, &text).and_then(|()| fs::rename(&temporary, &path)).map_err(|source| {
            // The error that matters is the first one; what stays is swept later.
            let _ = fs::remove_file(&temporary);
            failed("write", &path)(source)
        })?;
        self.sweep()?;
        Ok(path)
    }

    /// Deletes abandoned temporary files, and the oldest records until the rest is within the bounds.
    fn sweep(&self) -> Result<(), StoreError> {
        let Found { mut records, temporary } = scan(&self.dir)?;
        for path in temporary {
            if is_abandoned(&path) {
                remove(&path)?;
            }
        }
        let mut bytes: u64 = records.iter().map(|(_, size)| size).sum();
        // Newest first, so that the oldest is the next to go.
        records.sort_by(|(left, _), (right, _)| right.cmp(left));
        while records.len() > self.max_files || bytes > self.max_bytes {
            let Some((oldest, size)) = records.pop() else { break };
            remove(&file_of(&self.dir, &oldest, EXTENSION))?;
            bytes -= size;
        }
        Ok(())
    }
}

/// All records in the directory, oldest first; unreadable ones as such. Reads every file.
///
/// # Errors
/// The directory can't be listed.
pub fn list(dir: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut records = scan(dir)?.records;
    records.sort();
    Ok(records
        .into_iter()
        .map(|(id, bytes)| {
            let record = read(&file_of(dir, &id, EXTENSION));
            Entry { id, bytes, record }
        })
        .collect())
}

/// One record, by its name or the beginning of it that no other has.
///
/// # Errors
/// There is no such record, or it can't be read.
pub fn load(dir: &Path, id: &str) -> Result<Record, StoreError> {
    let mut named = scan(dir)?
        .records
        .into_iter()
        .map(|(known, _)| known)
        .filter(|known| !id.is_empty() && known.as_str().starts_with(id));
    match (named.next(), named.next()) {
        (Some(known), None) => read(&file_of(dir, &known, EXTENSION)),
        _ => Err(StoreError::NoSuch(id.to_owned())),
    }
}

fn read(path: &Path) -> Result<Record, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt { path: path.to_owned(), why };
    let file = File::open(path).map_err(failed("read", path))?;
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(failed("read", path))?;
    if text.len() as u64 > MAX_FILE {
        return Err(corrupt(format!("longer than {MAX_FILE} bytes")));
    }
    Record::from_json(&text).map_err(|error| {
        // serde's own text quotes what it found.
        corrupt(format!("line {}, column {}", error.line(), error.column()))
    })
}

/// What of ours is in a directory.
struct Found {
    records: Vec<(Id, u64)>,
    temporary: Vec<PathBuf>,
}

fn scan(dir: &Path) -> Result<Found, StoreError> {
    let mut found = Found { records: Vec::new(), temporary: Vec::new() };
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let entry = entry.map_err(failed("list", dir))?;
        let name = entry.file_name();
        let Some((stem, extension)) = name.to_str().and_then(split_name) else {
            continue;
        };
        let Some(id) = Id::parse(stem) else { continue };
        match entry.metadata() {
            Ok(metadata) if !metadata.is_file() => {}
            Ok(metadata) if extension == EXTENSION => found.records.push((id, metadata.len())),
            Ok(_) => found.temporary.push(entry.path()),
            // Another store may have deleted it since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", &entry.path())(error)),
        }
    }
    Ok(found)
}

/// The name without one of our extensions, and which.
fn split_name(name: &str) -> Option<(&str, &'static str)> {
    [EXTENSION, TEMPORARY].into_iter().find_map(|extension| {
        let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
        Some((stem, extension))
    })
}

fn file_of(dir: &Path, id: &Id, extension: &str) -> PathBuf {
    dir.join(format!("{id}.{extension}"))
}

/// By the file system's own clock; a file of the future counts as fresh.
fn is_abandoned(path: &Path) -> bool {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|written| written.elapsed().is_ok_and(|age| age > ABANDONED))
}

fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Deletes a file that another store may have deleted already.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete", path)(error)),
        _ => Ok(()),
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }
}

/// Only its owner can look into the directory: payloads show what a validator does.
#[cfg(unix)]
fn create_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn create_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

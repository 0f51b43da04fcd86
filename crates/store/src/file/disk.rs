//! What touches the disk; all of it blocks.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::{MAX_DOCUMENT, Name, StoreError};

/// Never removed: a lock on a file that is gone protects nothing.
const LOCK: &str = ".lock";
/// The end of the name of a file that is being written.
const TEMPORARY: &str = ".tmp";
/// How many unreadable files are kept aside per document; the last is overwritten then.
const ASIDE: usize = 9;

/// A directory of documents.
pub(crate) struct Disk {
    dir: PathBuf,
}

/// Held until dropped.
pub(crate) struct Lock(#[allow(dead_code, reason = "its descriptor is the lock")] File);

impl Disk {
    /// Makes the directory, shows that it can be written and removes what a crash left half written.
    pub(crate) fn open(dir: &Path) -> Result<Self, String> {
        create_private(dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
        let disk = Self { dir: dir.to_owned() };
        match disk.try_lock() {
            // Whoever holds the lock now may be writing.
            Ok(None) => {}
            Ok(Some(_lock)) => disk.sweep(),
            Err(error) => return Err(error.to_string()),
        }
        Ok(disk)
    }

    pub(crate) fn path(&self, name: &Name) -> PathBuf {
        self.dir.join(name.file())
    }

    /// The right to change anything here; `None` if another has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>, StoreError> {
        let path = self.dir.join(LOCK);
        let file =
            private().create(true).write(true).truncate(false).open(&path).map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }

    pub(crate) fn read(&self, name: &Name) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // No file is an empty document only where there is a directory.
                fs::metadata(&self.dir).map_err(failed("look at", &self.dir))?;
                return Ok(None);
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let mut text = Vec::new();
        file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut text).map_err(failed("read", &path))?;
        if text.len() > MAX_DOCUMENT {
            let path = path.display();
            return Err(StoreError::Unreadable(format!(
                "{path} is larger than {MAX_DOCUMENT} bytes: not ours"
            )));
        }
        Ok(Some(text.into()))
    }

    /// Under the lock. After this the disk has it.
    pub(crate) fn write(&self, name: &Name, value: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        let temporary = self.dir.join(format!("{}{TEMPORARY}", name.file()));
        write_whole(&temporary, value).and_then(|()| fs::rename(&temporary, &path)).map_err(|error| {
            // The error that matters is the first one.
            let _ = fs::remove_file(&temporary);
            failed("write", &path)(error)
        })?;
        self.sync().map_err(|error| {
            let path = path.display();
            StoreError::Unknown(format!(
                "{path} was written, but its directory could not be brought to the disk: {error}"
            ))
        })
    }

    /// Under the lock.
    pub(crate) fn set_aside(&self, name: &Name, value: &Bytes) -> Result<Option<String>, StoreError> {
        if self.read(name)?.as_ref() != Some(value) {
            return Ok(None);
        }
        let path = self.path(name);
        let aside = (1..=ASIDE).map(|number| self.dir.join(format!("{}.unreadable-{number}", name.file())));
        let mut to = path.clone();
        for candidate in aside {
            to = candidate;
            if !to.exists() {
                break;
            }
        }
        fs::rename(&path, &to).map_err(failed("set aside", &path))?;
        self.sync().map_err(failed("bring to the disk", &self.dir))?;
        Ok(Some(to.display().to_string()))
    }

    /// Under the lock, so that nobody is writing: what looks like it is a crash's.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.to_str().is_some_and(|path| path.ends_with(&format!(".json{TEMPORARY}"))) {
                tracing::warn!(file = %path.display(), "removing what a crash left half written");
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// A rename is on the disk only after this.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

fn write_whole(path: &Path, value: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private().create_new(true).write(true).open(path)?;
    file.write_all(value)?;
    file.sync_all()
}

/// Addresses of nodes may hold passwords.
fn private() -> fs::OpenOptions {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn create_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn create_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Unreachable(format!("cannot {what} {}: {error}", path.display()))
}

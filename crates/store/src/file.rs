//! Documents in a directory.
//!
//! A document is a file. A new version is written beside it, brought to the disk and renamed into its place, so that the
//! file is one of the complete versions at any time, whatever is killed when. Every change is made under an exclusive lock
//! on the file `.lock` (the kernel gives it up when its holder dies), which is what makes it compare and swap: any number
//! of processes on one machine may share a directory, as an old and a new one do during an upgrade, and learn of each
//! other's changes by reading every [`POLL`]. A network file system must support `flock` for that.

mod disk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::board::Board;
use crate::tasks::Tasks;
use crate::{BoxFuture, Name, Seen, Store, StoreError, Swap};
use disk::Disk;

/// How often the files are read for changes by other processes.
const POLL: Duration = Duration::from_millis(500);
const _: () = assert!(POLL.as_millis() < 1000, "Store::watch promises a second");
/// How long an operation may take, the wait for the lock included.
const DEADLINE: Duration = Duration::from_secs(3);
/// Between two tries to get the lock; it is held for some milliseconds.
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Keeps documents in a directory. Clones share it.
#[derive(Clone)]
pub struct FileStore {
    inner: Arc<Inner>,
    _tasks: Arc<Tasks>,
}

struct Inner {
    disk: Arc<Disk>,
    board: Board,
}

impl FileStore {
    /// Makes the directory if need be (readable by its owner alone) and finds out whether it can be written. Blocks for as
    /// long as the disk takes. Call it within a tokio runtime: a task looks for changes by others until the last clone is
    /// gone.
    ///
    /// # Errors
    /// The directory can't be made or written; the text says which and why. What is in it is never a reason.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let disk = Disk::open(dir).map_err(StoreError::Unreachable)?;
        let board = Board::new(dir.display().to_string());
        let inner = Arc::new(Inner { disk: Arc::new(disk), board });
        let polling = tokio::spawn(poll(Arc::clone(&inner)));
        Ok(Self { inner, _tasks: Arc::new(Tasks::new([polling.abort_handle()])) })
    }

    /// Where a document is kept.
    pub fn path(&self, name: &Name) -> PathBuf {
        self.inner.disk.path(name)
    }
}

impl Inner {
    async fn look(&self, name: &Name) -> Result<Option<Bytes>, StoreError> {
        let ticket = self.board.begin(name);
        let wanted = name.clone();
        let result = self.on_disk(StoreError::Unreachable, move |disk| disk.read(&wanted)).await;
        self.board.read(name, ticket, &result);
        result
    }

    /// Runs `work` where it may block; `late` makes the error when it gives no answer.
    async fn on_disk<T: Send + 'static>(
        &self,
        late: fn(String) -> StoreError,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let disk = Arc::clone(&self.disk);
        let place = self.board.place();
        match tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(move || work(&disk))).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(late(format!("the work on {place} was cut short"))),
            Err(_) => Err(late(format!(
                "{place} did not answer within {} s: is its disk all right?",
                DEADLINE.as_secs()
            ))),
        }
    }

    /// The same under the lock. No other process changes anything meanwhile.
    async fn under_lock<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + DEADLINE;
        let lock = loop {
            if let Some(lock) = self.on_disk(StoreError::Unreachable, Disk::try_lock).await? {
                break lock;
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Busy(format!(
                    "another process has held the lock of {} for {} s",
                    self.board.place(),
                    DEADLINE.as_secs()
                )));
            }
            tokio::time::sleep(LOCK_RETRY).await;
        };
        self.on_disk(StoreError::Unknown, move |disk| {
            let result = work(disk);
            drop(lock);
            result
        })
        .await
    }

    async fn swap(&self, name: &Name, expected: Option<Bytes>, value: Bytes) -> Result<Swap, StoreError> {
        StoreError::unless_small(&value)?;
        let target = name.clone();
        let swap = self
            .under_lock(move |disk| {
                let current = disk.read(&target)?;
                if let Some(swap) = Swap::of(current.as_ref(), expected.as_ref(), &value) {
                    return Ok(swap);
                }
                disk.write(&target, &value)?;
                Ok(Swap::Done)
            })
            .await?;
        // Read again instead of posting what was written: another process may have had its turn since.
        self.board.invalidate(name);
        let _ = self.look(name).await;
        Ok(swap)
    }
}

impl Store for FileStore {
    fn read<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(self.inner.look(name))
    }

    fn swap<'a>(
        &'a self,
        name: &'a Name,
        expected: Option<&'a Bytes>,
        value: Bytes,
    ) -> BoxFuture<'a, Result<Swap, StoreError>> {
        Box::pin(self.inner.swap(name, expected.cloned(), value))
    }

    fn watch(&self, name: &Name) -> watch::Receiver<Seen> {
        self.inner.board.watch(name)
    }

    fn set_aside<'a>(
        &'a self,
        name: &'a Name,
        value: &'a Bytes,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move {
            let (target, value) = (name.clone(), value.clone());
            let moved = self.inner.under_lock(move |disk| disk.set_aside(&target, &value)).await?;
            self.inner.board.invalidate(name);
            let _ = self.inner.look(name).await;
            Ok(moved)
        })
    }

    fn place(&self) -> &str {
        self.inner.board.place()
    }
}

/// Looks for changes by others.
async fn poll(inner: Arc<Inner>) {
    loop {
        for name in inner.board.names() {
            // The board shows how it went.
            let _ = inner.look(&name).await;
        }
        tokio::time::sleep(POLL).await;
    }
}

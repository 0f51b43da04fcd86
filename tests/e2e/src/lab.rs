//! One scenario: its folder, its secret, its logs and its deadline.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::rpc::Secret;
use crate::tools::Tools;
use crate::{Result, fail};

/// How much of each log a failed scenario prints.
const TAIL_BYTES: u64 = 4_000;
const POLL: Duration = Duration::from_millis(100);

/// The clients want the machine for themselves, so scenarios of one file take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Where one scenario happens. Dropped in a panic it keeps its folder and prints the ends of all logs.
pub struct Lab {
    folder: TempDir,
    started: Instant,
    logs: Mutex<Vec<PathBuf>>,
    /// The clients to run.
    pub tools: Tools,
    /// The JWT secret that all clients of the scenario share.
    pub secret: Secret,
}

impl Lab {
    fn new(name: &str) -> Result<Lab> {
        let tools = Tools::find()?;
        let folder = tempfile::Builder::new().prefix(&format!("mainstay-{name}-")).tempdir()?;
        let secret = Secret::create(&folder.path().join("jwt.hex"))?;
        Ok(Lab { folder, started: Instant::now(), logs: Mutex::default(), tools, secret })
    }

    /// A path inside the scenario's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A line of progress, with the seconds since the scenario began.
    pub fn say(&self, text: impl AsRef<str>) {
        eprintln!("[{:6.1}s] {}", self.started.elapsed().as_secs_f64(), text.as_ref());
    }

    /// The log file of process `name`; the second run of a process goes on in the same file.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        let path = self.path(&format!("{name}.log"));
        if let Ok(mut logs) = self.logs.lock()
            && !logs.contains(&path)
        {
            logs.push(path.clone());
        }
        path
    }
}

impl Lab {
    /// Keeps the folder and prints the ends of all logs.
    fn keep(&mut self) {
        self.folder.disable_cleanup(true);
        let logs = self.logs.lock().map(|logs| logs.clone()).unwrap_or_default();
        for path in logs {
            eprintln!("──── end of {}", path.display());
            eprintln!("{}", tail(&path).unwrap_or_else(|error| error.to_string()));
        }
        eprintln!("──── everything of this scenario is kept in {}", self.folder.path().display());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep();
        }
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs one scenario to its end, or to `limit`, whichever comes first; panics where it failed.
///
/// # Panics
/// If the scenario returns a failure, takes longer than `limit`, or a tool is missing.
pub fn scenario(name: &str, limit: Duration, body: impl AsyncFnOnce(&Lab) -> Result<()>) {
    // A scenario that panicked has cleaned up after itself, so a poisoned lock means nothing.
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut lab = Lab::new(name).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("{name}: no runtime: {error}"));
    let failure = match runtime.block_on(async { tokio::time::timeout(limit, body(&lab)).await }) {
        Ok(Ok(())) => return lab.say(format!("{name}: done")),
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => format!("not done within {limit:?}"),
    };
    // The logs first: the last lines of a failed run are those that are read.
    lab.keep();
    drop(lab);
    panic!("{name}: {failure}");
}

/// Looks every 100 ms until `look` gives something; its last complaint is part of the failure.
///
/// # Errors
/// If `limit` passes first.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = tokio::time::Instant::now() + limit;
    let mut complaint = String::new();
    loop {
        match tokio::time::timeout_at(end, look()).await {
            Ok(Ok(Some(found))) => return Ok(found),
            Ok(Ok(None)) => {}
            Ok(Err(failure)) => complaint = format!(" (the last try: {failure})"),
            Err(_) => fail!("waited {limit:?} for {what}, in vain{complaint}"),
        }
        if tokio::time::Instant::now() + POLL > end {
            fail!("waited {limit:?} for {what}, in vain{complaint}");
        }
        tokio::time::sleep(POLL).await;
    }
}

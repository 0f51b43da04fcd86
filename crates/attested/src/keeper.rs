//! What verdicts rest on while a process runs: collateral that is at hand, results that are remembered, and what is known of each node.
//!
//! Nothing is fetched within a handshake. A platform that is met without collateral is noted and its node refused; [`Keeper::run`] fetches
//! what is noted, and again well before it expires. It is kept in memory and, if there is a folder for it, on disk.

mod folder;
mod known;
mod service;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use mainstay_attest::collateral::shelf::Shelf;
use mainstay_attest::collateral::{Collateral, MAX_COLLATERAL};
use mainstay_attest::results::Results;
use mainstay_attest::{Attested, Expectation, Kind, when};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;
use tracing::{info, warn};
use url::Url;

use crate::settings::{Config, read_collateral};
use crate::telemetry::Telemetry;
use crate::{Fetched, Ground, Judged, Missing, Trust};

pub use known::Known;
pub(crate) use known::Nodes;

/// The longest that is slept between two looks at what is due: clocks are set.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
/// How many platforms' collateral is fetched at once.
const AT_ONCE: usize = 4;

/// Tells the time of day.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// All of it, shared by every client of the process.
pub struct Keeper {
    config: Config,
    trust: Arc<Trust>,
    clock: Clock,
    shelf: Mutex<Shelf<Missing>>,
    /// What was at hand at start, from files and the folder, until it is asked for.
    stored: Mutex<Vec<Stored>>,
    results: Mutex<Results>,
    nodes: Arc<Mutex<Nodes>>,
    telemetry: Telemetry,
    /// Something was met that has to be fetched.
    noted: Notify,
    /// A fetch has ended.
    ended: watch::Sender<()>,
}

/// Collateral that is not for anybody yet.
#[derive(Clone)]
struct Stored {
    /// As its file is named; of a file of the operator's it isn't known.
    authority: Option<String>,
    collateral: Arc<Collateral>,
}

impl Stored {
    fn is_for(&self, of: Missing) -> bool {
        self.collateral.kind() == of.kind
            && self.collateral.fmspc() == of.platform.fmspc
            && self.authority.as_ref().is_none_or(|authority| authority == of.platform.authority)
    }
}

impl Keeper {
    /// One by its settings. Reads what is kept in the folder, but makes and fetches nothing yet.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Self {
        let mut stored: Vec<Stored> = config
            .collateral
            .iter()
            .map(|collateral| Stored { authority: None, collateral: collateral.clone() })
            .collect();
        if let Some(dir) = &config.dir {
            stored.extend(folder::read(dir, &config.trust.intel, clock()));
        }
        Self {
            trust: Arc::new(config.trust.clone()),
            shelf: Mutex::new(Shelf::new(config.refresh_ahead)),
            stored: Mutex::new(stored),
            results: Mutex::new(Results::new(config.result_ttl)),
            nodes: Arc::default(),
            telemetry: Telemetry::default(),
            noted: Notify::new(),
            ended: watch::Sender::new(()),
            clock,
            config,
        }
    }

    /// What is known of a node, by its URL as the role has it.
    #[must_use]
    pub fn known(&self, node: &Url) -> Option<Arc<Known>> {
        lock(&self.nodes).of(node)
    }

    /// Registers its metrics, once a process.
    pub fn register(&self, registry: &mut Registry) {
        self.telemetry.register(self.nodes.clone(), registry);
    }

    /// Fetches what is due, for ever. Without it nothing is.
    pub async fn run(self: Arc<Self>) {
        let mut waiting = VecDeque::new();
        let mut fetches = JoinSet::new();
        loop {
            waiting.extend(lock(&self.shelf).due((self.clock)()));
            while fetches.len() < AT_ONCE
                && let Some(of) = waiting.pop_front()
            {
                fetches.spawn(self.clone().fetch(of));
            }
            let next = lock(&self.shelf).next();
            let wait = next.and_then(|next| next.duration_since((self.clock)()).ok());
            let wait = match (next, wait) {
                (None, _) => LONGEST_SLEEP,
                (Some(_), wait) => wait.unwrap_or_default().min(LONGEST_SLEEP),
            };
            tokio::select! {
                biased;
                _ = fetches.join_next(), if !fetches.is_empty() => {}
                () = self.noted.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Fetches once, and says what came of it.
    async fn fetch(self: Arc<Self>, of: Missing) {
        let fetched = match self.in_files(of).await {
            Some(collateral) => Ok(collateral),
            None => self.of_service(of).await,
        };
        let now = (self.clock)();
        let (fmspc, authority, kind) = (of.platform.fmspc, of.platform.authority, of.kind);
        match fetched {
            Ok(collateral) => {
                info!(?kind, %fmspc, authority, until = when::written(collateral.until()), "collateral is at hand");
                self.telemetry.fetched(true);
                self.telemetry.collateral(of, collateral.until());
                lock(&self.shelf).keep(of, collateral, now);
            }
            Err(why) => {
                warn!(?kind, %fmspc, authority, why, "collateral can't be had, nodes on such platforms are refused without it");
                self.telemetry.fetched(false);
                lock(&self.shelf).failed(of, now);
            }
        }
        self.ended.send_replace(());
    }

    /// What one of the operator's files has by now; nothing if it has expired, or is about to while another can be asked.
    async fn in_files(&self, of: Missing) -> Option<Collateral> {
        let files = self.config.files.clone();
        let read = spawn_blocking(move || {
            let read = |path: &PathBuf| {
                read_file(path, MAX_COLLATERAL).and_then(|json| read_collateral(path, &json))
            };
            files.iter().map(read).collect::<Vec<_>>()
        });
        let now = (self.clock)();
        let ahead = if self.config.service.is_some() { self.config.refresh_ahead } else { Duration::ZERO };
        let mut best: Option<Collateral> = None;
        for file in read.await.unwrap_or_default() {
            match file {
                Ok(collateral) => {
                    let lasts = collateral.until().duration_since(now).is_ok_and(|lasts| lasts > ahead);
                    let is_for =
                        Stored { authority: None, collateral: Arc::new(collateral.clone()) }.is_for(of);
                    if is_for && lasts && best.as_ref().is_none_or(|best| best.until() < collateral.until()) {
                        best = Some(collateral);
                    }
                }
                Err(why) => warn!(why, "a file of collateral can't be used"),
            }
        }
        best
    }

    async fn of_service(&self, of: Missing) -> Result<Collateral, String> {
        let Some(service) = &self.config.service else {
            return Err(
                "no file has any that is valid, and nobody is asked ([attest] collateral_url is off)"
                    .to_owned(),
            );
        };
        let collateral = service::ask(service, of).await?;
        let now = (self.clock)();
        if (collateral.kind(), collateral.fmspc()) != (of.kind, of.platform.fmspc) {
            return Err(format!(
                "the service answered for {:?} and FMSPC {}",
                collateral.kind(),
                collateral.fmspc()
            ));
        }
        if collateral.until() <= now {
            return Err(format!("what the service has expired on {}", when::written(collateral.until())));
        }
        collateral.signed_under(&self.trust.intel, now).map_err(|why| why.to_string())?;
        if let Some(dir) = self.config.dir.clone() {
            let kept = collateral.clone();
            let written = spawn_blocking(move || folder::write(&dir, of, &kept)).await;
            if let Ok(Err(why)) = written {
                warn!(why, "collateral isn't kept for the next start");
            }
        }
        Ok(collateral)
    }

    fn has_source(&self) -> bool {
        self.config.service.is_some() || !self.config.files.is_empty()
    }
}

impl Ground for Keeper {
    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    fn trust(&self) -> Arc<Trust> {
        self.trust.clone()
    }

    fn can(&self, kind: Kind) -> Result<(), String> {
        match kind {
            Kind::Sev => Ok(()),
            Kind::Sgx | Kind::Tdx if self.has_source() => Ok(()),
            Kind::Sgx | Kind::Tdx => Err("nodes of SGX and TDX can't be verified without Intel's collateral: set [attest] collateral_url or \
                                          collateral_files"
                .to_owned()),
        }
    }

    fn collateral(&self, of: Missing) -> Option<Arc<Collateral>> {
        let now = (self.clock)();
        let mut shelf = lock(&self.shelf);
        let mut held = shelf.meet(of, now);
        if held.is_none() {
            let stored = lock(&self.stored)
                .iter()
                .filter(|stored| stored.is_for(of))
                .cloned()
                .max_by_key(|stored| stored.collateral.until());
            if let Some(Stored { collateral, .. }) = stored {
                self.telemetry.collateral(of, collateral.until());
                shelf.keep(of, (*collateral).clone(), now);
                shelf.hurry(of);
                held = shelf.meet(of, now);
            }
        }
        drop(shelf);
        self.noted.notify_one();
        held
    }

    fn fetching(&self, of: Missing) -> Option<Fetched> {
        let mut ended = self.ended.subscribe();
        if !lock(&self.shelf).is_pending(of, (self.clock)()) {
            return None;
        }
        Some(Box::pin(async move {
            // Another platform's fetch may end first; the client looks again, or waits for the next connection.
            let _ = ended.changed().await;
        }))
    }

    fn remembered(&self, certificate: &[u8], expectation: &Expectation, now: SystemTime) -> Option<Attested> {
        lock(&self.results).find(certificate, expectation, now).cloned()
    }

    fn known(&self, node: &Url) -> Option<Value> {
        serde_json::to_value(&*Self::known(self, node)?).ok()
    }

    fn judged(&self, judged: &Judged<'_>) {
        if let Ok(attested) = judged.verdict
            && !judged.remembered
            && judged.nonce.is_none()
        {
            lock(&self.results).keep(judged.certificate, judged.expectation, attested, judged.at);
        }
        self.telemetry.judged(judged);
        lock(&self.nodes).note(judged);
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

/// A whole file of at most so many bytes.
pub(crate) fn read_file(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let told = |why: std::io::Error| format!("{}: cannot be read: {why}", path.display());
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(told)?;
    file.take(most as u64 + 1).read_to_end(&mut content).map_err(told)?;
    match content.len() > most {
        true => Err(format!("{}: larger than {most} bytes", path.display())),
        false => Ok(content),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under it can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What the outside may ask and do: state, health, drain.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use mainstay_node::{Action, Figure, Level, Operated, Prepared, Refused};
use mainstay_settings::redact;
use mainstay_wire::client::{Attestation, Client};
use serde::Serialize;
use serde_json::Value;

use crate::check::Condition;
use crate::clock;
use crate::config::{Config, SECTION};
use crate::core::{Core, Look, Post};
use crate::finding::Verdict;
use crate::guard::{Grade, Turn};
use crate::rounds;

/// A check as the outside sees it.
#[derive(Clone, Debug, Serialize)]
pub struct CheckView {
    /// Its name.
    pub name: String,
    /// Whether it holds; a check that hasn't been made doesn't.
    pub holds: bool,
    /// Whether it fails for a reason that the last guard may stay open in spite of.
    pub soft: bool,
    /// What its last round found.
    pub saw: String,
    /// Since when it holds or fails, in seconds.
    pub since_seconds: u64,
}

/// Something that changed.
#[derive(Clone, Debug, Serialize)]
pub struct FlipView {
    /// How long ago, in seconds.
    pub ago_seconds: u64,
    /// The check that flipped; `None`: the guard opened or closed.
    pub check: Option<String>,
    /// Whether it holds, or is open, since.
    pub holds: bool,
    /// Why.
    pub saw: String,
}

/// A guard as the outside sees it.
#[derive(Clone, Debug, Serialize)]
pub struct GuardView {
    /// Its name.
    pub name: String,
    /// Where validator clients connect by its config.
    pub listen: String,
    /// The beacon node's URL without credentials.
    pub uri: String,
    /// Whether requests get through.
    pub fit: bool,
    /// fit, kept, warming, unfit, drained.
    pub condition: &'static str,
    /// Why it isn't fit; empty if it is.
    pub reason: String,
    /// Since when requests get through, or don't, in seconds.
    pub since_seconds: u64,
    /// Slot of the node's head.
    pub head: Option<u64>,
    /// How long its node's last answer to a check took, in microseconds.
    pub latency_us: Option<u64>,
    /// Event streams that are open.
    pub open_streams: i64,
    /// The checks; traffic's last.
    pub checks: Vec<CheckView>,
    /// The last flips, the oldest first.
    pub flips: Vec<FlipView>,
    /// If it is to prove what it runs: how it was judged last. Nothing before it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Value>,
}

/// The state of the role.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The guards in the order in which they were named.
    pub nodes: Vec<GuardView>,
}

/// A handle on a running role.
#[derive(Clone)]
pub struct Handle {
    core: Arc<Core>,
    name: Arc<str>,
}

impl Operated for Handle {
    type Snapshot = Snapshot;

    fn kind(&self) -> &'static str {
        SECTION.name
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn snapshot(&self) -> Snapshot {
        let config = self.core.config();
        let shown = |post: &Arc<Post>| self.core.look(post, |look| view(post, &look, config.attest.as_ref()));
        let nodes = self.core.posts().iter().map(shown).collect();
        Snapshot { name: self.name.to_string(), nodes }
    }

    fn health(&self) -> (Level, Vec<String>) {
        let guards = self.snapshot().nodes;
        let reasons: Vec<String> = guards
            .iter()
            .filter(|guard| guard.condition != "fit")
            .map(|guard| format!("{} is {}: {}", guard.name, guard.condition, guard.reason))
            .collect();
        let level = match guards.iter().filter(|guard| guard.fit).count() {
            0 => Level::Down,
            _ if reasons.is_empty() => Level::Well,
            _ => Level::Degraded,
        };
        (level, reasons)
    }

    async fn act(&self, action: Action) -> Result<(), Refused> {
        match action {
            Action::Drain { node } | Action::Cordon { node } => self.drain(&node),
            Action::Uncordon { node } => self.undrain(&node),
            Action::Prefer { .. } => Err(Refused::to_prefer()),
            Action::Majority { .. } => Err(Refused::to_vote()),
            Action::Recheck => {
                self.recheck();
                Ok(())
            }
            Action::Add { .. } | Action::Remove { .. } => Err(Refused::Unsupported(
                "guards are named in the settings, each has a listener of its own".to_owned(),
            )),
        }
    }

    fn actions(&self) -> &'static [&'static str] {
        &["drain", "uncordon", "recheck"]
    }

    /// Of every guard how far its node's head is behind the best, the checks that fail, and open event streams.
    #[allow(clippy::cast_precision_loss)] // for plots
    fn figures(&self) -> Vec<Figure> {
        let guards = self.snapshot().nodes;
        let best = guards.iter().filter_map(|guard| guard.head).max();
        let of_guard = |guard: GuardView| {
            let failing = guard.checks.iter().filter(|check| !check.holds).count();
            let lag = best.zip(guard.head).map(|(best, head)| best.saturating_sub(head) as f64);
            let all = [
                ("latency", "ms", guard.latency_us.map(|took| took as f64 / 1000.0)),
                ("lag", "slots", lag),
                ("failing checks", "", Some(failing as f64)),
                ("event streams", "", Some(guard.open_streams as f64)),
            ];
            all.map(|(figure, unit, value)| Some(Figure::new(guard.name.clone(), figure, unit, value?)))
        };
        guards.into_iter().flat_map(of_guard).flatten().collect()
    }
}

impl Handle {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let name = core.config().name.as_str().into();
        Self { core, name }
    }

    /// Checks whether these settings can hold from now on, and prepares it. What they say of keys that aren't live is passed over.
    ///
    /// # Errors
    /// Every reason why not.
    pub fn prepare(&self, config: Config) -> Result<Prepared, Vec<String>> {
        let before = self.core.posts();
        let mut problems = Vec::new();
        for (old, new) in before.iter().zip(&config.guards) {
            if old.config.name != new.name {
                let (was, is) = (&old.config.name, &new.name);
                problems.push(format!("a guard's name: needs a restart (was {was}, would be {is})"));
            }
        }
        if before.len() != config.guards.len() {
            problems.push("a guard more or less needs a restart, as each has a listener".to_owned());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let config = Arc::new(config);
        let posts = self.core.prepare(&config, &Client::new).map_err(|why| vec![why.to_string()])?;
        let core = self.core.clone();
        Ok(Prepared::new(Vec::new(), move || {
            core.replace(config, posts);
            rounds::start(&core);
        }))
    }

    /// Closes a guard: 503 to everything, whatever its checks say. What it has begun to answer it ends.
    ///
    /// # Errors
    /// No guard is called so.
    pub fn drain(&self, guard: &str) -> Result<(), Refused> {
        self.core.drain(&*self.find(guard)?, true);
        Ok(())
    }

    /// Ends a drain.
    ///
    /// # Errors
    /// No guard is called so.
    pub fn undrain(&self, guard: &str) -> Result<(), Refused> {
        self.core.drain(&*self.find(guard)?, false);
        Ok(())
    }

    /// Makes all checks now.
    pub fn recheck(&self) {
        for post in self.core.posts() {
            post.recheck.notify_waiters();
        }
    }

    fn find(&self, name: &str) -> Result<Arc<Post>, Refused> {
        let found = self.core.posts().into_iter().find(|post| post.config.name == name);
        found.ok_or_else(|| Refused::NoSuchNode(name.to_owned()))
    }
}

fn view(post: &Post, look: &Look<'_>, attest: Option<&Attestation>) -> GuardView {
    let reasons: Vec<String> =
        look.reasons.iter().map(|reason| format!("{}: {}", reason.check, reason.saw)).collect();
    let condition = match (look.open, look.grade) {
        (true, Grade::Good) => "fit",
        (true, _) => "kept",
        (false, _) if look.guard.is_drained() => "drained",
        (false, Grade::Warming { .. } | Grade::Good) => "warming",
        (false, _) => "unfit",
    };
    GuardView {
        name: post.config.name.clone(),
        listen: post.config.listen.to_string(),
        uri: redact(post.config.beacon_node.as_str()),
        fit: look.open,
        condition,
        reason: reasons.join("; "),
        since_seconds: ago(look.since),
        head: look.known.head,
        latency_us: Some(post.latency_us.load(Ordering::Relaxed)).filter(|took| *took > 0),
        open_streams: post.telemetry.open_streams.get(),
        checks: post
            .checks
            .iter()
            .zip(look.guard.checks())
            .map(|(name, check)| check_view(name, check))
            .collect(),
        flips: look.guard.turns().map(|turn| flip_view(post, turn)).collect(),
        attestation: attest.and_then(|attest| attest.known(&post.config.beacon_node)),
    }
}

fn check_view(name: &str, check: &crate::check::Check) -> CheckView {
    CheckView {
        name: name.to_owned(),
        holds: *check.condition() == Condition::Holds,
        soft: check.condition().verdict() == Verdict::Soft,
        saw: check.last().map_or_else(String::new, |finding| finding.saw.clone()),
        since_seconds: ago(check.since()),
    }
}

fn flip_view(post: &Post, turn: &Turn) -> FlipView {
    FlipView {
        ago_seconds: ago(turn.at),
        check: turn.check.map(|place| post.checks[place].to_string()),
        holds: turn.good,
        saw: turn.saw.clone(),
    }
}

fn ago(at: Instant) -> u64 {
    clock::now().saturating_duration_since(at).as_secs()
}

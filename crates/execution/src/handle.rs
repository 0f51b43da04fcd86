//! What the outside may ask and do: state, health, changes to the nodes, rounds as they happen.

use std::sync::Arc;
use std::time::Duration;

use mainstay_node::{Action, Condition, Figure, Level, Refused, Tier};
use mainstay_wire::client::Attestation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::ballot::Part;
use crate::core::Core;
use crate::node::{Node, lock};
use crate::probe;
use crate::round::Round;
use crate::standing::Hold;

/// Replays in a row that didn't help until the operator is told to.
const STUCK: u32 = 3;

/// A node as the outside sees it.
#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its URL without credentials.
    pub url: String,
    /// Its tier.
    pub tier: Tier,
    /// fit, syncing, lagging, unfit, misconfigured, unknown.
    pub condition: &'static str,
    /// The condition in words.
    pub reason: String,
    /// Since when, in seconds.
    pub since_seconds: u64,
    /// `votes`, or why its vote is worth less: muted, straggling, quarantined, cordoned, drained, do-not-use.
    pub standing: &'static str,
    /// Whether it is fit.
    pub fit: bool,
    /// Whether its vote is waited for.
    pub votes: bool,
    /// Its head's number.
    pub head: Option<u64>,
    /// Blocks behind the best voter.
    pub lag: Option<u64>,
    /// Blocks missing beyond what can be replayed.
    pub gap: Option<u64>,
    /// Replays in a row that didn't bring it to the head.
    pub replays_in_vain: u32,
    /// Its client's version.
    pub client: Option<String>,
    /// Time of the last probe in microseconds.
    pub latency_us: Option<u64>,
    /// 95th percentile of newPayload in microseconds.
    pub payload_p95_us: Option<u64>,
    /// Calls waiting in its queue.
    pub queued: usize,
    /// If it is to prove what it runs: how it was judged last. Nothing before it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Value>,
}

/// A payload that is being built, for another process.
#[derive(Serialize, Deserialize)]
struct Build {
    id: String,
    age_ms: u64,
    /// By name, with their own ids.
    nodes: Vec<(String, String)>,
}

/// A handle on a role's execution clients, in which its own handle has its part.
#[derive(Clone)]
pub struct Handle {
    core: Arc<Core>,
}

impl Handle {
    /// Of these execution clients.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The role's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// The primary's name.
    #[must_use]
    pub fn primary(&self) -> Option<String> {
        self.core.primary().map(|n| n.name().to_owned())
    }

    /// The head that was named last.
    #[must_use]
    pub fn head(&self) -> Option<String> {
        lock(&self.core.head).as_ref().map(|h| h.hash.clone())
    }

    /// The nodes in order.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeView> {
        let best = self.core.others().best_head;
        let attest = self.core.attest.as_ref();
        self.core.nodes().iter().map(|n| view(n, best, attest)).collect()
    }

    /// What a process that takes over has to know: by which ids which nodes build, or a proposal that is under way would be lost.
    #[must_use]
    pub fn memory(&self) -> serde_json::Value {
        let nodes = self.core.nodes();
        let named = |(id, own): &(u64, String)| {
            let node = nodes.iter().find(|node| node.id == *id)?;
            Some((node.name().to_owned(), own.clone()))
        };
        let now = Instant::now().into_std();
        let ids = lock(&self.core.ids);
        let build = |(id, age, of_node): (&str, Duration, &[(u64, String)])| Build {
            id: id.to_owned(),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            nodes: of_node.iter().filter_map(named).collect(),
        };
        serde_json::to_value(ids.all(now).map(build).collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Takes over what [`Handle::memory`] told in another process. What it can't read, and nodes that are none here, it leaves out.
    pub fn remember(&self, memory: &serde_json::Value) {
        let Ok(builds) = <Vec<Build> as Deserialize>::deserialize(memory) else { return };
        let nodes = self.core.nodes();
        let now = Instant::now().into_std();
        let mut ids = lock(&self.core.ids);
        for build in builds {
            let Some(since) = now.checked_sub(Duration::from_millis(build.age_ms)) else { continue };
            for (name, own) in build.nodes {
                if let Some(node) = nodes.iter().find(|node| node.name() == name) {
                    ids.add(&build.id, node.id, own, since);
                }
            }
        }
    }

    /// How well the role does by its nodes, and why it isn't better.
    #[must_use]
    pub fn health(&self) -> (Level, Vec<String>) {
        let nodes = self.core.nodes();
        let mut reasons = Vec::new();
        let mut voters = 0;
        let mut usable = 0;
        for node in nodes.iter() {
            let part = node.part();
            let state = node.state();
            voters += usize::from(part == Part::Voter);
            usable += usize::from(matches!(part, Part::Voter | Part::Maybe));
            let held = state.standing.do_not_use || state.standing.hold != Hold::None;
            let note = state.standing.note();
            match state.health.condition() {
                Condition::Fit if note.is_none() || held => {}
                Condition::Fit if state.replays_in_vain >= STUCK => reasons.push(format!(
                    "{}: doesn't follow after {} replays; restart it, or let it sync from peers",
                    node.name(),
                    state.replays_in_vain
                )),
                Condition::Fit => reasons.push(format!("{}: {}", node.name(), note.unwrap_or_default())),
                other => reasons.push(format!("{}: {other}", node.name())),
            }
        }
        if let Some(dispute) = lock(&self.core.dispute).as_ref() {
            reasons.push(format!(
                "nodes disagree about {}: {} say VALID, {} INVALID",
                dispute.block,
                dispute.valid.join(", "),
                dispute.invalid.join(", ")
            ));
        }
        let level = match (usable, voters) {
            (0, _) => {
                reasons.insert(0, "no node can vote".into());
                Level::Down
            }
            (_, 0) => {
                reasons.insert(0, "no node is known to be in sync".into());
                Level::Degraded
            }
            _ if reasons.is_empty() => Level::Well,
            _ => Level::Degraded,
        };
        (level, reasons)
    }

    /// The last rounds and disagreements.
    #[must_use]
    pub fn recent(&self) -> serde_json::Value {
        let view = lock(&self.core.lately).view();
        serde_json::to_value(view).unwrap_or_default()
    }

    /// What [`Handle::act`] does.
    pub const ACTIONS: &[&str] = &["add", "remove", "cordon", "drain", "uncordon", "recheck", "majority"];

    /// What there is to plot: time to the answer, and of every node latency, newPayload's 95th percentile, lag and queue.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // for plots
    pub fn figures(&self) -> Vec<Figure> {
        const MS: f64 = 1000.0;
        let mut figures = Vec::new();
        if let Some(took) = lock(&self.core.lately).took_us() {
            figures.push(Figure::new("", "time to the answer", "ms", took as f64 / MS));
        }
        for node in self.nodes() {
            let of_node = [
                ("latency", "ms", node.latency_us.map(|took| took as f64 / MS)),
                ("newPayload, 95th percentile", "ms", node.payload_p95_us.map(|took| took as f64 / MS)),
                ("lag", "blocks", node.lag.map(|lag| lag as f64)),
                ("queue", "", Some(node.queued as f64)),
            ];
            let known = of_node.into_iter().filter_map(|(figure, unit, value)| {
                Some(Figure::new(node.name.clone(), figure, unit, value?))
            });
            figures.extend(known);
        }
        figures
    }

    /// What the operator wants.
    ///
    /// # Errors
    /// Why it wasn't done.
    pub async fn act(&self, action: Action) -> Result<(), Refused> {
        match action {
            Action::Add { uri, .. } => self.add(vec![uri]).await,
            Action::Remove { node } => self.remove(&node),
            Action::Drain { node } => self.drain(&node),
            Action::Cordon { node } => self.cordon(&node),
            Action::Uncordon { node } => self.uncordon(&node),
            Action::Prefer { .. } => Err(Refused::to_prefer()),
            Action::Majority { share } => self.set_majority(share),
            Action::Recheck => {
                self.recheck().await;
                Ok(())
            }
        }
    }

    /// Adds nodes, all or none.
    ///
    /// # Errors
    /// [`Refused::Bad`]: URL, suffix, secret, duplicate.
    pub async fn add(&self, texts: Vec<String>) -> Result<(), Refused> {
        self.core.add_texts(&texts).map_err(|e| Refused::Bad(e.to_string()))?;
        probe::all(&self.core).await;
        Ok(())
    }

    /// Takes a node out for good.
    ///
    /// # Errors
    /// No such node, or it is the last one.
    pub fn remove(&self, name: &str) -> Result<(), Refused> {
        let node = self.find(name)?;
        if self.core.nodes().len() == 1 {
            return Err(Refused::Bad(format!("{name} is the only node: add another first")));
        }
        self.core.remove(&node);
        Ok(())
    }

    /// Takes a node's vote away; it still gets every call.
    ///
    /// # Errors
    /// No such node.
    pub fn cordon(&self, name: &str) -> Result<(), Refused> {
        self.hold(name, Hold::Cordoned)
    }

    /// Takes a node out of use for maintenance: no vote, no calls.
    ///
    /// # Errors
    /// No such node.
    pub fn drain(&self, name: &str) -> Result<(), Refused> {
        self.hold(name, Hold::Drained)
    }

    /// Puts a cordoned or drained node back; what it missed is replayed at once.
    ///
    /// # Errors
    /// No such node.
    pub fn uncordon(&self, name: &str) -> Result<(), Refused> {
        self.hold(name, Hold::None)
    }

    /// The share of the votes that makes a majority.
    #[must_use]
    pub fn majority(&self) -> f64 {
        self.core.rules().majority
    }

    /// Another share makes one from the next round on.
    ///
    /// # Errors
    /// It isn't from 0 to 1.
    pub fn set_majority(&self, share: f64) -> Result<(), Refused> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Refused::Bad(format!("{share} is not between 0 and 1")));
        }
        self.core.set_majority(share);
        Ok(())
    }

    /// Probes all nodes now.
    pub async fn recheck(&self) {
        probe::all(&self.core).await;
    }

    /// Rounds as they are decided.
    #[must_use]
    pub fn rounds(&self) -> broadcast::Receiver<Arc<Round>> {
        self.core.rounds.subscribe()
    }

    fn find(&self, name: &str) -> Result<Arc<Node>, Refused> {
        self.core.node(name).ok_or_else(|| Refused::NoSuchNode(name.to_owned()))
    }

    fn hold(&self, name: &str, hold: Hold) -> Result<(), Refused> {
        let node = self.find(name)?;
        let before = std::mem::replace(&mut node.state().standing.hold, hold);
        if before == hold {
            return Ok(());
        }
        if before == Hold::Drained {
            // It has missed calls: it follows first and votes then.
            node.state().standing.mute();
        }
        if before == Hold::Drained || hold == Hold::None {
            // What was in vain before may not be so any more: its operator has seen to it.
            node.feed.came_back();
        }
        let now = match hold {
            Hold::None => "back in use",
            Hold::Cordoned => "cordoned",
            Hold::Drained => "drained",
        };
        self.core.telemetry.standing(name, now, "the operator said so");
        self.core.primary();
        Ok(())
    }
}

fn view(node: &Node, best: Option<u64>, attest: Option<&Attestation>) -> NodeView {
    let part = node.part();
    let queued = node.feed.waiting();
    let state = node.state();
    let condition = state.health.condition();
    let head = state.health.seen().head;
    let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
    NodeView {
        name: node.name().to_owned(),
        url: node.spec.shown_url(),
        tier: node.tier(),
        condition: condition.word(),
        reason: condition.to_string(),
        since_seconds: Instant::now().into_std().saturating_duration_since(state.health.since()).as_secs(),
        standing: state.standing.note().unwrap_or("votes"),
        fit: *condition == Condition::Fit,
        votes: part == Part::Voter,
        head,
        lag: best.zip(head).map(|(best, head)| best.saturating_sub(head)),
        gap: state.gap,
        replays_in_vain: state.replays_in_vain,
        client: state.client.clone(),
        latency_us: state.probe_took.map(micros),
        payload_p95_us: state.payload_latency.p95().map(micros),
        queued,
        attestation: attest.and_then(|attest| attest.known(&node.spec.url)),
    }
}

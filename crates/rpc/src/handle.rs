//! What the outside may ask and do: state, health, changes to the nodes.

use std::sync::Arc;
use std::time::Duration;

use mainstay_node::{Action, Condition, Figure, Level, Operated, Prepared, Refused, node_change};
use mainstay_store::Reach;
use mainstay_wire::client::Attestation;
use serde::Serialize;
use serde_json::Value;

use crate::clock;
use crate::config::{Config, SECTION};
use crate::core::Core;
use crate::lane::Lane;
use crate::node::{self, Node};
use crate::pool::NodeLoad;
use crate::probe;
use crate::upstream::Upstream;

/// A node as the outside sees it.
#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its URI without credentials.
    pub uri: String,
    /// fit, syncing, lagging, unfit, misconfigured, unknown.
    pub condition: &'static str,
    /// The condition in words.
    pub reason: String,
    /// Since when, in seconds.
    pub since_seconds: u64,
    /// Whether it may get requests by its health.
    pub fit: bool,
    /// Requests that it may work on at once, as far as this instance is concerned.
    pub workers: u32,
    /// Of these, how many now: fewer for a while after it came back.
    pub open: u32,
    /// Requests that it works on.
    pub in_flight: u32,
    /// Tries that were made on it.
    pub tries: u64,
    /// The operator lets it get no more.
    pub draining: bool,
    /// It asked for a pause.
    pub resting: bool,
    /// Number of its head block.
    pub head: Option<u64>,
    /// Its client's version.
    pub client: Option<String>,
    /// Time of the last probe that it answered, in microseconds.
    pub latency_us: Option<u64>,
    /// If it is to prove what it runs: how it was judged last. Nothing before it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Value>,
}

/// A lane as the outside sees it.
#[derive(Clone, Debug, Serialize)]
pub struct LaneView {
    /// fast-track, high, low.
    pub lane: &'static str,
    /// Requests that wait.
    pub waiting: usize,
    /// For how long the one that goes first has waited, in milliseconds.
    pub oldest_ms: Option<u64>,
}

/// Where the list of nodes is kept.
#[derive(Clone, Debug, Serialize)]
pub struct StoreView {
    /// Folder or address, without credentials.
    pub place: String,
    /// Whether it can be reached.
    pub reachable: bool,
    /// What is wrong.
    pub reason: Option<String>,
}

/// The state of the role.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Where it listens by its config.
    pub listen: String,
    /// The lanes, the most urgent first.
    pub lanes: Vec<LaneView>,
    /// The nodes in the order of the list.
    pub nodes: Vec<NodeView>,
    /// Where the list is kept.
    pub store: StoreView,
}

/// A handle on a running role.
#[derive(Clone)]
pub struct Handle {
    core: Arc<Core>,
}

impl Operated for Handle {
    type Snapshot = Snapshot;

    fn kind(&self) -> &'static str {
        SECTION.name
    }

    fn name(&self) -> &str {
        &self.core.fixed.name
    }

    fn snapshot(&self) -> Snapshot {
        let core = &self.core;
        let (lengths, now) = (core.queue.lengths(), clock::now());
        let oldest = core.queue.oldest().map(|since| since.map(|since| now.saturating_duration_since(since)));
        let loads = core.loads();
        let reach = core.members.reach();
        Snapshot {
            name: self.name().to_owned(),
            listen: core.fixed.listen.clone(),
            lanes: Lane::ALL
                .map(|lane| LaneView {
                    lane: lane.word(),
                    waiting: lengths[lane.index()],
                    oldest_ms: oldest[lane.index()].map(millis),
                })
                .into(),
            nodes: core
                .nodes()
                .iter()
                .filter_map(|node| view(node, &loads, core.fixed.client.attest.as_ref()))
                .collect(),
            store: StoreView {
                place: core.members.place().to_owned(),
                reachable: reach.is_ok(),
                reason: lost(&reach),
            },
        }
    }

    fn health(&self) -> (Level, Vec<String>) {
        let nodes = self.core.nodes();
        let mut reasons = Vec::new();
        let mut usable = 0;
        for node in nodes.iter() {
            let state = node.state();
            match state.health.condition() {
                Condition::Fit => usable += usize::from(!state.draining),
                other => reasons.push(format!("{}: {other}", node.name)),
            }
        }
        if let Some(why) = lost(&self.core.members.reach()) {
            reasons.push(format!("the list of nodes can't be reached, the last one known is served: {why}"));
        }
        let level = match usable {
            0 => {
                let what = if nodes.is_empty() { "there is no node" } else { "no node can be used" };
                reasons.insert(0, what.to_owned());
                Level::Down
            }
            _ if reasons.is_empty() => Level::Well,
            _ => Level::Degraded,
        };
        (level, reasons)
    }

    async fn act(&self, action: Action) -> Result<(), Refused> {
        match action {
            Action::Add { uri, force } => self.add(&uri, force).await,
            Action::Remove { node } => self.remove(&node).await,
            // Requests are all that a node of this role gets.
            Action::Drain { node } | Action::Cordon { node } => self.drain(&node),
            Action::Uncordon { node } => self.undrain(&node),
            Action::Prefer { .. } => Err(Refused::to_prefer()),
            Action::Majority { .. } => Err(Refused::to_vote()),
            Action::Recheck => {
                self.recheck().await;
                Ok(())
            }
        }
    }

    fn actions(&self) -> &'static [&'static str] {
        &["add", "remove", "drain", "uncordon", "recheck"]
    }

    /// Of every lane how many wait and how long the first has, of every node latency, lag and what it works on.
    #[allow(clippy::cast_precision_loss)] // for plots
    fn figures(&self) -> Vec<Figure> {
        let Snapshot { lanes, nodes, .. } = self.snapshot();
        let best = nodes.iter().filter_map(|node| node.head).max();
        let mut figures = Vec::new();
        for lane in lanes {
            figures.push(Figure::new(lane.lane, "waiting", "", lane.waiting as f64));
            figures.push(Figure::new(lane.lane, "wait", "ms", lane.oldest_ms.unwrap_or_default() as f64));
        }
        for node in nodes {
            let lag = best.zip(node.head).map(|(best, head)| best.saturating_sub(head) as f64);
            let all = [
                ("latency", "ms", node.latency_us.map(|took| took as f64 / 1000.0)),
                ("lag", "blocks", lag),
                ("in flight", "", Some(f64::from(node.in_flight))),
            ];
            let known = all.into_iter().filter_map(|(figure, unit, value)| {
                Some(Figure::new(node.name.clone(), figure, unit, value?))
            });
            figures.extend(known);
        }
        figures
    }
}

impl Handle {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Checks whether these settings can hold from now on, and prepares it. What they say of keys that aren't live is passed over.
    ///
    /// Nodes that they have and the ones before hadn't are put on the list, those that they have no more are taken off it, for all
    /// instances that share it; as long as it can't be reached this instance goes by them alone.
    ///
    /// # Errors
    /// Every reason why not.
    pub fn prepare(&self, config: Config) -> Result<Prepared, Vec<String>> {
        let before = self.core.live_of_now();
        let running = self.core.nodes();
        let change = node_change(
            &before.config.nodes,
            &config.nodes,
            &running,
            Upstream::is_same,
            |old, new| old.workers == new.workers,
            |node, upstream| node.uris().upstream.is_same(upstream),
        );
        let unusable = |upstream: &Upstream| {
            let why = node::client(upstream, &self.core.client_options()).err()?;
            Some(format!("{}: {why}", upstream.shown()))
        };
        let problems: Vec<String> = change.added.iter().filter_map(unusable).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let core = self.core.clone();
        Ok(Prepared::new(Vec::new(), move || {
            core.set_config(config);
            core.members.reload(&core, change);
        }))
    }

    /// Adds a node, for all instances that share the list. One that is there already is left as it is.
    ///
    /// # Errors
    /// [`Refused::Bad`]: no URI of a node, it is to prove what it runs and nobody here can judge that, or it doesn't answer and isn't to be added by force. [`Refused::Unavailable`].
    pub async fn add(&self, uri: &str, force: bool) -> Result<(), Refused> {
        let uri = uri.trim();
        let upstream = Upstream::parse(uri).map_err(|error| Refused::Bad(error.to_string()))?;
        self.core.members.opened().await;
        if self.core.nodes().iter().any(|node| node.uris().upstream.is_same(&upstream)) {
            return Ok(());
        }
        // Not even by force: nobody would be asked anything.
        node::client(&upstream, &self.core.client_options()).map_err(Refused::Bad)?;
        if !force && let Err(why) = probe::check(&self.core, &upstream).await {
            return Err(Refused::Bad(format!(
                "healthcheck failed: {why} (\"force\": true adds a node that doesn't answer)"
            )));
        }
        let added = self.core.members.add(&self.core, uri).await;
        added.map_err(|error| Refused::Unavailable(error.to_string()))
    }

    /// Takes a node out, by name or URI, for all instances that share the list. It finishes what it works on.
    ///
    /// # Errors
    /// No such node, or [`Refused::Unavailable`].
    pub async fn remove(&self, node: &str) -> Result<(), Refused> {
        self.core.members.opened().await;
        let node = self.find(node)?;
        let removed = self.core.members.remove(&self.core, node.uris().upstream.stored()).await;
        removed.map_err(|error| Refused::Unavailable(error.to_string()))
    }

    /// Lets a node, by name or URI, get no more requests; it finishes what it has. Of this instance alone.
    ///
    /// # Errors
    /// No such node.
    pub fn drain(&self, node: &str) -> Result<(), Refused> {
        self.set_draining(node, true)
    }

    /// Puts a drained node back.
    ///
    /// # Errors
    /// No such node.
    pub fn undrain(&self, node: &str) -> Result<(), Refused> {
        self.set_draining(node, false)
    }

    /// Probes all nodes now.
    pub async fn recheck(&self) {
        let nodes = self.core.nodes();
        let mut probes = tokio::task::JoinSet::new();
        for node in nodes.iter() {
            let (core, node) = (self.core.clone(), node.clone());
            probes.spawn(async move { probe::once(&core, &node).await });
        }
        probes.join_all().await;
    }

    fn find(&self, node: &str) -> Result<Arc<Node>, Refused> {
        self.core.find(node.trim()).ok_or_else(|| Refused::NoSuchNode(node.to_owned()))
    }

    fn set_draining(&self, node: &str, draining: bool) -> Result<(), Refused> {
        let node = self.find(node)?;
        let mut state = node.state();
        state.draining = draining;
        self.core.queue.change(clock::now(), |pool| pool.set_draining(node.id, draining));
        drop(state);
        let what = if draining { "drains" } else { "is back in use" };
        self.core.telemetry.membership(&node.name, &node.uris().shown, what);
        Ok(())
    }
}

fn millis(waited: Duration) -> u64 {
    u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)
}

fn lost(reach: &Reach) -> Option<String> {
    match reach {
        Reach::Ok => None,
        Reach::Lost { why, .. } => Some(why.to_string()),
    }
}

fn view(node: &Node, loads: &[NodeLoad], attest: Option<&Attestation>) -> Option<NodeView> {
    let load = loads.iter().find(|load| load.id == node.id)?;
    let state = node.state();
    let condition = state.health.condition();
    Some(NodeView {
        name: node.name.clone(),
        uri: node.uris().shown.clone(),
        condition: condition.word(),
        reason: condition.to_string(),
        since_seconds: clock::now().saturating_duration_since(state.health.since()).as_secs(),
        fit: load.fit,
        workers: load.workers,
        open: load.open,
        in_flight: load.in_flight,
        tries: node.metrics.tries(),
        draining: load.draining,
        resting: load.resting,
        head: state.health.seen().head,
        client: state.client.clone(),
        latency_us: state.probe_took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        attestation: attest.and_then(|attest| attest.known(&node.uris().upstream.url)),
    })
}

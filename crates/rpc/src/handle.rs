//! What the outside may ask and do: state, health, changes to the nodes.

use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_node::{Action, Condition, Level, Operated, Refused};
use mainstay_store::Reach;
use serde::Serialize;

use crate::clock;
use crate::config::SECTION;
use crate::core::Core;
use crate::lane::Lane;
use crate::node::Node;
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
}

/// A lane as the outside sees it.
#[derive(Clone, Debug, Serialize)]
pub struct LaneView {
    /// fast-track, high, low.
    pub lane: &'static str,
    /// Requests that wait.
    pub waiting: usize,
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
    pub listen: SocketAddr,
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
        &self.core.config.name
    }

    fn snapshot(&self) -> Snapshot {
        let core = &self.core;
        let lengths = core.queue.lengths();
        let loads = core.loads();
        let reach = core.members.reach();
        Snapshot {
            name: self.name().to_owned(),
            listen: core.config.listen,
            lanes: Lane::ALL
                .map(|lane| LaneView { lane: lane.word(), waiting: lengths[lane.index()] })
                .into(),
            nodes: core.nodes().iter().filter_map(|node| view(node, &loads)).collect(),
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
            Action::Recheck => {
                self.recheck().await;
                Ok(())
            }
        }
    }
}

impl Handle {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Adds a node, for all instances that share the list. One that is there already is left as it is.
    ///
    /// # Errors
    /// [`Refused::Bad`]: no URI of a node, or it doesn't answer and isn't to be added by force. [`Refused::Unavailable`].
    pub async fn add(&self, uri: &str, force: bool) -> Result<(), Refused> {
        let uri = uri.trim();
        let upstream = Upstream::parse(uri).map_err(|error| Refused::Bad(error.to_string()))?;
        self.core.members.opened().await;
        if self.core.nodes().iter().any(|node| node.uris().upstream.is_same(&upstream)) {
            return Ok(());
        }
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

fn lost(reach: &Reach) -> Option<String> {
    match reach {
        Reach::Ok => None,
        Reach::Lost { why, .. } => Some(why.to_string()),
    }
}

fn view(node: &Node, loads: &[NodeLoad]) -> Option<NodeView> {
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
    })
}

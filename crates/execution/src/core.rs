//! What the tasks of a role share that drives execution clients.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use mainstay_node::{Candidate, Condition, NodeSpec, Primary, Tier, health};
use mainstay_wire::body::Room;
use mainstay_wire::client::{self, Attestation, Client, Transport};
use mainstay_wire::envelope;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blocks::Blocks;
use crate::config::{Config, NodeConfig, NodeError};
use crate::feed::{self, Feed};
use crate::lately::Lately;
use crate::links::{self, Link, LinkConfig};
use crate::memory::InvalidMemory;
use crate::node::{Caller, Node, Passed, lock};
use crate::payloads::PayloadIds;
use crate::probe;
use crate::records::Records;
use crate::round::Round;
use crate::telemetry::Telemetry;
use crate::verdict::{Rules, Vote};

/// The consensus client's last forkchoiceUpdated, for nodes that have to be brought there.
#[derive(Clone, Debug)]
pub struct Head {
    /// The head's hash, lower case.
    pub hash: String,
    /// The call without attributes.
    pub request: Bytes,
    /// Its method.
    pub method: String,
    /// Who called.
    pub caller: Caller,
}

/// Nodes with a vote that contradict each other about a block.
#[derive(Clone, Debug)]
pub struct Dispute {
    /// The block's hash.
    pub block: String,
    /// Who says VALID.
    pub valid: Vec<String>,
    /// Who says INVALID.
    pub invalid: Vec<String>,
}

/// A share of the votes that an operator has set.
#[derive(Clone, Copy, Debug)]
struct Majority {
    share: f64,
    /// What the settings said then: once they say something else, that holds.
    instead_of: f64,
}

/// Who is called.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint<'a> {
    /// An execution client.
    Node(&'a NodeSpec),
    /// Whoever gets copies.
    Link(&'a LinkConfig),
}

impl<'a> Endpoint<'a> {
    /// Its address and options.
    #[must_use]
    pub fn spec(self) -> &'a NodeSpec {
        match self {
            Self::Node(spec) => spec,
            Self::Link(link) => &link.spec,
        }
    }
}

/// Makes what the calls to an endpoint go over, or says why it can't.
pub type Connect = Box<dyn Fn(Endpoint<'_>) -> Result<Arc<dyn Transport>, String> + Send + Sync>;

/// [`Connect`] as usual: a pool of HTTP connections of its own for each node. Those that are to prove what they run are judged by `attest`,
/// others over https by `tls`, or by what the system trusts.
#[must_use]
pub fn over_http(attest: Option<Attestation>, tls: Option<client::Tls>) -> Connect {
    Box::new(move |endpoint| {
        let made = match endpoint {
            Endpoint::Node(spec) => {
                let (attest, tls) = (attest.clone(), tls.clone());
                let options = client::Options { attest, tls, ..client::Options::default() };
                Client::new(&spec.url, options).map(|client| Arc::new(client) as Arc<dyn Transport>)
            }
            Endpoint::Link(link) => link.transport(attest.clone()),
        };
        made.map_err(|error| format!("{}: {error}", endpoint.spec().shown_url()))
    })
}

/// The nodes in the order given.
pub type Nodes = Arc<Vec<Arc<Node>>>;

/// Shared state of one role.
pub struct Core {
    /// The role's name.
    pub name: String,
    /// Who judges nodes that are to prove what they run.
    pub attest: Option<Attestation>,
    /// Settings, of this moment.
    config: ArcSwap<Config>,
    /// Metrics and events.
    pub telemetry: Telemetry,
    /// Who said INVALID of what.
    pub memory: Mutex<InvalidMemory>,
    /// Builds.
    pub ids: Mutex<PayloadIds>,
    /// The last payloads.
    pub blocks: Mutex<Blocks>,
    /// The last forkchoiceUpdated.
    pub head: Mutex<Option<Head>>,
    /// The dispute that isn't over.
    pub dispute: Mutex<Option<Dispute>>,
    /// Held while a call is put into all nodes' queues, so that each has the same order.
    pub order: Mutex<()>,
    /// Evidence.
    pub records: Records,
    /// What an operator has set in place of the settings' majority.
    majority: Mutex<Option<Majority>>,
    /// The last rounds and disagreements.
    pub lately: Mutex<Lately>,
    /// Rounds, for whoever watches.
    pub rounds: broadcast::Sender<Arc<Round>>,
    /// Blocks that a node takes in a replay, which no round tells of; with whether it calls them VALID.
    pub taken: broadcast::Sender<(String, bool)>,
    /// Who gets copies.
    pub links: Vec<Link>,
    /// The bodies that are still coming in.
    pub arriving: Room,
    /// Ends everything.
    pub stop: CancellationToken,
    /// For nodes that calls aren't signed for.
    passed: Passed,
    connect: Connect,
    nodes: RwLock<Nodes>,
    /// Held while nodes are checked and added.
    adding: Mutex<()>,
    primary: Mutex<Primary>,
    /// What [`Core::primary`] said last.
    standing_primary: RwLock<Option<Arc<Node>>>,
    next_id: AtomicU64,
    next_round: AtomicU64,
}

impl Core {
    /// Makes the state and starts each node's tasks, with calls going over what `connect` makes. Needs a runtime.
    ///
    /// # Errors
    /// What `connect` says of a node.
    pub fn start(config: Config, telemetry: Telemetry, connect: Connect) -> Result<Arc<Self>, String> {
        let stop = CancellationToken::new();
        let mut links = Vec::new();
        for link in &config.links {
            let transport = connect(Endpoint::Link(link))?;
            links.push(Link::start(link.clone(), transport, Arc::new(telemetry.clone()), &stop));
        }
        let core = Arc::new(Self {
            telemetry,
            memory: Mutex::default(),
            ids: Mutex::default(),
            blocks: Mutex::new(Blocks::new(config.replay_blocks, config.replay_bytes)),
            head: Mutex::default(),
            dispute: Mutex::default(),
            order: Mutex::default(),
            records: Records::new(config.evidence.clone()),
            majority: Mutex::default(),
            lately: Mutex::default(),
            rounds: broadcast::channel(256).0,
            taken: broadcast::channel(256).0,
            links,
            arriving: Room::default(),
            stop,
            passed: Passed::default(),
            connect,
            nodes: RwLock::default(),
            adding: Mutex::default(),
            primary: Mutex::new(Primary::new(config.failback_after)),
            standing_primary: RwLock::default(),
            next_id: AtomicU64::new(1),
            next_round: AtomicU64::new(1),
            name: config.name.clone(),
            attest: config.attest.clone(),
            config: ArcSwap::from_pointee(config),
        });
        let nodes = core.config().nodes.clone();
        core.add(nodes)?;
        Ok(core)
    }

    /// The settings of this moment. Whoever needs several keys that belong together asks once.
    #[must_use]
    pub fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// The same, to be kept for as long as a round goes on.
    #[must_use]
    pub(crate) fn config_of_now(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// From now on these settings hold; nodes are not touched.
    pub(crate) fn set_config(&self, config: Config) {
        lock(&self.blocks).set_limits(config.replay_blocks, config.replay_bytes);
        let now = Instant::now().into_std();
        for node in self.nodes().iter() {
            node.state().health.set_rules(config.health, now);
            node.probe.notify_one();
        }
        self.config.store(Arc::new(config));
    }

    /// From now on an earlier node has to be fit for so long until it is the primary again.
    pub(crate) fn set_failback_after(&self, failback_after: Duration) {
        lock(&self.primary).set_failback_after(failback_after);
    }

    /// How the next round is decided.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules_by(&self.config())
    }

    /// How a round is decided by these settings.
    pub(crate) fn rules_by(&self, config: &Config) -> Rules {
        let rules = config.rules;
        match *lock(&self.majority) {
            Some(Majority { share, instead_of }) if instead_of == rules.majority => {
                Rules { majority: share, ..rules }
            }
            _ => rules,
        }
    }

    /// From the next round on another share makes a majority.
    pub fn set_majority(&self, share: f64) {
        let instead_of = self.config().rules.majority;
        *lock(&self.majority) = Some(Majority { share, instead_of });
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> Nodes {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace_nodes(&self, change: impl FnOnce(&mut Vec<Arc<Node>>)) {
        let mut guard = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let mut list = guard.as_ref().clone();
        change(&mut list);
        *guard = Arc::new(list);
    }

    /// A node by name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes().iter().find(|n| n.name() == name).cloned()
    }

    /// Adds nodes, all or none, and starts their tasks.
    ///
    /// # Errors
    /// A node's URL that no client can be made for.
    pub fn add(self: &Arc<Self>, configs: Vec<NodeConfig>) -> Result<(), String> {
        let fresh = self.make(configs, self.config().health)?;
        self.replace_nodes(|list| list.extend(fresh.iter().cloned()));
        self.start_tasks(fresh);
        Ok(())
    }

    /// Nodes that are on no list yet.
    ///
    /// # Errors
    /// A node's URL that no client can be made for.
    pub(crate) fn make(
        &self,
        configs: Vec<NodeConfig>,
        rules: health::Rules,
    ) -> Result<Vec<Arc<Node>>, String> {
        let mut fresh = Vec::new();
        for config in configs {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let transport = (self.connect)(Endpoint::Node(&config.spec))?;
            let (feed, given_up) = (Feed::default(), self.stop.child_token());
            fresh.push(Arc::new(Node::new(
                id,
                config,
                rules,
                feed,
                given_up,
                self.passed.clone(),
                transport,
            )));
        }
        Ok(fresh)
    }

    /// Starts the tasks of nodes that are on the list now.
    pub(crate) fn start_tasks(self: &Arc<Self>, fresh: Vec<Arc<Node>>) {
        for node in fresh {
            tokio::spawn(feed::run(self.clone(), node.clone()));
            tokio::spawn(probe::run(self.clone(), node));
        }
    }

    /// Held while nodes are added, so that none is added twice.
    pub(crate) fn adding(&self) -> std::sync::MutexGuard<'_, ()> {
        lock(&self.adding)
    }

    /// Reads and adds nodes given as text, all or none.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn add_texts(self: &Arc<Self>, texts: &[String]) -> Result<(), NodeError> {
        // Two lists at once must not add one node twice.
        let _adding = lock(&self.adding);
        let nodes = self.nodes();
        let mut fresh: Vec<NodeConfig> = Vec::new();
        for text in texts {
            let mut others: Vec<&NodeSpec> = nodes.iter().map(|n| &n.spec).collect();
            others.extend(fresh.iter().map(|c| &c.spec));
            let config = crate::config::node(text, None, &self.config().signing, &others)?;
            fresh.push(config);
        }
        self.add(fresh).map_err(NodeError::Spec)
    }

    /// Takes a node out, and gives up the call that it has in hand: a round that waits for it alone ends.
    pub fn remove(&self, node: &Arc<Node>) {
        self.replace_nodes(|list| list.retain(|n| n.id != node.id));
        self.part_with(node);
        node.given_up.cancel();
        self.primary();
    }

    /// A node is on the list no more: it ends what it has in hand, and nobody speaks of it any longer.
    pub(crate) fn part_with(&self, node: &Node) {
        node.removed.cancel();
        lock(&self.memory).forget_node(node.id);
        self.forget(node);
    }

    /// What a node that was taken out still did has been told under its name: that goes too, unless another has the name now.
    pub(crate) fn forget(&self, node: &Node) {
        if node.removed.is_cancelled() && self.node(node.name()).is_none() {
            self.telemetry.forget(node.name());
        }
    }

    /// Chooses the primary: where calls for a single node go. `None` if no node is fit. Called when a node changes, and after
    /// every probe, since the time for a failback comes by itself.
    pub fn primary(&self) -> Option<Arc<Node>> {
        // Locked before it is looked who is fit: of two who choose at once the one with the older view must not be the last.
        let mut primary = lock(&self.primary);
        let nodes = self.nodes();
        let now = Instant::now().into_std();
        let candidates: Vec<Candidate> = nodes
            .iter()
            .map(|node| {
                let state = node.state();
                let fit = *state.health.condition() == Condition::Fit && state.standing.may_serve();
                let fit_since = fit.then(|| state.health.since());
                Candidate { id: node.id, tier: node.tier(), fit_since, never_left: !state.health.ever_left() }
            })
            .collect();
        let named = |id: Option<u64>| nodes.iter().find(|n| Some(n.id) == id);
        let before = primary.current();
        let chosen = primary.choose(&candidates, now);
        let node = named(chosen).cloned();
        *self.standing_primary.write().unwrap_or_else(PoisonError::into_inner) = node.clone();
        drop(primary);
        if before != chosen {
            self.telemetry.primary(named(before).map(|n| n.name()), node.as_ref().map(|n| n.name()));
        }
        node
    }

    /// The primary as it was last chosen.
    #[must_use]
    pub fn standing_primary(&self) -> Option<Arc<Node>> {
        self.standing_primary.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether another node could be tried should this one fail.
    #[must_use]
    pub fn has_another(&self, than: &Node) -> bool {
        self.nodes().iter().any(|node| node.id != than.id && node.may_be_asked())
    }

    /// The nodes in the order in which to try them for a call that needs only one: the primary, then other fit ones, then
    /// whoever may be up. Those that the operator took out aren't tried.
    #[must_use]
    pub fn by_preference(&self) -> Vec<Arc<Node>> {
        let primary = self.primary().map(|n| n.id);
        let rank = |node: &Node| {
            let state = node.state();
            if !state.standing.may_serve() {
                return None;
            }
            let fitness = match state.health.condition() {
                _ if Some(node.id) == primary => 0,
                Condition::Fit => 1,
                Condition::Unknown => 2,
                Condition::Lagging { .. } => 3,
                Condition::Syncing => 4,
                Condition::Unfit(_) => 5,
                Condition::Misconfigured { .. } => return None,
            };
            Some((fitness, node.tier() == Tier::Backup))
        };
        let mut ranked: Vec<_> =
            self.nodes().iter().filter_map(|node| Some((rank(node)?, node.clone()))).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, node)| node).collect()
    }

    /// Who said INVALID of a block, or of one that it builds on, and hasn't taken it back.
    #[must_use]
    pub fn objectors(&self, block: &str) -> Vec<u64> {
        let memory = lock(&self.memory);
        if memory.is_empty() {
            return Vec::new();
        }
        memory.objectors(lock(&self.blocks).line(block))
    }

    /// Remembers what a node said of a block.
    pub fn remember(&self, block: &str, node: u64, vote: Vote) {
        let mut memory = lock(&self.memory);
        match vote {
            Vote::Valid if memory.is_empty() => {}
            Vote::Valid => memory.take_back(lock(&self.blocks).line(block), node),
            Vote::Invalid => memory.say(block, node),
            Vote::Syncing => {}
        }
    }

    /// Remembers what a node said of a block in a replay: that counts as what it says in a round.
    pub fn remember_replayed(&self, block: &str, node: u64, vote: Vote) {
        self.remember(block, node, vote);
        if vote == Vote::Valid {
            lock(&self.blocks).prove(block);
        }
        if vote != Vote::Invalid {
            // Nobody may be listening.
            let _ = self.taken.send((block.to_owned(), vote == Vote::Valid));
        }
    }

    /// What a node is compared with.
    #[must_use]
    pub fn others(&self) -> health::Others {
        self.others_with(None)
    }

    /// What a node is compared with, given what it has just shown of itself: its chain counts as everybody's does.
    #[must_use]
    pub fn others_with(&self, fresh: Option<(&Node, health::Seen)>) -> health::Others {
        let nodes = self.nodes();
        let seen = nodes.iter().map(|n| {
            let state = n.state();
            let votes = *state.health.condition() == Condition::Fit && state.standing.may_serve();
            (n.id, state.health.seen(), votes)
        });
        let seen: Vec<_> = seen.collect();
        let chain = |(id, seen, _): &(u64, health::Seen, bool)| match fresh {
            Some((node, fresh)) if node.id == *id => fresh.chain_id.or(seen.chain_id),
            _ => seen.chain_id,
        };
        let ids: Vec<Option<u64>> = seen.iter().map(chain).collect();
        let best = seen.iter().filter(|(_, _, votes)| *votes).filter_map(|(_, s, _)| s.head).max();
        // A node that stayed on a longer branch after a reorg must not make those who followed look late.
        let head = lock(&self.head).as_ref().map(|h| h.hash.clone());
        let wanted = head.and_then(|hash| lock(&self.blocks).get(&hash).map(|p| p.number));
        health::Others {
            best_head: best.map(|best| wanted.map_or(best, |wanted| best.min(wanted))),
            chain_id: health::common_chain(&ids),
        }
    }

    /// A node's condition changed from `before`: tells it, and starts what follows from it.
    pub fn changed(&self, node: &Arc<Node>, before: &Condition) {
        if node.removed.is_cancelled() {
            // A call that was under way when it was taken out: nobody wants to know any more.
            return;
        }
        let now = node.condition();
        self.telemetry.condition(node.name(), before, &now);
        match &now {
            Condition::Unfit(_) => {
                if node.state().standing.mute() {
                    self.telemetry.standing(node.name(), "muted", "down");
                }
                // Its next call must not start a connection into nothing in the middle of a round.
                node.feed.wake();
            }
            Condition::Fit | Condition::Syncing | Condition::Lagging { .. }
                if matches!(before, Condition::Unfit(_) | Condition::Misconfigured { .. }) =>
            {
                node.feed.came_back();
            }
            Condition::Lagging { .. } => node.feed.want_replay(),
            _ => {}
        }
        self.primary();
    }

    /// Sends a copy of an Engine API call to all who get such; `and` puts more into it. Waits for nothing.
    pub fn copy(&self, call: &envelope::Call, caller: &Caller, and: impl FnOnce(&mut links::Call)) {
        if self.links.is_empty() || !call.method.starts_with("engine_") {
            return;
        }
        let mut copy = links::Call::new(&call.method, call.raw.clone());
        (copy.id, copy.clv) = (caller.id.clone(), caller.clv.clone());
        and(&mut copy);
        let copy = Arc::new(copy);
        self.links.iter().for_each(|link| link.copy(&copy));
    }

    /// The next round's number.
    pub fn round_number(&self) -> u64 {
        self.next_round.fetch_add(1, Ordering::Relaxed)
    }
}

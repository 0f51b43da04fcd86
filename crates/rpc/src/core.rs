//! What the role's requests and tasks share.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use mainstay_node::{Condition, Health, health};
use mainstay_wire::body::Room;
use mainstay_wire::client;
use mainstay_wire::server::Tls;
use tokio_util::sync::CancellationToken;

use crate::classify::Rule;
use crate::clock;
use crate::config::Config;
use crate::gauges::{NodeGauges, Shown, Source};
use crate::limits::Limits;
use crate::members::{Members, same};
use crate::node::Node;
use crate::own_headers::OwnHeaders;
use crate::pool::{NodeId, NodeLoad};
use crate::queue::Queue;
use crate::telemetry::Telemetry;

/// Says whether a text is the admin token.
pub type Verify = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The nodes in the order of the list.
pub(crate) type Nodes = Arc<Vec<Arc<Node>>>;

/// Settings that hold until a reload, and what hangs on them. A request goes on with those that it began with.
pub(crate) struct Live {
    pub(crate) config: Config,
    /// The buckets of the rules that have a rate.
    pub(crate) rates: Vec<Option<Arc<Mutex<Limits>>>>,
}

impl Live {
    /// A rule that was there before, whatever its place, keeps its buckets.
    fn new(config: Config, before: Option<&Self>) -> Self {
        let now = clock::now();
        let kept = |nth: usize, rule: &Rule| {
            let before = before?;
            let rules = &before.config.rules;
            let same_place = rules.get(nth).filter(|old| *old == rule).map(|_| nth);
            let at = same_place.or_else(|| rules.iter().position(|old| old == rule))?;
            before.rates.get(at)?.clone()
        };
        let of = |(nth, rule): (usize, &Rule)| {
            let fresh = |rate| Arc::new(Mutex::new(Limits::new(rate, now)));
            rule.rate.map(|rate| kept(nth, rule).unwrap_or_else(|| fresh(rate)))
        };
        let rates = config.rules.iter().enumerate().map(of).collect();
        Self { config, rates }
    }
}

/// Settings of the start, for the keys that need a restart.
pub(crate) struct Fixed {
    pub(crate) name: String,
    pub(crate) listen: String,
    pub(crate) tls: Option<Tls>,
    pub(crate) log_service: Option<String>,
    pub(crate) max_connections: usize,
    /// How connections to nodes are kept.
    pub(crate) client: client::Options,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            name: config.name.clone(),
            listen: config.listen.to_string(),
            tls: config.tls.clone(),
            log_service: config.log_service.clone(),
            max_connections: config.max_connections,
            client: client::Options {
                max_idle: config.node_max_idle,
                idle_timeout: config.node_idle_timeout,
                attest: config.attest.clone(),
                tls: config.node_tls.clone(),
                ..client::Options::default()
            },
        }
    }
}

/// Shared state of one role.
pub(crate) struct Core {
    pub(crate) fixed: Fixed,
    live: ArcSwap<Live>,
    pub(crate) queue: Queue,
    /// The bodies that are still coming in.
    pub(crate) arriving: Room,
    pub(crate) telemetry: Telemetry,
    /// The list of nodes, and what makes nodes of it.
    pub(crate) members: Members,
    /// Who may change nodes from elsewhere; `None`: nobody.
    pub(crate) verify: Option<Verify>,
    pub(crate) own_headers: OwnHeaders,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
    nodes: RwLock<Nodes>,
    ids: Ids,
}

/// Ids of requests that bring none: of this process, then counted.
struct Ids {
    process: u64,
    next: AtomicU64,
}

impl Core {
    pub(crate) fn new(
        config: Config,
        telemetry: Telemetry,
        members: Members,
        verify: Option<Verify>,
    ) -> Self {
        Self {
            queue: Queue::new(config.queue),
            arriving: Room::default(),
            telemetry,
            members,
            verify,
            own_headers: OwnHeaders::new(),
            stop: CancellationToken::new(),
            nodes: RwLock::default(),
            ids: Ids { process: RandomState::new().build_hasher().finish(), next: AtomicU64::new(1) },
            fixed: Fixed::of(&config),
            live: ArcSwap::from_pointee(Live::new(config, None)),
        }
    }

    /// The settings of this moment.
    pub(crate) fn live(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    /// The same, to be kept for as long as a request goes on.
    pub(crate) fn live_of_now(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// From now on these settings hold; the list of nodes is not touched.
    pub(crate) fn set_config(&self, config: Config) {
        let (queue, health) = (config.queue, config.health);
        let before = self.live_of_now();
        self.live.store(Arc::new(Live::new(config, Some(&before))));
        let now = clock::now();
        self.queue.set_options(queue, now);
        for node in self.nodes().iter() {
            node.state().health.set_rules(health, now);
            node.probe.notify_one();
        }
    }

    /// The nodes.
    pub(crate) fn nodes(&self) -> Nodes {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The node that has a slot; `None` if it was removed meanwhile.
    pub(crate) fn node_of(&self, id: NodeId) -> Option<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().find(|node| node.id == id).cloned()
    }

    pub(crate) fn set_nodes(&self, nodes: Vec<Arc<Node>>) {
        *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(nodes);
    }

    /// A node by its name, its URI, or its URI as it is shown where only one is shown so.
    pub(crate) fn find(&self, text: &str) -> Option<Arc<Node>> {
        let nodes = self.nodes();
        let named = nodes.iter().find(|node| node.name == text);
        let found = named.or_else(|| nodes.iter().find(|node| same(node.uris().upstream.stored(), text)));
        let found = found.or_else(|| {
            let mut shown = nodes.iter().filter(|node| node.uris().shown == text);
            shown.next().filter(|_| shown.next().is_none())
        });
        found.cloned()
    }

    /// How connections to nodes are kept.
    pub(crate) fn client_options(&self) -> client::Options {
        self.fixed.client.clone()
    }

    /// What every node works on and may work on. Nobody looks at the clock while nobody waits, so it is brought up to date.
    pub(crate) fn loads(&self) -> Vec<NodeLoad> {
        let now = clock::now();
        self.queue.change(now, |pool| pool.advance(now));
        self.queue.loads()
    }

    /// An id for a request that brought none: 32 hexadecimal digits.
    pub(crate) fn request_id(&self) -> [u8; 32] {
        let n = self.ids.next.fetch_add(1, Ordering::Relaxed);
        let number = u128::from(self.ids.process) << 64 | u128::from(n);
        std::array::from_fn(|place| {
            #[allow(clippy::cast_possible_truncation)] // four bits
            let digit = (number >> (124 - 4 * place)) as usize & 0xf;
            b"0123456789abcdef"[digit]
        })
    }

    /// Takes what was seen of a node: `see` changes its health and gives the former condition if that changed, as the functions
    /// of [`Health`] do. The pool is told under the node's lock, so that it never has an older word than health.
    pub(crate) fn observe(&self, node: &Node, see: impl FnOnce(&mut Health, Instant) -> Option<Condition>) {
        let now = clock::now();
        let mut state = node.state();
        // Its place in the pool, its name and its figures may be another's by now: it was added again.
        if node.removed.is_cancelled() {
            return;
        }
        let Some(before) = see(&mut state.health, now) else { return };
        let after = state.health.condition().clone();
        let is_fit = after == Condition::Fit;
        self.queue.change(now, |pool| match before {
            Condition::Unknown if is_fit => pool.set_fit_at_once(node.id),
            _ => pool.set_fit(node.id, is_fit, now),
        });
        drop(state);
        self.telemetry.condition(&node.name, &node.metrics, &before, &after);
        node.probe.notify_one();
    }

    /// What a node is compared with, given what one has just shown of itself.
    pub(crate) fn others(&self, fresh: &Node, seen: health::Seen) -> health::Others {
        let nodes = self.nodes();
        let all: Vec<(health::Seen, bool)> = nodes
            .iter()
            .map(|node| {
                if node.id == fresh.id {
                    return (seen, true);
                }
                let state = node.state();
                (state.health.seen(), *state.health.condition() == Condition::Fit)
            })
            .collect();
        let chains: Vec<Option<u64>> = all.iter().map(|(seen, _)| seen.chain_id).collect();
        let best_head = all.iter().filter(|(_, fit)| *fit).filter_map(|(seen, _)| seen.head).max();
        health::Others { best_head, chain_id: health::common_chain(&chains) }
    }
}

impl Source for Core {
    fn gauges(&self) -> Shown {
        let loads = self.loads();
        let of = |node: &Arc<Node>| {
            let load = loads.iter().find(|load| load.id == node.id)?;
            let (in_flight, open, fit) = (load.in_flight, load.open, load.fit);
            Some(NodeGauges { node: node.name.clone(), in_flight, open, fit })
        };
        Shown {
            lengths: self.queue.lengths(),
            nodes: self.nodes().iter().filter_map(of).collect(),
            store: self.members.reach().is_ok(),
        }
    }
}

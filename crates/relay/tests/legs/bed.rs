//! A relay between simulated nodes, on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_antelope::{Name, Slot};
use mainstay_relay::claims::{Claims, MemoryClaims};
use mainstay_relay::{Config, Handle, Metrics, Relay, SECTION, Wall, wall};
use mainstay_settings::{File, Sources, resolve};
use mainstay_sim::nodeos::{Nodeos, NodeosConfig};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// For what takes no time at all, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(30);

/// The producer whose nodes are behind the relay.
pub fn ours() -> Name {
    "prodx".parse().unwrap()
}

/// One that isn't.
pub fn theirs() -> Name {
    "prody".parse().unwrap()
}

/// The first slot of a round that has just been; claims are for a minute of slots.
pub fn round() -> u32 {
    let now = wall().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let slot = u32::try_from((now - 946_684_800_000) / 500).unwrap();
    (slot - 40) / 12 * 12
}

/// A running relay; it ends when this is dropped.
pub struct Bed {
    pub address: SocketAddr,
    pub handle: Handle,
    pub registry: Registry,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// How a relay is made.
pub struct Plan {
    pub settings: String,
    pub claims: Arc<dyn Claims>,
    pub wall: Wall,
    pub at: SocketAddr,
}

impl Plan {
    /// Before these outer peers, with what else a file says.
    pub fn new(outer: &[&Nodeos], settings: &str) -> Self {
        let outer: Vec<String> = outer.iter().map(|node| format!("\"{}\"", node.address())).collect();
        let nodes = ["a", "b"].map(|name| format!("[[relay.node]]\nname = \"{name}\"\nagent = \"{name}\"\n"));
        let nodes = if settings.contains("[[relay.node]]") { String::new() } else { nodes.concat() };
        Self {
            settings: format!(
                "[relay]\nouter = [{}]\nproducer = [\"prodx\"]\n{settings}\n{nodes}",
                outer.join(",")
            ),
            claims: Arc::new(MemoryClaims::default()),
            wall,
            at: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    pub async fn start(self) -> Bed {
        let file = File::parse(Path::new("m.toml"), &self.settings).unwrap();
        let sources = Sources { file: file.instances("relay").first().copied(), ..Sources::default() };
        let mut problems = Vec::new();
        let settings = resolve(&SECTION, &sources, &mut problems);
        let config =
            Config::from_settings(&settings, &mut problems).unwrap_or_else(|| panic!("{problems:?}"));
        let mut registry = Registry::default();
        let relay = Relay::over(config, &Metrics::new(&mut registry), self.claims, self.wall).unwrap();
        let listener = TcpListener::bind(self.at).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let handle = relay.handle();
        let serving = tokio::spawn(relay.serve(vec![listener.into()], stop.clone(), SOON));
        Bed { address, handle, registry, stop, serving }
    }
}

/// A relay before outer peers, as a file says.
pub async fn relay(outer: &[&Nodeos], settings: &str) -> Bed {
    Plan::new(outer, settings).start().await
}

impl Bed {
    /// A node of the producer, connected and in step with its outer peer.
    pub async fn node(&self, name: &str) -> Nodeos {
        let node = Nodeos::dial(NodeosConfig::new(name), self.address);
        self.joined(name).await;
        node
    }

    /// Two nodes of the producer, at the head of an outer peer, which throw away what comes: they produce.
    pub async fn producing(&self, outer: &Nodeos) -> (Nodeos, Nodeos) {
        let nodes = (self.node("a").await, self.node("b").await);
        for node in [&nodes.0, &nodes.1] {
            node.until("what was before", |it| it.head() == outer.head()).await;
            node.chain(|chain| chain.set_producing(true));
        }
        nodes
    }

    /// Waits until a node is connected.
    pub async fn joined(&self, name: &str) {
        self.until(name, |it| {
            let seen = mainstay_node::Operated::snapshot(&it.handle);
            seen.nodes.iter().any(|leg| leg.name == name && leg.fit)
        })
        .await;
    }

    /// Waits for what is told by nobody.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(tokio::time::timeout(SOON, waiting).await.is_ok(), "{what} in vain:\n{}", self.page());
    }

    /// The metrics.
    pub fn page(&self) -> String {
        let mut page = String::new();
        encode(&mut page, &self.registry).unwrap();
        page
    }

    /// The sum of all samples of a metric that have all these labels.
    pub fn count(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.page();
        let samples = page.lines().filter(|line| {
            line.starts_with(&format!("mainstay_relay_{name}{{"))
                && labels.iter().all(|label| line.contains(label))
        });
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// How many blocks of a node had a verdict.
    pub fn verdicts(&self, node: &str, verdict: &str) -> f64 {
        self.count("blocks_total", &[&format!("node=\"{node}\""), &format!("verdict=\"{verdict}\"")])
    }

    /// Ends it in good order; its port is free then.
    pub async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

/// An outer node that holds what was before the round.
pub async fn sentry(name: &str) -> Nodeos {
    sentry_before(name, round()).await
}

/// An outer node that holds a block of the slot before one.
pub async fn sentry_before(name: &str, slot: u32) -> Nodeos {
    let node = Nodeos::listen(NodeosConfig::new(name)).await.unwrap();
    node.produce(theirs(), Slot(slot - 1), 0);
    node
}

/// All nodes make the block of a slot.
pub fn produce(nodes: &[&Nodeos], slot: u32, content: u64) {
    for node in nodes {
        node.produce(ours(), Slot(slot), content);
    }
}

/// The ids of a producer's slots that a node was sent, by slot.
pub fn public(nodes: &[&Nodeos]) -> BTreeMap<u32, Vec<mainstay_antelope::Id>> {
    let mut slots: BTreeMap<u32, Vec<mainstay_antelope::Id>> = BTreeMap::new();
    for block in nodes.iter().flat_map(|node| node.received_blocks()) {
        if block.producer == ours() {
            let ids = slots.entry(block.slot.0).or_default();
            if !ids.contains(&block.id) {
                ids.push(block.id);
            }
        }
    }
    slots
}

/// One block for each slot was sent to the outer nodes, and these slots had one.
#[track_caller]
pub fn assert_one_each(nodes: &[&Nodeos], slots: std::ops::Range<u32>) {
    let public = public(nodes);
    for (slot, ids) in &public {
        assert_eq!(ids.len(), 1, "slot {slot}: {ids:?}");
    }
    let filled: Vec<u32> = public.keys().copied().filter(|slot| slots.contains(slot)).collect();
    assert_eq!(filled, slots.collect::<Vec<u32>>());
}

/// The slot in which a clock stands, 14 after the beginning of a round.
pub const STANDING: u32 = 1_200_000_014;

/// A clock that stands.
pub fn standing() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(Slot(STANDING).unix_millis())
}

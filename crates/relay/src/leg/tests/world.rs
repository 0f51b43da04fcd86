//! A relay, its nodes, its outer peers and the public network, in one thread and without a socket.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_antelope::{Name, Slot};
use mainstay_settings::{File, Sources, resolve};
use mainstay_sim::nodeos::{Nodeos, NodeosConfig};
use mainstay_wire::client::Duplex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::duplex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::claims::MemoryClaims;
use crate::core::Core;
use crate::telemetry::Telemetry;
use crate::{Config, Handle, Metrics, Peer, SECTION, leg};

/// Slots of a cycle: five producers.
pub(super) const CYCLE: u32 = 60;
/// Where it begins, at the beginning of a round of ours.
const FIRST: u32 = 1_200_000_000;
/// What is on its way within a connection.
const BUFFER: usize = 256 * 1024;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The simulated time of day.
fn wall() -> SystemTime {
    let since = BEGAN.get().map_or(Duration::ZERO, |began| began.elapsed());
    UNIX_EPOCH + Duration::from_millis(Slot(FIRST).unix_millis()) + since
}

fn producer(slot: u32) -> Name {
    ["prodx", "prody", "prodz", "produ", "prodv"][(slot / 12 % 5) as usize].parse().unwrap()
}

/// An outer peer, and its connections; none: it is away.
struct Outer {
    node: Nodeos,
    connections: Option<JoinSet<()>>,
}

type Outers = Arc<Mutex<BTreeMap<String, Outer>>>;

pub(super) struct World {
    pub(super) slot: u32,
    /// What tells a node's blocks from the other's.
    pub(super) content: [u64; 2],
    pub(super) nodes: [Arc<Nodeos>; 2],
    pub(super) public: Arc<Nodeos>,
    pub(super) core: Arc<Core>,
    outers: Outers,
    registry: Registry,
    dialling: Vec<JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.core.stop.cancel();
        self.dialling.iter().for_each(JoinHandle::abort);
    }
}

fn node(name: &str) -> Nodeos {
    node_of(NodeosConfig::new(name))
}

fn node_of(config: NodeosConfig) -> Nodeos {
    Nodeos::alone(NodeosConfig { keepalive: Duration::from_secs(10), ..config })
}

impl World {
    /// Nodes a and b behind a relay before `c:1` and `d:1`, all in step with the public network.
    pub(super) async fn start(settings: &str) -> Self {
        BEGAN.set(Some(Instant::now()));
        let text = format!(
            "[relay]\nouter = [\"c:1\", \"d:1\"]\nproducer = [\"prodx\"]\n{settings}\n\
             [[relay.node]]\nname = \"a\"\nagent = \"a\"\n[[relay.node]]\nname = \"b\"\nagent = \"b\"\n"
        );
        let file = File::parse(Path::new("m.toml"), &text).unwrap();
        let sources = Sources { file: file.instances("relay").first().copied(), ..Sources::default() };
        let mut problems = Vec::new();
        let settings = resolve(&SECTION, &sources, &mut problems);
        let config =
            Config::from_settings(&settings, &mut problems).unwrap_or_else(|| panic!("{problems:?}"));
        let mut registry = Registry::default();
        let telemetry = Telemetry::new("relay", &config.rules.producers, &Metrics::new(&mut registry));
        let outers = Outers::default();
        for name in ["c", "d"] {
            let outer = Outer { node: node(name), connections: None };
            outers.lock().unwrap().insert(format!("{name}:1"), outer);
        }
        let dials = outers.clone();
        let dial = Arc::new(move |name: Arc<str>| {
            let outers = dials.clone();
            Box::pin(async move { connect(&outers, &name) }) as crate::claims::BoxFuture<'static, _>
        });
        let claims = Arc::new(MemoryClaims::default());
        let core = Core::start_over(config, claims, None, telemetry, wall, dial);
        let mut world = Self {
            slot: FIRST,
            content: [0, 0],
            nodes: ["a", "b"].map(|name| Arc::new(node(name))),
            public: Arc::new(node("public")),
            core,
            outers,
            registry,
            dialling: Vec::new(),
        };
        world.back("c:1");
        world.back("d:1");
        for node in world.nodes.clone() {
            let core = world.core.clone();
            world.dialling.push(tokio::spawn(async move {
                loop {
                    let (ours, theirs) = duplex(BUFFER);
                    let leg = leg::serve(core.clone(), theirs, Peer::unix(None));
                    tokio::join!(leg, node.connection(ours, true));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }));
            // One after the other, so that each has the peer that it has.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world
    }

    pub(super) fn handle(&self) -> Handle {
        Handle::new(self.core.clone())
    }

    /// The metrics.
    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        encode(&mut page, &self.registry).unwrap();
        page
    }

    /// The sum of a metric's samples with this label.
    pub(super) fn count(&self, name: &str, label: &str) -> u64 {
        let page = self.page();
        let name = format!("mainstay_relay_{name}{{");
        let samples = page.lines().filter(|line| line.starts_with(&name) && line.contains(label));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// An outer peer hangs, or goes on.
    pub(super) fn freeze(&self, outer: &str, frozen: bool) {
        self.outers.lock().unwrap()[outer].node.freeze(frozen);
    }

    pub(super) fn peers(&self, outer: &str) -> usize {
        self.outers.lock().unwrap()[outer].node.peers()
    }

    /// An outer peer ends all its connections and takes none.
    pub(super) fn away(&mut self, outer: &str) {
        self.outers.lock().unwrap().get_mut(outer).unwrap().connections = None;
    }

    /// It takes connections, and has none to the public network.
    pub(super) fn cut_off(&mut self, outer: &str) {
        self.outers.lock().unwrap().get_mut(outer).unwrap().connections = Some(JoinSet::new());
    }

    /// Another node is in its place, with nothing but the first block, and connects to the public network.
    pub(super) fn replace(&mut self, outer: &str, config: NodeosConfig) {
        self.outers.lock().unwrap().get_mut(outer).unwrap().node = node_of(config);
        self.back(outer);
    }

    /// It connects to the public network and takes connections.
    pub(super) fn back(&mut self, outer: &str) {
        let (ours, theirs) = duplex(BUFFER);
        let mut outers = self.outers.lock().unwrap();
        let outer = outers.get_mut(outer).unwrap();
        let mut connections = JoinSet::new();
        connections.spawn(outer.node.connection(ours, true));
        outer.connections = Some(connections);
        tokio::spawn(self.public.connection(theirs, false));
    }

    /// So many slots pass; who has them makes their blocks at their beginning.
    pub(super) async fn slots(&mut self, slots: u32) {
        for _ in 0..slots {
            let begin = Duration::from_millis(Slot(self.slot).unix_millis() - Slot(FIRST).unix_millis());
            tokio::time::sleep_until(BEGAN.get().unwrap() + Duration::from_millis(500) + begin).await;
            let producer = producer(self.slot);
            if producer == self::producer(FIRST) {
                for (node, content) in self.nodes.iter().zip(self.content) {
                    node.produce(producer, Slot(self.slot), content);
                }
            } else {
                self.public.produce(producer, Slot(self.slot), 0);
            }
            self.slot += 1;
            // All that takes no time.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// On to the beginning of a round of ours.
    pub(super) async fn until_round(&mut self) {
        self.slots((CYCLE - self.slot % CYCLE) % CYCLE).await;
    }

    /// How many of these slots have a block on the public chain.
    pub(super) fn filled(&self, slots: Range<u32>) -> usize {
        let filled = self
            .public
            .chain(|chain| chain.blocks().into_iter().map(|block| block.slot.0).collect::<BTreeSet<u32>>());
        filled.into_iter().filter(|slot| slots.contains(slot)).count()
    }

    /// How many blocks of ours the public network was sent for each slot that had one, at most.
    pub(super) fn most_in_a_slot(&self) -> usize {
        let mut slots: BTreeMap<u32, BTreeSet<_>> = BTreeMap::new();
        for block in self.public.received_blocks() {
            slots.entry(block.slot.0).or_default().insert(block.id);
        }
        slots.values().map(BTreeSet::len).max().unwrap_or_default()
    }
}

/// A connection to an outer peer that isn't away.
fn connect(outers: &Outers, name: &str) -> io::Result<Box<dyn Duplex>> {
    let mut outers = outers.lock().unwrap();
    let outer = outers.get_mut(name).unwrap();
    let Some(connections) = &mut outer.connections else {
        return Err(io::ErrorKind::ConnectionRefused.into());
    };
    let (ours, theirs) = duplex(BUFFER);
    connections.spawn(outer.node.connection(theirs, false));
    Ok(Box::new(ours))
}

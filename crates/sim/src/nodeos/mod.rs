//! A simulated nodeos: a peer of the Antelope net protocol on a socket that greets, produces when it is told to, passes blocks on, drops them while it produces,
//! resends when it is asked, and dials again as the real one does.
//!
//! It checks nothing: no signatures, no schedule, no time. What is on the wire has the real form.

mod chain;
mod peer;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_antelope::{Frame, Id, Kind, Message, Name, Slot};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use chain::{Block, Chain, Taken, block, whole};

/// Frames that wait to be written to one peer; who lets more wait is cut.
const QUEUE: usize = 4096;
/// Until it dials again after a plain close.
const REDIAL: Duration = Duration::from_millis(20);

/// How a node is.
#[derive(Clone, Debug)]
pub struct NodeosConfig {
    /// What it calls itself.
    pub agent: String,
    /// The chain.
    pub chain_id: Id,
    /// The first block of it.
    pub genesis: Id,
    /// The version that it announces, above 1205.
    pub version: u16,
    /// How often it pings its peers; 10 s is what nodes have.
    pub keepalive: Duration,
}

impl NodeosConfig {
    /// A node of Leap 4 on a chain of tests.
    #[must_use]
    pub fn new(agent: &str) -> Self {
        let mut genesis = [7; 32];
        genesis[..4].copy_from_slice(&1_u32.to_be_bytes());
        Self {
            agent: agent.to_owned(),
            chain_id: Id([9; 32]),
            genesis: Id(genesis),
            version: 7,
            keepalive: Duration::from_millis(100),
        }
    }
}

/// A running node; it ends when this is dropped.
pub struct Nodeos {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
}

/// What the tasks of a node share.
struct Shared {
    config: NodeosConfig,
    node_id: Id,
    state: Mutex<State>,
    /// Tells of every change.
    changed: watch::Sender<u64>,
    frozen: watch::Sender<bool>,
    stop: CancellationToken,
}

/// What a node is at.
struct State {
    chain: Chain,
    peers: BTreeMap<u64, mpsc::Sender<Frame>>,
    connections: u64,
    received: Vec<Frame>,
    farewells: u64,
    wrote_off: bool,
}

impl Nodeos {
    /// A node that others connect to, on a port of loopback.
    ///
    /// # Errors
    /// It can't listen.
    pub async fn listen(config: NodeosConfig) -> io::Result<Self> {
        Self::listen_at(config, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// As [`Nodeos::listen`], at an address.
    ///
    /// # Errors
    /// It can't listen there.
    pub async fn listen_at(config: NodeosConfig, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Shared::new(config);
        let accepting = shared.clone();
        tokio::spawn(shared.stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(peer::serve(accepting.clone(), stream, false));
            }
        }));
        Ok(Self { shared, address: Some(address) })
    }

    /// A node without a socket, for [`Nodeos::connection`].
    #[must_use]
    pub fn alone(config: NodeosConfig) -> Self {
        Self { shared: Shared::new(config), address: None }
    }

    /// Serves a connection over any stream until it ends, or what this returns is dropped; `dialed`: it greets first, as it is the one that has connected.
    pub fn connection<S>(&self, stream: S, dialed: bool) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        peer::serve(self.shared.clone(), stream, dialed)
    }

    /// A node that connects to somebody, and again whenever the connection is lost, unless a `go_away` forbids it.
    #[must_use]
    pub fn dial(config: NodeosConfig, to: SocketAddr) -> Self {
        let shared = Shared::new(config);
        let dialing = shared.clone();
        tokio::spawn(shared.stop.clone().run_until_cancelled_owned(async move {
            loop {
                if let Ok(stream) = TcpStream::connect(to).await {
                    let _ = stream.set_nodelay(true);
                    peer::serve(dialing.clone(), stream, true).await;
                }
                if dialing.state().wrote_off {
                    return;
                }
                tokio::time::sleep(REDIAL).await;
            }
        }));
        Self { shared, address: None }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// It doesn't.
    #[must_use]
    #[allow(clippy::expect_used, reason = "asked of nodes that listen")]
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a node that listens")
    }

    /// Makes a block on its head and sends it to all peers. Nodes that make the same one at the same place have the same block.
    pub fn produce(&self, producer: Name, slot: Slot, content: u64) -> Id {
        let frame = self.shared.state().chain.produce(producer, slot, content);
        self.shared.broadcast(&frame, None);
        self.head()
    }

    /// Its newest block.
    #[must_use]
    pub fn head(&self) -> Id {
        self.shared.state().chain.head()
    }

    /// Looks at its chain, or changes it.
    pub fn chain<T>(&self, look: impl FnOnce(&mut Chain) -> T) -> T {
        let seen = look(&mut self.shared.state().chain);
        self.shared.tell();
        seen
    }

    /// Sends something to all peers.
    pub fn say(&self, frame: &Frame) {
        self.shared.broadcast(frame, None);
    }

    /// Greets all peers anew, as a node does whose head has changed.
    pub fn greet(&self) {
        let greeting = self.shared.greeting(2);
        self.say(&greeting);
    }

    /// Stops reading and writing, as a process that is stopped does, or goes on.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.send_replace(frozen);
    }

    /// How many peers it has now.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.shared.state().peers.len()
    }

    /// How many connections it has had.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }

    /// Whether somebody has sent a `go_away`: a node that dials never does again after most of them.
    #[must_use]
    pub fn farewells(&self) -> u64 {
        self.shared.state().farewells
    }

    /// Every frame that came, of all peers.
    #[must_use]
    pub fn received(&self) -> Vec<Frame> {
        self.shared.state().received.clone()
    }

    /// Every block that came, those included that came twice or led nowhere.
    #[must_use]
    pub fn received_blocks(&self) -> Vec<Block> {
        self.shared.state().received.iter().filter_map(Block::of).collect()
    }

    /// Waits until something holds of it, for a while that is long for anything on this machine.
    ///
    /// # Panics
    /// It doesn't come to hold.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let waiting = async {
            while !holds(self) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(waited.is_ok() && holds(self), "{}: {what} in vain", self.shared.config.agent);
    }
}

impl Drop for Nodeos {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    fn new(config: NodeosConfig) -> Arc<Self> {
        let mut node_id = [0; 32];
        for (to, from) in node_id.iter_mut().zip(config.agent.bytes()) {
            *to = from;
        }
        let state = State {
            chain: Chain::new(config.genesis),
            peers: BTreeMap::new(),
            connections: 0,
            received: Vec::new(),
            farewells: 0,
            wrote_off: false,
        };
        let shared = Arc::new(Self {
            config,
            node_id: Id(node_id),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
            stop: CancellationToken::new(),
        });
        let pinging = shared.clone();
        tokio::spawn(shared.stop.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(pinging.config.keepalive).await;
                pinging.broadcast(&peer::ping(), None);
            }
        }));
        shared
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|times| *times += 1);
    }

    fn broadcast(&self, frame: &Frame, but: Option<u64>) {
        let state = self.state();
        for (_, peer) in state.peers.iter().filter(|(number, _)| Some(**number) != but) {
            // Who lets so much wait finds out by itself.
            let _ = peer.try_send(frame.clone());
        }
        drop(state);
        self.tell();
    }

    fn greeting(&self, generation: i16) -> Frame {
        let state = self.state();
        let chain = &state.chain;
        peer::greeting(&self.config, self.node_id, chain, generation)
    }

    /// What a frame does that came, and what is answered to it.
    fn take(&self, number: u64, frame: &Frame, peer: &mut peer::Known) -> Vec<Frame> {
        let mut state = self.state();
        state.received.push(frame.clone());
        let answers = match frame.kind() {
            Kind::SignedBlock => match state.chain.take(frame) {
                Taken::Linked => {
                    drop(state);
                    self.broadcast(frame, Some(number));
                    return Vec::new();
                }
                Taken::Unlinkable => Some(2),
                Taken::Known | Taken::Dropped => None,
            }
            .map(|generation| peer::greeting(&self.config, self.node_id, &state.chain, generation))
            .into_iter()
            .collect(),
            _ => match frame.message() {
                Ok(Message::GoAway(farewell)) => {
                    state.farewells += 1;
                    // no_reason, duplicate and benign_other let it dial again.
                    state.wrote_off |= ![0, 2, 9].contains(&farewell.reason.0);
                    peer.is_gone = true;
                    Vec::new()
                }
                Ok(message) => peer.answer(&message, &self.config, self.node_id, &state.chain),
                Err(_) => Vec::new(),
            },
        };
        drop(state);
        self.tell();
        answers
    }
}

#[cfg(test)]
mod tests;

//! Stands on a connection between nodes, or between a node and the binary under test: passes every byte on as it came, and keeps a record
//! of blocks and of go_aways.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::nodeos::frames::{Cutter, Frame, GO_AWAY, Header};
use crate::{Failure, Result};

const BUFFER: usize = 64 << 10;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From who dialed.
    Up,
    /// To who dialed.
    Down,
}

/// A block that passed.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// When it was passed on.
    pub at: Instant,
    /// Which way.
    pub way: Way,
    /// The block.
    pub block: Header,
}

/// A running tap; it ends, and its connections too, when dropped.
pub struct Tap {
    address: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    name: &'static str,
    target: Mutex<Option<String>>,
    /// Counts how often all connections were cut.
    cuts: watch::Sender<u32>,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    blocks: Vec<Passed>,
    /// Reasons of go_aways to who dialed.
    told_to_go: Vec<u32>,
    /// How many frames of a type went up.
    up: BTreeMap<u8, u32>,
    connections: u32,
    broken: Option<String>,
}

impl Tap {
    /// Listens, and leads whoever dials to `target` (`host:port`), or nowhere.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(name: &'static str, target: Option<String>) -> Result<Tap> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let cuts = watch::Sender::new(0);
        let shared = Arc::new(Shared { name, target: Mutex::new(target), cuts, record: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Ok(Tap { address, shared, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on connections lead there, or are closed at once; those that are open end.
    pub fn lead_to(&self, target: Option<String>) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// All blocks that have passed, in their order.
    pub fn blocks(&self) -> Vec<Passed> {
        self.shared.record(|record| record.blocks.clone())
    }

    /// Forgets what it has seen.
    pub fn forget(&self) {
        self.shared.record(|record| *record = Record::default());
    }

    /// How many connections have been led on.
    pub fn connections(&self) -> u32 {
        self.shared.record(|record| record.connections)
    }

    /// How many frames of this type have gone up.
    pub fn sent(&self, kind: u8) -> u32 {
        self.shared.record(|record| record.up.get(&kind).copied().unwrap_or_default())
    }

    /// Fails where something went through that is no frame, or a go_away went to who dialed.
    ///
    /// # Errors
    /// If so.
    pub fn polite(&self) -> Result<()> {
        let name = self.shared.name;
        self.shared.record(|record| match (&record.broken, record.told_to_go.as_slice()) {
            (Some(broken), _) => Err(Failure::new(format!("{name}: {broken}"))),
            (None, []) => Ok(()),
            (None, reasons) => Err(Failure::new(format!("{name}: told to go away: {reasons:?}"))),
        })
    }
}

impl Shared {
    fn record<T>(&self, look: impl FnOnce(&mut Record) -> T) -> T {
        look(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(from: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let target = shared.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(target) = target else { return };
    let Ok(to) = TcpStream::connect(target).await else { return };
    if from.set_nodelay(true).is_err() || to.set_nodelay(true).is_err() {
        return;
    }
    shared.record(|record| record.connections += 1);
    let (from_read, from_write) = from.into_split();
    let (to_read, to_write) = to.into_split();
    tokio::select! {
        () = carry(from_read, to_write, Way::Up, &shared) => {}
        () = carry(to_read, from_write, Way::Down, &shared) => {}
        _ = cuts.changed() => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, shared: &Shared) {
    let mut buffer = vec![0; BUFFER];
    let mut cutter = Some(Cutter::default());
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        // Once something was no frame, nothing after it can be told apart.
        if let Some(mut cutting) = cutter.take() {
            cutting.take(&buffer[..count]);
            if witness(&mut cutting, way, shared) {
                cutter = Some(cutting);
            }
        }
    }
}

/// Notes down what has come; gives whether all of it were frames.
fn witness(cutter: &mut Cutter, way: Way, shared: &Shared) -> bool {
    loop {
        let next = cutter.cut();
        let go_on = shared.record(|record| match next {
            Ok(Some(Frame::Block(block))) => {
                record.blocks.push(Passed { at: Instant::now(), way, block });
                Some(true)
            }
            Ok(Some(Frame::GoAway(reason))) => {
                match way {
                    Way::Down => record.told_to_go.push(reason),
                    Way::Up => *record.up.entry(GO_AWAY).or_default() += 1,
                }
                Some(true)
            }
            Ok(Some(Frame::Other(kind))) => {
                if way == Way::Up {
                    *record.up.entry(kind).or_default() += 1;
                }
                Some(true)
            }
            Ok(None) => None,
            Err(failure) => {
                record.broken = Some(format!("{way:?}: {failure}"));
                Some(false)
            }
        });
        match go_on {
            Some(true) => {}
            Some(false) => return false,
            None => return true,
        }
    }
}

/// The blocks that whoever dials these taps has made: those that it sent before it got them.
pub fn made(taps: &[&Tap]) -> Vec<Passed> {
    let mut all: Vec<Passed> = taps.iter().flat_map(|tap| tap.blocks()).collect();
    all.sort_by_key(|passed| passed.at);
    let mut known = HashSet::new();
    all.retain(|passed| known.insert(passed.block.id) && passed.way == Way::Up);
    all
}

//! How much later a block is at the outer node because of `relay`, and because of HAProxy in TCP mode; and what transactions to several
//! nodes cost.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_antelope::{
    Blob, Extension, Handshake, Header, Id, List, Message, Nanos, PackedTransaction, PublicKey, Signature,
    SignedBlock, Slot, Text,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::Result;
use crate::machine::{cpu_time, memory};
use crate::options::Options;
use crate::proxy::{Bench, Proxy, Way, get};
use crate::stats::Latencies;
use crate::stores::{self, Store};

/// Bytes of an empty block with its length, and of a large one.
pub(crate) const SIZES: [usize; 2] = [189, 1 << 20];
/// Transactions a second, to each of so many nodes.
pub(crate) const RATE: u32 = 2000;
pub(crate) const NODES: usize = 4;
/// Bytes of such a transaction, about.
pub(crate) const TRANSACTION: usize = 250;
/// Whose blocks they are, in turn: slots go by slower than blocks here, so each has one of everybody.
pub(crate) const PRODUCERS: [&str; 24] = [
    "bencha", "benchb", "benchc", "benchd", "benche", "benchf", "benchg", "benchh", "benchi", "benchj",
    "benchk", "benchl", "benchm", "benchn", "bencho", "benchp", "benchq", "benchr", "benchs", "bencht",
    "benchu", "benchv", "benchw", "benchx",
];
const WARM_UP: usize = 50;
/// Slots of the past that blocks are made for; older ones the relay keeps back.
const SLOTS: u32 = 100;

/// Between the nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// Nothing.
    Direct,
    /// mainstay, which claims each slot in its own memory.
    Relay,
    /// mainstay, which claims each slot in etcd.
    Etcd,
    /// mainstay, which claims each slot in Redis.
    Redis,
    /// HAProxy in TCP mode.
    Haproxy,
}

impl Path {
    pub(crate) const ALL: [Self; 5] = [Self::Direct, Self::Relay, Self::Etcd, Self::Redis, Self::Haproxy];
}

/// One measurement, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// All rounds of blocks of one size.
pub(crate) struct Series {
    pub(crate) bytes: usize,
    pub(crate) path: Path,
    pub(crate) rounds: Vec<Round>,
}

/// What transactions inward cost.
#[derive(Clone, Copy)]
pub(crate) struct Inward {
    /// How many arrived a second, at all nodes together.
    pub(crate) per_second: f64,
    /// Of one core, 0 to 1.
    pub(crate) cpu: f64,
    /// Resident bytes at the end, and at most.
    pub(crate) memory: (u64, u64),
}

/// What was found.
pub(crate) struct Found {
    pub(crate) blocks: Vec<Series>,
    pub(crate) inward: Vec<Inward>,
}

/// What is measured, and with what.
struct Field<'a> {
    bench: &'a Bench,
    options: &'a Options,
    outer: TcpListener,
    etcd: Option<Store>,
    redis: Option<Store>,
    /// How many chains there were: a store knows what was claimed on them.
    chains: u8,
}

/// Every round measures all paths, one after the other, everything on all cores.
pub(crate) async fn measure(bench: &Bench, options: &Options) -> Result<Found> {
    let outer = TcpListener::bind("127.0.0.1:0").await?;
    let (etcd, redis) = (stores::etcd(bench).await?, stores::redis(bench).await?);
    let mut field = Field { bench, options, outer, etcd, redis, chains: 0 };
    let mut blocks = Vec::new();
    for bytes in SIZES {
        let paths = Path::ALL.into_iter().filter(|path| field.has(*path, bytes));
        let mut series: Vec<Series> = paths.map(|path| Series { bytes, path, rounds: Vec::new() }).collect();
        for _ in 0..options.rounds {
            for one in &mut series {
                one.rounds.push(field.round(one.path, bytes).await?);
            }
        }
        blocks.extend(series);
    }
    let mut inward = Vec::new();
    for _ in 0..options.rounds {
        let (proxy, _) = field.start(Path::Relay).await?;
        inward.push(transactions(options, &proxy, &field.outer).await?);
    }
    Ok(Found { blocks, inward })
}

impl Field<'_> {
    /// A claim costs the same whatever the block's size.
    fn has(&self, path: Path, bytes: usize) -> bool {
        match path {
            Path::Direct | Path::Relay => true,
            Path::Etcd => self.etcd.is_some() && bytes == SIZES[0],
            Path::Redis => self.redis.is_some() && bytes == SIZES[0],
            Path::Haproxy => self.bench.has(Way::Haproxy),
        }
    }

    /// With where its readiness is told, if it is a relay.
    async fn start(&self, path: Path) -> Result<(Proxy, Option<SocketAddr>)> {
        let outer = self.outer.local_addr()?;
        let store = match path {
            Path::Direct => return Ok((Proxy::none(outer), None)),
            Path::Haproxy => return Ok((self.bench.tcp(outer).await?, None)),
            Path::Relay => None,
            Path::Etcd => self.etcd.as_ref(),
            Path::Redis => self.redis.as_ref(),
        };
        let claims = store.map(|store| store.url.as_str());
        let (proxy, admin) = self.bench.relay(outer, &PRODUCERS.join(","), claims).await?;
        Ok((proxy, Some(admin)))
    }

    async fn round(&mut self, path: Path, bytes: usize) -> Result<Round> {
        let (mut proxy, admin) = self.start(path).await?;
        self.chains = self.chains.wrapping_add(1);
        let leg = Leg::open(&proxy, &self.outer, Id([self.chains; 32])).await?;
        if let Some(admin) = admin {
            // By then it has asked what was published last. One node alone is reason enough to be less than well.
            let asked =
                async || get(admin, "/healthz").await.is_ok_and(|(status, _)| !status.contains(" 503"));
            proxy.until("the claims to answer", asked).await?;
        }
        round(self.options, leg, bytes).await
    }
}

/// One node of each side, one block after the other.
async fn round(options: &Options, leg: Leg, bytes: usize) -> Result<Round> {
    let head = id(1000);
    let Leg { mut inner, mut outer } = leg;
    let (mut previous, first) = (head, now().saturating_sub(SLOTS));
    let mut here = Vec::new();
    let mut latencies = Vec::new();
    let end = Instant::now() + options.slice;
    let turns = (first..first + SLOTS).flat_map(|slot| PRODUCERS.map(|producer| (slot, producer)));
    for (slot, producer) in turns {
        if Instant::now() >= end && latencies.len() >= 2 * WARM_UP {
            break;
        }
        let (frame, id) = block(slot, producer, previous, bytes)?;
        here.resize(frame.len(), 0);
        let sent = Instant::now();
        // Both at once: a large one isn't taken in by the sockets alone.
        let passed = async { tokio::try_join!(inner.write_all(&frame), outer.read_exact(&mut here)) };
        let passed = tokio::time::timeout(Duration::from_secs(5), passed).await;
        passed.map_err(|_| format!("block {} of a round did not arrive", latencies.len()))??;
        latencies.push(sent.elapsed());
        if here != frame {
            return Err("something else than the block arrived".into());
        }
        previous = id;
    }
    let latencies = Latencies::new(latencies.split_off(WARM_UP));
    Ok(Round { p50: latencies.percentile(0.5), p99: latencies.percentile(0.99) })
}

/// Transactions from the outer nodes to all inner ones, at their rate.
async fn transactions(options: &Options, proxy: &Proxy, outer: &TcpListener) -> Result<Inward> {
    const TICK: Duration = Duration::from_millis(5);
    let pid = proxy.pid().ok_or("mainstay has no process")?;
    let mut legs = Vec::new();
    for _ in 0..NODES {
        legs.push(Leg::open(proxy, outer, Id([7; 32])).await?);
    }
    let (started, used) = (Instant::now(), cpu_time(pid)?);
    let mut tasks = tokio::task::JoinSet::new();
    let slice = options.slice;
    for Leg { mut inner, mut outer } in legs {
        tasks.spawn(async move {
            let (mut sent, mut arrived, mut number) = (0, 0, 0_u64);
            let mut buffer = vec![0; 1 << 16];
            let mut ticks = tokio::time::interval(TICK);
            while started.elapsed() < slice || arrived < sent {
                tokio::select! {
                    _ = ticks.tick(), if started.elapsed() < slice => {
                        let mut frames = Vec::new();
                        // What is due by now, however late the tick is.
                        let due = u64::from(RATE) * u64::try_from(started.elapsed().as_millis())? / 1000;
                        while number < due {
                            frames.extend_from_slice(&transaction(number)?);
                            number += 1;
                        }
                        outer.write_all(&frames).await?;
                        sent += frames.len();
                    }
                    read = inner.read(&mut buffer) => match read? {
                        0 => return Err("the relay closed a leg".into()),
                        count => arrived += count,
                    },
                }
            }
            Result::Ok((number, started.elapsed()))
        });
    }
    let (mut count, mut took) = (0, Duration::ZERO);
    let end = started + slice + Duration::from_secs(10);
    while let Some(done) = tokio::time::timeout_at(end, tasks.join_next()).await? {
        let (number, until) = done??;
        (count, took) = (count + number, took.max(until));
    }
    let used = cpu_time(pid)?.saturating_sub(used);
    Ok(Inward {
        per_second: count as f64 / took.as_secs_f64(),
        cpu: used.as_secs_f64() / took.as_secs_f64(),
        memory: memory(pid)?,
    })
}

/// An inner node's connection and the outer one's that it leads to.
struct Leg {
    inner: TcpStream,
    outer: TcpStream,
}

impl Leg {
    /// Connects, and lets both sides shake hands as nodes of this chain.
    async fn open(proxy: &Proxy, outer: &TcpListener, chain: Id) -> Result<Self> {
        let mut inner = TcpStream::connect(proxy.address).await?;
        inner.set_nodelay(true)?;
        let hello = handshake(chain)?;
        inner.write_all(&hello).await?;
        let (mut outer, _) = outer.accept().await?;
        outer.set_nodelay(true)?;
        let mut heard = vec![0; hello.len()];
        outer.read_exact(&mut heard).await?;
        outer.write_all(&hello).await?;
        inner.read_exact(&mut heard).await?;
        Ok(Self { inner, outer })
    }
}

fn handshake(chain: Id) -> Result<Vec<u8>> {
    // Handshakes of several nodes differ in nothing that matters here.
    let message = Message::Handshake(Handshake {
        network_version: 1205 + 7,
        chain_id: chain,
        node_id: chain,
        key: PublicKey::EMPTY,
        time: Nanos(0),
        token: Id::ZERO,
        sig: Signature::EMPTY,
        p2p_address: Text(b"bench:1 - 0000000"),
        lib_num: 999,
        lib_id: id(999),
        head_num: 1000,
        head_id: id(1000),
        os: Text(b"linux"),
        agent: Text(b"bench"),
        generation: 1,
    });
    bytes_of(&message)
}

/// An empty block, or one with an extension that fills it up to about so many bytes; and its id.
fn block(slot: u32, producer: &str, previous: Id, bytes: usize) -> Result<(Vec<u8>, Id)> {
    let filling = vec![0x5a; bytes.saturating_sub(SIZES[0])];
    let extensions = [Extension { id: 7, data: Blob(&filling) }];
    let header = Header {
        slot: Slot(slot),
        producer: producer.parse().map_err(|_| "not a name")?,
        confirmed: 0,
        previous,
        transaction_mroot: Id::ZERO,
        action_mroot: Id::ZERO,
        schedule_version: 0,
        new_producers: None,
        header_extensions: List::EMPTY,
    };
    let message = Message::SignedBlock(SignedBlock {
        header,
        producer_signature: Signature::EMPTY,
        transactions: List::EMPTY,
        block_extensions: if filling.is_empty() { List::EMPTY } else { List::Items(&extensions) },
    });
    Ok((bytes_of(&message)?, header.id()))
}

/// A transaction that differs from all others.
fn transaction(number: u64) -> Result<Vec<u8>> {
    let mut packed = [0x11; TRANSACTION - 80];
    packed[..8].copy_from_slice(&number.to_le_bytes());
    bytes_of(&Message::PackedTransaction(PackedTransaction {
        signatures: List::Items(&[Signature::EMPTY]),
        compression: 0,
        packed_context_free_data: Blob(&[]),
        packed_trx: Blob(&packed),
    }))
}

fn bytes_of(message: &Message<'_>) -> Result<Vec<u8>> {
    Ok(message.frame().map_err(|why| why.to_string())?.bytes().to_vec())
}

/// The id of a block of this number.
fn id(number: u32) -> Id {
    let mut id = [0x22; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Id(id)
}

#[allow(clippy::disallowed_methods, reason = "slots are of the wall clock")]
fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u32::try_from(since.saturating_sub(946_684_800_000) / u128::from(Slot::MILLIS)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_of_their_size_and_follow_each_other() {
        let (empty, first) = block(7, PRODUCERS[0], id(1000), SIZES[0]).unwrap();
        assert_eq!((empty.len(), first.block_num()), (SIZES[0], 1001));
        let (large, second) = block(8, PRODUCERS[0], first, SIZES[1]).unwrap();
        assert!(large.len().abs_diff(SIZES[1]) < 16, "{}", large.len());
        assert_eq!(second.block_num(), 1002);
        assert!(transaction(1).unwrap().len().abs_diff(TRANSACTION) < 10);
    }
}

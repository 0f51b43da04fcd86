//! A simulated beacon node: it says what a guard's checks ask, serves a block and takes attestations, with fixed replies at once. It
//! can be made to sync, and to die and come back on its port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::Result;
use crate::http::{Reader, reply, reply_of};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 1 << 20;
/// How long a slot is that never ends while this runs.
const SLOT: Duration = Duration::from_secs(86_400);
const ROOT: &str = "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95";

/// Where its requests begin, and what it answers. The first that fits counts.
type Replies = Vec<(&'static str, Vec<u8>)>;

/// The node. It ends when this is dropped.
pub(crate) struct BeaconNode {
    pub(crate) address: SocketAddr,
    replies: Arc<Replies>,
    syncs: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl BeaconNode {
    /// Starts one in the runtime of the caller.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut node = Self { address, replies: Arc::new(replies()?), syncs: Arc::default(), serving: None };
        node.serve(listener);
        Ok(node)
    }

    /// Whether it says that it is syncing.
    pub(crate) fn sync(&self, syncs: bool) {
        self.syncs.store(syncs, Ordering::Relaxed);
    }

    /// Nobody listens and no connection is open once this returns.
    pub(crate) async fn die(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // That it was ended is no news.
            let _ = serving.await;
        }
    }

    /// Comes back on its port.
    pub(crate) async fn rise(&mut self) -> Result<()> {
        if self.serving.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            self.serve(listener);
        }
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener) {
        let (replies, syncs) = (self.replies.clone(), self.syncs.clone());
        self.serving = Some(tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (replies, syncs) = (replies.clone(), syncs.clone());
                connections.spawn(async move {
                    // A client that goes away ends its connection, nothing more.
                    let _ = connection(stream, &replies, &syncs).await;
                });
                while connections.try_join_next().is_some() {}
            }
        }));
    }
}

impl Drop for BeaconNode {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn connection(mut stream: TcpStream, replies: &Replies, syncs: &AtomicBool) -> Result<()> {
    stream.set_nodelay(true)?;
    let syncing = reply(&syncing(true));
    let mut reader = Reader::new();
    let pick =
        |head: &[u8], _: &[u8]| replies.iter().position(|(start, _)| head.starts_with(start.as_bytes()));
    while let Some(index) = reader.next(&mut stream, true, pick).await? {
        let bytes = match index.map(|index| &replies[index]) {
            Some((SYNCING, _)) if syncs.load(Ordering::Relaxed) => &syncing,
            Some((_, bytes)) => bytes,
            None => &replies[replies.len() - 1].1,
        };
        stream.write_all(bytes).await?;
    }
    Ok(())
}

const SYNCING: &str = "GET /eth/v1/node/syncing ";

fn syncing(syncs: bool) -> String {
    format!(
        r#"{{"data":{{"head_slot":"0","sync_distance":"{}","is_syncing":{syncs},"is_optimistic":false,"el_offline":false}}}}"#,
        if syncs { 32 } else { 0 }
    )
}

#[allow(clippy::disallowed_methods, reason = "a chain's genesis is a time of the wall clock")]
fn replies() -> Result<Replies> {
    let genesis = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    Ok(vec![
        (
            "GET /eth/v1/beacon/states/head/root ",
            reply(&format!(
                r#"{{"execution_optimistic":false,"finalized":false,"data":{{"root":"{ROOT}"}}}}"#
            )),
        ),
        ("GET /eth/v2/beacon/blocks/head ", reply_of("application/octet-stream", &[5; BLOCK])),
        ("POST /eth/v2/beacon/pool/attestations ", reply("")),
        (SYNCING, reply(&syncing(false))),
        ("GET /eth/v1/node/health ", reply("")),
        (
            "GET /eth/v1/node/peer_count ",
            reply(r#"{"data":{"disconnected":"0","connecting":"0","connected":"100","disconnecting":"0"}}"#),
        ),
        (
            "GET /eth/v1/beacon/genesis ",
            reply(&format!(
                r#"{{"data":{{"genesis_time":"{genesis}","genesis_validators_root":"{ROOT}","genesis_fork_version":"0x00000000"}}}}"#
            )),
        ),
        (
            "GET /eth/v1/config/spec ",
            reply(&format!(
                r#"{{"data":{{"SECONDS_PER_SLOT":"{}","SLOTS_PER_EPOCH":"32"}}}}"#,
                SLOT.as_secs()
            )),
        ),
        (
            "GET /eth/v1/beacon/states/head/fork ",
            reply(r#"{"data":{"previous_version":"0x00000000","current_version":"0x00000000","epoch":"0"}}"#),
        ),
        ("", b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec()),
    ])
}

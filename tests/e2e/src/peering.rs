//! Keeps two beacon nodes peered, as a node does with peers that its operator has named: Lodestar 1.5.1 dials nobody by itself where
//! discovery is off.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::task::JoinSet;

use crate::lodestar::Lodestar;
use crate::rpc::{exchange, get, number, text};
use crate::{Failure, Result, ensure, until};

/// A node that is frozen shall not hold it up for long.
const LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(500);
const PARTING: Duration = Duration::from_secs(10);

/// A running peering; it ends when dropped, the peers stay.
pub struct Peering {
    _tasks: JoinSet<()>,
}

impl Peering {
    /// From now on `one` dials `other` whenever it has no peer.
    pub fn start(one: &Lodestar, other: &Lodestar) -> Peering {
        let mut tasks = JoinSet::new();
        let (one, other) = (one.api().to_owned(), other.api().to_owned());
        tasks.spawn(async move {
            loop {
                // Either may be gone for a while.
                let _ = tokio::time::timeout(LIMIT, meet(&one, &other)).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Peering { _tasks: tasks }
    }
}

async fn meet(one: &str, other: &str) -> Result<()> {
    if peers(one).await? > 0 {
        return Ok(());
    }
    let (id, address) = identity(other).await?;
    command(&format!("{one}/eth/v1/lodestar/connect_peer?peerId={id}&multiaddr={address}")).await
}

/// Lets `one` turn `other` away, and waits until neither has the other for a peer.
///
/// # Errors
/// If one does not answer or they don't part.
pub async fn part(one: &Lodestar, other: &Lodestar) -> Result<()> {
    let ids = [identity(one.api()).await?.0, identity(other.api()).await?.0];
    command(&format!("{}/eth/v1/lodestar/disconnect_peer?peerId={}", one.api(), ids[1])).await?;
    until("the beacon nodes to part", PARTING, async || {
        let met = knows(one.api(), &ids[1]).await? || knows(other.api(), &ids[0]).await?;
        Ok((!met).then_some(()))
    })
    .await
}

async fn knows(api: &str, id: &str) -> Result<bool> {
    let peers = of_node(api, "peers?state=connected").await?;
    let peers = peers["data"].as_array().ok_or_else(|| Failure::new(format!("no peers in {peers}")))?;
    Ok(peers.iter().any(|peer| peer["peer_id"] == id))
}

async fn command(url: &str) -> Result<()> {
    let (status, body) = exchange(Request::post(url).body(Bytes::new())?, LIMIT).await?;
    ensure!(status.is_success(), "POST {url}: {status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// How many peers the beacon node at `api` is connected with.
///
/// # Errors
/// If it does not answer.
pub async fn peers(api: &str) -> Result<u64> {
    number(&of_node(api, "peer_count").await?, "/data/connected")
}

/// Id and address of a node for its peers. Both change when it is started anew.
async fn identity(api: &str) -> Result<(String, String)> {
    let identity = of_node(api, "identity").await?;
    let address = text(&identity, "/data/p2p_addresses/0")?;
    // The address ends with `/p2p/ID`, which is asked for in a parameter of its own.
    let address = address.split("/p2p/").next().unwrap_or(&address).to_owned();
    Ok((text(&identity, "/data/peer_id")?, address))
}

async fn of_node(api: &str, what: &str) -> Result<serde_json::Value> {
    let url = format!("{api}/eth/v1/node/{what}");
    get(&url).await?.ok_or_else(|| Failure::new(format!("there is no {url}")))
}

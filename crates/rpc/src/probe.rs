//! The task that asks one node how it is.
//!
//! | `health` | what is asked |
//! |---|---|
//! | `ethereum` | `eth_syncing`, `eth_blockNumber`, `eth_chainId`: who syncs, lags or is on another chain is unfit |
//! | `net_version` | `net_version`: any HTTP answer below 400 is enough |
//! | `none` | nothing while the node is fit. At the start, and when traffic has shown it unfit, whether it takes a connection (over `https` a TLS handshake belongs to that; one that attests: whether it does): the first requests after that, few by slow start, show the rest |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_node::{Cause, Condition, Probe, Seen, eth};
use mainstay_wire::client::{ATTESTED_CONNECT, Client};
use mainstay_wire::envelope::{self, Outcome};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use url::Host;

use crate::config::Probes;
use crate::core::Core;
use crate::node::{self, Node};
use crate::upstream::Upstream;

/// Longest time for one question.
const LIMIT: Duration = Duration::from_secs(1);
/// Longest name of a client that is kept.
const LONGEST_VERSION: usize = 200;

/// Probes a node until it is removed.
pub(crate) async fn run(core: Arc<Core>, node: Arc<Node>) {
    let probing = async {
        loop {
            let (at, is_fit) = {
                let state = node.state();
                (state.health.probe_at(), *state.health.condition() == Condition::Fit)
            };
            let is_asked = core.live().config.probes != Probes::None || !is_fit;
            tokio::select! {
                () = tokio::time::sleep_until(Instant::from_std(at)), if is_asked => once(&core, &node).await,
                () = node.probe.notified() => {}
            }
        }
    };
    tokio::select! {
        () = probing => {}
        () = node.removed.cancelled() => {}
    }
}

/// Probes a node now.
pub(crate) async fn once(core: &Core, node: &Node) {
    let upstream = &node.uris().upstream;
    let limit = if upstream.proves.is_some() { ATTESTED_CONNECT } else { LIMIT };
    let limit = limit.min(core.live().config.retry.try_timeout);
    let began = Instant::now();
    let probe = match core.live().config.probes {
        Probes::Ethereum => ethereum(&node.client, limit).await,
        Probes::NetVersion => net_version(&node.client, limit).await,
        Probes::None => connects(&node.client, upstream, limit).await,
    };
    if probe.is_ok() {
        node.state().probe_took = Some(began.elapsed());
    }
    let others = core.others(node, probe.as_ref().copied().unwrap_or_default());
    core.observe(node, |health, now| health.probed(&probe, others, now));
    let is_unknown = node.state().client.is_none();
    if core.live().config.probes == Probes::Ethereum && probe.is_ok() && is_unknown {
        let version = question(&node.client, CLIENT_VERSION, limit).await;
        let version = version.ok().flatten().and_then(|version| envelope::string(&version));
        node.state().client = version.filter(|version| version.len() <= LONGEST_VERSION);
    }
}

/// Asks a node that is to be added whether it is there, as prio-load-balancer does.
///
/// # Errors
/// What is wrong, without its URL.
pub(crate) async fn check(core: &Core, upstream: &Upstream) -> Result<(), String> {
    let limit = core.live().config.retry.try_timeout;
    let client = node::client(upstream, &core.client_options())?;
    let probe = match core.live().config.probes {
        Probes::Ethereum | Probes::NetVersion => net_version(&client, limit).await,
        Probes::None => connects(&client, upstream, limit).await,
    };
    probe.map(|_| ()).map_err(|cause| cause.to_string())
}

const NET_VERSION: &[u8] = br#"{"jsonrpc":"2.0","method":"net_version","params":[],"id":123}"#;
const SYNCING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"eth_syncing","params":[]}"#;
const HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":2,"method":"eth_blockNumber","params":[]}"#;
const CHAIN: &[u8] = br#"{"jsonrpc":"2.0","id":3,"method":"eth_chainId","params":[]}"#;
const CLIENT_VERSION: &[u8] = br#"{"jsonrpc":"2.0","id":4,"method":"web3_clientVersion","params":[]}"#;

async fn ask(client: &Client, body: &'static [u8], limit: Duration) -> Result<Bytes, Cause> {
    let reply = client.post(Bytes::from_static(body), None, Instant::now() + limit).await;
    let reply = reply.map_err(|error| Cause::from(&error))?;
    match reply.status.as_u16() {
        ..400 => Ok(reply.body),
        status => Err(Cause::Http(status)),
    }
}

/// The result; `None` for a JSON-RPC error: it is up, that a method is refused says nothing of health.
async fn question(client: &Client, body: &'static [u8], limit: Duration) -> Result<Option<Bytes>, Cause> {
    let body = ask(client, body, limit).await?;
    match envelope::parse_reply(&body).map_err(|_| Cause::Unreadable)?.outcome {
        Outcome::Result(result) => Ok(Some(result)),
        Outcome::Error { .. } => Ok(None),
    }
}

async fn net_version(client: &Client, limit: Duration) -> Probe {
    ask(client, NET_VERSION, limit).await.map(|_| Seen::default())
}

async fn ethereum(client: &Client, limit: Duration) -> Probe {
    let syncing = match question(client, SYNCING, limit).await? {
        Some(said) => eth::is_syncing(&said).ok_or(Cause::Unreadable)?,
        None => false,
    };
    let number = |answer: Option<Bytes>| eth::quantity(&answer?);
    let head = number(question(client, HEAD, limit).await?);
    let chain_id = number(question(client, CHAIN, limit).await?);
    Ok(Seen { syncing, head, chain_id })
}

async fn connects(client: &Client, upstream: &Upstream, limit: Duration) -> Probe {
    if upstream.url.scheme() == "https" {
        // That it takes a connection says nothing: it has to show a certificate that is believed, or prove what it runs.
        let connected = client.reach(Instant::now() + limit).await;
        return connected.map(|()| Seen::default()).map_err(|error| Cause::from(&error));
    }
    let port = upstream.url.port_or_known_default().unwrap_or_default();
    let connected = match upstream.url.host() {
        Some(Host::Domain(name)) => timeout(limit, TcpStream::connect((name, port))).await,
        Some(Host::Ipv4(address)) => timeout(limit, TcpStream::connect((address, port))).await,
        Some(Host::Ipv6(address)) => timeout(limit, TcpStream::connect((address, port))).await,
        None => return Err(Cause::Unreachable),
    };
    match connected {
        Ok(Ok(_)) => Ok(Seen::default()),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(Cause::Refused),
        Ok(Err(_)) => Err(Cause::Unreachable),
        Err(_) => Err(Cause::Timeout),
    }
}

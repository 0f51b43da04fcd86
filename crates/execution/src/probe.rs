//! The task that asks one node how it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_node::{Cause, Condition, Probe, Seen, eth};
use mainstay_wire::client::{ATTESTED_CONNECT, asks_to_attest};
use mainstay_wire::envelope::{self, Outcome};
use tokio::time::Instant;

use crate::core::Core;
use crate::node::{Caller, Failed, Node};

/// Longest time for one question of a probe.
const LIMIT: Duration = Duration::from_secs(1);

/// How old a chain id gets. A restart that falls between two probes is seen by nobody, and may have brought another chain.
const CHAIN_AGE: Duration = Duration::from_secs(60);

/// Probes a node until it is removed.
pub async fn run(core: Arc<Core>, node: Arc<Node>) {
    let probing = async {
        loop {
            let at = node.state().health.probe_at();
            tokio::select! {
                biased;
                () = node.probe.notified() => {}
                () = tokio::time::sleep_until(Instant::from_std(at)) => once(&core, &node).await,
            }
        }
    };
    tokio::select! {
        biased;
        () = node.removed.cancelled() => {}
        () = probing => {}
    }
}

/// Probes a node now.
pub async fn once(core: &Arc<Core>, node: &Arc<Node>) {
    let started = Instant::now();
    // While any node is on another chain an id that was learned long ago isn't to be relied on.
    let any_misfit = core.nodes().iter().any(|n| matches!(n.condition(), Condition::Misconfigured { .. }));
    let needs_chain = {
        let state = node.state();
        any_misfit
            || state.chain_seen.is_none_or(|seen| seen.elapsed() >= CHAIN_AGE)
            || *state.health.condition() != Condition::Fit
    };
    let probe =
        if node.takes_probes() { Some(ask(node, needs_chain, core.config().timeout).await) } else { None };
    let Some(probe) = probe.filter(|probe| node.signs() || *probe != Err(Cause::Unauthorized)) else {
        // The token, not the node, is no good.
        node.state().health.put_off(started.into_std());
        return;
    };
    let (took, answered) = (started.elapsed(), probe.is_ok());
    let mut others = core.others_with(probe.as_ref().ok().map(|seen| (node.as_ref(), *seen)));
    if let Ok(seen) = &probe {
        // Its own word counts too: the first node up is the best there is.
        others.best_head = others.best_head.max(seen.head.filter(|_| others.best_head.is_none()));
        if let Some(head) = seen.head {
            core.telemetry.head(node.name(), head);
        }
        if core.config().node_timings {
            tracing::info!(
                role = %core.telemetry.role(),
                node = node.name(),
                took_us = micros(took),
                "node timing"
            );
        }
    }
    let change = {
        let mut state = node.state();
        state.probe_took = answered.then_some(took);
        if probe.as_ref().is_ok_and(|seen| seen.chain_id.is_some()) {
            state.chain_seen = Some(started);
        }
        state.health.probed(&probe, others, Instant::now().into_std())
    };
    if let Some(before) = change {
        core.changed(node, &before);
    } else {
        core.primary();
    }
    if probe.is_ok_and(|seen| seen.chain_id.is_some()) {
        doubt_other_chains(core);
    }
    let unknown_client = node.state().client.is_none();
    if answered && unknown_client {
        let client = client_version(node).await;
        node.state().client = client;
    }
}

/// Probes all nodes now and waits for it; each probe is bounded.
pub async fn all(core: &Arc<Core>) {
    let mut probes = tokio::task::JoinSet::new();
    for node in core.nodes().iter() {
        let (core, node) = (core.clone(), node.clone());
        probes.spawn(async move {
            once(&core, &node).await;
            // When it is to be probed next may have changed by that.
            node.probe.notify_one();
        });
    }
    while probes.join_next().await.is_some() {}
}

/// A chain id has been learned: what most of the nodes are on may be another chain now. Nodes whose condition doesn't fit
/// that are probed at once, since until then the wrong ones' votes count.
fn doubt_other_chains(core: &Core) {
    let common = core.others().chain_id;
    for node in core.nodes().iter() {
        let mut state = node.state();
        let Some(id) = state.health.seen().chain_id else { continue };
        let misfit = match state.health.condition() {
            Condition::Unfit(_) | Condition::Unknown => false,
            Condition::Misconfigured { .. } => Some(id) == common,
            _ => Some(id) != common,
        };
        if misfit {
            state.health.probe_soon(Instant::now().into_std());
            node.probe.notify_one();
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // a probe is bounded by seconds
fn micros(took: Duration) -> u64 {
    took.as_micros() as u64
}

async fn ask(node: &Node, chain: bool, timeout: Duration) -> Probe {
    let limit = if asks_to_attest(&node.spec.url) { ATTESTED_CONNECT } else { LIMIT };
    let limit = node.within(limit.min(timeout));
    let question = async |body: &'static [u8]| {
        let deadline = Instant::now() + limit;
        let reply = node.call(Bytes::from_static(body), &Caller::mainstay(), deadline).await;
        match reply {
            Err(Failed { cause, .. }) => Err(cause),
            Ok(reply) => match reply.outcome {
                Outcome::Result(result) => Ok(Some(result)),
                // It is up: that a method is refused says nothing of health.
                Outcome::Error { .. } => Ok(None),
            },
        }
    };
    let syncing = question(br#"{"jsonrpc":"2.0","id":1,"method":"eth_syncing","params":[]}"#).await?;
    let syncing = match syncing {
        Some(said) => eth::is_syncing(&said).ok_or(Cause::Unreadable)?,
        None => false,
    };
    let head = question(br#"{"jsonrpc":"2.0","id":2,"method":"eth_blockNumber","params":[]}"#).await?;
    let head = head.and_then(|head| eth::quantity(&head));
    let chain_id = if chain {
        let id = question(br#"{"jsonrpc":"2.0","id":3,"method":"eth_chainId","params":[]}"#).await?;
        id.and_then(|id| eth::quantity(&id))
    } else {
        None
    };
    Ok(Seen { syncing, head, chain_id })
}

/// Asks for the client's name and version, for evidence and the state page.
async fn client_version(node: &Node) -> Option<String> {
    let body = br#"{"jsonrpc":"2.0","id":4,"method":"web3_clientVersion","params":[]}"#;
    let deadline = Instant::now() + node.within(LIMIT);
    let reply = node.call(Bytes::from_static(body), &Caller::mainstay(), deadline).await.ok()?;
    match reply.outcome {
        Outcome::Result(version) => envelope::string(&version).filter(|v| v.len() <= 200),
        Outcome::Error { .. } => versions(node).await,
    }
}

/// Some clients don't have `web3_` on the engine port.
async fn versions(node: &Node) -> Option<String> {
    let body = br#"{"jsonrpc":"2.0","id":5,"method":"engine_getClientVersionV1","params":[{"code":"MS","name":"mainstay","version":"v0","commit":"00000000"}]}"#;
    let deadline = Instant::now() + node.within(LIMIT);
    let reply = node.call(Bytes::from_static(body), &Caller::mainstay(), deadline).await.ok()?;
    let Outcome::Result(list) = reply.outcome else { return None };
    let [name, version] = envelope::fields(&envelope::first_element(&list)?, ["name", "version"])?;
    Some(format!("{}/{}", envelope::string(&name?)?, envelope::string(&version?)?))
}

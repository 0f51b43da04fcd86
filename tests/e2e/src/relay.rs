//! Carries blocks between two beacon nodes. Peers tell each other of new ones; what a node has missed while it was away, or had no peer, it
//! gets here.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http::{Request, StatusCode, header};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::lodestar::{Lodestar, SLOTS_PER_EPOCH};
use crate::rpc::{exchange, number, text};
use crate::{Failure, Result, fail};

/// A node that is frozen shall not hold it up for long.
const LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(200);

/// A running relay, in both directions; it ends when dropped.
pub struct Relay {
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Starts a relay between two beacon nodes. They may go and come back.
    pub fn start(one: &Lodestar, other: &Lodestar) -> Relay {
        let mut tasks = JoinSet::new();
        for (from, to) in [(one, other), (other, one)] {
            tasks.spawn(carry(from.api().to_owned(), to.api().to_owned()));
        }
        Relay { _tasks: tasks }
    }
}

async fn carry(from: String, to: String) {
    let mut carried = HashSet::new();
    let mut back = SLOTS_PER_EPOCH;
    loop {
        match round(&from, &to, back, &mut carried).await {
            Ok(()) => back = SLOTS_PER_EPOCH,
            // They have parted earlier than thought; or it is another process, with less on its disk.
            Err(_) => {
                back = back.saturating_mul(2);
                carried.clear();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hands what `to` has not got yet over to it, oldest first, beginning so many slots before the older of the heads.
async fn round(from: &str, to: &str, back: u64, carried: &mut HashSet<String>) -> Result<()> {
    let tip = header(from, "head").await?.ok_or_else(|| Failure::new("no head"))?;
    let reached = match header(to, "head").await? {
        Some(reached) => reached,
        // A Lodestar 1.5.1 that was just restarted may know the state of its head but not the block.
        None => Header { slot: head_slot(to).await?, root: String::new() },
    };
    if tip.root == reached.root {
        return Ok(());
    }
    let first = reached.slot.min(tip.slot).saturating_sub(back).max(1);
    for slot in first..=tip.slot {
        let Some(Header { root, .. }) = header(from, &slot.to_string()).await? else { continue };
        if carried.contains(&root) {
            continue;
        }
        if header(to, &root).await?.is_none() {
            hand_over(from, to, &root).await?;
        }
        carried.insert(root);
    }
    Ok(())
}

async fn hand_over(from: &str, to: &str, root: &str) -> Result<()> {
    let (_, block) = ask(Request::get(format!("{from}/eth/v2/beacon/blocks/{root}")), Bytes::new()).await?;
    let block: Value = serde_json::from_slice(&block)?;
    let post =
        Request::post(format!("{to}/eth/v1/beacon/blocks")).header(header::CONTENT_TYPE, "application/json");
    let (status, answer) = ask(post, Bytes::from(block["data"].to_string())).await?;
    // A block that it has published before is an error to it, whether it has imported it or not.
    if header(to, root).await?.is_none() {
        fail!("block {root} to {to}: {status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

struct Header {
    slot: u64,
    root: String,
}

/// The block `id` (a slot, a root or `head`) that a node has imported, if it has it.
async fn header(api: &str, id: &str) -> Result<Option<Header>> {
    let (status, body) = ask(Request::get(format!("{api}/eth/v1/beacon/headers/{id}")), Bytes::new()).await?;
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let header: Value = serde_json::from_slice(&body)?;
    let (slot, root) = (number(&header, "/data/header/message/slot")?, text(&header, "/data/root")?);
    Ok(Some(Header { slot, root }))
}

async fn head_slot(api: &str) -> Result<u64> {
    let (_, body) = ask(Request::get(format!("{api}/eth/v1/node/syncing")), Bytes::new()).await?;
    number(&serde_json::from_slice(&body)?, "/data/head_slot")
}

async fn ask(request: Builder, body: Bytes) -> Result<(StatusCode, Bytes)> {
    exchange(request.body(body)?, LIMIT).await
}

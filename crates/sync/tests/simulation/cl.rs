//! Model consensus clients (CL): what each is like at the moment, and what it says in a slot.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, sleep};

use crate::chain::{Id, forged};
use crate::rng::Rng;
use crate::world::Sim;
use crate::{GENESIS, SLOT};

/// What a CL is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    Honest,
    /// Killed or stopped: it says nothing.
    Away,
    /// Here in every second slot.
    Flapping,
    /// So many slots late with everything.
    Behind(u64),
    /// Cut off: its head stays, and it builds on it.
    Cut,
    /// Cut off with validators of its own.
    Fork,
    /// Names times to come.
    Future,
    /// Sends other content under true hashes, and blocks of its own making.
    Forger,
    /// Makes heads up.
    MadeUp,
    /// Sends what is true, and names heads of the past.
    OldHeads,
    /// Makes blocks that are INVALID its head.
    Bad,
}

pub struct Cl {
    pub like: Like,
    /// Since when it is so, in milliseconds.
    pub since: u64,
    pub head: Id,
    pub sent: HashSet<Id>,
    pub delay: u64,
}

impl Cl {
    pub fn new(delay: u64) -> Self {
        Self { like: Like::Honest, since: 0, head: 0, sent: HashSet::from([0]), delay }
    }
}

/// A CL's slot.
pub async fn slot(sim: Arc<Sim>, cl: usize, slot: u64, mut rng: Rng) {
    let (like, delay) = {
        let world = sim.lock();
        (world.cls[cl].like, world.cls[cl].delay + rng.within(0, 800))
    };
    sleep(Duration::from_millis(delay)).await;
    let canon = sim.lock().canon;
    match like {
        Like::Away => {}
        Like::Flapping if slot.is_multiple_of(2) => {}
        Like::Honest | Like::Flapping => {
            catch_up(&sim, cl, canon).await;
            if rng.chance(300) {
                say(&sim, cl, call("eth_syncing", "[]")).await;
            }
            if rng.chance(400) {
                sleep(Duration::from_millis(8_000)).await;
                let head = sim.lock().cls[cl].head;
                name(&sim, cl, head, Some(slot + 1)).await;
            }
        }
        Like::Behind(by) => {
            let late = {
                let world = sim.lock();
                let at = world.canon_at.len().saturating_sub(usize::try_from(by).unwrap() + 1);
                world.canon_at[at]
            };
            catch_up(&sim, cl, late).await;
        }
        Like::Cut => {
            let head = sim.lock().cls[cl].head;
            name(&sim, cl, head, Some(slot + 1)).await;
        }
        Like::Fork => {
            let head = {
                let mut world = sim.lock();
                let head = world.cls[cl].head;
                if rng.chance(700) { world.chain.add(head, slot, true) } else { head }
            };
            catch_up(&sim, cl, head).await;
        }
        Like::Future => {
            let (params, hash) = {
                let mut world = sim.lock();
                let ahead = rng.pick(&[u64::MAX / 24, slot + 2, slot + 40]);
                let block = world.chain.add(canon, ahead, true);
                let block = world.chain.get(block);
                (block.params.clone(), block.hash.clone())
            };
            say(&sim, cl, payload(&params)).await;
            say(&sim, cl, forkchoice(&hash, Some(slot + 40))).await;
        }
        Like::Forger => {
            // Before the true one, and blocks on it.
            let made_up = {
                let mut world = sim.lock();
                let behind = usize::try_from(rng.within(0, 30)).unwrap();
                let on = world.chain.back_from(canon).nth(behind).unwrap_or(0);
                world.chain.add(on, slot, true)
            };
            let params = sim.lock().chain.get(made_up).params.clone();
            say(&sim, cl, payload(&params)).await;
            let params = forged(&sim.lock().chain.get(canon).params);
            say(&sim, cl, payload(&params)).await;
        }
        Like::MadeUp => {
            let hash = format!("0x{:064x}", rng.next());
            say(&sim, cl, forkchoice(&hash, Some(slot + 1))).await;
        }
        Like::OldHeads => {
            send_missing(&sim, cl, canon).await;
            let behind = usize::try_from(rng.within(2, 20)).unwrap();
            let old = sim.lock().chain.back_from(canon).nth(behind).unwrap_or(0);
            name(&sim, cl, old, Some(slot + 1)).await;
        }
        Like::Bad => {
            let bad = sim.lock().chain.add(canon, slot, false);
            send_missing(&sim, cl, canon).await;
            let params = sim.lock().chain.get(bad).params.clone();
            say(&sim, cl, payload(&params)).await;
            name(&sim, cl, bad, None).await;
        }
    }
}

/// Sends the payloads that it has not sent yet, and names the head.
async fn catch_up(sim: &Arc<Sim>, cl: usize, head: Id) {
    send_missing(sim, cl, head).await;
    sim.lock().cls[cl].head = head;
    name(sim, cl, head, None).await;
}

async fn send_missing(sim: &Arc<Sim>, cl: usize, head: Id) {
    let missing: Vec<(Id, Bytes)> = {
        let world = sim.lock();
        let sent = &world.cls[cl].sent;
        let line = world.chain.back_from(head).take_while(|block| !sent.contains(block));
        line.map(|block| (block, world.chain.get(block).params.clone())).collect()
    };
    for (block, params) in missing.into_iter().rev() {
        sim.lock().cls[cl].sent.insert(block);
        say(sim, cl, payload(&params)).await;
    }
}

async fn name(sim: &Arc<Sim>, cl: usize, head: Id, building: Option<u64>) {
    let hash = sim.lock().chain.get(head).hash.clone();
    say(sim, cl, forkchoice(&hash, building)).await;
}

async fn say(sim: &Arc<Sim>, cl: usize, body: String) {
    sim.ask(cl, body.into()).await;
}

fn payload(params: &Bytes) -> String {
    call("engine_newPayloadV4", std::str::from_utf8(params).unwrap())
}

pub fn forkchoice(hash: &str, building: Option<u64>) -> String {
    let zero = "0".repeat(64);
    let attributes = building.map_or("null".to_owned(), |slot| {
        format!(r#"{{"timestamp":"0x{:x}"}}"#, GENESIS + slot * (SLOT / 1000))
    });
    let state =
        format!(r#"{{"headBlockHash":"{hash}","safeBlockHash":"0x{zero}","finalizedBlockHash":"0x{zero}"}}"#);
    call("engine_forkchoiceUpdatedV3", &format!("[{state},{attributes}]"))
}

fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

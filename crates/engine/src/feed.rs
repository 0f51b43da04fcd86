//! The task that brings voted calls to one execution client (EL), one at a time and in order, and replays what it missed.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mainstay_node::{Cause, Condition};
use mainstay_wire::envelope::{self, Outcome, Reply};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::blocks::Plan;
use crate::core::{Core, Head};
use crate::method::{Family, Method};
use crate::node::{Caller, Failed, Node, lock};
use crate::queue::{Fifo, Item, Kind};
use crate::standing::Hold;
use crate::status::{Heard, Silence};
use crate::verdict::Vote;

/// Calls that wait for one EL.
const MAX_CALLS: usize = 256;
/// Bytes of calls that wait for one EL. Bodies are shared between all of them, so this isn't per node.
const MAX_BYTES: usize = 128 << 20;
/// Pause after a replay that didn't bring the node to the head.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A voted call for one EL.
#[derive(Debug)]
pub struct Job {
    /// The request as it came.
    pub request: Bytes,
    /// The method's name.
    pub name: String,
    /// The method.
    pub method: Method,
    /// Who calls.
    pub caller: Caller,
    /// The node's place on the ballot.
    pub index: usize,
    /// Where the reply goes.
    pub report: mpsc::Sender<Report>,
}

/// What became of a job.
#[derive(Debug)]
pub struct Report {
    /// The node's place on the ballot.
    pub index: usize,
    /// What was heard.
    pub heard: Heard,
    /// The reply's body, or what went wrong, for the records.
    pub said: Result<Bytes, String>,
    /// Time that the node took, its queue left out; zero if it wasn't asked.
    pub took: Duration,
}

impl Job {
    fn report(&self, heard: Heard, said: Result<Bytes, String>, took: Duration) {
        // The round has room for one report of each node; it is gone only when the process stops.
        let _ = self.report.try_send(Report { index: self.index, heard, said, took });
    }

    /// It isn't sent.
    pub fn decline(&self, silence: Silence) {
        self.report(Heard::Silent(silence), Err("not sent".into()), Duration::ZERO);
    }
}

/// One EL's queue.
#[derive(Debug)]
pub struct Feed {
    queue: Mutex<Fifo<Job>>,
    wake: Notify,
    replay: AtomicBool,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            queue: Mutex::new(Fifo::new(MAX_CALLS, MAX_BYTES)),
            wake: Notify::new(),
            replay: AtomicBool::new(false),
        }
    }
}

impl Feed {
    /// Puts a call at the end of the queue.
    pub fn push(&self, kind: Kind, job: Job) {
        let item = Item { kind, size: job.request.len(), call: job };
        match lock(&self.queue).push(item) {
            Ok(replaced) => {
                for old in replaced {
                    old.decline(Silence::Replaced);
                }
            }
            // What it misses by this is replayed when it is back.
            Err(job) => job.decline(Silence::NotSent),
        }
        self.wake.notify_one();
    }

    /// Asks for what the node missed to be replayed before its next call.
    pub fn want_replay(&self) {
        self.replay.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Makes the task look again.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Calls that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.queue).len()
    }

    fn pop(&self) -> Option<Job> {
        lock(&self.queue).pop()
    }

    fn clear(&self) -> Vec<Job> {
        lock(&self.queue).clear()
    }
}

/// Serves one EL's queue until the node is removed.
pub async fn run(core: Arc<Core>, node: Arc<Node>) {
    let serve = async {
        let mut not_before = Instant::now();
        loop {
            if node.feed.replay.swap(false, Ordering::Relaxed) && Instant::now() >= not_before {
                if !replay(&core, &node).await {
                    not_before = Instant::now() + RETRY_AFTER;
                }
                continue;
            }
            match node.feed.pop() {
                Some(job) => deliver(&core, &node, job).await,
                None => node.feed.wake.notified().await,
            }
        }
    };
    tokio::select! {
        () = serve => {}
        () = node.removed.cancelled() => {}
    }
    for job in node.feed.clear() {
        job.decline(Silence::NotSent);
    }
}

async fn deliver(core: &Arc<Core>, node: &Arc<Node>, job: Job) {
    if skips(core, node) {
        job.decline(Silence::NotSent);
        return;
    }
    let started = Instant::now();
    let limit = node.within(core.config.timeout.min(job.method.patience()));
    let outcome = node.call(job.request.clone(), &job.caller, started + limit).await;
    let took = started.elapsed();
    if let Some(before) = node.traffic(&outcome) {
        core.changed(node, &before);
    }
    let heard = read(job.method, &outcome);
    let said = match outcome {
        Ok(reply) => Ok(reply.raw),
        Err(failed) => Err(failed.detail),
    };
    core.telemetry.vote(node.name(), &job.name, heard.word(), took);
    job.report(heard, said, took);
}

/// A node that was drained gets nothing. One that hangs isn't asked while others serve: each call would keep its
/// bytes for the whole timeout, and what it misses is replayed when it is back. A refused connection costs nothing, so
/// such a node is always tried.
fn skips(core: &Core, node: &Node) -> bool {
    let state = node.state();
    if state.standing.hold == Hold::Drained {
        return true;
    }
    let hangs = matches!(state.health.condition(), Condition::Unfit(cause) if *cause != Cause::Refused);
    drop(state);
    hangs && core.nodes().iter().any(|n| n.condition() == Condition::Fit)
}

fn read(method: Method, outcome: &Result<Reply, Failed>) -> Heard {
    match outcome {
        Err(failed) => Heard::Silent(Silence::Failed(failed.cause.clone())),
        Ok(reply) if method.family == Family::NewPayload => Heard::new_payload(reply),
        Ok(reply) => Heard::forkchoice_updated(reply),
    }
}

/// Sends what the node missed and then the head. Says whether the node followed.
async fn replay(core: &Arc<Core>, node: &Arc<Node>) -> bool {
    let Some(head) = lock(&core.head).clone() else { return true };
    let limit = node.within(core.config.timeout);
    let Some((hash, number)) = own_head(node, &head.caller, limit).await else {
        core.telemetry.replayed(node.name(), 0, "its head can't be read");
        return false;
    };
    let plan = lock(&core.blocks).plan((&hash, number), &head.hash);
    let (payloads, gap) = match plan {
        Plan::Replay(payloads) => (payloads, None),
        Plan::Gap(gap) => (Vec::new(), Some(gap)),
    };
    node.state().gap = gap;
    let mut sent = 0;
    for payload in payloads {
        let method = Method::of(&payload.method);
        match send(core, node, payload.request, method, &head.caller).await {
            Heard::Silent(_) => {
                core.telemetry.replayed(node.name(), sent, "it stopped answering");
                return false;
            }
            Heard::Status(..) | Heard::Error(..) => sent += 1,
        }
    }
    let followed = follow(core, node, &head).await;
    let end = match (followed, gap) {
        (true, _) => "at the head",
        (false, Some(_)) => "more is missing than is kept: left to its own sync",
        (false, None) => "it doesn't follow the head yet",
    };
    core.telemetry.replayed(node.name(), sent, end);
    followed
}

async fn follow(core: &Arc<Core>, node: &Arc<Node>, head: &Head) -> bool {
    let heard = send(core, node, head.request.clone(), Method::of(&head.method), &head.caller).await;
    let Some(vote) = heard.vote() else { return false };
    if node.state().standing.voted(vote) {
        core.telemetry.standing(node.name(), "votes", "it follows the head again");
    }
    if vote == Vote::Valid {
        let mut state = node.state();
        state.gap = None;
        // Its head is at the tip now: the next probe sees it.
        state.health.probe_soon(Instant::now().into_std());
        drop(state);
        node.probe.notify_one();
    }
    vote != Vote::Syncing
}

async fn send(core: &Arc<Core>, node: &Arc<Node>, request: Bytes, method: Method, caller: &Caller) -> Heard {
    let limit = node.within(core.config.timeout.min(method.patience()));
    let outcome = node.call(request, caller, Instant::now() + limit).await;
    if let Some(before) = node.traffic(&outcome) {
        core.changed(node, &before);
    }
    read(method, &outcome)
}

async fn own_head(node: &Node, caller: &Caller, limit: Duration) -> Option<(String, u64)> {
    let ask = br#"{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["latest",false]}"#;
    let deadline = Instant::now() + limit.min(Duration::from_secs(2));
    let reply = node.call(Bytes::from_static(ask), caller, deadline).await.ok()?;
    let Outcome::Result(block) = reply.outcome else { return None };
    let [hash, number] = envelope::fields(&block, ["hash", "number"])?;
    let number = quantity(&envelope::string(&number?)?)?;
    Some((envelope::string(&hash?)?.to_ascii_lowercase(), number))
}

/// Reads a QUANTITY of at most 64 bits (common.md, Encoding).
#[must_use]
pub fn quantity(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

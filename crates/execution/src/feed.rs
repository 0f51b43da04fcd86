//! The task that brings voted calls to one execution client (EL), one at a time and in order, and replays what it missed.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mainstay_node::{Cause, Condition, eth};
use mainstay_wire::envelope::{self, Outcome, Reply};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::blocks::{Payload, Plan};
use crate::core::{Core, Head};
use crate::method::{Family, Method};
use crate::node::{Caller, Failed, Node, lock};
use crate::queue::{Fifo, Item, Kind};
use crate::spans;
use crate::standing::Hold;
use crate::status::{Heard, Silence};
use crate::verdict::Vote;

/// Calls that wait for one EL.
const MAX_CALLS: usize = 256;
/// Bytes of calls that wait for one EL. Bodies are shared between all of them, so this isn't per node.
const MAX_BYTES: usize = 128 << 20;
/// Pause after a replay that didn't bring the node to the head; doubles up to [`MOST_RETRY`].
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Longest pause between replays that don't help: a client that needs a restart isn't fed the same payloads for ever.
const MOST_RETRY: Duration = Duration::from_secs(64);

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
    /// How long a node may take, by the settings that its round began with.
    pub timeout: Duration,
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
    /// What it lacked the parents of.
    lead_to: Mutex<Option<Payload>>,
    at_once: AtomicBool,
    closed: AtomicBool,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            queue: Mutex::new(Fifo::new(MAX_CALLS, MAX_BYTES)),
            wake: Notify::new(),
            replay: AtomicBool::new(false),
            lead_to: Mutex::new(None),
            at_once: AtomicBool::new(false),
            closed: AtomicBool::new(false),
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
        if self.closed.load(Ordering::SeqCst) {
            // Nobody serves the queue any more, and a call in it would keep its round waiting.
            self.decline_all();
        }
        self.wake.notify_one();
    }

    /// Asks for what the node missed to be replayed before its next call.
    pub fn want_replay(&self) {
        self.replay.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Asks for a replay that leads to this payload, too, which nobody may have made the head yet.
    pub fn lead_to(&self, payload: Payload) {
        *lock(&self.lead_to) = Some(payload);
        self.want_replay();
    }

    /// The node is back: what it missed is replayed at once, whatever was in vain while it was away.
    pub fn came_back(&self) {
        self.at_once.store(true, Ordering::Relaxed);
        self.want_replay();
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

    fn decline_all(&self) {
        let jobs = lock(&self.queue).clear();
        for job in jobs {
            job.decline(Silence::NotSent);
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.decline_all();
    }
}

/// Serves one EL's queue until the node is removed.
pub async fn run(core: Arc<Core>, node: Arc<Node>) {
    let serve = async {
        let mut not_before = Instant::now();
        let mut is_back = false;
        while !node.removed.is_cancelled() {
            if node.feed.at_once.swap(false, Ordering::Relaxed) {
                is_back = true;
                not_before = Instant::now();
                node.state().replays_in_vain = 0;
            }
            let wanted = node.feed.replay.load(Ordering::Relaxed);
            if wanted && Instant::now() >= not_before {
                node.feed.replay.store(false, Ordering::Relaxed);
                let replaying = node.removed.run_until_cancelled(replay(&core, &node, is_back));
                let Some(end) = replaying.await else { break };
                is_back &= matches!(end, Replayed::Failed);
                let in_vain = count_in_vain(&node, &end);
                if in_vain > 0 {
                    not_before = Instant::now() + pause_after(in_vain);
                }
                if matches!(end, Replayed::Failed) {
                    node.feed.replay.store(true, Ordering::Relaxed);
                }
                continue;
            }
            match node.feed.pop() {
                // Its reply may be the one that is waited for, even if it is taken out meanwhile.
                Some(job) => {
                    node.given_up.run_until_cancelled(deliver(&core, &node, job)).await;
                }
                None => tokio::select! {
                    biased;
                    () = node.removed.cancelled() => {}
                    () = node.feed.wake.notified() => {}
                    () = tokio::time::sleep_until(not_before), if wanted => {}
                },
            }
        }
    };
    serve.await;
    node.feed.close();
    core.forget(&node);
}

async fn deliver(core: &Arc<Core>, node: &Arc<Node>, job: Job) {
    if skips(core, node) {
        job.decline(Silence::NotSent);
        return;
    }
    let started = Instant::now();
    let limit = node.within(job.timeout.min(job.method.patience()));
    let (mut span, caller) = spans::attempt(&job.caller, node, &job.name);
    let outcome = node.call(job.request.clone(), &caller, started + limit).await;
    spans::attempt_ended(&mut span, &outcome);
    let took = started.elapsed();
    if let Some(before) = node.traffic(&outcome) {
        core.changed(node, &before);
    }
    core.telemetry.forwarded(node, &job.name, &outcome, took);
    let heard = read(job.method, &outcome);
    span.set("mainstay.vote", heard.word());
    drop(span);
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
    hangs && core.nodes().iter().any(|n| n.serves())
}

fn read(method: Method, outcome: &Result<Reply, Failed>) -> Heard {
    match outcome {
        Err(failed) => Heard::Silent(Silence::Failed(failed.cause.clone())),
        Ok(reply) if method.family == Family::NewPayload => Heard::new_payload(reply),
        Ok(reply) => Heard::forkchoice_updated(reply),
    }
}

fn count_in_vain(node: &Node, end: &Replayed) -> u32 {
    let mut state = node.state();
    state.replays_in_vain = match end {
        Replayed::Followed => 0,
        Replayed::Behind | Replayed::Failed => state.replays_in_vain.saturating_add(1),
    };
    state.replays_in_vain
}

fn pause_after(in_vain: u32) -> Duration {
    let doubled = RETRY_AFTER.saturating_mul(1 << (in_vain.clamp(1, 16) - 1));
    doubled.min(MOST_RETRY)
}

/// How a replay ended.
enum Replayed {
    /// The node is at the head, or there was nothing to do.
    Followed,
    /// It says SYNCING: it lacks more than is kept, or needs its time. Its next such answer asks for another try.
    Behind,
    /// It couldn't be asked: to be tried again.
    Failed,
}

/// Sends what the node missed and then the head. One that is back is asked first about what none of the others called VALID, too:
/// that may say more of them than of the blocks.
async fn replay(core: &Arc<Core>, node: &Arc<Node>, is_back: bool) -> Replayed {
    let (drained, down) = {
        let state = node.state();
        (
            state.standing.hold == Hold::Drained,
            matches!(state.health.condition(), Condition::Unfit(_) | Condition::Misconfigured { .. }),
        )
    };
    // A node that comes back, from the one or from the other, asks for its replay then.
    if drained || down {
        return Replayed::Followed;
    }
    let Some(mut head) = lock(&core.head).clone() else { return Replayed::Followed };
    head.caller = head.caller.repeated();
    let limit = node.within(core.config().timeout);
    let Some((hash, number)) = own_head(node, &head.caller, limit).await else {
        core.telemetry.replayed(node.name(), 0, "its head can't be read");
        return Replayed::Failed;
    };
    let plan = {
        let blocks = lock(&core.blocks);
        blocks.plan((&hash, number), blocks.tip(&head.hash))
    };
    let (mut payloads, gap) = match plan {
        Plan::Replay(payloads) => (payloads, None),
        Plan::Gap(gap) => (Vec::new(), Some(gap)),
    };
    node.state().gap = gap;
    let wanted = lock(&node.feed.lead_to).take();
    {
        let blocks = lock(&core.blocks);
        let doubtful = if is_back { blocks.unproved() } else { Vec::new() };
        let branch = wanted.iter().flat_map(|wanted| blocks.branch(&hash, &wanted.parent));
        for payload in branch.chain(doubtful) {
            if !payloads.contains(&payload) {
                payloads.push(payload);
            }
        }
    }
    let parents = payloads.iter().map(|payload| payload.hash.as_str());
    let wanted = wanted.filter(|wanted| {
        let is_sent = payloads.iter().any(|payload| payload.hash == wanted.hash);
        !is_sent && parents.chain([hash.as_str()]).any(|parent| parent == wanted.parent)
    });
    let mut sent = 0;
    let kept = payloads.len();
    for (at, payload) in payloads.into_iter().chain(wanted).enumerate() {
        let method = Method::of(&payload.method);
        let heard = send(core, node, payload.request, method, &head.caller).await;
        // Whether the one that is wanted is what its hash says wasn't checked.
        if let Some(vote) = heard.vote().filter(|vote| at < kept || *vote != Vote::Invalid) {
            core.remember_replayed(&payload.hash, node.id, vote);
        }
        match heard {
            Heard::Silent(_) => {
                core.telemetry.replayed(node.name(), sent, "it stopped answering");
                return Replayed::Failed;
            }
            Heard::Status(..) | Heard::Error(..) => sent += 1,
        }
    }
    let end = follow(core, node, &head).await;
    let words = match (&end, gap) {
        (Replayed::Followed, _) => "at the head",
        (Replayed::Behind, Some(_)) => "more is missing than is kept: left to its own sync",
        (Replayed::Behind, None) => "it doesn't follow the head yet",
        (Replayed::Failed, _) => "it didn't answer to the head",
    };
    core.telemetry.replayed(node.name(), sent, words);
    end
}

async fn follow(core: &Arc<Core>, node: &Arc<Node>, head: &Head) -> Replayed {
    let heard = send(core, node, head.request.clone(), Method::of(&head.method), &head.caller).await;
    let Some(vote) = heard.vote() else { return Replayed::Failed };
    core.remember_replayed(&head.hash, node.id, vote);
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
    if vote == Vote::Syncing { Replayed::Behind } else { Replayed::Followed }
}

async fn send(core: &Arc<Core>, node: &Arc<Node>, request: Bytes, method: Method, caller: &Caller) -> Heard {
    let limit = node.within(core.config().timeout.min(method.patience()));
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
    let number = eth::quantity(&number?)?;
    Some((envelope::string(&hash?)?.to_ascii_lowercase(), number))
}

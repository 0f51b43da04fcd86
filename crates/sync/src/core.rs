//! What the role's connections and tasks share, and the calls of consensus clients (CL) that it treats itself.
//!
//! A newPayload goes to the execution clients (EL) once per block, whoever sends it first; all CLs that have it get what the ELs
//! say. A forkchoiceUpdated goes to them if its sender leads. Everything else is asked of the ELs as it comes.

mod payload;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use mainstay_execution::calls;
use mainstay_execution::method::{Family, Method};
use mainstay_execution::node::Caller;
use mainstay_execution::reply::{Answer, INVALID_PARAMS, UNKNOWN_PAYLOAD};
use mainstay_execution::round::{self, Keep, Round, Told};
use mainstay_execution::status::{self, PayloadStatus, Status};
use mainstay_wire::envelope::{self, Call};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Names};
use crate::clock::Clock;
use crate::connections::Connections;
use crate::hash::Hash;
use crate::leader::{self, Change, Leader};
use crate::reading;
use crate::slots::believable;
use crate::telemetry::Telemetry;
use crate::verdicts::{Verdict, Verdicts};
use crate::wording::{Newest, differences};

/// Last heads kept, each of another CL.
const HEADS: usize = 128;
/// A head with attributes is a few thousand bytes.
const HEAD_BYTES: usize = 64 << 10;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Who {
    /// The CL.
    pub client: Client,
    /// What of its token is handed on.
    pub caller: Caller,
    /// How its call came, for copies of it; `None`: not over HTTP.
    pub arrived: Option<Arc<Arrived>>,
}

impl Who {
    /// A CL that didn't call over HTTP.
    #[must_use]
    pub fn new(client: Client, caller: Caller) -> Self {
        Self { client, caller, arrived: None }
    }
}

/// How a call came.
#[derive(Debug)]
pub struct Arrived {
    /// Path and query.
    pub target: Option<PathAndQuery>,
    /// Header fields.
    pub headers: HeaderMap,
    /// Whose connection it came over.
    pub peer: IpAddr,
}

/// Shared state of one role.
pub(crate) struct Core {
    pub(crate) execution: Arc<mainstay_execution::Core>,
    pub(crate) names: Names,
    pub(crate) telemetry: Telemetry,
    /// Wakes whoever looks when nothing is heard, who would else look too late.
    pub(crate) wake: Notify,
    looks_at: Mutex<Option<Instant>>,
    clock: Mutex<Clock>,
    /// Taken before all locks below. Held while a head is put into the ELs' queues, so that no former leader's comes after the leader's.
    leader: Mutex<Leader>,
    verdicts: Mutex<Verdicts>,
    connections: Mutex<Connections>,
    /// The last head of each CL, to be brought to the ELs when it begins to lead.
    heads: Mutex<HashMap<Client, (Call, Who)>>,
    newest: Mutex<Newest>,
}

/// Locks a mutex that is only ever held for a few lines without an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(
        execution: Arc<mainstay_execution::Core>,
        names: Names,
        telemetry: Telemetry,
        clock: Clock,
        rules: leader::Rules,
    ) -> Self {
        let connections = Connections::new(rules.leader_timeout);
        let leader = Mutex::new(Leader::new(rules, clock.now()));
        Self {
            execution,
            names,
            telemetry,
            wake: Notify::new(),
            looks_at: Mutex::default(),
            clock: Mutex::new(clock),
            leader,
            verdicts: Mutex::default(),
            connections: Mutex::new(connections),
            heads: Mutex::default(),
            newest: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> leader::Now {
        lock(&self.clock).now()
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.execution.stop
    }

    /// Looks at who leads, for whoever shows it.
    pub(crate) fn view<T>(&self, look: impl FnOnce(&Leader) -> T) -> T {
        look(&lock(&self.leader))
    }

    /// Whether anybody gets copies.
    pub(crate) fn has_links(&self) -> bool {
        !self.execution.links.is_empty()
    }

    /// Somebody called on this connection.
    pub(crate) fn called(&self, peer: std::net::SocketAddr, who: &Client) {
        lock(&self.connections).called(peer, who, Instant::now().into_std());
    }

    /// A connection ended.
    pub(crate) fn closed(self: &Arc<Self>, peer: std::net::SocketAddr) {
        let gone = lock(&self.connections).closed(peer, Instant::now().into_std());
        if let Some(client) = gone {
            self.change(|leader, now| leader.gone(&client, now));
        }
    }

    /// Time has passed. Gives when to look again, `latest` at the latest.
    pub(crate) fn look(self: &Arc<Self>, latest: Instant) -> Instant {
        self.change(Leader::look);
        let due = lock(&self.leader).next_look().map_or(latest, |due| latest.min(Instant::from_std(due)));
        *lock(&self.looks_at) = Some(due);
        due
    }

    /// Something was heard: it may be due to look earlier.
    fn watch(&self, leader: &Leader) {
        let Some(due) = leader.next_look() else { return };
        if lock(&self.looks_at).is_none_or(|at| Instant::from_std(due) < at) {
            self.wake.notify_one();
        }
    }

    /// Answers a call.
    pub(crate) async fn answer(self: &Arc<Self>, call: &Call, who: &Who) -> Answer {
        let method = Method::of(&call.method);
        match method.family {
            Family::NewPayload => self.payload(call, method, who).await,
            Family::ForkchoiceUpdated => self.head(call, method, who).await,
            Family::GetPayload if !self.may_build(&who.client) => {
                Answer::Error(UNKNOWN_PAYLOAD, "Unknown payload".into())
            }
            _ => {
                self.heard(who, leader::Heard::Call);
                self.copy(call, who);
                calls::ask(&self.execution, call, &who.caller).await
            }
        }
    }

    fn may_build(&self, client: &Client) -> bool {
        self.execution.config().allow_building && lock(&self.leader).leads(client)
    }

    fn tell_newest(&self, call: &Call, timestamp: u64, who: &Who) {
        let advance = lock(&self.newest).heard(timestamp, || self.names.of(&who.client));
        if let Some(advance) = advance {
            advance.tell(&call.method);
        }
    }

    fn copy(&self, call: &Call, who: &Who) {
        self.execution.copy(call, &who.caller, |copy| {
            if let Some(arrived) = &who.arrived {
                (copy.target, copy.headers) = (arrived.target.clone(), arrived.headers.clone());
                copy.peer = Some(arrived.peer);
            }
        });
    }

    fn heard(self: &Arc<Self>, who: &Who, heard: leader::Heard) {
        self.change(|leader, now| leader.heard(&who.client, heard, now));
    }

    /// Other figures for who leads, from now on.
    pub(crate) fn set_rules(self: &Arc<Self>, rules: leader::Rules) {
        lock(&self.connections).set_kept_for(rules.leader_timeout);
        self.change(|leader, now| {
            leader.set_rules(rules);
            leader.look(now)
        });
        self.wake.notify_one();
    }

    /// Lets something happen to the leader, and does what follows of a change.
    fn change(self: &Arc<Self>, happen: impl FnOnce(&mut Leader, leader::Now) -> Option<Change>) {
        let now = self.now();
        let mut leader = lock(&self.leader);
        let change = happen(&mut leader, now);
        self.follow(&leader, change.as_ref());
    }

    /// The new leader's head is what the ELs follow from now on: it may not name it again.
    fn follow(self: &Arc<Self>, leader: &Leader, change: Option<&Change>) {
        self.watch(leader);
        let Some(change) = change else { return };
        self.telemetry.changed(&self.names, change, leader);
        let Some((call, who)) = lock(&self.heads).get(&change.to).cloned() else { return };
        let told = round::begin(&self.execution, &call, Method::of(&call.method), &who.caller, Keep::Never);
        self.copy(&call, &who);
        let head = reading::head(&call.params.unwrap_or_default()).map(|head| head.hash);
        tokio::spawn(self.clone().learn_head(change.to.clone(), head, told));
    }

    async fn head(self: &Arc<Self>, call: &Call, method: Method, who: &Who) -> Answer {
        let read = call.params.as_ref().and_then(reading::head);
        let Some(head) = read else {
            self.heard(who, leader::Heard::Call);
            if !lock(&self.leader).leads(&who.client) {
                return Answer::Error(INVALID_PARAMS, "no head can be read".into());
            }
            return self.pass_on(call, method, who).await;
        };
        let building = head.building.map(|timestamp| lock(&self.clock).slots().at(timestamp));
        let now = self.now();
        if let (Some(timestamp), Some(slot)) = (head.building, building)
            && believable(slot, now.slot)
        {
            self.tell_newest(call, timestamp, who);
        }
        let told = {
            let mut leader = lock(&self.leader);
            let change = leader.heard(&who.client, leader::Heard::Head { hash: head.hash, building }, now);
            if building.is_none_or(|slot| believable(slot, now.slot)) {
                self.keep_head(&leader, call, who);
            }
            let leads = leader.leads(&who.client);
            // This very call brings the new leader's head to the ELs.
            let follows = change.as_ref().filter(|change| change.to != who.client);
            self.follow(&leader, follows);
            if let Some(change) = change.as_ref().filter(|change| change.to == who.client) {
                self.telemetry.changed(&self.names, change, &leader);
            }
            leads.then(|| round::begin(&self.execution, call, method, &who.caller, Keep::Never))
        };
        let Some(told) = told else {
            self.telemetry.answered(call, "known");
            let known = lock(&self.verdicts).of(head.hash).cloned();
            return Answer::Result(forkchoice(known));
        };
        self.copy(call, who);
        self.telemetry.answered(call, "asked");
        // On a task of its own: the verdict is learned though the CL goes away.
        let learn = tokio::spawn(self.clone().learn_head(who.client.clone(), Some(head.hash), told));
        learn.await.unwrap_or(Answer::NoNode("mainstay is stopping"))
    }

    /// A call that can't be read: the ELs say best what is wrong with it. Not to be kept for others.
    async fn pass_on(&self, call: &Call, method: Method, who: &Who) -> Answer {
        self.copy(call, who);
        let told = round::begin(&self.execution, call, method, &who.caller, Keep::Never).await;
        told.map_or(Answer::NoNode("mainstay is stopping"), Answer::from)
    }

    /// Keeps a head for when its sender begins to lead.
    fn keep_head(&self, leader: &Leader, call: &Call, who: &Who) {
        if call.raw.len() > HEAD_BYTES {
            return;
        }
        let mut heads = lock(&self.heads);
        if heads.len() >= HEADS && !heads.contains_key(&who.client) {
            heads.retain(|client, _| leader.view().any(|seen| seen.client == client));
        }
        if heads.len() < HEADS || heads.contains_key(&who.client) {
            heads.insert(who.client.clone(), (call.clone(), who.clone()));
        }
    }

    /// Takes what the ELs say of a head.
    async fn learn_head(
        self: Arc<Self>,
        who: Client,
        head: Option<Hash>,
        told: oneshot::Receiver<Told>,
    ) -> Answer {
        let Ok(told) = told.await else { return Answer::NoNode("mainstay is stopping") };
        match (&told, head) {
            (Told::Result(result), Some(head)) => {
                let status = envelope::fields(&Bytes::copy_from_slice(result), ["payloadStatus"]);
                if let Some([Some(object)]) = status {
                    self.learn(head, &object);
                }
            }
            (Told::Unvoted { unauthorized: true, .. }, _) => {
                self.change(|leader, now| leader.unauthorized(&who, now));
            }
            _ => {}
        }
        told.into()
    }

    /// The ELs said this of a block: that is what others are told of it.
    fn learn(&self, hash: Hash, object: &Bytes) {
        if let Some(PayloadStatus { status, .. }) = status::payload_status(object) {
            lock(&self.verdicts).told(hash, Verdict { status, object: object.clone() });
        }
    }

    /// All ELs are heard about a block, or the last have had their time: whether it can be a head.
    pub(crate) fn judge(self: &Arc<Self>, round: &Round) {
        for difference in differences(round) {
            difference.tell(|name| {
                self.execution.node(name).map_or_else(String::new, |node| node.spec.shown_url())
            });
        }
        let Some(hash) = round.block.as_deref().and_then(Hash::parse) else { return };
        let said = |words: &[&str]| round.votes.iter().any(|(_, word, _)| words.contains(word));
        let is_valid = said(&["VALID"]);
        if is_valid || said(&["SYNCING", "ACCEPTED"]) {
            self.taken(hash, is_valid);
        } else if said(&["INVALID", "INVALID_BLOCK_HASH"]) {
            let is_head = Method::of(&round.method).family == Family::ForkchoiceUpdated;
            // Of a payload only if it is what its hash says: anybody may send other content under a block's hash.
            if is_head || round.is_true {
                self.change(|leader, now| leader.refused(hash, now));
            }
        }
    }

    /// Some EL takes this block, for VALID or SYNCING. The one that was first with its answer may be the one that is wrong.
    fn taken(self: &Arc<Self>, hash: Hash, is_valid: bool) {
        self.change(|leader, now| leader.taken(hash, is_valid, now));
        let known = lock(&self.verdicts).taken(hash);
        if let Some((payload, senders)) = known {
            self.credit(&payload, &senders);
        }
    }

    /// An EL takes this block in a replay.
    pub(crate) fn taken_in_replay(self: &Arc<Self>, block: &str, is_valid: bool) {
        if let Some(hash) = Hash::parse(block) {
            self.taken(hash, is_valid);
        }
    }

    /// Asks the ELs for the time of their head until slots are known.
    pub(crate) async fn learn_slots(self: Arc<Self>) {
        let wants = || lock(&self.clock).wants_blocks();
        while wants() {
            let ask =
                br#"{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["latest",false]}"#;
            for node in self.execution.nodes().iter().filter(|node| node.serves()) {
                let deadline = Instant::now() + Duration::from_secs(1);
                let reply = node.call(Bytes::from_static(ask), &Caller::mainstay(), deadline).await;
                if let Ok(envelope::Reply { outcome: envelope::Outcome::Result(block), .. }) = reply
                    && let Some([Some(number), Some(timestamp)]) =
                        envelope::fields(&block, ["number", "timestamp"])
                    && mainstay_node::eth::quantity(&number).is_some_and(|number| number > 0)
                    && let Some(timestamp) = mainstay_node::eth::quantity(&timestamp)
                {
                    // Block 0 is of a time of its own.
                    lock(&self.clock).learn(timestamp);
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// What is told of a head to who doesn't lead: what is known of it. No build ever starts by that.
fn forkchoice(known: Option<Verdict>) -> Bytes {
    // forkchoiceUpdated knows no ACCEPTED (paris.md).
    let told = known.filter(|verdict| verdict.status != Status::Accepted);
    let object = told.map_or_else(|| status::write(&PayloadStatus::SYNCING).into(), |verdict| verdict.object);
    let parts: [&[u8]; 3] = [b"{\"payloadStatus\":", &object, b",\"payloadId\":null}"];
    parts.concat().into()
}

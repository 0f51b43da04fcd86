//! One voted call: to all nodes' queues here, their replies to the ballot and the answer to the consensus client (CL) in
//! [`conductor`], and what is learned from all replies together, late ones too, in [`aftermath`].

mod aftermath;
mod conductor;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mainstay_node::eth;
use mainstay_wire::envelope::{self, Call};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::blocks::{Payload, Sender};
use crate::core::{Core, Head};
use crate::feed::Job;
use crate::method::{Family, Method};
use crate::node::{Caller, lock};
use crate::payloads::payload_id;
use crate::queue::Kind;

use conductor::Conductor;

/// A round as those who watch see it.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Counts up.
    pub seq: u64,
    /// When the call came.
    #[serde(skip)]
    pub at: SystemTime,
    /// The method.
    pub method: String,
    /// The block's hash, if the call could be read.
    pub block: Option<String>,
    /// The block's number; forkchoiceUpdated doesn't carry one.
    pub number: Option<u64>,
    /// What was told: VALID, INVALID, SYNCING, ACCEPTED or `error`.
    pub verdict: &'static str,
    /// Whether a reply was still out.
    pub early: bool,
    /// Time to the answer.
    pub took: Duration,
    /// Each node's name, what it said (`pending` if nothing yet) and how long after the call.
    pub votes: Vec<(String, &'static str, Option<Duration>)>,
    /// Of a newPayload that a node called INVALID: whether the payload is what its hash says. An INVALID of one that isn't, or that
    /// can't be checked, says nothing of the block of that hash. Not looked at with [`Keep::Now`].
    #[serde(skip)]
    pub is_true: bool,
}

/// What a call is about.
#[derive(Clone, Debug)]
struct Subject {
    block: Option<String>,
    number: Option<u64>,
    /// For forkchoiceUpdated with attributes: the payload id that the CL will know.
    build: Option<String>,
    /// A payload to be kept once a node says VALID, and who sent it.
    unproved: Option<(Payload, Sender)>,
    /// Which payloads are kept, and how far the payload may be taken for that of the block whose hash it bears.
    keep: Keep,
}

/// Which payloads are kept for nodes that miss them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// This one, from now on, whatever is said of it: who called it INVALID may take that back. It is taken for that of the block
    /// whose hash it bears.
    Now,
    /// The same, but its hash is checked before an INVALID counts: others may send the block's own payload.
    Checked,
    /// This one once a node has said VALID, if it is recent: its sender isn't relied on.
    Valid(Sender),
    /// Not this one.
    Never,
}

/// What the CL is told.
#[derive(Debug)]
pub enum Told {
    /// This result.
    Result(Vec<u8>),
    /// This JSON-RPC error object, from the nodes.
    Error(Bytes),
    /// No node has said anything.
    Unvoted {
        /// What can be said all the same.
        result: Option<Vec<u8>>,
        /// The caller's token was handed on, and refused.
        unauthorized: bool,
    },
}

/// Puts a voted call to the nodes. Everything up to the queues happens before the first await, so calls reach every node in the
/// order in which this is called. The round goes on if the CL goes away.
pub fn begin(
    core: &Arc<Core>,
    call: &Call,
    method: Method,
    caller: &Caller,
    keep: Keep,
) -> oneshot::Receiver<Told> {
    let started = Instant::now();
    let (tell, told) = oneshot::channel();
    let (config, nodes, subject, reports) = {
        let _order = lock(&core.order);
        // Under it, as a reload changes both at once.
        let (config, nodes) = (core.config_of_now(), core.nodes());
        let (report, reports) = mpsc::channel(nodes.len().max(1));
        let Read { kind, subject, request } = read(core, call, method, caller, keep);
        for (index, node) in nodes.iter().enumerate() {
            let job = Job {
                request: request.clone(),
                name: call.method.clone(),
                method,
                caller: caller.clone(),
                timeout: config.timeout,
                index,
                report: report.clone(),
            };
            node.feed.push(kind.clone(), job);
        }
        (config, nodes, subject, reports)
    };
    let conductor = Conductor::new((core.clone(), config), nodes, call, method, subject, started);
    tokio::spawn(conductor.conduct(reports, tell));
    told
}

/// A call as the decisions and the nodes need it.
struct Read {
    kind: Kind,
    subject: Subject,
    /// What the nodes get.
    request: Bytes,
}

/// Reads what the decisions need of the call, and keeps it for nodes that miss it.
fn read(core: &Core, call: &Call, method: Method, caller: &Caller, keep: Keep) -> Read {
    let params = call.params.clone().unwrap_or_default();
    let text =
        |raw: Option<Bytes>| raw.and_then(|raw| envelope::string(&raw)).map(|s| s.to_ascii_lowercase());
    let unread = Subject { block: None, number: None, build: None, unproved: None, keep: Keep::Now };
    let Some(first) = envelope::first_element(&params) else {
        let kind = match method.family {
            Family::NewPayload => Kind::Payload,
            _ => Kind::Head { head: String::new(), builds: true },
        };
        return Read { kind, subject: unread, request: call.raw.clone() };
    };
    if method.family == Family::NewPayload {
        let fields = envelope::fields(&first, ["blockHash", "parentHash", "blockNumber"]).unwrap_or_default();
        let [hash, parent, number] = fields.map(text);
        let number = number.as_deref().and_then(eth::number);
        let mut unproved = None;
        if let (Some(hash), Some(parent), Some(number)) = (&hash, parent, number) {
            let (hash, method) = (hash.clone(), call.method.clone());
            let payload = Payload { hash, parent, number, method, request: call.raw.clone() };
            match keep {
                Keep::Now | Keep::Checked => lock(&core.blocks).keep(payload),
                Keep::Valid(by) => unproved = Some((payload, by)),
                Keep::Never => {}
            }
        }
        let subject = Subject { block: hash, number, build: None, unproved, keep };
        return Read { kind: Kind::Payload, subject, request: call.raw.clone() };
    }
    let hash = envelope::fields(&first, ["headBlockHash"]).and_then(|[hash]| text(hash));
    let elements = envelope::elements(&params).unwrap_or_default();
    let attributes = elements.get(1).filter(|raw| !envelope::is_null(raw));
    let bare = match attributes {
        Some(_) => without_attributes(call, &elements),
        None => call.raw.clone(),
    };
    if let Some(hash) = &hash {
        let (request, hash, method) = (bare.clone(), hash.clone(), call.method.clone());
        lock(&core.blocks).follow(&hash);
        *lock(&core.head) = Some(Head { hash, request, method, caller: caller.untraced() });
    }
    let (attributes, request) = match attributes {
        Some(attributes) if core.config().allow_building => (Some(attributes), call.raw.clone()),
        _ => (None, bare),
    };
    let build = attributes.zip(hash.as_ref()).map(|(attributes, head)| payload_id(head, attributes));
    let kind = Kind::Head { head: hash.clone().unwrap_or_default(), builds: attributes.is_some() };
    let number = hash.as_ref().and_then(|h| lock(&core.blocks).get(h).map(|p| p.number));
    // A head is nothing but its hash.
    let subject = Subject { block: hash, number, build, unproved: None, keep: Keep::Now };
    Read { kind, subject, request }
}

fn without_attributes(call: &Call, elements: &[Bytes]) -> Bytes {
    let null: &[u8] = b"null";
    let params = elements.iter().enumerate().map(|(i, e)| if i == 1 { null } else { e.as_ref() });
    let params = crate::merge::array(params);
    let mut out = Vec::with_capacity(params.len() + 128);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":1,"method":""#);
    // A method of this family is made of letters and digits: nothing to escape.
    out.extend_from_slice(call.method.as_bytes());
    out.extend_from_slice(br#"","params":"#);
    out.extend_from_slice(&params);
    out.push(b'}');
    Bytes::from(out)
}

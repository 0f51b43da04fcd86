//! Calls whose answer is put together from several nodes: getPayload, getBlobs, getPayloadBodies, getClientVersion,
//! exchangeCapabilities.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_node::Tier;
use mainstay_wire::envelope::{self, Call, Outcome, Reply};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::core::Core;
use crate::forward::{ask, forward};
use crate::merge::{self, Built, Positions};
use crate::method::Method;
use crate::node::{Caller, Failed, Node, lock};
use crate::reply::{Answer, INVALID_PARAMS, UNKNOWN_PAYLOAD};

/// Asks several nodes at once, each `(node, request)`; the replies come as they arrive, with the node's place in `asked`. Ends
/// with the last reply or at the deadline.
fn ask_all(
    core: &Arc<Core>,
    method: &str,
    asked: Vec<(Arc<Node>, Bytes)>,
    caller: &Caller,
    deadline: Instant,
) -> mpsc::Receiver<(usize, Result<Reply, Failed>)> {
    let (send, receive) = mpsc::channel(asked.len().max(1));
    for (place, (node, request)) in asked.into_iter().enumerate() {
        let (core, caller, send) = (core.clone(), caller.clone(), send.clone());
        let method = method.to_owned();
        tokio::spawn(async move {
            let deadline = deadline.min(Instant::now() + node.within(core.config().timeout));
            let reply = ask(&core, &node, &method, &request, &caller, deadline).await;
            // Whoever asked may have enough already.
            let _ = send.send((place, reply)).await;
        });
    }
    receive
}

/// Takes replies until `enough` says so, all are in, or the deadline passes.
async fn gather(
    replies: &mut mpsc::Receiver<(usize, Result<Reply, Failed>)>,
    deadline: Instant,
    mut enough: impl FnMut(usize, Result<Reply, Failed>) -> bool,
) {
    while let Ok(Some((place, reply))) = timeout_at(deadline, replies.recv()).await {
        if enough(place, reply) {
            break;
        }
    }
}

fn deadline(core: &Core, method: Method) -> Instant {
    Instant::now() + core.config().answer_within.min(method.patience())
}

/// Fit nodes, or whoever may be up if there is none.
fn fit(core: &Core) -> Vec<Arc<Node>> {
    let all = core.nodes();
    let serving: Vec<_> = all.iter().filter(|n| n.serves()).cloned().collect();
    if !serving.is_empty() {
        return serving;
    }
    all.iter().filter(|n| n.may_be_asked()).cloned().collect()
}

/// getPayload: asked of all that gave an id for this build, the highest block value wins of those that come within
/// `getpayload_wait`; if none does, the first to come while the CL still waits.
pub async fn get_payload(core: &Arc<Core>, call: &Call, method: Method, caller: &Caller) -> Answer {
    let params = call.params.clone().unwrap_or_default();
    let Some(ours) = envelope::first_element(&params).and_then(|id| envelope::string(&id)) else {
        return Answer::Error(INVALID_PARAMS, "the first parameter has to be a payload id".into());
    };
    let unknown = || Answer::Error(UNKNOWN_PAYLOAD, "Unknown payload".into());
    let Some(builders) = lock(&core.ids).get(&ours, Instant::now().into_std()) else { return unknown() };
    let elements = envelope::elements(&params).unwrap_or_default();
    let nodes = core.nodes();
    let mut asked = Vec::new();
    let mut places = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        let id = builders.iter().find(|(n, _)| *n == node.id);
        if let Some((_, id)) = id.filter(|_| node.may_be_asked()) {
            asked.push((node.clone(), with_id(call, &elements, id)));
            places.push((place, node.tier() == Tier::Backup));
        }
    }
    if asked.is_empty() {
        return unknown();
    }
    let last = deadline(core, method);
    let enough = last.min(Instant::now() + core.config().getpayload_wait);
    let mut replies = ask_all(core, &call.method, asked, caller, last);
    let mut built: Vec<(Built, Reply)> = Vec::new();
    let mut error: Option<Reply> = None;
    let mut take = |i: usize, reply: Result<Reply, Failed>| {
        if let (Ok(reply), Some((place, backup))) = (reply, places.get(i)) {
            match &reply.outcome {
                Outcome::Result(result) if !envelope::is_null(result) => {
                    built.push((Built::read(*place, *backup, result), reply));
                }
                Outcome::Error { .. } => error = Some(reply),
                Outcome::Result(_) => {}
            }
        }
        !built.is_empty()
    };
    let mut any = false;
    gather(&mut replies, enough, |i, reply| {
        any = take(i, reply);
        false
    })
    .await;
    if !any {
        // Whoever is later still is better than a slot without a block.
        gather(&mut replies, last, take).await;
    }
    let candidates: Vec<Built> = built.iter().map(|(b, _)| b.clone()).collect();
    let best = merge::best(&candidates).map(|b| b.place);
    match (built.into_iter().find(|(b, _)| Some(b.place) == best), error) {
        (Some((_, reply)), _) | (None, Some(reply)) => Answer::of(reply, call.id.as_ref()),
        (None, None) => Answer::NoNode("no execution client delivered the payload in time"),
    }
}

/// The call with the node's own payload id.
fn with_id(call: &Call, elements: &[Bytes], id: &str) -> Bytes {
    let own = serde_json::Value::from(id).to_string();
    let params = elements.iter().enumerate().map(|(i, e)| if i == 0 { own.as_bytes() } else { e.as_ref() });
    let params = merge::array(params);
    let name = serde_json::Value::from(call.method.as_str()).to_string();
    let mut out = Vec::with_capacity(params.len() + 96);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(call.id.as_deref().unwrap_or(b"null"));
    out.extend_from_slice(br#","method":"#);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(br#","params":"#);
    out.extend_from_slice(&params);
    out.push(b'}');
    Bytes::from(out)
}

/// getBlobs: positions merged over the nodes; V2 is all or nothing, so the first complete answer.
pub async fn get_blobs(core: &Arc<Core>, call: &Call, method: Method, caller: &Caller) -> Answer {
    let wanted = call
        .params
        .as_ref()
        .and_then(envelope::first_element)
        .and_then(|hashes| envelope::elements(&hashes))
        .map_or(0, |hashes| hashes.len());
    let asked = fit(core).into_iter().map(|node| (node, call.raw.clone())).collect();
    let until = deadline(core, method);
    let mut merged = Positions::default();
    let mut whole: Option<Reply> = None;
    let mut null = None;
    let mut error = None;
    gather(&mut ask_all(core, &call.method, asked, caller, until), until, |_, reply| {
        let Ok(reply) = reply else { return false };
        match &reply.outcome {
            Outcome::Error { .. } => {
                error = Some(reply);
                false
            }
            Outcome::Result(result) if envelope::is_null(result) => {
                null = Some(reply);
                false
            }
            Outcome::Result(_) if method.version == 2 => {
                whole = Some(reply);
                true
            }
            Outcome::Result(result) => {
                merged.add(result);
                merged.complete(wanted)
            }
        }
    })
    .await;
    if let Some(reply) = whole {
        return Answer::of(reply, call.id.as_ref());
    }
    let result = merged.result();
    match (envelope::is_null(&result), null, error) {
        (false, _, _) => Answer::Result(result),
        (true, Some(reply), _) | (true, None, Some(reply)) => Answer::of(reply, call.id.as_ref()),
        (true, None, None) => Answer::NoNode("no execution client answered"),
    }
}

/// getPayloadBodies: bodies are large, so one node after the other is asked, until no position is null.
pub async fn get_bodies(core: &Arc<Core>, call: &Call, method: Method, caller: &Caller) -> Answer {
    let until = deadline(core, method);
    let nodes = core.by_preference();
    let mut merged = Positions::default();
    let mut answered: Option<Reply> = None;
    let mut failed_over = false;
    for (i, node) in nodes.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let share = if i + 1 < nodes.len() { left / 2 } else { left };
        match ask(core, node, &call.method, &call.raw, caller, Instant::now() + node.within(share)).await {
            Ok(reply) => {
                if let Outcome::Result(result) = &reply.outcome {
                    merged.add(result);
                    if merged.complete(0) {
                        return if failed_over || answered.is_some() {
                            Answer::Result(merged.result())
                        } else {
                            Answer::of(reply, call.id.as_ref())
                        };
                    }
                }
                answered = answered.or(Some(reply));
            }
            Err(_) => failed_over = true,
        }
    }
    let result = merged.result();
    match answered {
        _ if !envelope::is_null(&result) => Answer::Result(result),
        Some(reply) => Answer::of(reply, call.id.as_ref()),
        None => Answer::NoNode("no execution client answered"),
    }
}

/// Collects the results of all fit nodes in their order, and the last JSON-RPC error.
async fn results(
    core: &Arc<Core>,
    call: &Call,
    method: Method,
    caller: &Caller,
) -> (Vec<Bytes>, Option<Reply>) {
    let nodes = fit(core);
    let until = deadline(core, method);
    let mut found: Vec<Option<Bytes>> = vec![None; nodes.len()];
    let mut error = None;
    let asked = nodes.into_iter().map(|node| (node, call.raw.clone())).collect();
    gather(&mut ask_all(core, &call.method, asked, caller, until), until, |i, reply| {
        let Ok(reply) = reply else { return false };
        match (&reply.outcome, found.get_mut(i)) {
            (Outcome::Result(result), Some(slot)) => *slot = Some(result.clone()),
            _ => error = Some(reply),
        }
        false
    })
    .await;
    (found.into_iter().flatten().collect(), error)
}

/// getClientVersion: all nodes' versions in one flat array.
pub async fn client_version(core: &Arc<Core>, call: &Call, method: Method, caller: &Caller) -> Answer {
    let (found, error) = results(core, call, method, caller).await;
    match (found.is_empty(), error) {
        (false, _) => Answer::Result(merge::flat(&found)),
        (true, Some(reply)) => Answer::of(reply, call.id.as_ref()),
        (true, None) => Answer::NoNode("no execution client answered"),
    }
}

/// exchangeCapabilities: what all fit voters offer, or the primary, never the method itself.
pub async fn capabilities(core: &Arc<Core>, call: &Call, method: Method, caller: &Caller) -> Answer {
    if !core.config().common_capabilities {
        let answer = forward(core, call, method, caller, Instant::now()).await;
        return without_itself(answer);
    }
    let (found, error) = results(core, call, method, caller).await;
    match (merge::common_capabilities(&found), error) {
        (Some(common), _) => Answer::Result(common),
        (None, Some(reply)) => Answer::of(reply, call.id.as_ref()),
        (None, None) => Answer::NoNode("no execution client answered"),
    }
}

fn without_itself(answer: Answer) -> Answer {
    let result = match &answer {
        Answer::Verbatim(raw) => match envelope::parse_reply(raw).map(|r| r.outcome) {
            Ok(Outcome::Result(result)) => result,
            _ => return answer,
        },
        Answer::Result(result) => result.clone(),
        _ => return answer,
    };
    merge::common_capabilities(&[result]).map_or(answer, Answer::Result)
}

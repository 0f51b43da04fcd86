//! Calls that one node answers: `eth_…`, unknown `engine_…` methods, and those that need no vote. They go to the primary, and to
//! the next node when it fails.
//!
//! A JSON-RPC error is an answer and is relayed. What changes something ([`envelope::is_once`]: `eth_sendRawTransaction`, `eth_sendBundle`, …)
//! isn't sent a second time once it may have been delivered. Each try gets its share of the time that is left, so a primary that hangs still leaves time for
//! the next.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_wire::client::Delivered;
use mainstay_wire::envelope::{self, Call, Reply};
use tokio::time::Instant;

use crate::core::Core;
use crate::method::Method;
use crate::node::{Caller, Failed, Node};
use crate::reply::Answer;
use crate::spans;

/// Told when every node failed.
const NOBODY: &str = "no execution client answered";

/// Asks one node after the other until one answers. `started`: when the call came.
pub async fn forward(
    core: &Arc<Core>,
    call: &Call,
    method: Method,
    caller: &Caller,
    started: Instant,
) -> Answer {
    let deadline = started + core.config().answer_within.min(method.patience());
    // Nearly always the primary answers: the others aren't looked for before it has failed.
    let primary = core.standing_primary();
    if let Some(node) = &primary {
        let time = share(deadline - started, core.has_another(node));
        if let Some(answer) = attempt(core, node, call, caller, started + node.within(time)).await {
            return answer;
        }
    }
    Box::pin(among_others(core, call, caller, deadline, primary)).await
}

async fn among_others(
    core: &Arc<Core>,
    call: &Call,
    caller: &Caller,
    deadline: Instant,
    tried: Option<Arc<Node>>,
) -> Answer {
    let mut nodes = core.by_preference();
    nodes.retain(|node| tried.as_ref().is_none_or(|tried| tried.id != node.id));
    for (i, node) in nodes.iter().enumerate() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            break;
        }
        let time = share(left, i + 1 < nodes.len());
        if let Some(answer) = attempt(core, node, call, caller, now + node.within(time)).await {
            return answer;
        }
    }
    Answer::NoNode(NOBODY)
}

/// Asks one node. `None`: it failed, and another may be asked.
async fn attempt(
    core: &Arc<Core>,
    node: &Arc<Node>,
    call: &Call,
    caller: &Caller,
    deadline: Instant,
) -> Option<Answer> {
    match ask(core, node, &call.method, &call.raw, caller, deadline).await {
        Ok(reply) => Some(Answer::of(reply, call.id.as_ref())),
        Err(failed) if failed.delivered == Delivered::Maybe && envelope::is_once(&call.method) => {
            Some(Answer::Error(
                crate::reply::SERVER_ERROR,
                "the call may have been delivered, but no answer came: look before sending it again".into(),
            ))
        }
        Err(failed) => {
            tracing::debug!(node = node.name(), error = failed.detail, "trying the next node");
            None
        }
    }
}

/// The time of one try: half of what is left while there is another node to try.
fn share(left: Duration, is_another: bool) -> Duration {
    if is_another { left / 2 } else { left }
}

/// One call to one node, counted, its health told.
///
/// # Errors
/// [`Failed`].
pub async fn ask(
    core: &Arc<Core>,
    node: &Arc<Node>,
    method: &str,
    request: &Bytes,
    caller: &Caller,
    deadline: Instant,
) -> Result<Reply, Failed> {
    let started = Instant::now();
    let (mut span, caller) = spans::attempt(caller, node, method);
    let outcome = node.call(request.clone(), &caller, deadline).await;
    spans::attempt_ended(&mut span, &outcome);
    drop(span);
    core.telemetry.forwarded(node, method, &outcome, started.elapsed());
    core.forget(node);
    if let Some(before) = node.traffic(&outcome) {
        core.changed(node, &before);
    }
    outcome
}

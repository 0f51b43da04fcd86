//! Calls that one node answers: `eth_…`, unknown `engine_…` methods, and those that need no vote. They go to the primary, and to
//! the next node when it fails.
//!
//! A JSON-RPC error is an answer and is relayed. `eth_sendRawTransaction` and its variants aren't sent a second time once they
//! may have been delivered. Each try gets its share of the time that is left, so a primary that hangs still leaves time for
//! the next.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_wire::client::Delivered;
use mainstay_wire::envelope::{Call, Reply};
use tokio::time::Instant;

use crate::core::Core;
use crate::method::Method;
use crate::node::{Caller, Failed, Node};
use crate::reply::Answer;

/// Told when every node failed.
const NOBODY: &str = "no execution client answered";

/// Asks one node after the other until one answers.
pub async fn forward(core: &Arc<Core>, call: &Call, method: Method, caller: &Caller) -> Answer {
    let started = Instant::now();
    let deadline = started + core.config.timeout.min(method.patience());
    let once_only = call.method.starts_with("eth_sendRawTransaction");
    let nodes = core.by_preference();
    for (i, node) in nodes.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match ask(core, node, &call.raw, caller, Instant::now() + node.within(share(left, nodes.len() - i)))
            .await
        {
            Ok(reply) => return Answer::of(reply, call.id.as_ref()),
            Err(failed) if once_only && failed.delivered == Delivered::Maybe => {
                return Answer::Error(
                    crate::reply::SERVER_ERROR,
                    "the transaction may have been delivered, but no answer came: look it up before sending it again".into(),
                );
            }
            Err(failed) => {
                tracing::debug!(node = node.name(), error = failed.detail, "trying the next node");
            }
        }
    }
    Answer::NoNode(NOBODY)
}

/// The time of one try: half of what is left while there is another node to try.
fn share(left: Duration, tries: usize) -> Duration {
    if tries > 1 { left / 2 } else { left }
}

/// One call to one node, its health told.
///
/// # Errors
/// [`Failed`].
pub async fn ask(
    core: &Arc<Core>,
    node: &Arc<Node>,
    request: &Bytes,
    caller: &Caller,
    deadline: Instant,
) -> Result<Reply, Failed> {
    let outcome = node.call(request.clone(), caller, deadline).await;
    if let Some(before) = node.traffic(&outcome) {
        core.changed(node, &before);
    }
    outcome
}

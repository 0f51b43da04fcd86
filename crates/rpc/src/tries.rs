//! A request's tries: from its entry into the queue to a node's answer, or to the reason why there is none.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use mainstay_node::Cause;
use mainstay_otel::Trace;
use mainstay_wire::client::{CallError, Fault, Post, StreamedReply};

use crate::account::Account;
use crate::call::Call;
use crate::clock;
use crate::core::Core;
use crate::job::Job;
use crate::node::{self, Node};
use crate::queue::{Place, Slot, Unserved};
use crate::reply::Failure;
use crate::retry::{self, Seen, Try};
use crate::spans;
use crate::telemetry::TryEnd;

/// What a try gave, and when.
type Told = (Result<StreamedReply, CallError>, Instant);

/// A node's answer, and the slot that it holds until its body has been passed on.
pub(crate) struct Answer {
    pub(crate) reply: StreamedReply,
    /// When its head was there.
    pub(crate) at: Instant,
    pub(crate) slot: Slot,
    pub(crate) node: Arc<Node>,
}

/// A slot in use.
struct Leg {
    slot: Slot,
    node: Arc<Node>,
    began: Instant,
}

/// Takes a place in the queue, or a free slot.
pub(crate) fn enter(core: &Core, job: &Job, account: &mut Account) -> Result<Place, Failure> {
    let timeout = job.deadline.saturating_duration_since(job.since);
    let call = Call::new(job.lane, job.since, timeout, job.body.len());
    // It has come just now: the clock needn't be read again.
    let entered = core.queue.enter(call, job.since).map_err(Failure::Refused)?;
    account.entered(entered.lengths);
    Ok(entered.place)
}

/// Waits for a slot, sends, and does so again as long as the decision in [`retry`] says so. It is `now` when it is called: whoever
/// calls has read the clock.
pub(crate) async fn run(
    core: &Core,
    job: &Job,
    place: Place,
    mut now: Instant,
    account: &mut Account,
) -> Result<Answer, Failure> {
    let rules = &job.live.config.retry;
    let trace = account.trace();
    let mut slot = match place {
        Place::Now(slot) => slot,
        Place::Later(ticket) => {
            let slot = ticket.await?;
            now = clock::now();
            slot
        }
    };
    loop {
        let Some(node) = core.node_of(slot.node()) else {
            // It was removed between grant and now.
            slot = slot.retry(now).await?;
            now = clock::now();
            continue;
        };
        account.trying(&node, now);
        let leg = Leg { slot, node, began: now };
        let hedge_at = rules
            .hedge_after
            .and_then(|_| retry::hedge_at(rules, job.nature(), account.tries(), now, job.deadline));
        let (leg, (told, at)) = match hedge_at {
            None => {
                let told = send(core, job, &trace, &leg.node, leg.began).await;
                (leg, told)
            }
            Some(at) => Box::pin(hedged(core, job, leg, at, account)).await,
        };
        let seen = match &told {
            Ok(reply) if reply.status.as_u16() < 400 => return answer(leg, (told, at), account),
            Ok(reply) => seen(reply),
            Err(error) => error.into(),
        };
        let ended = Try {
            seen,
            nature: job.nature(),
            tries: account.tries(),
            deadline: job.deadline,
            others: leg.slot.has_untried(),
        };
        if !retry::is_repeated(rules, &ended, at) {
            return answer(leg, (told, at), account);
        }
        let last = match told {
            Ok(reply) => Failure::Node(format!("HTTP {}", reply.status.as_u16())),
            Err(error) => Failure::of_try(&error),
        };
        // What its last try showed says more than that its time has passed.
        slot = match leg.slot.retry(at).await {
            Err(Unserved::Expired) => return Err(last),
            next => next?,
        };
        now = clock::now();
    }
}

fn answer(leg: Leg, (told, at): Told, account: &mut Account) -> Result<Answer, Failure> {
    let reply = told.map_err(|error| Failure::of_try(&error))?;
    account.won(&leg.node, leg.began);
    Ok(Answer { reply, at, slot: leg.slot, node: leg.node })
}

/// A try that gets a second copy on another node if it takes long. The first good answer counts, the other try is dropped and
/// with it its connection; if none is good, the last one's end counts.
async fn hedged(core: &Core, job: &Job, mut first: Leg, at: Instant, account: &mut Account) -> (Leg, Told) {
    let first_node = first.node.clone();
    let trace = account.trace();
    let mut one = Box::pin(send(core, job, &trace, &first_node, first.began));
    if let Ok(told) = tokio::time::timeout_at(at.into(), &mut one).await {
        return (first, told);
    }
    let began = clock::now();
    let second = first.slot.hedge(began).and_then(|slot| {
        let node = core.node_of(slot.node())?;
        Some(Leg { slot, node, began })
    });
    let Some(second) = second else {
        let told = one.await;
        return (first, told);
    };
    account.trying(&second.node, began);
    core.telemetry.hedged();
    let second_node = second.node.clone();
    let mut two = Box::pin(send(core, job, &trace, &second_node, began));
    let is_good =
        |(told, _): &Told| told.as_ref().is_ok_and(|reply| !matches!(reply.status.as_u16(), 429 | 500..));
    // The slot of a try that was no good is free for others while the other one goes on.
    tokio::select! {
        told = &mut one => {
            if is_good(&told) {
                return (first, told);
            }
            drop((first, told));
            let told = two.await;
            (second, told)
        }
        told = &mut two => {
            if is_good(&told) {
                return (second, told);
            }
            drop((second, told));
            let told = one.await;
            (first, told)
        }
    }
}

/// Sends a request to a node, and takes what that shows of the node.
async fn send(core: &Core, job: &Job, trace: &Trace, node: &Node, began: Instant) -> Told {
    let rules = &job.live.config.retry;
    let mut span = spans::attempt(trace, node, &job.body);
    let lines = spans::lines(&job.lines, &span);
    let post = Post { target: &node.target, lines: &lines, body: &job.body };
    let deadline = retry::try_deadline(rules, job.deadline, began);
    let told = node.client.open(post, began.into(), deadline.into(), rules.try_timeout).await;
    let now = clock::now();
    let took = now.saturating_duration_since(began);
    match &told {
        Ok(reply) => {
            let status = reply.status.as_u16();
            let end = match status {
                ..400 => TryEnd::Answered,
                429 => TryEnd::RateLimited,
                400..500 => TryEnd::ClientError,
                500.. => TryEnd::ServerError,
            };
            node.metrics.tried(end, took);
            spans::attempt_ended(&mut span, end, Some(status));
            if is_ill(reply) {
                core.observe(node, |health, now| health.call_failed(&Cause::Http(status), now));
            } else {
                node.state().health.call_answered();
            }
            // A good answer isn't searched for a header that says nothing there.
            if status >= 400
                && let Some(rest) = retry::rest(seen(reply))
            {
                core.queue.change(now, |pool| pool.rest(node.id, now + rest, now));
            }
        }
        Err(error) => {
            let end = node::try_end(error);
            node.metrics.tried(end, took);
            spans::attempt_ended(&mut span, end, None);
            // A request that had little time left says nothing of the node.
            let enough = rules.try_timeout.min(job.live.config.request_timeout) / 2;
            if error.fault != Fault::Timeout || took >= enough {
                core.observe(node, |health, now| health.call_failed(&error.into(), now));
            }
        }
    }
    (told, now)
}

/// Whether an answer shows that the node isn't well. A 500 of JSON is its word on that request, which may be sent to all nodes by a
/// client that they all choke on.
fn is_ill(reply: &StreamedReply) -> bool {
    let is_json =
        || reply.header(&CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let status = reply.status.as_u16();
    matches!(status, 502..=504) || (status == 500 && !is_json())
}

fn seen(reply: &StreamedReply) -> Seen {
    let after = reply.header(&RETRY_AFTER);
    let text = after.as_ref().and_then(|value| value.to_str().ok());
    Seen::Status(reply.status.as_u16(), text.and_then(|text| retry::retry_after(text, clock::wall())))
}

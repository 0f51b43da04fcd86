//! `split_batches`: the calls of a batch are queued one by one, each in its own lane and with tries of its own, and their answers
//! put back in the batch's order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};
use mainstay_wire::body;
use mainstay_wire::envelope::{self, BadCall, Call, Message};
use mainstay_wire::server::Response;
use tokio::task::JoinSet;

use crate::account::Account;
use crate::clock;
use crate::core::Core;
use crate::job::{Job, REQUEST_ID};
use crate::proxy::outcome;
use crate::queue::Place;
use crate::reply::{self, Failure};
use crate::telemetry::Outcome;
use crate::tries;

/// Most bytes of all answers of a batch together.
const MOST: usize = 128 * 1024 * 1024;

/// The calls of a body that is a batch.
pub(crate) fn calls(body: &Bytes) -> Option<Vec<Result<Call, BadCall>>> {
    if !body.trim_ascii_start().starts_with(b"[") {
        return None;
    }
    match envelope::parse_request(body) {
        Ok(Message::Batch(calls)) => Some(calls),
        _ => None,
    }
}

/// Answers a batch.
pub(crate) async fn answer(
    core: &Arc<Core>,
    whole: &Job,
    path: &str,
    given: &HeaderMap,
    id: &HeaderValue,
    calls: Vec<Result<Call, BadCall>>,
) -> Response {
    let mut answers: Vec<Option<Bytes>> = vec![None; calls.len()];
    let left = Arc::new(AtomicUsize::new(MOST));
    let mut running = JoinSet::new();
    for (index, call) in calls.into_iter().enumerate() {
        let call = match call {
            Ok(call) => call,
            Err(bad) => {
                let (id, error) = (bad.id, bad.error);
                answers[index] = Some(envelope::error_body(id.as_deref(), error.code, &error.message));
                continue;
            }
        };
        let job = whole.part(core, path, given, call.raw);
        let mut account = Account::new(core.clone(), job.lane, job.since, job.body.len(), id.clone());
        // All of them enter in their order, before any of them is waited for.
        let place = tries::enter(core, &job, &mut account);
        let (core, left) = (core.clone(), left.clone());
        running.spawn(async move { (index, one(&core, &job, place, account, call.id, &left).await) });
    }
    // Dropped when the client goes, and with it all that still runs.
    while let Some(done) = running.join_next().await {
        if let Ok((index, answer)) = done {
            answers[index] = answer;
        }
    }
    let mut body = BytesMut::from(&b"["[..]);
    for (n, answer) in answers.into_iter().flatten().enumerate() {
        if n > 0 {
            body.extend_from_slice(b",");
        }
        body.extend_from_slice(&answer);
    }
    body.extend_from_slice(b"]");
    let mut response = if body.len() == 2 {
        // Only notifications: nothing is due.
        Response::new(Default::default())
    } else {
        reply::json(StatusCode::OK, body.freeze())
    };
    response.headers_mut().insert(REQUEST_ID, id.clone());
    response
}

/// The answer to one call; `None` for a notification.
async fn one(
    core: &Arc<Core>,
    job: &Job,
    place: Result<Place, Failure>,
    mut account: Account,
    id: Option<Bytes>,
    left: &AtomicUsize,
) -> Option<Bytes> {
    let answered = match place {
        Ok(place) => tries::run(core, job, place, &mut account).await,
        Err(failure) => Err(failure),
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(failure) => {
            account.set_status(failure.status().as_u16());
            account.close(failure.outcome());
            return id.map(|id| failure.of_call(Some(&id)));
        }
    };
    account.begin_reply(&mut HeaderMap::new(), clock::now());
    let status = answer.reply.status.as_u16();
    account.set_status(status);
    let read = body::read(answer.reply.body, left.load(Ordering::Relaxed)).await;
    drop(answer.slot);
    let Ok(read) = read else {
        account.close(Outcome::Broken);
        let failure = Failure::Node("the answer broke off, or is too large for a batch".to_owned());
        return id.map(|id| failure.of_call(Some(&id)));
    };
    account.close(outcome(status));
    let _ =
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(read.len())));
    id.map(|id| match envelope::parse_reply(&read) {
        Ok(_) => read,
        Err(_) => Failure::Node(format!("HTTP {status} without a JSON-RPC answer")).of_call(Some(&id)),
    })
}

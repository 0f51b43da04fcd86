//! A request's life.
//!
//! 1. **Read** ([`crate::intake`]): the body, up to `payload_max` and within half a minute; what is larger is refused while it comes.
//! 2. **Judge** ([`Job::new`]): its lane by rule or header, and the rates that it counts for.
//! 3. **Enter** ([`tries::enter`]): a free slot at once, or a place in its lane; refused if that is full or there is no node.
//! 4. **Try** ([`tries::run`]): with a slot, to the slot's node, within `try_timeout` and what is left of `request_timeout`, which
//!    counts from the end of phase 1. If it fails and [`crate::retry`] says so, it waits in its old place for a slot of another
//!    node. Up to here nothing has been passed on to the client.
//! 5. **Answer** ([`pass_on`]): the node's status, content type, encoding and body, as it comes. A body that makes no progress for
//!    `try_timeout` is broken off, and so is the client's connection, which can't take it for whole.
//! 6. **End**: the body is in hand or through ([`crate::held`]), the slot is free, the request is counted and logged.
//!
//! A client that goes away drops all of it wherever it is: the place in the queue, the slot, the connection to the node.

use std::sync::Arc;
use std::time::Instant;

use http::Request;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use mainstay_wire::server::{ReplyBody, RequestBody, Response};

use crate::account::Account;
use crate::batch;
use crate::classify::lane_of_headers;
use crate::clock;
use crate::core::Core;
use crate::held::{Held, Hold};
use crate::intake;
use crate::job::{self, Job};
use crate::lane::Lane;
use crate::reply::Failure;
use crate::spans;
use crate::telemetry::Outcome;
use crate::tries::{self, Answer};

/// What of a node's headers the client gets, besides the content type.
const PASSED_ON: [http::HeaderName; 2] = [CONTENT_ENCODING, RETRY_AFTER];

/// Answers a request.
pub(crate) async fn request(core: &Arc<Core>, request: Request<RequestBody>) -> Response {
    let (parts, body) = request.into_parts();
    let id = job::id(core, &parts.headers);
    let mut span = spans::request(core, parts.uri.path(), &parts.headers);
    let account =
        |lane: Lane, since: Instant, size: usize| Account::new(core.clone(), lane, since, size, id.clone());
    let live = core.live_of_now();
    let body = match intake::read(core, &live.config, body, live.config.payload_max).await {
        Ok(body) => body,
        Err(failure) => {
            let account = account(lane_of_headers(&parts.headers), clock::now(), 0);
            return fail(account.traced(span), failure, &bytes::Bytes::new());
        }
    };
    spans::request_read(&mut span, &body);
    let path = parts.uri.path();
    let now = clock::now();
    let job = match Job::new(live, path, &parts.headers, &id, body.clone(), now) {
        Ok(job) => job,
        Err((lane, wait)) => {
            let account = account(lane, now, body.len()).traced(span);
            return fail(account, Failure::RateLimited(wait), &body);
        }
    };
    if job.live.config.split_batches
        && let Some(calls) = batch::calls(&body)
    {
        drop(body);
        let job = job.in_parts();
        return Box::pin(batch::answer(core, &job, path, &parts.headers, &id, span, calls)).await;
    }
    let mut account = account(job.lane, now, body.len()).traced(span);
    let answered = match tries::enter(core, &job, &mut account) {
        Ok(place) => tries::run(core, &job, place, now, &mut account).await,
        Err(failure) => Err(failure),
    };
    match answered {
        Ok(answer) => pass_on(core, answer, account),
        Err(failure) => fail(account, failure, &body),
    }
}

/// What became of a request that a node answered with this.
pub(crate) fn outcome(status: u16) -> Outcome {
    match status {
        ..400 => Outcome::Ok,
        400..500 => Outcome::ClientError,
        500.. => Outcome::NodeError,
    }
}

fn pass_on(core: &Arc<Core>, answer: Answer, mut account: Account) -> Response {
    let Answer { mut reply, at, slot, node } = answer;
    account.begin_reply(at);
    let [kind, passed_on @ ..] = reply.some([&CONTENT_TYPE, &PASSED_ON[0], &PASSED_ON[1]]);
    let mut headers = account.headers(kind, at);
    for (name, value) in PASSED_ON.into_iter().zip(passed_on) {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    let status = reply.status;
    account.set_status(status.as_u16());
    let outcome = outcome(status.as_u16());
    let body = match reply.body.rest() {
        Some(whole) => {
            // The slot first: another request may be waiting for it.
            slot.release(at);
            account.close_at(outcome, at);
            whole.into()
        }
        None => {
            let hold = Hold { core: core.clone(), slot, node, account, outcome };
            ReplyBody::streamed(Held::new(reply.body, hold))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn fail(mut account: Account, failure: Failure, body: &bytes::Bytes) -> Response {
    let mut response = failure.response(body);
    account.identify(response.headers_mut());
    account.set_status(failure.status().as_u16());
    account.close(failure.outcome());
    response
}

//! From a request's body to the calls in it, and from a call to what the execution clients say.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mainstay_wire::envelope::{self, BadCall, Call, Message};

use crate::core::Core;
use crate::forward::forward;
use crate::merge;
use crate::method::{Family, Method};
use crate::node::Caller;
use crate::reads;
use crate::reply::{Answer, SERVER_ERROR};
use crate::round::{self, Keep};

/// Who answers the calls of one body; knows who sent it.
pub trait Answers: Sync {
    /// Answers one.
    fn answer(&self, call: &Call) -> impl Future<Output = Answer> + Send;
}

/// Answers a body with one call, or a batch of them, whose sender may call: HTTP status and JSON.
pub async fn answer_body(answers: &impl Answers, body: &Bytes) -> (StatusCode, Bytes) {
    match envelope::parse_request(body) {
        Err(error) => (StatusCode::BAD_REQUEST, envelope::error_body(None, error.code, &error.message)),
        Ok(Message::Single(Err(bad))) => (StatusCode::BAD_REQUEST, refusal(&bad)),
        Ok(Message::Single(Ok(call))) => {
            // Payloads and heads are, with a bound in bytes.
            let call = call.kept(body);
            let answer = answers.answer(&call).await;
            (answer.status(), answer.body(call.id.as_ref()))
        }
        Ok(Message::Batch(calls)) => {
            let calls = calls.into_iter().map(|call| one_of_batch(answers, call.map(|call| call.kept(body))));
            let bodies = Box::pin(all(calls.collect())).await;
            (StatusCode::OK, merge::array(bodies.iter().map(AsRef::as_ref)))
        }
    }
}

async fn one_of_batch(answers: &impl Answers, call: Result<Call, BadCall>) -> Bytes {
    match call {
        Ok(call) => answers.answer(&call).await.body(call.id.as_ref()),
        Err(bad) => refusal(&bad),
    }
}

/// What the execution clients answer: by vote, put together from several, or from one.
pub async fn ask(core: &Arc<Core>, call: &Call, caller: &Caller) -> Answer {
    let method = Method::of(&call.method);
    if method.is_voted() {
        return match round::begin(core, call, method, caller, Keep::Now).await {
            Ok(told) => told.into(),
            Err(_) => Answer::Error(SERVER_ERROR, "mainstay is stopping".into()),
        };
    }
    let started = tokio::time::Instant::now();
    // Boxed: each is as large as all that it awaits, and the small calls below would be moved about with room for it.
    let answer = match method.family {
        Family::GetPayload => Box::pin(reads::get_payload(core, call, method, caller)).await,
        Family::GetBlobs => Box::pin(reads::get_blobs(core, call, method, caller)).await,
        Family::PayloadBodies => Box::pin(reads::get_bodies(core, call, method, caller)).await,
        Family::ClientVersion => Box::pin(reads::client_version(core, call, method, caller)).await,
        Family::Capabilities => Box::pin(reads::capabilities(core, call, method, caller)).await,
        _ => forward(core, call, method, caller, started).await,
    };
    core.telemetry.answered(&call.method, answer.word(), started.elapsed());
    answer
}

fn refusal(bad: &BadCall) -> Bytes {
    envelope::error_body(bad.id.as_deref(), bad.error.code, &bad.error.message)
}

/// Runs the calls of a batch at once. Each is polled first in the order given, so that voted calls reach the queues in the
/// batch's order.
async fn all<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.into_iter().map(|c| (Box::pin(c), None)).collect();
    std::future::poll_fn(|cx| {
        let mut ready = true;
        for (call, output) in &mut calls {
            if output.is_none() {
                match call.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    calls.into_iter().filter_map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;

    /// Keeps every call.
    #[derive(Default)]
    struct Keeper(Mutex<Vec<Call>>);

    impl Answers for Keeper {
        async fn answer(&self, call: &Call) -> Answer {
            self.0.lock().unwrap().push(call.clone());
            Answer::NoNode("nobody")
        }
    }

    #[tokio::test]
    async fn who_keeps_a_call_does_not_keep_a_large_body() {
        let (call, space) = (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}"#, " ".repeat(1000));
        for (text, calls) in [
            (format!("{call}{space}"), 1),
            (format!("[{call},{call},{call}]"), 3),
            (format!("[{call}{space}]"), 1),
        ] {
            let (keeper, body) = (Keeper::default(), Bytes::from(text));
            answer_body(&keeper, &body).await;
            let kept = keeper.0.lock().unwrap();
            assert_eq!(kept.len(), calls);
            assert!(kept.iter().all(|kept| kept.raw == call));
            assert!(body.is_unique(), "{body:?}");
        }
        // One that is most of its body is not copied.
        let (keeper, body) = (Keeper::default(), Bytes::from(call));
        answer_body(&keeper, &body).await;
        assert_eq!(keeper.0.lock().unwrap()[0].raw.as_ptr(), body.as_ptr());
    }
}

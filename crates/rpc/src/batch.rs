//! `split_batches`: the calls of a batch are queued one by one, each in its own lane and with tries of its own, and their answers
//! put back in the batch's order.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Body;
use mainstay_otel::Span;
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
use crate::spans;
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
        Ok(Message::Batch(calls)) => {
            // It waits, and counts, as no more than it is.
            Some(calls.into_iter().map(|call| call.map(|call| call.kept(body))).collect())
        }
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
    mut span: Span,
    calls: Vec<Result<Call, BadCall>>,
) -> Response {
    let trace = span.trace();
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
        let job = whole.part(path, given, id, call.raw);
        let mut account =
            Account::new(core.clone(), job.lane, job.since, job.body.len(), id.clone()).within(trace.clone());
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
    spans::batch_ended(&mut span, whole.lane);
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
        Ok(place) => tries::run(core, job, place, clock::now(), &mut account).await,
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
    account.begin_reply(answer.at);
    let status = answer.reply.status.as_u16();
    account.set_status(status);
    let read = gather(answer.reply.body, left).await;
    if let Err(Unread::Broken(error)) = &read {
        core.observe(&answer.node, |health, now| health.call_failed(&error.into(), now));
    }
    drop(answer.slot);
    account.close(if read.is_ok() { outcome(status) } else { Outcome::Broken });
    let id = id?;
    let why = match read {
        Ok(body) if envelope::parse_reply(&body).is_ok() => return Some(body),
        Ok(_) => format!("HTTP {status} without a JSON-RPC answer"),
        Err(Unread::TooLarge) => "the answers of the batch are too large".to_owned(),
        Err(Unread::Broken(_)) => "the answer broke off".to_owned(),
    };
    Some(Failure::Node(why).of_call(Some(&id)))
}

/// Why an answer isn't whole.
#[derive(Debug)]
enum Unread<E> {
    /// All answers of the batch together are too large with it.
    TooLarge,
    /// It broke off.
    Broken(E),
}

/// Reads a body, which takes what it needs from what is `left` for all of them while it comes.
async fn gather<B>(mut body: B, left: &AtomicUsize) -> Result<Bytes, Unread<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        let take = |left: usize| left.checked_sub(data.len());
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| Unread::TooLarge)?;
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// A body of so many pieces of 10 bytes, between which others have their turn.
    struct Pieces(usize, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.1 = !self.1;
            if self.1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))))
        }
    }

    /// What waits in the queue counts as a call's own size.
    #[test]
    fn a_small_call_does_not_keep_a_large_body() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}"#;
        for text in [format!("[{call},{call},{call}]"), format!("[{call}{}]", " ".repeat(1000))] {
            let body = Bytes::from(text);
            let calls = calls(&body).unwrap();
            assert!(calls.iter().all(|kept| kept.as_ref().unwrap().raw == call));
            assert!(body.is_unique(), "{body:?}");
        }
    }

    /// Each was once measured against what was left when it began, so that together they could be many times as large.
    #[tokio::test]
    async fn answers_that_come_at_once_share_one_limit() {
        let left = AtomicUsize::new(100);
        let (one, two) = tokio::join!(gather(Pieces(6, false), &left), gather(Pieces(6, false), &left));
        let read = [one, two].map(|read| read.map(|body| body.len()).map_err(|_| ()));
        assert!(read.contains(&Err(())), "120 bytes of 100: {read:?}");
        assert!(gather(Pieces(9, false), &AtomicUsize::new(89)).await.is_err());
        assert_eq!(gather(Pieces(9, false), &AtomicUsize::new(90)).await.unwrap().len(), 90);
    }
}

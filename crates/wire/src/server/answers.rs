//! Answers over HTTP/2: each is a task of its own, and ends if its client makes no room for it.
//!
//! The socket doesn't tell: a client that reads its connection but not one of the answers on it leaves that answer's window
//! shut, and hyper waits for as long as that lasts, with all that the answer holds.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

/// A body is handed over in pieces of at most this size, so that whoever takes in a little of a large one is seen to.
pub(super) const PIECE: usize = 64 << 10;

tokio::task_local! {
    /// Since when the task's answer has had a piece with hyper that waits for room.
    static WAITS: Cell<Option<Instant>>;
}

/// Notes that the answer's body was asked for more, and gave a piece or had none.
pub(super) fn asked(has_given: bool) {
    // Nobody waits for the body of an answer that isn't such a task's.
    let _ = WAITS.try_with(|waits| waits.set(has_given.then(Instant::now)));
}

/// The next piece of what has been given but not handed over.
pub(super) fn piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE))
}

/// Runs answers; one whose client makes no room for it in this time is dropped, which resets its stream.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    pub(super) write_timeout: Duration,
}

impl<F> Executor<F> for Answers
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, answer: F) {
        tokio::spawn(WAITS.scope(Cell::new(None), taken_in(answer, self.write_timeout)));
    }
}

/// Runs an answer to its end, or until its client has made no room for it for that long.
async fn taken_in(answer: impl Future, limit: Duration) {
    let mut answer = pin!(answer);
    let mut overdue = pin!(None::<Sleep>);
    poll_fn(|cx| {
        if answer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = WAITS.try_with(Cell::get).ok().flatten() else {
            overdue.set(None);
            return Poll::Pending;
        };
        let end = since + limit;
        if overdue.as_ref().as_pin_ref().is_none_or(|sleep| sleep.deadline() != end) {
            overdue.set(Some(sleep_until(end)));
        }
        let Some(sleep) = overdue.as_mut().as_pin_mut() else { return Poll::Pending };
        let is_over = sleep.poll(cx);
        if is_over.is_ready() {
            tracing::debug!("broke off an answer that its client makes no room for");
        }
        is_over
    })
    .await;
}

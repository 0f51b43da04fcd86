//! The body of a node's answer on its way to the client: it holds the node's slot until it has been passed on or dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use mainstay_wire::client::{CallError, ReplyBody};

use crate::account::Account;
use crate::core::Core;
use crate::node::Node;
use crate::queue::Slot;
use crate::telemetry::Outcome;

/// A body that streams.
pub(crate) struct Held {
    body: ReplyBody,
    hold: Option<Hold>,
}

/// What ends with the body.
pub(crate) struct Hold {
    pub(crate) core: Arc<Core>,
    pub(crate) slot: Slot,
    pub(crate) node: Arc<Node>,
    pub(crate) account: Account,
    /// What became of the request if the body comes to its end.
    pub(crate) outcome: Outcome,
}

impl Held {
    pub(crate) fn new(body: ReplyBody, hold: Hold) -> Self {
        let mut held = Self { body, hold: Some(hold) };
        held.end_if_over();
        held
    }

    /// Whoever knows the body's length may never ask for its end.
    fn end_if_over(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(Hold { slot, account, outcome, .. }) = self.hold.take() {
            // The slot first: another request may be waiting for it.
            drop(slot);
            account.close(outcome);
        }
    }

    fn broken(&mut self, error: &CallError) {
        if let Some(Hold { core, slot, node, account, .. }) = self.hold.take() {
            core.observe(&node, |health, now| health.call_failed(&error.into(), now));
            drop(slot);
            account.close(Outcome::Broken);
        }
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.end_if_over(),
            Some(Err(error)) => self.broken(error),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

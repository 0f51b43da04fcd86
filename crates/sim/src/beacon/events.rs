//! The event streams of a simulated beacon node.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::Shared;
use crate::host::lock;

/// Events that a reader may lag behind; then its stream ends.
const MOST_WAITING: usize = 1024;

/// What goes down the streams.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// `None` for what every stream gets, whatever its topics.
    pub(super) topic: Option<String>,
    pub(super) text: Bytes,
}

/// The open streams, and what the process has not got round to sending.
#[derive(Default)]
pub(super) struct Streams {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: Vec<Stream>,
    held: Vec<Event>,
}

struct Stream {
    id: u64,
    topics: Vec<String>,
    sender: mpsc::Sender<Bytes>,
}

impl Streams {
    pub(super) fn count(&self) -> usize {
        lock(&self.inner).open.len()
    }

    /// Opens a stream of these topics.
    pub(super) fn open(shared: &Arc<Shared>, topics: Vec<String>) -> EventBody {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let mut inner = lock(&shared.streams.inner);
        let id = inner.next;
        inner.next += 1;
        inner.open.push(Stream { id, topics, sender });
        drop(inner);
        shared.log.changed();
        EventBody { id, shared: shared.clone(), receiver }
    }

    /// Sends an event, or keeps it until [`Streams::release`]. Whether it must be kept is asked under the lock, so that none is kept
    /// by a node that has just been healed.
    pub(super) fn send(&self, event: Event, hold: impl FnOnce() -> bool) {
        let mut inner = lock(&self.inner);
        if hold() {
            if inner.held.len() < MOST_WAITING {
                inner.held.push(event);
            }
        } else {
            inner.send(&event);
        }
    }

    pub(super) fn release(&self) {
        let mut inner = lock(&self.inner);
        for event in std::mem::take(&mut inner.held) {
            inner.send(&event);
        }
    }

    /// Ends all streams, as they should end.
    pub(super) fn end(&self) {
        lock(&self.inner).open.clear();
    }

    fn close(&self, id: u64) {
        lock(&self.inner).open.retain(|stream| stream.id != id);
    }
}

impl Inner {
    fn send(&mut self, event: &Event) {
        self.open.retain(|stream| {
            let wanted = event.topic.as_ref().is_none_or(|topic| stream.topics.contains(topic));
            !wanted || stream.sender.try_send(event.text.clone()).is_ok()
        });
    }
}

/// One stream, as the body of an answer; it counts as open until it is dropped.
pub(super) struct EventBody {
    id: u64,
    shared: Arc<Shared>,
    receiver: mpsc::Receiver<Bytes>,
}

impl Drop for EventBody {
    fn drop(&mut self) {
        self.shared.streams.close(self.id);
        self.shared.log.changed();
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.receiver.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

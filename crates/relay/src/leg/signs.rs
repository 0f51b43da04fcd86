//! What a leg shows of its node to who wants to know whether it may be moved, and what that one has it asked.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_antelope::{Frame, IdList, Kind, List, Message, Mode, Notice};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Who has asked for blocks is at it for so long; nodes give up on an answer after 5 s.
pub(super) const BUSY: Duration = Duration::from_secs(6);

/// What is seen of a leg.
pub(super) struct Signs {
    /// The node's newest handshake.
    greeting: watch::Sender<Option<Frame>>,
    /// What the node is to be sent besides what its outer peer says.
    question: Mutex<Option<Frame>>,
    asked: Notify,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The newest block that the outer peer has sent.
    block: Option<Frame>,
    /// When either side asked the other one for blocks.
    request: Option<Instant>,
}

impl Signs {
    pub(super) fn new() -> Self {
        Self {
            greeting: watch::Sender::new(None),
            question: Mutex::new(None),
            asked: Notify::new(),
            seen: Mutex::new(Seen { block: None, request: None }),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node has sent a frame, which goes out.
    pub(super) fn out(&self, frame: &Frame) {
        if frame.kind() == Kind::Handshake {
            self.greeting.send_replace(Some(frame.clone()));
        }
        self.requested(frame);
    }

    /// Its outer peer has, and it came in.
    pub(super) fn inward(&self, frame: &Frame) {
        if frame.kind() == Kind::SignedBlock {
            self.seen().block = Some(frame.clone());
        }
        self.requested(frame);
    }

    fn requested(&self, frame: &Frame) {
        let is_request = match frame.kind() {
            Kind::Request => true,
            // An end of 0 takes a request back.
            Kind::SyncRequest => {
                !matches!(frame.message(), Ok(Message::SyncRequest(range)) if range.end == 0)
            }
            _ => false,
        };
        if is_request {
            self.seen().request = Some(Instant::now());
        }
    }

    /// Whether nobody waits for blocks that were asked for.
    pub(super) fn is_quiet(&self) -> bool {
        self.seen().request.is_none_or(|request| request.elapsed() >= BUSY)
    }

    /// Has the node say where it is: its next handshake. `None`: nothing is known that it could be asked with.
    ///
    /// What it is told is that its peer has the block that it has from that peer; a node answers that with its handshake.
    pub(super) async fn greeting(&self) -> Option<Frame> {
        let mut greeting = self.greeting.subscribe();
        greeting.mark_unchanged();
        let question = {
            let seen = self.seen();
            let header = seen.block.as_ref()?.block_header()?.ok()?;
            let none = IdList { mode: Mode::NONE, pending: 0, ids: List::EMPTY };
            let id = header.id();
            let ids = [id];
            let blocks = IdList { mode: Mode::CATCH_UP, pending: id.block_num(), ids: List::Items(&ids) };
            Message::Notice(Notice { known_trx: none, known_blocks: blocks }).frame().ok()?
        };
        *self.question.lock().unwrap_or_else(PoisonError::into_inner) = Some(question);
        self.asked.notify_one();
        greeting.changed().await.ok()?;
        greeting.borrow_and_update().clone()
    }

    /// Waits for something that the node is to be asked.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// What it is to be asked, if anything.
    pub(super) fn question(&self) -> Option<Frame> {
        self.question.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

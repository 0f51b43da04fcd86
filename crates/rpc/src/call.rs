//! What the queue knows of a request.

use std::time::{Duration, Instant};

use crate::lane::Lane;
use crate::pool::NodeId;

/// A request on its way through the queue, tries included. The request itself isn't here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its lane.
    pub lane: Lane,
    /// When it came. A retry keeps it.
    pub since: Instant,
    /// Until when it may wait, and its tries may last.
    pub deadline: Instant,
    /// Bytes that are held for it while it waits.
    pub size: usize,
    /// Nodes that it was sent to.
    pub tried: Tried,
    /// Its place in the order of arrival; given by the queue.
    pub(crate) order: u64,
}

impl Call {
    /// A request that came at `now` and may take `timeout`.
    #[must_use]
    pub fn new(lane: Lane, now: Instant, timeout: Duration, size: usize) -> Self {
        Self { lane, since: now, deadline: now + timeout, size, tried: Tried::default(), order: 0 }
    }
}

/// The nodes that a request was sent to; a few at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tried(Option<Box<[NodeId]>>);

impl Tried {
    /// Adds a node.
    pub fn add(&mut self, node: NodeId) {
        if self.contains(node) {
            return;
        }
        let mut nodes = self.nodes().to_vec();
        // In order, so that the same nodes are the same set, however they came.
        nodes.insert(nodes.partition_point(|other| *other < node), node);
        self.0 = Some(nodes.into());
    }

    /// Whether a node is among them.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.nodes().contains(&node)
    }

    /// Whether there is none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        self.0.as_deref().unwrap_or_default()
    }
}

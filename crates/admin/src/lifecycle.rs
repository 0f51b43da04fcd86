//! Where the process is between its start and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A part of the process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Roles are being built, ports bound.
    Starting,
    /// All roles serve.
    Serving,
    /// A signal to end has come; what is in flight is being answered.
    Stopping,
}

/// The phase, shared between who runs the process and the admin listener. Only goes forward.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle(Arc<AtomicU8>);

impl Lifecycle {
    /// A process that is starting.
    pub fn new() -> Self {
        Self::default()
    }

    /// All roles serve now: `/readyz` may say so.
    pub fn serving(&self) {
        self.0.fetch_max(1, Ordering::Relaxed);
    }

    /// The process is on its way out: `/readyz` says no from now on. Call it on the first signal, and stop the admin
    /// listener only when the roles are done, so that who asks in between gets an answer.
    pub fn stopping(&self) {
        self.0.fetch_max(2, Ordering::Relaxed);
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }
}

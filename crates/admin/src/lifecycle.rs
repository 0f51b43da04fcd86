//! Where the process is between its start and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

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
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Life>);

#[derive(Debug)]
struct Life {
    phase: AtomicU8,
    started: Instant,
    started_at_ms: u64,
}

impl Default for Lifecycle {
    fn default() -> Self {
        let started_at_ms = clock::wall_ms();
        Self(Arc::new(Life { phase: AtomicU8::new(0), started: Instant::now(), started_at_ms }))
    }
}

impl Lifecycle {
    /// A process that is starting now.
    pub fn new() -> Self {
        Self::default()
    }

    /// All roles serve now: `/readyz` may say so.
    pub fn serving(&self) {
        self.0.phase.fetch_max(1, Ordering::Relaxed);
    }

    /// The process is on its way out: `/readyz` says no from now on. Call it on the first signal, and stop the admin
    /// listener only when the roles are done, so that who asks in between gets an answer.
    pub fn stopping(&self) {
        self.0.phase.fetch_max(2, Ordering::Relaxed);
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }

    /// When it was started, in milliseconds since 1970.
    #[must_use]
    pub fn started_at_ms(&self) -> u64 {
        self.0.started_at_ms
    }

    /// How long it runs, whatever the clock was set to since.
    #[must_use]
    pub fn up(&self) -> Duration {
        self.0.started.elapsed()
    }
}

//! What is kept of one request for the headers of its answer, its line in the log and its metrics.
//!
//! An account that is dropped without a word is of a request whose client went away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use mainstay_otel::{Span, Trace};

use crate::clock;
use crate::core::Core;
use crate::job::REQUEST_ID;
use crate::lane::Lane;
use crate::node::{Node, Uris};
use crate::own_headers::{Shown, micros};
use crate::spans;
use crate::telemetry::Outcome;

/// A request's account.
pub(crate) struct Account {
    core: Arc<Core>,
    lane: Lane,
    /// When its body was in.
    since: Instant,
    size: usize,
    id: HeaderValue,
    /// How many waited when it came, itself included.
    start: [usize; 3],
    end: [usize; 3],
    tries: u32,
    node: Option<Arc<Uris>>,
    /// When the try that is answered began.
    tried: Option<Instant>,
    head: Option<Instant>,
    status: u16,
    /// What is told of it to a tracing system.
    span: Span,
    trace: Trace,
    over: bool,
}

impl Account {
    /// Opens one.
    pub(crate) fn new(core: Arc<Core>, lane: Lane, since: Instant, size: usize, id: HeaderValue) -> Self {
        Self {
            core,
            lane,
            since,
            size,
            id,
            start: [0; 3],
            end: [0; 3],
            tries: 0,
            node: None,
            tried: None,
            head: None,
            status: 0,
            span: Span::default(),
            trace: Trace::default(),
            over: false,
        }
    }

    /// The same, with what is told of it to a tracing system.
    pub(crate) fn traced(mut self, span: Span) -> Self {
        self.trace = span.trace();
        self.span = span;
        self
    }

    /// The same, as a part of what has a span already.
    pub(crate) fn within(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }

    /// Where its tries stand in its trace.
    pub(crate) fn trace(&self) -> Trace {
        self.trace.clone()
    }

    /// It was let in.
    pub(crate) fn entered(&mut self, lengths: [usize; 3]) {
        self.start = lengths;
    }

    /// A node gets it.
    pub(crate) fn trying(&mut self, node: &Node, now: Instant) {
        if self.tries == 0 {
            self.core.telemetry.waited(self.lane, now.saturating_duration_since(self.since));
        }
        self.tries += 1;
        self.won(node, now);
    }

    /// The try that is answered is this node's; with hedging it needn't be the last.
    pub(crate) fn won(&mut self, node: &Node, began: Instant) {
        self.node = Some(node.uris());
        self.tried = Some(began);
    }

    /// Tries so far.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// The head of an answer is there.
    pub(crate) fn begin_reply(&mut self, now: Instant) {
        self.head = Some(now);
        self.end = self.core.queue.lengths();
    }

    /// The header of an answer whose head came at `now`, given its content type.
    pub(crate) fn headers(&self, kind: Option<HeaderValue>, now: Instant) -> HeaderMap {
        let (lane, (queued, sim)) = (self.lane.index(), self.times());
        let total = now.saturating_duration_since(self.since);
        let shown = Shown { queued, sim, total, start: self.start[lane], end: self.end[lane] };
        self.core.own_headers.filled(kind, self.id.clone(), &shown)
    }

    /// Echoes the request's id.
    pub(crate) fn identify(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.id.clone());
    }

    /// The status that the client gets.
    pub(crate) fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// Closes it.
    pub(crate) fn close(self, outcome: Outcome) {
        self.close_at(outcome, clock::now());
    }

    /// Closes it, for one who has read the clock.
    pub(crate) fn close_at(mut self, outcome: Outcome, now: Instant) {
        self.end(outcome, now);
    }

    /// Time before the try that is answered, and of that try.
    fn times(&self) -> (Duration, Duration) {
        let (tried, head) = (self.tried.unwrap_or(self.since), self.head.unwrap_or(self.since));
        (tried.saturating_duration_since(self.since), head.saturating_duration_since(tried))
    }

    fn end(&mut self, outcome: Outcome, now: Instant) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let core = &self.core;
        let took = now.saturating_duration_since(self.since);
        core.telemetry.ended(self.lane, outcome, took);
        spans::request_ended(&mut self.span, self.lane, outcome, self.status, self.tries);
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        if self.head.is_none() {
            self.end = core.queue.lengths();
        }
        let (queued, sim) = self.times();
        let ([start_fast, start_high, start_low], [end_fast, end_high, end_low]) = (self.start, self.end);
        let items = end_fast + end_high + end_low;
        // The names are those of prio-load-balancer's lines, those of its README too.
        tracing::info!(
            rpc = core.telemetry.name(),
            service = core.fixed.log_service.as_deref(),
            reqID = self.id.to_str().ok(),
            requestIsHighPrio = self.lane == Lane::High,
            requestIsFastTrack = self.lane == Lane::FastTrack,
            payloadSize = self.size,
            startQueueSize = start_fast + start_high + start_low,
            startQueueSizeFastTrack = start_fast,
            startQueueSizeHighPrio = start_high,
            startQueueSizeLowPrio = start_low,
            durationMs = took.as_millis() as u64,
            durationUs = micros(took),
            simDurationUs = micros(sim),
            queueDurationUs = micros(queued),
            statusCode = self.status,
            nodeURI = self.node.as_ref().map_or("", |uris| uris.shown.as_str()),
            requestTries = self.tries,
            endQueueSize = items,
            endQueueSizeFastTrack = end_fast,
            endQueueSizeHighPrio = end_high,
            endQueueSizeLowPrio = end_low,
            queueItems = items,
            queueItemsFastTrack = end_fast,
            queueItemsHighPrio = end_high,
            queueItemsLowPrio = end_low,
            outcome = outcome.word(),
            "Request completed"
        );
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.over {
            self.end(Outcome::Gone, clock::now());
        }
    }
}

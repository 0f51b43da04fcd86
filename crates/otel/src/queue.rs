//! Spans that have ended, on their way out: a queue with a bound, and the task that empties it in batches.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prost::Message as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Traces;
use crate::metrics::{Counts, Fate};
use crate::post::Post;
use crate::telemetry::Complaint;

/// Takes spans from wherever they end. Never waits: what finds no room is counted and gone.
#[derive(Debug)]
pub(crate) struct Entry {
    queue: Sender<SpanData>,
    counts: Arc<Counts>,
}

impl SpanProcessor for Entry {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled()
            && let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = self.queue.try_send(span)
        {
            self.counts.spans(Fate::QueueFull, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task's side.
pub(crate) struct Exit {
    queue: Receiver<SpanData>,
    post: Post,
    resource: ResourceAttributesWithSchema,
    batch: usize,
    delay: Duration,
    export_within: Duration,
    counts: Arc<Counts>,
    complaint: Complaint,
}

/// Both ends of a queue.
pub(crate) fn queue(traces: &Traces, post: Post, resource: &Resource, counts: Arc<Counts>) -> (Entry, Exit) {
    let (send, receive) = channel(traces.queue);
    let exit = Exit {
        queue: receive,
        post,
        resource: resource.into(),
        batch: traces.batch,
        delay: traces.delay,
        export_within: traces.export_within,
        counts: counts.clone(),
        complaint: Complaint::new("traces"),
    };
    (Entry { queue: send, counts }, exit)
}

impl Exit {
    /// Sends what has gathered every `delay`, and a whole batch as soon as it is there; at the end what is left, for as long as `flush`.
    pub(crate) async fn run(mut self, stop: CancellationToken, flush: Duration) {
        let mut batch = Vec::with_capacity(self.batch);
        while !stop.is_cancelled() {
            let due = Instant::now() + self.delay;
            let gathered = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                gathered = self.gather(&mut batch, due) => gathered,
            };
            if !batch.is_empty() {
                self.export(&mut batch, &stop, flush).await;
            }
            if !gathered {
                return;
            }
        }
        let until = Instant::now() + flush;
        loop {
            while batch.len() < self.batch {
                match self.queue.try_recv() {
                    Ok(span) => batch.push(span),
                    Err(_) => break,
                }
            }
            if batch.is_empty() {
                return;
            }
            if Instant::now() >= until {
                self.counts.spans(Fate::Undelivered, batch.len() + self.queue.len());
                return;
            }
            self.send(&mut batch, until).await;
        }
    }

    /// Fills the batch until it is full or it is time. `false`: nobody can add to the queue any more.
    async fn gather(&mut self, batch: &mut Vec<SpanData>, due: Instant) -> bool {
        while batch.len() < self.batch {
            let room = self.batch - batch.len();
            match timeout_at(due, self.queue.recv_many(batch, room)).await {
                Ok(0) => return false,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        true
    }

    /// Sends a batch; once the process stops it has no more time than a flush.
    async fn export(&mut self, batch: &mut Vec<SpanData>, stop: &CancellationToken, flush: Duration) {
        let (count, counts) = (batch.len(), self.counts.clone());
        let mut sending = pin!(self.send(batch, Instant::now() + self.export_within));
        tokio::select! {
            biased;
            () = &mut sending => {}
            () = stop.cancelled() => {
                if tokio::time::timeout(flush, sending).await.is_err() {
                    counts.spans(Fate::Undelivered, count);
                }
            }
        }
    }

    async fn send(&mut self, batch: &mut Vec<SpanData>, until: Instant) {
        let count = batch.len();
        let spans = std::mem::replace(batch, Vec::with_capacity(self.batch));
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(spans, &self.resource),
        };
        match self.post.send(request.encode_to_vec(), until).await {
            Ok(reply) => {
                let partial =
                    ExportTraceServiceResponse::decode(reply).ok().and_then(|reply| reply.partial_success);
                let refused =
                    partial.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or(0));
                let refused = refused.min(count);
                self.counts.spans(Fate::Refused, refused);
                self.counts.spans(Fate::Exported, count - refused);
                self.counts.export("traces", true);
                self.complaint.over();
            }
            Err(why) => {
                self.counts.spans(Fate::Undelivered, count);
                self.counts.export("traces", false);
                self.complaint.make(&why);
            }
        }
    }
}

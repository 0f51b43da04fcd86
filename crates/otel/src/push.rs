//! The task that tells metrics: the page, read anew every interval, and once more at the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::metrics::Counts;
use crate::page::read;
use crate::post::Post;
use crate::telemetry::{Complaint, SCOPE};
use crate::told::{Told, attribute, tell};

/// Makes the page of metrics, in OpenMetrics' text.
pub type Page = Arc<dyn Fn() -> String + Send + Sync>;

pub(crate) struct Push {
    pub(crate) post: Post,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) interval: Duration,
    pub(crate) export_within: Duration,
    /// Since when counters count.
    pub(crate) since: SystemTime,
    pub(crate) counts: Arc<Counts>,
}

impl Push {
    /// Tells the page every interval until `stop`, and then once more, for as long as `flush`.
    pub(crate) async fn run(self, page: Page, stop: CancellationToken, flush: Duration) {
        let mut complaint = Complaint::new("metrics");
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        // One that took longer than the interval isn't made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                biased;
                // The last one holds all that this one would have told.
                () = stop.cancelled() => break,
                () = self.once(&page, &mut complaint, Instant::now() + self.export_within) => {}
            }
        }
        self.once(&page, &mut complaint, Instant::now() + flush).await;
    }

    async fn once(&self, page: &Page, complaint: &mut Complaint, until: Instant) {
        let (told, resource, page) = (self.told(), self.resource.clone(), page.clone());
        // Milliseconds of work where there are many nodes: calls on this thread shan't wait for it.
        let message = tokio::task::spawn_blocking(move || message(&page(), resource, told)).await;
        let sent = match message {
            Ok(message) => self.post.send(message, until).await,
            Err(_) => Err("the metrics can't be read".to_owned()),
        };
        self.counts.export("metrics", sent.is_ok());
        match sent {
            Ok(_) => complaint.over(),
            Err(why) => complaint.make(&why),
        }
    }

    fn told(&self) -> Told {
        Told { since: self.since, at: crate::clock::wall() }
    }
}

fn message(page: &str, resource: Vec<(String, String)>, told: Told) -> Vec<u8> {
    let attributes = resource.into_iter().map(|(key, value)| attribute(key, value)).collect();
    let scope = InstrumentationScope { name: SCOPE.to_owned(), ..InstrumentationScope::default() };
    let metrics =
        ScopeMetrics { scope: Some(scope), metrics: tell(read(page), told), ..ScopeMetrics::default() };
    let resource = Resource { attributes, ..Resource::default() };
    let all = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![metrics],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![all] }.encode_to_vec()
}

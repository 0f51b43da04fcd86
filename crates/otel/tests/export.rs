//! Spans and metrics on their way to a collector that is well, slow, full or gone.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../../../tests/otlp.rs"]
mod otlp;
#[path = "../../../tests/metrics.rs"]
mod pages;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use mainstay_otel::{Config, Telemetry};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use otlp::{Collector, Does, attribute, id};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

const NEVER: &str = "3600000";

fn start(url: &str, more: &[(&str, &str)]) -> (Telemetry, Registry) {
    let fixed = [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_METRICS_EXPORTER", "none")];
    let all = fixed.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut problems = Vec::new();
    let config = Config::read(&all.collect(), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    let mut registry = Registry::default();
    (Telemetry::start(config.unwrap(), &mut registry).unwrap(), registry)
}

fn figure(registry: &Registry, sample: &str) -> u64 {
    let mut page = String::new();
    encode(&mut page, registry).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{sample} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

fn spans(registry: &Registry, outcome: &str) -> u64 {
    figure(registry, &format!("mainstay_otel_spans_total{{outcome=\"{outcome}\"}}"))
}

fn make(telemetry: &Telemetry, count: usize) {
    for _ in 0..count {
        drop(telemetry.tracer().request("a", &HeaderMap::new()));
    }
}

#[track_caller]
fn eventually(what: &str, yes: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !yes() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_tries_are_one_trace() {
    let collector = Collector::start([]);
    let more = [("OTEL_SERVICE_NAME", "guard"), ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=Secret")];
    let (telemetry, _) = start(&collector.url, &more);
    let mut headers = HeaderMap::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert("traceparent", HeaderValue::from_static(parent));
    headers.insert("tracestate", HeaderValue::from_static("a=1,b=2"));
    let mut request = telemetry.tracer().request("first", &headers);
    request.set("mainstay.role", "rpc");
    request.rename(|| "eth_call".into());
    let mut attempt = request.trace().call(|| "eth_call".into());
    let told: Vec<_> = attempt.fields().map(|(name, value)| (name.to_string(), value)).collect();
    attempt.set("mainstay.node", "one");
    attempt.fail("timeout");
    drop(attempt);
    drop(request);
    telemetry.end().await;

    let spans = collector.wait_for_spans(2);
    let (attempt, request) = (&spans[0], &spans[1]);
    assert_eq!((request.kind(), attempt.kind()), (SpanKind::Server, SpanKind::Client));
    assert_eq!(id(&request.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(id(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!((request.name.as_str(), request.trace_state.as_str()), ("eth_call", "a=1,b=2"));
    assert_eq!((&attempt.trace_id, &attempt.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!(attempt.status.clone().unwrap().code(), StatusCode::Error);
    assert_eq!(attribute(attempt, "error.type").as_deref(), Some("timeout"));
    assert_eq!(attribute(attempt, "mainstay.node").as_deref(), Some("one"));
    assert!(request.end_time_unix_nano >= request.start_time_unix_nano && request.start_time_unix_nano > 0);
    let parent = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", id(&attempt.span_id));
    assert_eq!(told[0], ("traceparent".to_owned(), HeaderValue::try_from(parent).unwrap()));
    assert_eq!(told[1], ("tracestate".to_owned(), HeaderValue::from_static("a=1,b=2")));
    collector.wait("its resource and headers", |got| {
        assert!(
            got.resource.contains(&("service.name".to_owned(), "guard".to_owned())),
            "{:?}",
            got.resource
        );
        assert_eq!(got.requests[0].field("api-key"), Some("secret"));
        Some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_batches_go_at_once_and_the_rest_in_time() {
    let collector = Collector::start([]);
    let more = [
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_BSP_SCHEDULE_DELAY", NEVER),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    let (telemetry, registry) = start(&collector.url, &more);
    make(&telemetry, 10);
    assert_eq!(collector.wait_for_spans(8).len(), 8, "the other two wait");
    telemetry.end().await;
    assert_eq!(collector.spans().len(), 10, "and go at the end");
    assert_eq!(collector.wait("three batches", |got| (got.requests.len() == 3).then_some(got.came)), 3);
    assert_eq!((spans(&registry, "exported"), spans(&registry, "queue_full")), (10, 0));
    assert_eq!(figure(&registry, "mainstay_otel_exports_total{signal=\"traces\",outcome=\"taken\"}"), 3);

    let (telemetry, _) = start(&collector.url, &[("OTEL_BSP_SCHEDULE_DELAY", "20")]);
    make(&telemetry, 1);
    collector.wait_for_spans(11);
}

/// OTLP: 429, 502, 503 and 504 ask for another try, everything else is the last word.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_now_is_sent_again() {
    let soon = [("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let collector = Collector::start([Does::Refuse(503, ""), Does::Refuse(429, "retry-after: 1\r\n")]);
    let (telemetry, registry) = start(&collector.url, &soon);
    let began = Instant::now();
    make(&telemetry, 3);
    assert_eq!(collector.wait_for_spans(3).len(), 3);
    assert!(began.elapsed() > Duration::from_secs(1), "it asked for a pause");
    assert_eq!(collector.wait("tries", |got| Some(got.came)), 3);
    eventually("counted", || spans(&registry, "exported") == 3);

    let collector = Collector::start([Does::Refuse(400, "")]);
    let (telemetry, registry) = start(&collector.url, &soon);
    make(&telemetry, 2);
    eventually("given up", || spans(&registry, "undelivered") == 2);
    make(&telemetry, 1);
    assert_eq!(collector.wait_for_spans(1).len(), 1, "what comes later goes through");
    assert_eq!(collector.wait("tries", |got| Some(got.came)), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_the_collector_refuses_are_counted() {
    let collector = Collector::start([Does::TakeAllBut(2)]);
    let (telemetry, registry) = start(&collector.url, &[("OTEL_BSP_SCHEDULE_DELAY", NEVER)]);
    make(&telemetry, 5);
    telemetry.end().await;
    assert_eq!((spans(&registry, "exported"), spans(&registry, "refused")), (3, 2));

    // One that says nonsense: more than there were.
    let collector = Collector::start([Does::TakeAllBut(9)]);
    let (telemetry, registry) = start(&collector.url, &[("OTEL_BSP_SCHEDULE_DELAY", NEVER)]);
    make(&telemetry, 5);
    telemetry.end().await;
    assert_eq!((spans(&registry, "exported"), spans(&registry, "refused")), (0, 5));
}

/// One that hangs holds a batch; what finds no room beside it is dropped, at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let collector = Collector::start(std::iter::repeat_n(Does::Hang, 1000));
    let more = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", NEVER),
        ("OTEL_BSP_EXPORT_TIMEOUT", NEVER),
    ];
    let (telemetry, registry) = start(&collector.url, &more);
    make(&telemetry, 2);
    collector.wait("the first batch", |got| (got.came == 1).then_some(()));
    let began = Instant::now();
    make(&telemetry, 1000);
    assert!(began.elapsed() < Duration::from_secs(20), "nobody waits for it");
    assert_eq!(spans(&registry, "queue_full"), 1000 - 8);
    let began = Instant::now();
    telemetry.end().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "the end comes all the same: {took:?}");
    assert_eq!(spans(&registry, "exported"), 0);
    assert!(spans(&registry, "undelivered") >= 2, "the batch that it has is told as lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_no_reason_to_fail() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = [("OTEL_BSP_SCHEDULE_DELAY", "10"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "100")];
    let (telemetry, registry) = start(&format!("http://{free}"), &more);
    let began = Instant::now();
    make(&telemetry, 3);
    eventually("dropped", || spans(&registry, "undelivered") == 3);
    assert!(began.elapsed() < Duration::from_secs(25), "by the endpoint's timeout, not the batch's (30 s)");
    assert!(figure(&registry, "mainstay_otel_exports_total{signal=\"traces\",outcome=\"failed\"}") >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn samplers_decide_and_a_callers_decision_counts_more() {
    let parent = |flags: &str| {
        let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        HeaderMap::from_iter([("traceparent".parse().unwrap(), HeaderValue::try_from(text).unwrap())])
    };
    for (sampler, alone, not_by_caller, by_caller) in [
        ("always_on", true, true, true),
        ("always_off", false, false, false),
        ("parentbased_always_on", true, false, true),
        ("parentbased_always_off", false, false, true),
    ] {
        let (telemetry, _) = start("http://127.0.0.1:9", &[("OTEL_TRACES_SAMPLER", sampler)]);
        for (headers, is_recorded) in
            [(HeaderMap::new(), alone), (parent("00"), not_by_caller), (parent("01"), by_caller)]
        {
            let span = telemetry.tracer().request("a", &headers);
            let attempt = span.trace().call(|| "b".into());
            assert_eq!((span.is_recorded(), attempt.is_recorded()), (is_recorded, is_recorded), "{sampler}");
            // Nodes are told of the trace either way, and whether it is recorded.
            let (_, value) = attempt.fields().next().unwrap();
            let end = if is_recorded { "-01" } else { "-00" };
            assert!(value.to_str().unwrap().ends_with(end), "{sampler} {value:?}");
        }
    }
    let collector = Collector::start([]);
    let share = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let (telemetry, registry) = start(&collector.url, &share);
    make(&telemetry, 1000);
    telemetry.end().await;
    let told = spans(&registry, "exported");
    assert!((300..700).contains(&told), "{told} of 1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_the_page_every_interval_and_at_the_end() {
    let collector = Collector::start([Does::Refuse(400, "")]);
    let only = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_TRACES_EXPORTER", "none")];
    let more = [&only[..], &[("OTEL_METRIC_EXPORT_INTERVAL", "50")]].concat();
    let (mut telemetry, mut registry) = start(&collector.url, &more);
    let counter: Counter = Counter::default();
    registry.register("asked", "Requests", counter.clone());
    counter.inc_by(7);
    let registry = Arc::new(registry);
    let told = registry.clone();
    telemetry.push(Arc::new(move || {
        let mut page = String::new();
        encode(&mut page, &told).unwrap();
        page
    }));
    let find = |page: &Vec<opentelemetry_proto::tonic::metrics::v1::Metric>| {
        let asked = page.iter().find(|metric| metric.name == "asked_total")?;
        let Some(Data::Sum(sum)) = &asked.data else { return None };
        Some(format!("{:?}", sum.data_points[0].value))
    };
    let first = collector.wait("a page after the refused one", |got| find(got.metrics.first()?));
    assert_eq!(first, "Some(AsInt(7))");
    collector.wait("two pages", |got| got.metrics.get(1).map(|_| ()));
    counter.inc();
    telemetry.end().await;
    let last = collector.wait("the last page", |got| find(got.metrics.last()?));
    assert_eq!(last, "Some(AsInt(8))", "the end tells all");
    assert_eq!(figure(&registry, "mainstay_otel_exports_total{signal=\"metrics\",outcome=\"failed\"}"), 1);

    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    pages::check(&own(&page), "metrics-otel.txt");
}

/// The lines about the exporting itself.
fn own(page: &str) -> String {
    let is_own = |line: &&str| line.contains("mainstay_otel_");
    page.lines().filter(is_own).map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_off_makes_nothing() {
    let only = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_TRACES_EXPORTER", "none")];
    let (telemetry, _) = start("http://127.0.0.1:9", &only);
    let tracer = telemetry.tracer();
    assert!(!tracer.is_on());
    let mut span = tracer.request("a", &HeaderMap::new());
    span.set_with("dear", || -> String { panic!("nobody asked") });
    span.rename(|| panic!("nobody asked"));
    let attempt = span.trace().call(|| panic!("nobody asked"));
    assert_eq!((span.fields().count(), attempt.fields().count(), attempt.is_recorded()), (0, 0, false));
}

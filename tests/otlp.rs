//! A collector in the test's own process: a small HTTP server that takes OTLP and does what it is told. Nodes can be made of its server too.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// For anything that should take no time at all, on a machine that is busy.
const SOON: Duration = Duration::from_secs(60);

/// What a server got.
#[derive(Clone, Debug)]
pub struct Request {
    /// First line and fields, in small letters.
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(start.as_str()))
    }
}

/// Answers requests on a port of its own for as long as the process lives: status, further header lines, body; `None` never answers.
pub fn serve(answer: impl Fn(Request) -> Option<(u16, String, Vec<u8>)> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || answers(stream, &*answer));
        }
    });
    format!("http://{address}")
}

fn answers(mut stream: TcpStream, answer: &dyn Fn(Request) -> Option<(u16, String, Vec<u8>)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = request(&mut reader) {
        let Some((status, fields, body)) = answer(request) else {
            // Until the other side gives up.
            let _ = reader.read(&mut [0]);
            return;
        };
        let head = format!("HTTP/1.1 {status} x\r\n{fields}content-length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { head, body })
}

/// What the collector does with a message.
#[derive(Clone, Debug)]
pub enum Does {
    /// Refuses it with this status, and further header lines.
    Refuse(u16, &'static str),
    /// Never answers.
    Hang,
    /// Takes it, but so many spans.
    TakeAllBut(i64),
}

#[derive(Default)]
pub struct Got {
    /// Of each message that was taken.
    pub requests: Vec<Request>,
    /// With what they are said to come from.
    pub spans: Vec<Span>,
    /// The latest of each page.
    pub metrics: Vec<Vec<Metric>>,
    /// `service.name` and the like.
    pub resource: Vec<(String, String)>,
    /// Every message that came, the refused ones too.
    pub came: usize,
    /// What to do with those that come next; then it takes all.
    pub does: VecDeque<Does>,
}

/// A collector.
#[derive(Clone)]
pub struct Collector {
    pub url: String,
    got: Arc<(Mutex<Got>, Condvar)>,
}

impl Collector {
    pub fn start(does: impl IntoIterator<Item = Does>) -> Self {
        let first = Got { does: does.into_iter().collect(), ..Got::default() };
        let got = Arc::new((Mutex::new(first), Condvar::new()));
        let shared = got.clone();
        let url = serve(move |request| {
            let (got, changed) = &*shared;
            let mut got = got.lock().unwrap();
            got.came += 1;
            let does = got.does.pop_front();
            changed.notify_all();
            let mut reply = ExportTraceServiceResponse::default();
            match does {
                Some(Does::Refuse(status, fields)) => return Some((status, fields.to_owned(), Vec::new())),
                Some(Does::Hang) => return None,
                Some(Does::TakeAllBut(count)) => {
                    let error_message = "too many".to_owned();
                    let partial = ExportTracePartialSuccess { rejected_spans: count, error_message };
                    reply.partial_success = Some(partial);
                }
                None => {}
            }
            take(&mut got, request);
            changed.notify_all();
            Some((200, "content-type: application/x-protobuf\r\n".to_owned(), reply.encode_to_vec()))
        });
        Self { url, got }
    }

    /// What it has, once `holds` says so.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, holds: impl Fn(&Got) -> Option<T>) -> T {
        let (got, changed) = &*self.got;
        let until = Instant::now() + SOON;
        let mut got = got.lock().unwrap();
        loop {
            if let Some(told) = holds(&got) {
                return told;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {SOON:?}: {what}; {} came, {:?}", got.came, got.spans);
            got = changed.wait_timeout(got, left).unwrap().0;
        }
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.got.0.lock().unwrap().spans.clone()
    }

    /// The spans, once there are so many.
    #[track_caller]
    pub fn wait_for_spans(&self, count: usize) -> Vec<Span> {
        self.wait(&format!("{count} spans"), |got| (got.spans.len() >= count).then(|| got.spans.clone()))
    }
}

fn take(got: &mut Got, request: Request) {
    assert!(request.head.contains("content-type: application/x-protobuf\r\n"), "{}", request.head);
    let body = match request.field("content-encoding") {
        None => request.body.clone(),
        Some("gzip") => {
            let mut body = Vec::new();
            flate2::read::GzDecoder::new(&request.body[..]).read_to_end(&mut body).unwrap();
            body
        }
        Some(other) => panic!("{other}"),
    };
    let mut resource = None;
    if request.head.starts_with("post /v1/traces ") {
        for of in ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans {
            resource = of.resource;
            got.spans.extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    } else {
        assert!(request.head.starts_with("post /v1/metrics "), "{}", request.head);
        for of in ExportMetricsServiceRequest::decode(&body[..]).unwrap().resource_metrics {
            resource = of.resource;
            got.metrics.push(of.scope_metrics.into_iter().flat_map(|scope| scope.metrics).collect());
        }
    }
    got.resource = texts(&resource.unwrap().attributes);
    got.requests.push(request);
}

/// Attributes as text.
pub fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |value: &KeyValue| match value.value.clone().and_then(|any| any.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

/// An attribute's value as text.
pub fn attribute(span: &Span, key: &str) -> Option<String> {
    texts(&span.attributes).into_iter().find_map(|(name, value)| (name == key).then_some(value))
}

/// An id as it stands in `traceparent`.
pub fn id(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Traces and metrics as a collector gets them of the binary: one in the test's own process, and the OpenTelemetry Collector.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../../../tests/otlp.rs"]
mod otlp;
mod support;
#[path = "otel/sync.rs"]
mod sync;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use mainstay_sim::BeaconServer;
use mainstay_sim::beacon::BeaconState;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use otlp::{Collector, Request, attribute, id};
use rustix::process::Signal;
use serde_json::Value;
use support::http::{Reply, answer, eventually};
use support::{Place, Running};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A node, and the requests that weren't probes.
struct Node {
    url: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Node {
    /// `says` is the result of a call; `fails`: the first call of all that share it gets a 503.
    fn start(says: &'static str, fails: &Arc<Mutex<bool>>) -> Self {
        let asked = Arc::<Mutex<Vec<Request>>>::default();
        let (seen, fails) = (asked.clone(), fails.clone());
        let url = otlp::serve(move |request| {
            let body = String::from_utf8(request.body.clone()).unwrap();
            let kind = "content-type: application/json\r\n".to_owned();
            let result = |result: &str| {
                let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
                Some((200, kind.clone(), body.into_bytes()))
            };
            // What probes ask.
            for (method, says) in [
                ("net_version", r#""1""#),
                ("eth_syncing", "false"),
                ("eth_chainId", r#""0x1""#),
                ("web3_clientVersion", r#""x/1""#),
                ("engine_getClientVersionV1", "[]"),
                ("eth_getBlockByNumber", r#"{"number":"0x1","hash":"0x01"}"#),
            ] {
                if body.contains(method) {
                    return result(says);
                }
            }
            seen.lock().unwrap().push(request);
            if std::mem::take(&mut *fails.lock().unwrap()) {
                return Some((503, String::new(), b"busy".to_vec()));
            }
            result(says)
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

/// Posts a call with these header lines.
#[track_caller]
fn post(address: &str, lines: &str, body: &str) -> Reply {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::SOON)).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{lines}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    answer(stream).unwrap()
}

fn traced() -> String {
    format!("traceparent: 00-{TRACE}-{CALLER}-01\r\ntracestate: vendor=1\r\n")
}

fn no_fails() -> Arc<Mutex<bool>> {
    Arc::default()
}

fn rpc(place: &Place, nodes: &[&Node], variables: &[(&str, &str)]) -> Running {
    let nodes: Vec<&str> = nodes.iter().map(|node| node.url.as_str()).collect();
    let nodes = nodes.join(",");
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "logfmt"];
    let more = ["-n", &nodes, "--health", "net_version", "--forward-headers", "traceparent,tracestate"];
    place.start(&[&["rpc"][..], &ports, &more].concat(), variables)
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind() == kind).collect()
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":["0xsecretbody"]}"#;

#[test]
fn a_request_through_rpc_is_one_trace_with_its_retry_and_nodes_are_told_of_it() {
    let collector = Collector::start([]);
    let fails = Arc::new(Mutex::new(true));
    let nodes = [Node::start("\"0x1\"", &fails), Node::start("\"0x1\"", &fails)];
    let place = Place::new();
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let mut running = rpc(&place, &[&nodes[0], &nodes[1]], &variables);
    let address = running.address("rpc");
    let reply = post(&address, &traced(), CALL);
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(collector.spans(), [], "they wait for others");
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));

    // What was left went out before the end.
    let all = collector.spans();
    let of_trace: Vec<Span> = all.into_iter().filter(|span| id(&span.trace_id) == TRACE).collect();
    let [request] = of_kind(&of_trace, SpanKind::Server)[..] else { panic!("{of_trace:?}") };
    assert_eq!((id(&request.parent_span_id).as_str(), request.name.as_str()), (CALLER, "eth_call"));
    let told = |span: &Span, key: &str| attribute(span, key).unwrap_or_default();
    for (key, value) in [
        ("mainstay.role", "rpc"),
        ("mainstay.name", "rpc"),
        ("mainstay.lane", "low"),
        ("mainstay.outcome", "ok"),
        ("mainstay.tries", "2"),
        ("http.response.status_code", "200"),
        ("rpc.method", "eth_call"),
    ] {
        assert_eq!(told(request, key), value, "{key}");
    }
    let tries = of_kind(&of_trace, SpanKind::Client);
    let ends: Vec<_> =
        tries.iter().map(|one| (told(one, "mainstay.outcome"), told(one, "error.type"))).collect();
    let words = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(ends, [words("server_error", "server_error"), words("answered", "")]);
    assert!(tries.iter().all(|one| one.parent_span_id == request.span_id), "{tries:?}");
    // Each node was told of its own try.
    let asked: Vec<Request> = nodes.iter().flat_map(Node::asked).collect();
    let mut parents: Vec<_> = asked.iter().map(|one| one.field("traceparent").unwrap().to_owned()).collect();
    let mut wanted: Vec<_> = tries.iter().map(|one| format!("00-{TRACE}-{}-01", id(&one.span_id))).collect();
    parents.sort();
    wanted.sort();
    assert_eq!(parents, wanted);
    for one in &asked {
        assert_eq!(one.head.matches("traceparent: ").count(), 1, "{}", one.head);
        assert_eq!(one.field("tracestate"), Some("vendor=1"));
    }
    assert!(!format!("{of_trace:?}").contains("secretbody"), "no body is told");
}

#[test]
fn without_variables_nothing_changes_and_the_clients_own_trace_passes() {
    let node = Node::start("\"0x1\"", &no_fails());
    let place = Place::new();
    let mut running = rpc(&place, &[&node], &[]);
    let (address, admin) = (running.address("rpc"), running.address("admin"));
    assert_eq!(post(&address, &traced(), CALL).status, 200);
    let asked = node.asked();
    let parent = format!("00-{TRACE}-{CALLER}-01");
    assert_eq!(asked[0].field("traceparent"), Some(parent.as_str()));
    assert!(!support::http::ask(&admin, "GET", "/metrics", "").fine().contains("mainstay_otel"));
}

#[test]
fn a_guards_request_is_a_trace_and_its_beacon_node_is_told_of_it() {
    let collector = Collector::start([]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(BeaconServer::start("b1", BeaconState::default())).unwrap();
    let place = Place::new();
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    // Its chain is long over.
    let flags = ["beacon", "--beacon-node", &node.url(), "--max-sync-distance", "off", "--warm-up", "0s"];
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "logfmt"];
    let mut running = place.start(&[&flags[..], &ports].concat(), &variables);
    let (address, admin) = (running.address("beacon"), running.address("admin"));
    eventually("the guard is open", || support::http::ask(&admin, "GET", "/healthz", "").status == 200);
    let get = |path: &str| {
        use std::io::Write as _;
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(support::SOON)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n{}\r\n", traced()).unwrap();
        answer(stream).unwrap().status
    };
    assert_eq!(get("/eth/v1/beacon/states/head/fork?secret=query"), 200);
    // Checks ask the same node, and are no requests.
    let asked = node.requests_to("/eth/v1/beacon/states/head/fork");
    let received = asked.iter().find(|one| one.path.contains("secret")).unwrap();
    node.stop();
    eventually("the guard is closed", || get("/eth/v1/node/version") == 503);
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));

    let of_trace: Vec<Span> =
        collector.spans().into_iter().filter(|span| id(&span.trace_id) == TRACE).collect();
    let requests = of_kind(&of_trace, SpanKind::Server);
    let told = |span: &Span, key: &str| attribute(span, key).unwrap_or_default();
    let route = "/eth/v1/beacon/states/{state_id}/fork";
    let request = requests.iter().find(|span| told(span, "http.route") == route).unwrap();
    assert_eq!((id(&request.parent_span_id).as_str(), &*request.name), (CALLER, &*format!("GET {route}")));
    for (key, value) in [
        ("mainstay.role", "beacon"),
        ("mainstay.name", "beacon"),
        ("mainstay.node", "beacon-1"),
        ("mainstay.outcome", "node"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(told(request, key), value, "{key}");
    }
    let attempts = of_kind(&of_trace, SpanKind::Client);
    let attempt = attempts.iter().find(|span| span.parent_span_id == request.span_id).unwrap();
    assert_eq!(told(attempt, "mainstay.outcome"), "answered");
    let parents: Vec<_> = received.headers.get_all("traceparent").iter().collect();
    assert_eq!(parents, [&*format!("00-{TRACE}-{}-01", id(&attempt.span_id))]);
    assert_eq!(received.headers["tracestate"], "vendor=1");
    // Closed, it answers itself, and the node isn't tried.
    let closed = requests.iter().rfind(|span| told(span, "mainstay.outcome") == "mainstay").unwrap();
    assert_eq!(
        (told(closed, "http.response.status_code"), told(closed, "error.type")),
        ("503".into(), "503".into())
    );
    assert!(!format!("{of_trace:?}").contains("secret"), "no query is told");
}

#[test]
fn a_voted_call_is_a_trace_with_every_node_in_it() {
    let collector = Collector::start([]);
    let valid = r#"{"payloadStatus":{"status":"VALID","latestValidHash":null,"validationError":null},"payloadId":null}"#;
    let nodes = [Node::start(valid, &no_fails()), Node::start(valid, &no_fails())];
    let place = Place::new();
    let list = format!("{},{}", nodes[0].url, nodes[1].url);
    let fixed = ["engine", "-n", &list, "-j", "jwt.hex", "-p", "0", "--admin-listen", "127.0.0.1:0"];
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let mut running = place.start(&[&fixed[..], &["--log-format", "logfmt"]].concat(), &variables);
    let address = running.address("engine");
    let secret = mainstay_wire::jwt::Secret::from_hex(&"11".repeat(32)).unwrap();
    let claims = mainstay_wire::jwt::Claims::at(std::time::SystemTime::now());
    let token = mainstay_wire::jwt::sign(&secret, &claims);
    let head = "0x".to_owned() + &"ab".repeat(32);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"engine_forkchoiceUpdatedV3","params":[{{"headBlockHash":"{head}","safeBlockHash":"{head}","finalizedBlockHash":"{head}"}},null]}}"#
    );
    let lines = format!("authorization: Bearer {token}\r\n{}", traced());
    let reply = post(&address, &lines, &body);
    assert!(reply.status == 200 && reply.body.contains("VALID"), "{} {}", reply.status, reply.body);

    let of_trace = |spans: &[Span]| -> Vec<Span> {
        spans.iter().filter(|span| id(&span.trace_id) == TRACE).cloned().collect()
    };
    let spans = collector.wait("the request and two tries", |got| {
        let spans = of_trace(&got.spans);
        (spans.len() >= 3).then_some(spans)
    });
    let [request] = of_kind(&spans, SpanKind::Server)[..] else { panic!("{spans:?}") };
    assert_eq!(
        (id(&request.parent_span_id).as_str(), request.name.as_str()),
        (CALLER, "engine_forkchoiceUpdatedV3")
    );
    assert_eq!(attribute(request, "mainstay.role").as_deref(), Some("engine"));
    assert_eq!(attribute(request, "mainstay.verdict").as_deref(), Some("VALID"));
    let tries = of_kind(&spans, SpanKind::Client);
    assert_eq!(tries.len(), 2);
    for (one, node) in tries.iter().flat_map(|one| nodes.iter().map(move |node| (one, node))) {
        assert_eq!(one.parent_span_id, request.span_id);
        assert_eq!(attribute(one, "mainstay.vote").as_deref(), Some("VALID"));
        let told = format!("00-{TRACE}-{}-01", id(&one.span_id));
        let port: String = node.url.rsplit(':').next().unwrap().to_owned();
        if attribute(one, "server.port") == Some(port) {
            let asked = node.asked();
            assert!(asked.iter().any(|request| request.field("traceparent") == Some(&told)), "{asked:?}");
            assert!(asked[0].field("authorization").is_some_and(|token| token.starts_with("bearer ")));
        }
    }
    assert!(!format!("{spans:?}").contains(&token[..20]), "no token is told");
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    let metrics = collector.wait("metrics at the end", |got| got.metrics.last().cloned());
    assert!(metrics.iter().any(|metric| metric.name == "mainstay_engine_verdicts_total"), "{metrics:?}");
}

#[test]
fn what_is_wrong_with_a_variable_is_told_before_anything_starts() {
    let place = Place::new();
    let node = ["check", "rpc", "-n", "http://127.0.0.1:1"];
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:geheim@c"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let told =
        "\"grpc\" is not spoken here, http/protobuf is: collectors take it on port 4318, gRPC is on 4317";
    let line = format!("error: OTEL_EXPORTER_OTLP_PROTOCOL: {told}");
    place.run(&node, &variables).refused(&[&line]);
}

/// The OpenTelemetry Collector, that `tests/tools.sh` has built. Ended when dropped.
struct Otelcol {
    child: Child,
    url: String,
    out: PathBuf,
}

impl Otelcol {
    fn start(place: &Place) -> Self {
        let tools = std::env::var_os("E2E_TOOLS").filter(|folder| !folder.is_empty());
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let program = tools.map_or_else(|| top.join("target/tools"), PathBuf::from).join("otelcol/otelcol");
        // It tells nobody which port it got, so one that was free a moment ago is asked for.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let out = place.path().join("told.json");
        let config = place.file(
            "otelcol.yaml",
            &format!(
                "receivers:\n  otlp:\n    protocols:\n      http:\n        endpoint: {free}\n\
                 exporters:\n  file:\n    path: {}\n    flush_interval: 50ms\n\
                 service:\n  telemetry:\n    metrics:\n      level: none\n  pipelines:\n    \
                 traces:\n      receivers: [otlp]\n      exporters: [file]\n    \
                 metrics:\n      receivers: [otlp]\n      exporters: [file]\n",
                out.display()
            ),
        );
        let child = Command::new(&program)
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|why| panic!("cannot run the collector ({why}): install it with tests/tools.sh"));
        let otelcol = Self { child, url: format!("http://{free}"), out };
        eventually("the collector listens", || TcpStream::connect(free).is_ok());
        otelcol
    }

    /// The lines that it has written whole.
    fn told(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.out).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Everything in arrays of this name.
    fn all(&self, name: &str) -> Vec<Value> {
        let mut found = Vec::new();
        self.told().iter().for_each(|line| gather(line, name, &mut found));
        found
    }
}

fn gather(value: &Value, name: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| match value {
            Value::Array(all) if key == name => found.extend(all.iter().cloned()),
            other => gather(other, name, found),
        }),
        Value::Array(all) => all.iter().for_each(|value| gather(value, name, found)),
        _ => {}
    }
}

impl Drop for Otelcol {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_opentelemetry_collector_reads_spans_and_metrics() {
    let place = Place::new();
    let otelcol = Otelcol::start(&place);
    let node = Node::start("\"0x1\"", &no_fails());
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", otelcol.url.as_str()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "guard"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    ];
    let mut running = rpc(&place, &[&node], &variables);
    let address = running.address("rpc");
    assert_eq!(post(&address, &traced(), CALL).status, 200);
    let of_trace = || -> Vec<Value> {
        otelcol.all("spans").into_iter().filter(|span| span["traceId"] == TRACE).collect()
    };
    eventually("both spans are written", || of_trace().len() == 2);
    let spans = of_trace();
    let server = spans.iter().find(|span| span["kind"] == 2).unwrap();
    let client = spans.iter().find(|span| span["kind"] == 3).unwrap();
    assert_eq!((&server["parentSpanId"], &server["traceState"]), (&CALLER.into(), &"vendor=1".into()));
    assert_eq!(client["parentSpanId"], server["spanId"]);
    let requests =
        || otelcol.all("metrics").into_iter().rfind(|metric| metric["name"] == "mainstay_rpc_requests_total");
    let is_counted = |metric: &Value| {
        let sum = &metric["sum"];
        let points = sum["dataPoints"].as_array().unwrap();
        sum["isMonotonic"] == true
            && sum["aggregationTemporality"] == 2
            && points
                .iter()
                .any(|point| point["asInt"] == "1" && point["attributes"].to_string().contains("\"low\""))
    };
    eventually("the request is counted", || requests().is_some_and(|metric| is_counted(&metric)));
    let histogram = otelcol
        .all("metrics")
        .into_iter()
        .find(|metric| metric["name"] == "mainstay_rpc_request_seconds")
        .unwrap();
    let point = &histogram["histogram"]["dataPoints"][0];
    let counts = point["bucketCounts"].as_array().unwrap().len();
    assert_eq!(counts, point["explicitBounds"].as_array().unwrap().len() + 1);
    let services: Vec<Value> =
        otelcol.all("attributes").into_iter().filter(|one| one["key"] == "service.name").collect();
    assert!(!services.is_empty() && services.iter().all(|one| one["value"]["stringValue"] == "guard"));
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
}

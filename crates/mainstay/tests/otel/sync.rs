//! `sync` before the OpenTelemetry Collector: two consensus clients, of which one leads, and two execution clients.

use mainstay_wire::jwt::{Claims, Secret, sign};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::Place;
use crate::support::http::eventually;
use crate::{CALLER, Node, Otelcol, TRACE, no_fails, post, traced};

const VALID: &str =
    r#"{"payloadStatus":{"status":"VALID","latestValidHash":null,"validationError":null},"payloadId":null}"#;

fn attribute<'a>(span: &'a Value, key: &str) -> &'a str {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|one| one["key"] == key).map(|one| &one["value"]);
    found.and_then(|value| value["stringValue"].as_str().or(value["intValue"].as_str())).unwrap_or_default()
}

#[test]
fn a_leaders_call_is_a_trace_with_every_execution_client_in_it() {
    let place = Place::new();
    let otelcol = Otelcol::start(&place);
    let nodes = [Node::start(VALID, &no_fails()), Node::start(VALID, &no_fails())];
    place.file(
        "mainstay.toml",
        &format!(
            "[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [sync]\nname = \"followers\"\nlisten = \"127.0.0.1:0\"\nnodes = [\"{}\", \"{}\"]\njwt_secret = \"jwt.hex\"\n",
            nodes[0].url, nodes[1].url
        ),
    );
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", otelcol.url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    ];
    let mut running = place.start(&["run"], &variables);
    let address = running.address("sync");
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    let token = sign(&secret, &Claims::at(std::time::SystemTime::now()));
    let head = "0x".to_owned() + &"ab".repeat(32);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"engine_forkchoiceUpdatedV3","params":[{{"headBlockHash":"{head}","safeBlockHash":"{head}","finalizedBlockHash":"{head}"}},null]}}"#
    );
    let reply = post(&address, &format!("authorization: Bearer {token}\r\n{}", traced()), &body);
    assert!(reply.status == 200 && reply.body.contains("VALID"), "{} {}", reply.status, reply.body);

    let of_trace = || -> Vec<Value> {
        otelcol.all("spans").into_iter().filter(|span| span["traceId"] == TRACE).collect()
    };
    let of_kind =
        |kind: u64| -> Vec<Value> { of_trace().into_iter().filter(|span| span["kind"] == kind).collect() };
    eventually("the request and a try on each node are written", || {
        of_kind(2).len() == 1 && of_kind(3).len() == nodes.len()
    });
    let request = &of_kind(2)[0];
    assert_eq!((&request["parentSpanId"], &request["traceState"]), (&CALLER.into(), &"vendor=1".into()));
    assert_eq!(request["name"], "engine_forkchoiceUpdatedV3");
    for (key, value) in [
        ("mainstay.role", "sync"),
        ("mainstay.name", "followers"),
        ("mainstay.verdict", "VALID"),
        ("rpc.method", "engine_forkchoiceUpdatedV3"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(attribute(request, key), value, "{key}: {request}");
    }
    // Every node was told of its own try, once, and of the client's state.
    let tries = of_kind(3);
    for node in &nodes {
        let port = node.url.rsplit(':').next().unwrap();
        let its: Vec<&Value> = tries.iter().filter(|one| attribute(one, "server.port") == port).collect();
        let [one] = its[..] else { panic!("{port}: {tries:?}") };
        assert_eq!(one["parentSpanId"], request["spanId"]);
        assert_eq!(attribute(one, "mainstay.vote"), "VALID");
        let asked = node.asked();
        let of_call = asked.iter().filter(|one| one.field("traceparent").is_some());
        let told: Vec<_> = of_call.map(|one| (one.field("traceparent"), one.field("tracestate"))).collect();
        let parent = format!("00-{TRACE}-{}-01", one["spanId"].as_str().unwrap());
        assert_eq!(told, [(Some(parent.as_str()), Some("vendor=1"))]);
    }
    let written = format!("{:?}", of_trace());
    assert!(!written.contains(&token[..20]) && !written.contains(&head), "neither token nor body is told");
    eventually("its metrics are written", || {
        otelcol.all("metrics").iter().any(|metric| metric["name"] == "mainstay_sync_verdicts_total")
    });
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
}

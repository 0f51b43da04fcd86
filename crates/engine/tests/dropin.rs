//! §2: ExecutionBackup's operator routes on the engine port.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;

use bytes::Bytes;
use common::*;
use http::Request;
use mainstay_sim::{El, ElServer, Fault};
use mainstay_wire::client::{Client, HttpReply, Options};
use mainstay_wire::jwt::{self, Claims};
use mainstay_wire::server::{self, Handler, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

async fn add(bed: &Bed, body: impl Into<Bytes>) -> HttpReply {
    let request = Request::post("/add_nodes").header("content-type", "application/json");
    bed.send(request.body(body.into()).unwrap()).await
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

#[tokio::test]
async fn metrics_are_the_json_of_executionbackup() {
    let bed = Setup::new(4).suffix(2, "#do-not-use").before(3, |el| el.set(Fault::Down)).start().await;
    bed.until("probed", |bed| bed.views().iter().all(|n| n.condition != "unknown")).await;
    let reply = bed.get("/metrics", None).await;
    assert_eq!(head(&reply), (200.try_into().unwrap(), Some("application/json".to_owned())));
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    let mut at = 0;
    for key in [
        "{\"alive_nodes\":[",
        "],\"dead_nodes\":[",
        "],\"primary_node\":\"",
        "\",\"response_times\":{",
        "},\"syncing_nodes\":[",
    ] {
        at += text[at..].find(key).unwrap_or_else(|| panic!("{key} in its place in {text}"));
    }
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value.as_object().unwrap().len(), 5);
    let url = |i: usize| bed.els[i].url();
    let mut alive = list(&value["alive_nodes"]);
    alive.sort_unstable();
    let mut expected = [url(0), url(1)];
    expected.sort_unstable();
    assert_eq!(alive, expected);
    assert_eq!(list(&value["dead_nodes"]), [url(3)]);
    assert_eq!(list(&value["syncing_nodes"]), [url(2)]);
    assert_eq!(value["primary_node"], url(0));
    let times = value["response_times"].as_object().unwrap();
    let mut timed: Vec<&String> = times.keys().collect();
    timed.sort_unstable();
    let mut expected = [&url(0), &url(1), &url(2)];
    expected.sort_unstable();
    assert_eq!(timed, expected);
    // Microseconds: loopback takes more than a few and less than a second.
    assert!(times.values().all(|t| (10..1_000_000).contains(&t.as_u64().unwrap())), "{times:?}");
    // The fastest first.
    let first = list(&value["alive_nodes"]);
    assert!(times[first[0]].as_u64() <= times[first[1]].as_u64());
}

#[tokio::test]
async fn recheck_asks_at_once_and_says_how_long_it_took() {
    let bed = Setup::new(2).set("probe_interval", "60s").ready().await;
    bed.els[1].set(Fault::Down);
    bed.els[0].set(Fault::Lag(ms(30)));
    let reply = bed.get("/recheck", None).await;
    let value: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(list(&value["dead_nodes"]), [bed.els[1].url()]);
    let took = value["recheck_time"].as_u64().unwrap();
    assert!((30_000..10_000_000).contains(&took), "{took} µs");
    assert!(value["response_times"][bed.els[0].url()].as_u64().unwrap() >= 30_000);
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["alive_nodes", "dead_nodes", "primary_node", "recheck_time", "response_times", "syncing_nodes"]
    );
}

#[tokio::test]
async fn add_nodes_adds_rechecks_and_answers_as_recheck() {
    let mut bed = Setup::new(1).ready().await;
    let genesis = bed.chain.tip().clone();
    let (more, _) = ElServer::start(El::new("more", genesis), shared_secret()).await.unwrap();
    let reply = add(&bed, format!("{{\"nodes\":[\"{}#timeout=1000\"]}}", more.url())).await;
    assert_eq!(head(&reply), (200.try_into().unwrap(), Some("application/json".to_owned())));
    let value: Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(list(&value["alive_nodes"]).contains(&more.url().as_str()));
    assert!(value["recheck_time"].is_u64());
    bed.advance().await;
    assert_eq!(more.head().number, 1);
    let reply = add(&bed, "{\"nodes\":[]}").await;
    assert_eq!(reply.status, 200);
    assert_eq!(bed.views().len(), 2);
}

#[tokio::test]
async fn bad_nodes_are_refused_and_nothing_is_added_then() {
    let bed = Setup::new(1).ready().await;
    let secret = bed.dir.path().join("not-a-secret");
    std::fs::write(&secret, "the-content-of-this-file").unwrap();
    let own = bed.els[0].url();
    for (node, part) in [
        ("10.0.0.1:8551".to_owned(), "URL"),
        ("ftp://10.0.0.1:8551".to_owned(), "scheme"),
        ("http://10.0.0.1:8551#timeout=abc".to_owned(), "milliseconds"),
        ("http://10.0.0.1:8551#what=ever".to_owned(), "unknown option"),
        ("http://10.0.0.1:8551#jwt-secret=/nonexistent".to_owned(), "/nonexistent"),
        (format!("http://10.0.0.1:8551#jwt-secret={}", secret.display()), "64 hex"),
        (own.clone(), "listed already"),
        (format!("{own}/#name=again"), "listed already"),
        ("http://10.0.0.1:8551#name=el1".to_owned(), "called el1"),
    ] {
        let body = json!({"nodes": ["http://127.0.0.1:9#name=fine", node]}).to_string();
        let reply = add(&bed, body).await;
        assert_eq!(head(&reply), (400.try_into().unwrap(), Some("application/json".to_owned())), "{node}");
        let value: Value = serde_json::from_slice(&reply.body).unwrap();
        let error = value["error"].as_str().unwrap();
        assert!(error.contains(part), "{node}: {error}");
        assert!(!error.contains("the-content"), "{error}");
        assert_eq!(bed.views().len(), 1, "nothing is added");
    }
    // Twice in one list is a duplicate too.
    let body = json!({"nodes": ["http://127.0.0.1:9#name=a", "http://127.0.0.1:9#name=b"]}).to_string();
    assert_eq!(add(&bed, body).await.status, 400);
    assert_eq!(bed.views().len(), 1);
}

#[tokio::test]
async fn add_nodes_refuses_other_bodies_as_executionbackup_does() {
    let bed = Setup::new(1).ready().await;
    let request = Request::post("/add_nodes").body(Bytes::from_static(b"{\"nodes\":[]}")).unwrap();
    let reply = bed.send(request).await;
    assert_eq!(reply.status, 415);
    assert_eq!(&reply.body[..], b"Expected request with `Content-Type: application/json`");
    let start = "Failed to deserialize the JSON body into the target type: ";
    for (body, status, text) in [
        ("{\"node\":[]}", 422, format!("{start}missing field `nodes` at line 1 column 11")),
        (
            "{\"nodes\":5}",
            422,
            format!("{start}invalid type: integer `5`, expected a sequence at line 1 column 10"),
        ),
        (
            "{",
            400,
            "Failed to parse the request body as JSON: EOF while parsing an object at line 1 column 1".into(),
        ),
        (
            "{\"nodes\":[]} x",
            400,
            "Failed to parse the request body as JSON: trailing characters at line 1 column 14".into(),
        ),
    ] {
        let reply = add(&bed, body).await;
        assert_eq!(
            (reply.status.as_u16(), String::from_utf8_lossy(&reply.body)),
            (status, text.into()),
            "{body}"
        );
    }
    assert_eq!(add(&bed, "x".repeat(65 << 10)).await.status, 413);
}

#[tokio::test]
async fn prometheus_gets_its_text_where_it_asks_for_it() {
    let mut bed = Setup::new(2).ready().await;
    bed.advance().await;
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let reply = bed.get("/metrics", Some(accept)).await;
    assert!(head(&reply).1.unwrap().starts_with("application/openmetrics-text"));
    let page = String::from_utf8(reply.body.to_vec()).unwrap();
    for line in [
        "mainstay_engine_requests_total{engine=\"engine\",method=\"engine_newPayloadV4\",outcome=\"VALID\"} 1",
        "mainstay_engine_node_fit{engine=\"engine\",node=\"el1\"} 1",
        "mainstay_engine_node_primary{engine=\"engine\",node=\"el1\"} 1",
        "# EOF",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} in\n{page}");
    }
    for accept in ["*/*", "application/json", "application/json, text/plain, */*"] {
        let reply = bed.get("/metrics", Some(accept)).await;
        assert_eq!(head(&reply).1, Some("application/json".to_owned()), "{accept}");
    }
}

/// The service as it looks to a peer that isn't on this machine.
#[derive(Clone)]
struct FromElsewhere(mainstay_engine::service::Service);

impl Handler for FromElsewhere {
    async fn call(&self, request: Request<mainstay_wire::server::RequestBody>, _: SocketAddr) -> Response {
        self.0.call(request, "192.0.2.7:4711".parse().unwrap()).await
    }
}

/// B10: who isn't on this machine needs a token to look, to probe and to add nodes.
#[tokio::test]
async fn from_elsewhere_the_routes_need_a_token() {
    let engine = Setup::new(0).node("http://127.0.0.1:9#name=nobody".into()).engine();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let service = FromElsewhere(engine.service());
    let stop = engine.core().stop.clone();
    tokio::spawn(server::serve(listener, service, server::Options::default(), stop, ms(1)));
    let client = Client::new(&url, Options::default()).unwrap();
    let good = jwt::sign(&shared_secret(), &Claims::at(wall()));
    let bad = jwt::sign(&secret_of(1), &Claims::at(wall()));
    for (method, path) in [("GET", "/metrics"), ("GET", "/recheck"), ("POST", "/add_nodes")] {
        for (token, status) in [(None, 401), (Some(&bad), 401), (Some(&good), 200)] {
            let mut request =
                Request::builder().method(method).uri(path).header("content-type", "application/json");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let request = request.body(Bytes::from_static(b"{\"nodes\":[]}")).unwrap();
            let reply = client.send(request, Instant::now() + PATIENCE).await.unwrap();
            assert_eq!(reply.status, status, "{method} {path}");
        }
    }
    engine.core().stop.cancel();
}

/// A page of another site in a browser on this machine is a loopback peer too.
#[tokio::test]
async fn through_this_machine_the_routes_need_a_token() {
    let bed = Setup::new(0).node("http://127.0.0.1:9#name=nobody".into()).start().await;
    for (name, value) in [("origin", "https://evil.example"), ("x-forwarded-for", "192.0.2.7")] {
        let request = Request::post("/add_nodes").header("content-type", "text/plain").header(name, value);
        let request = request.body(Bytes::from_static(b"{\"nodes\":[]}")).unwrap();
        assert_eq!(bed.send(request).await.status, 401, "{name}");
    }
}

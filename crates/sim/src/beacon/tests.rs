#![allow(clippy::unwrap_used)]
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use super::*;
use crate::Fault;

const SHORT: Duration = Duration::from_secs(5);

async fn start() -> BeaconHandle {
    BeaconServer::start("bn1", BeaconState::default()).await.unwrap()
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn open(node: &BeaconHandle, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
    let stream = TcpStream::connect(node.addr()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // As long as a response is read, or none has come.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

async fn ask(node: &BeaconHandle, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    let (parts, body) = open(node, request).await?.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

async fn get(node: &BeaconHandle, path: &str) -> Result<Response<Bytes>, Failure> {
    let ended = tokio::time::timeout(SHORT, ask(node, Request::get(path).body(Full::default()).unwrap()));
    ended.await.map_err(|_| "no answer in time")?
}

async fn json_of(node: &BeaconHandle, path: &str) -> Value {
    serde_json::from_slice(get(node, path).await.unwrap().body()).unwrap()
}

async fn next(stream: &mut Response<Incoming>) -> Option<String> {
    let frame = tokio::time::timeout(SHORT, stream.frame()).await.unwrap()?;
    Some(String::from_utf8(frame.ok()?.into_data().ok()?.to_vec()).unwrap())
}

async fn events(node: &BeaconHandle, topics: &str) -> Response<Incoming> {
    let request = Request::get(format!("/eth/v1/events?{topics}")).body(Full::default()).unwrap();
    open(node, request).await.unwrap()
}

#[tokio::test]
async fn it_says_what_its_state_is() {
    let node = start().await;
    node.with(|state| {
        (state.is_syncing, state.sync_distance, state.head_slot, state.peers) = (true, 9, 320, 2);
        (state.is_optimistic, state.el_offline, state.attnets) = (true, Some(true), "0x03".to_owned());
        (state.genesis_time, state.version) = (7, "Sim/x".to_owned());
    });
    let root = node.with(|state| state.genesis_root).to_string();
    let syncing = json!({
        "head_slot": "320", "sync_distance": "9", "is_syncing": true, "is_optimistic": true, "el_offline": true
    });
    for (path, pointer, value) in [
        ("/eth/v1/node/syncing", "/data", syncing),
        ("/eth/v1/node/peer_count", "/data/connected", json!("2")),
        ("/eth/v1/node/peers", "/meta/count", json!(2)),
        ("/eth/v1/node/peers", "/data/1/state", json!("connected")),
        ("/eth/v1/node/identity", "/data/metadata/attnets", json!("0x03")),
        ("/eth/v1/node/version", "/data/version", json!("Sim/x")),
        ("/eth/v1/beacon/genesis", "/data/genesis_time", json!("7")),
        ("/eth/v1/beacon/genesis", "/data/genesis_validators_root", json!(root)),
        ("/eth/v1/config/spec", "/data/SECONDS_PER_SLOT", json!("12")),
        ("/eth/v1/config/fork_schedule", "/data/1/epoch", json!("3")),
        ("/eth/v1/beacon/states/head/fork", "/data/current_version", json!("0x06000000")),
        ("/eth/v1/beacon/headers/head", "/data/header/message/slot", json!("320")),
        ("/eth/v1/beacon/headers/head", "/execution_optimistic", json!(true)),
    ] {
        let said = json_of(&node, path).await;
        assert_eq!(said.pointer(pointer), Some(&value), "{path}: {said}");
    }
    assert_eq!(get(&node, "/eth/v1/node/health").await.unwrap().status(), 206);
    assert_eq!(get(&node, "/eth/v1/node/health?syncing_status=299").await.unwrap().status(), 299);
    node.with(|state| *state = BeaconState { el_offline: None, ..BeaconState::default() });
    assert_eq!(get(&node, "/eth/v1/node/health").await.unwrap().status(), 200);
    assert_eq!(json_of(&node, "/eth/v1/node/syncing").await["data"].get("el_offline"), None);
}

#[tokio::test]
async fn blocks_come_as_ssz_or_json_and_what_is_posted_is_kept_as_it_came() {
    let node = start().await;
    node.with(|state| state.block_bytes = 1_000_001);
    let wanted =
        Request::get("/eth/v2/beacon/blocks/head").header(header::ACCEPT, "application/octet-stream;q=1");
    let block = ask(&node, wanted.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(block.headers()["eth-consensus-version"], "fulu");
    assert_eq!(block.headers()[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(*block.body(), node.with(|state| state.block()));
    assert_eq!(json_of(&node, "/eth/v2/beacon/blocks/7").await["version"], "fulu");

    let posted = Bytes::from_static(b"\x00\xff any bytes");
    for path in ["/eth/v2/beacon/blocks?broadcast_validation=gossip", "/eth/v1/beacon/pool/attestations"] {
        let request = Request::post(path).header("eth-consensus-version", "fulu");
        let reply = ask(&node, request.body(Full::from(posted.clone())).unwrap()).await.unwrap();
        assert_eq!(reply.status(), 200);
        let [received] = node.requests_to(path).try_into().unwrap();
        assert_eq!((received.body, &received.method), (Some(posted.clone()), &Method::POST));
        assert_eq!(received.headers["eth-consensus-version"], "fulu");
    }
    assert_eq!((node.count("/eth/v2/beacon/blocks"), node.requests().len()), (3, 4));
}

#[tokio::test]
async fn everything_else_is_echoed() {
    let node = start().await;
    let request = Request::put("/any/path?a=b").header("x-mine", "1").body(Full::from("four")).unwrap();
    let echo: Value = serde_json::from_slice(ask(&node, request).await.unwrap().body()).unwrap();
    assert_eq!(
        (&echo["method"], &echo["path"], &echo["query"]),
        (&json!("PUT"), &json!("/any/path"), &json!("a=b"))
    );
    assert_eq!(echo["body_bytes"], 4);
    assert!(echo["headers"].as_array().unwrap().contains(&json!(["x-mine", "1"])));
}

#[tokio::test]
async fn events_reach_the_streams_of_their_topic() {
    let node = start().await;
    let mut heads = events(&node, "topics=head&topics=block").await;
    let mut other = events(&node, "topics=chain_reorg,block").await;
    assert_eq!(heads.headers()[header::CONTENT_TYPE], "text/event-stream");
    node.wait_for_streams(2, SHORT).await.unwrap();
    node.head(101);
    node.comment("still here");
    node.event("block", &json!({ "slot": "101" }));
    let head = next(&mut heads).await.unwrap();
    assert!(head.starts_with("event: head\ndata: {") && head.contains("\"slot\":\"101\""), "{head}");
    for stream in [&mut heads, &mut other] {
        assert_eq!(next(stream).await.unwrap(), ": still here\n\n");
        assert_eq!(next(stream).await.unwrap(), "event: block\ndata: {\"slot\":\"101\"}\n\n");
    }
    drop(other);
    node.wait_for_streams(1, SHORT).await.unwrap();
    node.end_streams();
    assert!(heads.frame().await.is_none(), "the end of the stream");
    node.wait_for_streams(0, SHORT).await.unwrap();
    assert_eq!(get(&node, "/eth/v1/events").await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_frozen_node_sends_its_events_once_it_is_thawed() {
    let node = start().await;
    let mut stream = events(&node, "topics=head").await;
    node.set(Fault::Hang);
    node.head(8);
    node.comment("late");
    let waiting = tokio::spawn({
        let node = node.clone();
        async move { get(&node, "/eth/v1/node/syncing").await.unwrap() }
    });
    node.wait_for_requests("/eth/v1/node/syncing", 1, SHORT).await.unwrap();
    tokio::time::pause();
    assert!(tokio::time::timeout(SHORT / 2, stream.frame()).await.is_err());
    tokio::time::resume();
    node.heal();
    assert!(next(&mut stream).await.unwrap().contains("\"slot\":\"8\""));
    assert_eq!(next(&mut stream).await.unwrap(), ": late\n\n");
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_node_that_is_down_refuses_and_comes_back_on_its_port() {
    let node = start().await;
    let mut stream = events(&node, "topics=head").await;
    node.set(Fault::Down);
    let reset = stream.frame().await.unwrap().unwrap_err();
    assert!(reset.to_string().contains("body"), "{reset}");
    let refused = TcpStream::connect(node.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    node.wait_for_streams(0, SHORT).await.unwrap();
    node.heal();
    assert_eq!(get(&node, "/eth/v1/node/health").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_fault_holds_for_its_paths() {
    let node = start().await;
    let at = |fault: Fault| node.set(fault.at("/eth/v1/node/"));
    let path = "/eth/v1/node/syncing";
    for status in [206, 500, 503] {
        at(Fault::HttpError(status, "why".to_owned()));
        assert_eq!(get(&node, path).await.unwrap().status(), status);
    }
    at(Fault::Reset);
    let reset = get(&node, path).await.unwrap_err();
    let reset = reset.downcast_ref::<hyper::Error>().and_then(std::error::Error::source).unwrap();
    assert_eq!(reset.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::ConnectionReset);
    at(Fault::Truncate);
    assert!(get(&node, path).await.is_err());
    at(Fault::Empty);
    assert!(get(&node, path).await.unwrap().body().is_empty());
    at(Fault::Garbage);
    assert!(serde_json::from_slice::<Value>(get(&node, path).await.unwrap().body()).is_err());
    at(Fault::Text("[]".to_owned()));
    assert_eq!(get(&node, path).await.unwrap().body(), "[]");
    at(Fault::ContentType("text/html"));
    let reply = get(&node, path).await.unwrap();
    assert_eq!(reply.headers()[header::CONTENT_TYPE], "text/html");
    assert!(serde_json::from_slice::<Value>(reply.body()).is_ok());
    at(Fault::Huge(40_000));
    assert_eq!(get(&node, path).await.unwrap().body().len(), 40_000);
    assert!(json_of(&node, "/eth/v1/beacon/genesis").await["data"].is_object());
}

#[tokio::test]
async fn a_node_without_faults_holds_nothing_up() {
    let node = start().await;
    let host = &node.shared.host;
    let picked = host.pick("/eth/v1/node/syncing");
    let mut held = std::pin::pin!(host.hold(&picked));
    let at_once = std::future::poll_fn(|cx| std::task::Poll::Ready(held.as_mut().poll(cx).is_ready()));
    assert!(at_once.await);
}

#[tokio::test(start_paused = true)]
async fn slow_and_hanging_nodes_take_no_time_of_ours() {
    let node = start().await;
    let asked = Instant::now();
    node.set(Fault::Lag(Duration::from_secs(4)).at("/eth/v1/node/"));
    get(&node, "/eth/v1/node/syncing").await.unwrap();
    assert_eq!(asked.elapsed().as_secs(), 4);
    node.set(Fault::Hang);
    assert!(get(&node, "/eth/v1/node/syncing").await.is_err());
    assert_eq!(asked.elapsed().as_secs(), 9);
}

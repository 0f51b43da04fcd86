//! ExecutionBackup's operator routes on the engine port: `GET /metrics`, `GET /recheck`, `POST /add_nodes`, with its JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use mainstay_execution::http::{json, read_body, text};
use mainstay_execution::{Core, Node, probe};
use mainstay_node::Condition;
use mainstay_wire::server::{RequestBody, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::service::Shared;

/// Largest body of `/add_nodes`.
const MAX_BODY: usize = 64 << 10;

/// The JSON of `/metrics` and `/recheck`; keys in alphabetical order, as ExecutionBackup writes them.
#[derive(Debug, Serialize)]
struct Status {
    alive_nodes: Vec<String>,
    dead_nodes: Vec<String>,
    primary_node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recheck_time: Option<u64>,
    /// Microseconds by URL; alive and syncing nodes only.
    response_times: BTreeMap<String, u64>,
    syncing_nodes: Vec<String>,
}

#[derive(Deserialize)]
struct AddNodes {
    nodes: Vec<String>,
}

/// Answers one of the three routes; the caller has seen to who may ask, and to the method.
pub async fn answer(shared: &Shared, request: Request<RequestBody>) -> Response {
    let core = &shared.core;
    match request.uri().path() {
        "/recheck" => recheck(core).await,
        "/add_nodes" => add_nodes(core, request).await,
        _ if wants_prometheus(request.headers()) => crate::exposition::page(&shared.registry),
        _ => status(core, None),
    }
}

/// Prometheus asks with `Accept: application/openmetrics-text…,text/plain…`; ExecutionBackup's users with `*/*` or JSON.
fn wants_prometheus(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    (accept.contains("openmetrics-text") || accept.contains("text/plain"))
        && !accept.contains("application/json")
}

async fn recheck(core: &Arc<Core>) -> Response {
    let started = Instant::now();
    probe::all(core).await;
    status(core, Some(started.elapsed()))
}

async fn add_nodes(core: &Arc<Core>, request: Request<RequestBody>) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/json") {
        let message = "Expected request with `Content-Type: application/json`";
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, message.into());
    }
    let body = match read_body(&core.arriving, request.into_body(), MAX_BODY).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let list: AddNodes = match serde_json::from_slice(&body) {
        Ok(list) => list,
        Err(error) if error.is_data() => {
            let message = format!("Failed to deserialize the JSON body into the target type: {error}");
            return text(StatusCode::UNPROCESSABLE_ENTITY, message);
        }
        Err(error) => {
            let message = format!("Failed to parse the request body as JSON: {error}");
            return text(StatusCode::BAD_REQUEST, message);
        }
    };
    let started = Instant::now();
    if let Err(error) = core.add_texts(&list.nodes) {
        let body = serde_json::json!({ "error": error.to_string() });
        return json(StatusCode::BAD_REQUEST, Bytes::from(body.to_string()));
    }
    probe::all(core).await;
    status(core, Some(started.elapsed()))
}

#[allow(clippy::cast_possible_truncation)] // some seconds
fn status(core: &Core, recheck: Option<Duration>) -> Response {
    let nodes = core.nodes();
    let took = |n: &Node| n.state().probe_took;
    let of = |wanted: &dyn Fn(&Node) -> bool| -> Vec<Arc<Node>> {
        nodes.iter().filter(|n| wanted(n)).cloned().collect()
    };
    let mut alive = of(&|n| is_alive(n));
    // Fastest first at the last probe.
    alive.sort_by_key(|n| took(n).unwrap_or(Duration::MAX));
    let dead = of(&|n| matches!(n.condition(), Condition::Unfit(_) | Condition::Unknown));
    let syncing = of(&|n| !is_alive(n) && !matches!(n.condition(), Condition::Unfit(_) | Condition::Unknown));
    let urls = |list: &[Arc<Node>]| list.iter().map(|n| n.spec.shown_url()).collect();
    let times =
        alive.iter().chain(&syncing).filter_map(|n| Some((n.spec.shown_url(), took(n)?.as_micros() as u64)));
    let primary = core.by_preference().first().map(|n| n.spec.shown_url());
    let status = Status {
        alive_nodes: urls(&alive),
        dead_nodes: urls(&dead),
        primary_node: primary.unwrap_or_default(),
        recheck_time: recheck.map(|d| d.as_micros() as u64),
        response_times: times.collect(),
        syncing_nodes: urls(&syncing),
    };
    match serde_json::to_vec(&status) {
        Ok(body) => json(StatusCode::OK, Bytes::from(body)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// ExecutionBackup files a synced do-not-use node under syncing.
fn is_alive(node: &Node) -> bool {
    node.condition() == Condition::Fit && node.state().standing.may_serve()
}

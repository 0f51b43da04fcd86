//! `/nodes`: prio-load-balancer's API for the list of nodes.
//!
//! Whoever is on loopback may change the list, others need the admin token. `{"uri": "…"}`; `"force": true` adds a node that
//! doesn't answer.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use mainstay_wire::body::{self, BodyError};
use mainstay_wire::jwt;
use mainstay_wire::server::Response;
use serde::Deserialize;

use crate::core::Core;
use crate::handle::{Handle, Refused};
use crate::reply::{json, plain};

/// Largest body of a change.
const LIMIT: usize = 64 * 1024;

#[derive(Deserialize)]
struct Change {
    #[serde(default, alias = "URI", alias = "Uri")]
    uri: String,
    #[serde(default)]
    force: bool,
}

/// Answers a request for the list.
pub(crate) async fn nodes(core: &Arc<Core>, request: Request<Incoming>, peer: SocketAddr) -> Response {
    if request.method() == Method::GET {
        return json(StatusCode::OK, list(core));
    }
    if let Err(refusal) = authorize(core, request.headers(), peer) {
        return refusal;
    }
    let adds = request.method() == Method::POST;
    let change: Change = match body::read(request.into_body(), LIMIT).await {
        Err(BodyError::TooLarge) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large\n"),
        Err(error) => return plain(StatusCode::BAD_REQUEST, format!("{error}\n")),
        Ok(body) if body.is_empty() => {
            return plain(
                StatusCode::BAD_REQUEST,
                "EOF: the body is empty, send {\"uri\": \"http://host:port\"}\n",
            );
        }
        // What follows the object is ignored, as ever.
        Ok(body) => match serde_json::Deserializer::from_slice(&body).into_iter().next() {
            Some(Ok(change)) => change,
            Some(Err(error)) => {
                let text = format!("{error}: send {{\"uri\": \"http://host:port\"}}\n");
                return plain(StatusCode::BAD_REQUEST, text);
            }
            None => return plain(StatusCode::BAD_REQUEST, "EOF: the body is empty\n"),
        },
    };
    let handle = Handle::new(core.clone());
    let (done, what) = if adds {
        (handle.add(&change.uri, change.force).await, "AddNode failed: ")
    } else {
        (handle.remove(&change.uri).await, "")
    };
    match done {
        Ok(()) => Response::new(Default::default()),
        Err(Refused::NoSuchNode(_)) => plain(StatusCode::NOT_FOUND, "node not found\n"),
        Err(Refused::Bad(why)) => plain(StatusCode::BAD_REQUEST, format!("{what}{why}\n")),
        Err(Refused::Unavailable(why)) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{what}{why}\n")),
    }
}

fn list(core: &Core) -> Bytes {
    let shown: Vec<String> = core.nodes().iter().map(|node| node.uris().shown.clone()).collect();
    let mut text = serde_json::to_string(&shown).unwrap_or_default();
    // As Go writes it.
    for (plain, escaped) in [("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")] {
        text = text.replace(plain, escaped);
    }
    text.push('\n');
    text.into()
}

fn authorize(core: &Core, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Response> {
    if peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let Some(verify) = &core.verify else {
        let text = "changes from elsewhere than this machine need an admin token, and none is set\n";
        return Err(plain(StatusCode::FORBIDDEN, text));
    };
    match jwt::bearer(headers.get(AUTHORIZATION)) {
        Ok(token) if verify(token) => Ok(()),
        _ => Err(plain(StatusCode::UNAUTHORIZED, "changes need the admin token as a bearer token\n")),
    }
}

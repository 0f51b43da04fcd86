//! An HTTP proxy in front of one engine endpoint that can be told to lie or to be slow, and that keeps a
//! record of every verdict that passes it. Before an EL it makes a faulty EL of a sound one; before
//! mainstay it shows what the consensus client is told.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Result;
use crate::rpc::exchange;

/// Longer than any client waits.
const UPSTREAM_LIMIT: Duration = Duration::from_secs(30);

/// What the proxy does to the calls that pass it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// VALID becomes INVALID in replies to newPayload and forkchoiceUpdated.
    Lie,
    /// VALID becomes SYNCING there.
    Syncing,
    /// Each reply is held back for this long.
    Delay(Duration),
}

/// A status that a caller got for newPayload or forkchoiceUpdated.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When the reply was passed on.
    pub at: Instant,
    /// The method, with its version.
    pub method: String,
    /// The block it is about.
    pub block: String,
    /// VALID, INVALID, SYNCING … or, for an error, its text.
    pub status: String,
    /// From the whole call to the whole reply.
    pub took: Duration,
}

/// A running proxy; it ends when dropped.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    // Dropping the set ends the task that accepts, and that one's set all connections.
    _tasks: JoinSet<()>,
}

struct Shared {
    upstream: String,
    fault: Mutex<Fault>,
    seen: Mutex<Vec<Seen>>,
}

impl Proxy {
    /// Starts a proxy before `upstream` (`http://host:port`).
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(upstream: &str) -> Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            fault: Mutex::default(),
            seen: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Ok(Proxy { url, shared, _tasks: tasks })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on it does this.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Every verdict that has passed since `since`.
    pub fn seen(&self, since: Instant) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|seen| seen.at >= since).cloned().collect()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        if let Ok((stream, _)) = accepted {
            connections.spawn(serve(stream, shared.clone()));
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // A connection that the client breaks off is the client's affair.
    let _ = stream.set_nodelay(true);
    let service = service_fn(async |request| {
        let reply = shared.pass(request).await.unwrap_or_else(|failure| {
            let mut reply = Response::new(Full::new(Bytes::from(failure.to_string())));
            *reply.status_mut() = StatusCode::BAD_GATEWAY;
            reply
        });
        Ok::<_, Infallible>(reply)
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (mut parts, body) = request.into_parts();
        let call = body.collect().await?.to_bytes();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = Uri::try_from(format!("{}{path}", self.upstream))?;
        // The reply is read here, so the one between the two must not be compressed, nor the framing kept.
        for name in [header::ACCEPT_ENCODING, header::TRANSFER_ENCODING, header::CONNECTION] {
            parts.headers.remove(name);
        }
        let called = Instant::now();
        let (status, body) = exchange(Request::from_parts(parts, call.clone()), UPSTREAM_LIMIT).await?;
        let fault = *self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if let Fault::Delay(time) = fault {
            tokio::time::sleep(time).await;
        }
        let body = self.see(&call, body, fault, called);
        let reply = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
        Ok(reply.body(Full::new(body))?)
    }

    /// Notes the verdict in `body`, if there is one, and gives what to answer.
    fn see(&self, call: &[u8], body: Bytes, fault: Fault, called: Instant) -> Bytes {
        let (Ok(call), Ok(mut reply)) =
            (serde_json::from_slice::<Value>(call), serde_json::from_slice::<Value>(&body))
        else {
            return body;
        };
        let method = call["method"].as_str().unwrap_or_default();
        let (pointer, block) = if method.starts_with("engine_newPayload") {
            ("/result", &call["params"][0]["blockHash"])
        } else if method.starts_with("engine_forkchoiceUpdated") {
            ("/result/payloadStatus", &call["params"][0]["headBlockHash"])
        } else {
            return body;
        };
        let told = match fault {
            Fault::Lie => Some(("INVALID", json!("the proxy says so"))),
            Fault::Syncing => Some(("SYNCING", Value::Null)),
            Fault::None | Fault::Delay(_) => None,
        };
        let told = told.filter(|_| reply.pointer(pointer).is_some_and(|status| status["status"] == "VALID"));
        let changed = told.is_some();
        if let Some((status, error)) = told {
            if let Some(place) = reply.pointer_mut(pointer) {
                *place = json!({ "status": status, "latestValidHash": null, "validationError": error });
            }
            if let Some(id) = reply.pointer_mut("/result/payloadId") {
                *id = Value::Null;
            }
        }
        let status = match reply.pointer(pointer).map(|status| &status["status"]) {
            Some(Value::String(status)) => status.clone(),
            _ => reply["error"].to_string(),
        };
        let seen = Seen {
            at: Instant::now(),
            method: method.to_owned(),
            block: block.as_str().unwrap_or_default().to_owned(),
            status,
            took: called.elapsed(),
        };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        if changed { Bytes::from(reply.to_string()) } else { body }
    }
}

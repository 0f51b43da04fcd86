//! A server that counts connections: it answers as an execution client does that finds all VALID, or never.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use mainstay_wire::server::{self, Handler, RequestBody, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, ms};

const VALID: &str = r#"{"status":"VALID","latestValidHash":null,"validationError":null}"#;

#[derive(Default)]
struct Seen {
    bodies: Vec<Bytes>,
    peers: HashSet<SocketAddr>,
    open: HashSet<SocketAddr>,
}

/// The server.
#[derive(Clone)]
pub struct Sink {
    pub url: String,
    hangs: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Sink {
    pub async fn start(hangs: bool) -> Self {
        Self::start_over(None, hangs).await
    }

    /// Over TLS, if given, for `localhost`.
    pub async fn start_over(tls: Option<server::Tls>, hangs: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = match &tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let sink = Self { url, hangs, seen: Arc::default() };
        let options = server::Options { max_connections: 4096, tls, ..server::Options::default() };
        tokio::spawn(server::serve(listener, sink.clone(), options, CancellationToken::new(), ms(1)));
        sink
    }

    /// Bodies that came.
    pub fn bodies(&self) -> Vec<Bytes> {
        self.seen.lock().unwrap().bodies.clone()
    }

    /// Connections on which anything came so far.
    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().peers.len()
    }

    /// Those of them that are open.
    pub fn open(&self) -> usize {
        self.seen.lock().unwrap().open.len()
    }

    /// Waits until `wanted` holds.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            let (open, calls) = (self.open(), self.bodies().len());
            assert!(Instant::now() < deadline, "not seen: {what}; {open} open connections, {calls} calls");
            tokio::time::sleep(ms(2)).await;
        }
    }
}

impl Handler for Sink {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response {
        {
            let mut seen = self.seen.lock().unwrap();
            seen.peers.insert(peer);
            seen.open.insert(peer);
        }
        let body = mainstay_wire::body::read(request.into_body(), 1 << 20).await.unwrap();
        self.seen.lock().unwrap().bodies.push(body.clone());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let call: Value = serde_json::from_slice(&body).unwrap();
        let method = call["method"].as_str().unwrap();
        let result = match method {
            "eth_syncing" => "false".to_owned(),
            _ if method.starts_with("eth_") => r#""0x1""#.to_owned(),
            _ if method.starts_with("engine_forkchoice") => {
                format!(r#"{{"payloadStatus":{VALID},"payloadId":null}}"#)
            }
            _ => VALID.to_owned(),
        };
        Response::new(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call["id"]).into())
    }

    fn closed(&self, peer: SocketAddr) {
        self.seen.lock().unwrap().open.remove(&peer);
    }
}

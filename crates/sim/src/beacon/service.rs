//! One HTTP request to a simulated beacon node.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use mainstay_wire::body::{self, BodyError};
use tokio::time::Instant;

use super::{
    EVENTS, Received, Shared,
    events::Streams,
    state::{Asked, refusal},
};
use crate::host::{self, Host, Life, Reply, Serve, lock};

const LARGEST_REQUEST: usize = 128 << 20;

impl Serve for Shared {
    fn host(&self) -> &Host {
        &self.host
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, life: Life) -> Reply {
        let (parts, incoming) = request.into_parts();
        let path = parts.uri.path();
        let picked = self.host.pick(path);
        // Noted before its body is read: it has come in, whatever becomes of it.
        let seq = self.log.add(Received::of(&parts, Instant::now()));
        let body = body::read(incoming, LARGEST_REQUEST).await;
        if let Ok(body) = &body {
            self.log.amend(seq, |received| received.body = Some(body.clone()));
        }
        self.host.hold(&picked).await;
        if parts.method == Method::GET && path == EVENTS && !picked.is_replaced() {
            return self.stream(parts.uri.query().unwrap_or_default());
        }
        host::finish(self.look_up(&parts, body), &picked.faults, &life).await
    }
}

impl Shared {
    fn look_up(&self, parts: &Parts, body: Result<Bytes, BodyError>) -> Response<Bytes> {
        match body {
            Ok(body) => lock(&self.state).answer(&Asked {
                method: &parts.method,
                path: parts.uri.path(),
                query: parts.uri.query().unwrap_or_default(),
                headers: &parts.headers,
                body_bytes: body.len(),
            }),
            Err(BodyError::TooLarge) => refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    fn stream(self: Arc<Self>, query: &str) -> Reply {
        // `topics=head&topics=block` and `topics=head,block`.
        let topics = query.split('&').filter_map(|pair| pair.strip_prefix("topics="));
        let topics: Vec<String> = topics.flat_map(|topics| topics.split(',')).map(str::to_owned).collect();
        if topics.is_empty() {
            let refused = refusal(StatusCode::BAD_REQUEST, "Invalid topic");
            return host::boxed(refused.map(host::Outgoing::whole));
        }
        let mut reply = Response::new(Streams::open(&self, topics));
        for (name, value) in
            [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")]
        {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        host::boxed(reply)
    }
}

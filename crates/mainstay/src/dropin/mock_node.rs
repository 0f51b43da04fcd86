//! prio-load-balancer's mock node: `net_version` is "1", `eth_callBundle` is "cool", other methods are unknown.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request};
use mainstay_wire::body;
use mainstay_wire::server::{self, Handler, Options, RequestBody, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What it is called in the list of nodes.
pub(crate) const URL: &str = "http://localhost:8095";
/// Where it listens.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8095);

/// The largest request that it reads; more than the balancer lets through by default.
const MAX_BODY: usize = 64 << 20;
/// Echoed.
const TEST: HeaderName = HeaderName::from_static("test");
/// The code of every error.
const INTERNAL_ERROR: i32 = -32603;

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, stop: CancellationToken) {
    server::serve(listener, Mock, Options::default(), stop, Duration::ZERO).await;
}

#[derive(Clone)]
struct Mock;

impl Handler for Mock {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response {
        let test = request.headers().get(TEST).cloned();
        let answer = match body::read(request.into_body(), MAX_BODY).await {
            Ok(body) => answer(&body),
            Err(why) => failure(&Value::from(-1), &format!("failed to read the request: {why}")),
        };
        let mut response = Response::new(Bytes::from(answer).into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(test) = test {
            headers.insert(TEST, test);
        }
        response
    }
}

/// The answer's body; the order of its keys and the line's end are prio-load-balancer's.
fn answer(body: &[u8]) -> String {
    let unreadable =
        |why: &str| failure(&Value::from(-1), &format!("failed to parse JSON RPC request: {why}"));
    let request: Value = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(why) => return unreadable(&why.to_string()),
    };
    if !request.is_object() {
        return unreadable("it is not an object");
    }
    let id = &request["id"];
    match request["method"].as_str().unwrap_or_default() {
        "net_version" => success(id, "1"),
        "eth_callBundle" => success(id, "cool"),
        method => failure(id, &format!("no RPC method handler implemented for {method}")),
    }
}

fn success(id: &Value, result: &str) -> String {
    format!("{{\"id\":{id},\"result\":\"{result}\",\"jsonrpc\":\"2.0\"}}\n")
}

fn failure(id: &Value, message: &str) -> String {
    let message = Value::from(message);
    format!(
        "{{\"id\":{id},\"result\":null,\"error\":{{\"code\":{INTERNAL_ERROR},\"message\":{message}}},\"jsonrpc\":\"\"}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_as_prio_load_balancers_does() {
        for (body, reply) in [
            (r#"{"id":1,"method":"net_version"}"#, "{\"id\":1,\"result\":\"1\",\"jsonrpc\":\"2.0\"}\n"),
            (
                r#"{"id":"x","method":"eth_callBundle","params":[]}"#,
                "{\"id\":\"x\",\"result\":\"cool\",\"jsonrpc\":\"2.0\"}\n",
            ),
            (
                r#"{"id":7,"method":"eth_foo"}"#,
                "{\"id\":7,\"result\":null,\"error\":{\"code\":-32603,\"message\":\"no RPC method handler implemented for eth_foo\"},\"jsonrpc\":\"\"}\n",
            ),
        ] {
            assert_eq!(answer(body.as_bytes()), reply);
        }
        let wrong = answer(b"nonsense");
        assert!(wrong.starts_with("{\"id\":-1,\"result\":null,"), "{wrong}");
        assert!(wrong.contains("failed to parse JSON RPC request: "), "{wrong}");
    }
}

//! What tests of the roles that drive execution clients share: secrets, times, and the reading of replies.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses its part

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use mainstay_wire::client::HttpReply;
use mainstay_wire::jwt::Secret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest that anything is waited for; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(15);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The wall clock, for tokens.
#[allow(clippy::disallowed_methods)] // the tests' consensus client has a clock too
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// The secret that the consensus client and, unless told otherwise, all nodes share.
pub fn shared_secret() -> Secret {
    Secret::from_hex(&"11".repeat(32)).unwrap()
}

/// What `own_secret` gives to a node.
pub fn secret_of(node: usize) -> Secret {
    Secret::from_hex(&format!("{:02x}", 0xa0 + node).repeat(32)).unwrap()
}

/// A file with the shared secret.
pub fn secret_file(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("jwt.hex");
    std::fs::write(&path, "11".repeat(32)).unwrap();
    path
}

/// The `result` of a reply that has one.
pub fn result(reply: Value) -> Value {
    assert!(reply.get("error").is_none(), "{reply}");
    reply["result"].clone()
}

/// The code of a reply's error.
pub fn code(reply: &Value) -> i64 {
    reply["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error in {reply}"))
}

/// The status of a newPayload's result or a forkchoiceUpdated's.
pub fn status(result: &Value) -> &str {
    let status = if result["payloadStatus"].is_null() { result } else { &result["payloadStatus"] };
    status["status"].as_str().unwrap_or_else(|| panic!("no status in {result}"))
}

/// A request of `tests/data` of the execution crate.
pub fn recorded(name: &str) -> Bytes {
    let path = format!("{}/../execution/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    Bytes::from(std::fs::read(path).unwrap())
}

/// How long something took.
pub async fn timed<T>(what: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let done = what.await;
    (done, started.elapsed())
}

/// Status and content type.
pub fn head(reply: &HttpReply) -> (StatusCode, Option<String>) {
    (reply.status, header(reply, "content-type"))
}

/// A header field's text.
pub fn header(reply: &HttpReply, name: &str) -> Option<String> {
    reply.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A node that answers each call with what `answer` makes of its method: the members of the reply beside `jsonrpc` and `id`.
/// Probes are answered as a healthy node does. Gives its URL.
pub async fn scripted(answer: fn(&str) -> String) -> String {
    use mainstay_wire::server::{self, Handler, Response};
    #[derive(Clone)]
    struct Script(fn(&str) -> String);
    impl Handler for Script {
        async fn call(
            &self,
            request: Request<mainstay_wire::server::RequestBody>,
            _: std::net::SocketAddr,
        ) -> Response {
            let body = mainstay_wire::body::read(request.into_body(), 1 << 20).await.unwrap();
            let call: Value = serde_json::from_slice(&body).unwrap();
            let members = match call["method"].as_str().unwrap() {
                "eth_syncing" => r#""result":false"#.to_owned(),
                "eth_blockNumber" => r#""result":"0x0""#.to_owned(),
                "eth_chainId" => r#""result":"0x539""#.to_owned(),
                method => (self.0)(method),
            };
            let text = format!(r#"{{"jsonrpc":"2.0","id":{},{members}}}"#, call["id"]);
            Response::new(text.into())
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(server::serve(listener, Script(answer), server::Options::default(), stop, ms(1)));
    url
}

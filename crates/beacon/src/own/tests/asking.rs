//! Questions over HTTP and JSON-RPC, to servers on loopback.

use std::sync::Mutex;

use mainstay_wire::server::RequestBody;
use mainstay_wire::{body, server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;

const JWT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Answers by path, and keeps what it was asked.
#[derive(Clone, Default)]
struct Node(Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>);

impl server::Handler for Node {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> server::Response {
        let (head, asked) = request.into_parts();
        let asked = body::read(asked, MAX_BODY).await.unwrap();
        let path = head.uri.path_and_query().unwrap().to_string();
        let (status, answer) = match path.rsplit('/').next().unwrap() {
            "syncing" => (200, r#"{"data":{"head_slot":"17","is_syncing":false}}"#.to_owned()),
            "syncing?partial" => (206, r#"{"data":{"head_slot":"17","is_syncing":true}}"#.to_owned()),
            "text" => (200, "fine\n".to_owned()),
            "moved" => (302, String::new()),
            "large" => (200, "x".repeat(MAX_BODY + 1)),
            "broken" => (500, "{\"code\":500}".to_owned()),
            "rpc" | "" if asked.windows(7).any(|word| word == b"failing") => {
                (200, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#.to_owned())
            }
            "rpc" | "" => (200, r#"{"jsonrpc":"2.0","id":1,"result":"0x1f"}"#.to_owned()),
            _ => (404, String::new()),
        };
        self.0.lock().unwrap().push((format!("{} {path}", head.method), head.headers, asked));
        let mut response = server::Response::new(answer.into());
        *response.status_mut() = status.try_into().unwrap();
        let headers = response.headers_mut();
        headers.insert("location", HeaderValue::from_static("/syncing"));
        headers.append("x-two", HeaderValue::from_static("a"));
        headers.append("x-two", HeaderValue::from_static("b"));
        response
    }
}

impl Node {
    async fn start() -> (Self, String) {
        let node = Self::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = server::serve(
            listener,
            node.clone(),
            server::Options::default(),
            CancellationToken::new(),
            Duration::ZERO,
        );
        tokio::spawn(serving);
        (node, url)
    }

    fn last(&self) -> (String, HeaderMap, Bytes) {
        self.0.lock().unwrap().last().unwrap().clone()
    }
}

fn http(path: &str, expect: &str) -> String {
    let expect = if expect.is_empty() { String::new() } else { format!("expect = '''{expect}'''") };
    format!("name = 'x'\nkind = 'http'\npath = '{path}'\n{expect}")
}

#[tokio::test]
async fn any_status_is_an_answer() {
    let (node, url) = Node::start().await;
    let guard = guard("g", &format!("{url}/base/"), None);
    for (path, expect, found) in [
        ("/syncing", "", Finding::good("status = 200")),
        ("/syncing?partial", "", Finding::good("status = 206")),
        ("/syncing?partial", "status == 200", Finding::hard("status = 206")),
        (
            "/syncing",
            "int(body.data.head_slot) == 17 && guard.min_peers == 3 && guard.name == 'g'",
            Finding::good("status = 200, body.data.head_slot = \"17\", guard.min_peers = 3"),
        ),
        ("/syncing", "body.data.is_syncing", Finding::hard("status = 200, body.data.is_syncing = false")),
        ("/syncing", "body.data.x == 1", Finding::hard("body.data.x: no such key (status = 200)")),
        ("/syncing", "now == 1795231030", Finding::good("status = 200, now = 1795231030")),
        ("/text", "body == 'fine'", Finding::good("status = 200, body = \"fine\"")),
        ("/syncing", "headers['x-two'] == 'a, b'", Finding::good("status = 200, headers.x-two = \"a, b\"")),
        ("/missing", "", Finding::hard("status = 404")),
        ("/missing", "status == 404 && body == null", Finding::good("status = 404, body = null")),
        ("/moved", "", Finding::hard("status = 302")),
        (
            "/moved",
            "status == 302 && headers.location == '/syncing'",
            Finding::good("status = 302, headers.location = \"/syncing\""),
        ),
        ("/broken", "body.code == 500", Finding::good("status = 500, body.code = 500")),
        ("/large", "true", Finding::hard("answer too large")),
    ] {
        let mut found = found;
        found.saw = found.saw.replace("headers.x-two", "headers[\"x-two\"]");
        assert_eq!(ask(&http(path, expect), &guard).await, found, "{path} {expect}");
    }
    let (asked, headers, _) = node.last();
    assert_eq!(asked, "GET /base/large");
    assert_eq!(headers["accept"], "application/json");
    // Soft ones are no worse than that.
    let soft = format!("{}\nsoft = true", http("/missing", ""));
    assert_eq!(ask(&soft, &guard).await, Finding::soft("status = 404"));
}

#[tokio::test]
async fn what_is_sent_is_what_was_configured() {
    let (node, url) = Node::start().await;
    let guard = guard("g", &url, Some(execution(&url, Some(Secret::from_hex(JWT).unwrap()))));
    let text = "name = 'x'\nkind = 'http'\npath = '/syncing?partial'\nmethod = 'POST'\nbody = '[1]'\nheaders = ['X-Key: k']";
    assert!(ask(text, &guard).await.is_good());
    let (asked, headers, body) = node.last();
    assert_eq!((asked.as_str(), &body[..]), ("POST /syncing?partial", &b"[1]"[..]));
    assert!(headers["x-key"] == "k" && headers["content-type"] == "application/json", "{headers:?}");
    assert!(!headers.contains_key(AUTHORIZATION));

    // An Engine API port wants a token with HTTP too.
    ask(&format!("{}\nnode = 'execution'", http("/text", "")), &guard).await;
    let (_, headers, _) = node.last();
    let token = jwt::bearer(headers.get(AUTHORIZATION)).unwrap();
    jwt::verify(&Secret::from_hex(JWT).unwrap(), token, moment()).unwrap();

    // Somewhere else: neither the node's path nor its token.
    let elsewhere = format!("{}/metrics/text?a=b", url.replace("http://", "http://me:pw@"));
    assert_eq!(ask(&http(&elsewhere, "status == 404"), &guard).await, Finding::good("status = 404"));
    let (asked, headers, _) = node.last();
    assert_eq!(asked, "GET /metrics/text?a=b");
    assert_eq!(headers[AUTHORIZATION], "Basic bWU6cHc=");
}

#[tokio::test]
async fn json_rpc() {
    let (node, url) = Node::start().await;
    let secret = Secret::from_hex(JWT).unwrap();
    let guard = guard("g", &url, Some(execution(&format!("{url}/rpc"), Some(secret.clone()))));
    let peers = "name = 'x'\nkind = 'jsonrpc'\nmethod = 'net_peerCount'";
    assert_eq!(ask(peers, &guard).await, Finding::good("status = 200, body.result = \"0x1f\""));
    let (asked, headers, body) = node.last();
    assert_eq!(asked, "POST /rpc");
    jwt::verify(&secret, jwt::bearer(headers.get(AUTHORIZATION)).unwrap(), moment()).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "net_peerCount", "params": []})
    );
    let many = format!("{peers}\nexpect = 'hex(body.result) >= 32'");
    assert_eq!(ask(&many, &guard).await, Finding::hard("status = 200, body.result = \"0x1f\""));
    let found = ask("name = 'x'\nkind = 'jsonrpc'\nmethod = 'failing'", &guard).await;
    assert_eq!(found, Finding::hard("status = 200, body.error = 2 entries"));
    let code = "name = 'x'\nkind = 'jsonrpc'\nmethod = 'failing'\nexpect = 'body.error.code == -32601'";
    assert_eq!(ask(code, &guard).await, Finding::good("status = 200, body.error.code = -32601"));
    // To the beacon node there is no token.
    assert!(ask(&format!("{peers}\nnode = 'beacon'"), &guard).await.is_good());
    assert!(!node.last().1.contains_key(AUTHORIZATION));
}

#[tokio::test]
async fn only_the_beacon_node_itself_can_be_gone() {
    // Nobody listens where nothing is bound any more.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let url = format!("http://me:hunter2@{free}");
    let guard = guard("g", &url, Some(execution(&url, None)));
    let refused = "connection refused";
    let rpc = "name = 'x'\nkind = 'jsonrpc'\nmethod = 'm'";
    for (text, found) in [
        (http("/x", ""), Finding::gone(refused)),
        (format!("{}\nsoft = true", http("/x", "")), Finding::gone(refused)),
        (format!("{rpc}\nnode = 'beacon'"), Finding::gone(refused)),
        (rpc.to_owned(), Finding::hard(refused)),
        (format!("{rpc}\nsoft = true"), Finding::soft(refused)),
        (format!("{}\nnode = 'execution'", http("/x", "")), Finding::hard(refused)),
        (http(&format!("{url}/x"), ""), Finding::hard(refused)),
    ] {
        assert_eq!(ask(&text, &guard).await, found, "{text}");
    }
    let without = super::guard("g", &url, None);
    assert_eq!(ask(rpc, &without).await, Finding::hard("the guard has no execution node"));
}

/// A node that takes requests and then does this with the connection.
async fn node_that(does: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 16];
            let _ = stream.read(&mut asked).await;
            match does {
                "hang" => kept.push(stream),
                other => drop(stream.write_all(other.as_bytes()).await),
            }
        }
    });
    url
}

#[tokio::test]
async fn nodes_that_answer_badly_or_not_at_all() {
    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"a\"";
    for (does, wanted) in [(reply, Verdict::Gone), ("SSH-2.0-x\r\n\r\n", Verdict::Hard), ("", Verdict::Gone)]
    {
        let found = ask(&http("/x", "true"), &guard("g", &node_that(does).await, None)).await;
        assert_eq!(found.verdict, wanted, "{does}: {found:?}");
    }
    let hangs = guard("g", &node_that("hang").await, None);
    let context = Context::new(&hangs, &Client::new).unwrap();
    let soon = || tokio::time::Instant::now().into_std() + Duration::from_millis(50);
    let found = check(&http("/x", "true")).ask(&context, soon(), moment()).await;
    assert_eq!(found.verdict, Verdict::Hard);
    assert!(found.saw.starts_with("no answer within") || found.saw == "timed out", "{found:?}");
    let soft = check(&format!("{}\nsoft = true", http("/x", "true")));
    assert_eq!(soft.ask(&context, soon(), moment()).await.verdict, Verdict::Soft);
}

//! What passes through, and what clients are told: prio-load-balancer's contract. Numbers are those of its list of defects.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{Act, Bed, CALL, Node, PATIENCE, header, ms, text};
use http::Method;
use mainstay_rpc::Operated;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn routes() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "").await;
    for (method, path, status, allow, body) in [
        ("GET", "/", 200, None, "prio-load-balancer\n"),
        ("HEAD", "/", 405, Some("GET, POST"), ""),
        ("PUT", "/", 405, Some("GET, POST"), "405 method not allowed\n"),
        ("OPTIONS", "/", 405, Some("GET, POST"), "405 method not allowed\n"),
        ("GET", "/sim", 405, Some("POST"), "405 method not allowed\n"),
        ("PUT", "/nodes", 405, Some("GET, POST, DELETE"), "405 method not allowed\n"),
        ("GET", "/metrics", 404, None, "404 page not found\n"),
        ("GET", "/sim/", 404, None, "404 page not found\n"),
        ("POST", "/sim/sim", 404, None, "404 page not found\n"),
        ("GET", "/debug/pprof/", 404, None, "404 page not found\n"),
        ("GET", "/debug/testLogLevels", 404, None, "404 page not found\n"),
    ] {
        let reply = bed.ask(method.parse().unwrap(), path, "").await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert_eq!(header(&reply, "allow").as_deref(), allow, "{method} {path}");
        assert_eq!(text(&reply), body, "{method} {path}");
        assert_eq!(header(&reply, "content-type").as_deref(), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(bed.ask(Method::POST, "/sim", CALL).await.status, 200);
    assert_eq!(text(&bed.get("/nodes").await), format!("[\"{}\"]\n", node.uri));
}

/// As there: a slash too many is redirected, and the request is not answered.
#[tokio::test]
async fn a_path_with_a_slash_too_many_is_redirected() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "").await;
    for (method, path, location) in [
        (Method::POST, "//sim", "/sim"),
        (Method::POST, "//", "/"),
        (Method::GET, "///nodes//?a=b", "/nodes/?a=b"),
        // Never to another host.
        (Method::POST, "//evil.example//sim", "/evil.example/sim"),
    ] {
        let reply = bed.ask(method, path, CALL).await;
        assert_eq!((reply.status.as_u16(), text(&reply).as_str()), (301, ""), "{path}");
        assert_eq!(header(&reply, "location").as_deref(), Some(location), "{path}");
    }
    assert_eq!(node.count(), 0);
}

/// Browsers read a backslash as a slash, and what begins with two of them as another host.
#[tokio::test]
async fn nobody_is_redirected_to_another_host() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "").await;
    for path in ["//\\evil.example", "/\\evil.example//", "//a\\b"] {
        let mut client = TcpStream::connect(bed.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        tokio::time::timeout(PATIENCE, client.read_to_string(&mut reply)).await.unwrap().unwrap();
        // Some are no paths at all.
        assert!(reply.starts_with("HTTP/1.1 404 ") || reply.starts_with("HTTP/1.1 400 "), "{path}: {reply}");
        assert!(!reply.to_ascii_lowercase().contains("location"), "{path}: {reply}");
    }
}

/// 13: statuses, types and encodings are the node's.
#[tokio::test]
async fn answers_pass_through_byte_for_byte() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "").await;
    let odd = Bytes::from_static(b"\x00\xff{\"not\": json\r\n\r\n");
    for (status, kind, encoding) in [
        (200, "application/json", None),
        (201, "text/x-odd", Some("gzip")),
        (400, "application/json; charset=utf-8", None),
        (401, "text/plain", None),
        (404, "text/html", Some("br")),
        (500, "application/json", None),
    ] {
        let mut headers = vec![("content-type", kind), ("x-internal", "10.0.0.1")];
        headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
        node.act(Act::Reply(status, headers, odd.clone()));
        let before = node.count();
        let reply = bed.post(CALL).await;
        assert_eq!((reply.status.as_u16(), &reply.body), (status, &odd));
        assert_eq!(header(&reply, "content-type").as_deref(), Some(kind));
        assert_eq!(header(&reply, "content-encoding").as_deref(), encoding);
        assert_eq!(header(&reply, "x-internal"), None);
        assert_eq!(node.count(), before + 1, "{status} is tried once");
    }
    node.act(Act::Reply(204, vec![], Bytes::new()));
    assert_eq!(bed.post(CALL).await.status, 204);
}

#[tokio::test]
async fn requests_pass_through_byte_for_byte() {
    let node = Node::new().await;
    let uri = format!("{}/rpc/v1?key=hunter2&_workers=3", node.uri.replace("http://", "http://me:secret@"));
    let bed = Bed::of(&[uri], "forward_headers = [\"X-Flashbots-Signature\"]\n").await;
    let body = format!("{{\"id\": 1 ,\"method\":\"eth_call\",\"params\":[\"{}\"]}}\r\n", "é".repeat(300_000));
    let given = [
        ("x-flashbots-signature", "0x1:0x2"),
        ("x-other", "1"),
        ("content-type", "application/x-odd"),
        ("accept-encoding", "gzip"),
    ];
    assert_eq!(bed.post_with(&given, &body).await.status, 200);
    let got = node.got().remove(0);
    assert_eq!(got.body, body);
    assert_eq!(got.uri, "/rpc/v1?key=hunter2");
    let field = |name: &str| got.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(field("x-flashbots-signature"), Some("0x1:0x2"));
    assert_eq!(field("x-other"), None);
    assert_eq!(
        field("content-type"),
        Some("application/json"),
        "curl -d says it is a form, which geth refuses"
    );
    assert_eq!(field("accept-encoding"), Some("gzip"), "what the client can read it may get");
    assert_eq!(field("authorization"), Some("Basic bWU6c2VjcmV0"));
    // 14: neither user, password nor key is shown.
    let shown = format!("{}{}", text(&bed.get("/nodes").await), json!(bed.handle.snapshot()));
    assert!(!["me:", "secret", "hunter2"].iter().any(|secret| shown.contains(secret)), "{shown}");
}

/// For nodes that take more than JSON.
#[tokio::test]
async fn the_clients_content_type_is_passed_on_if_that_is_set() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "forward_headers = [\"Content-Type\"]\n").await;
    for (given, sent) in [
        (&[("content-type", "application/octet-stream")][..], "application/octet-stream"),
        (&[], "application/json"),
    ] {
        assert_eq!(bed.post_with(given, CALL).await.status, 200);
        assert_eq!(node.got().last().unwrap().headers["content-type"], sent);
    }
}

/// What a client can read, its node may send, and mainstay passes it on as it is.
#[tokio::test]
async fn encodings_are_between_client_and_node() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "").await;
    let gzip = [("accept-encoding", "gzip;q=0.9"), ("accept-encoding", "br")];
    let sent = |node: &Node| -> Vec<String> {
        let got = node.got().pop().unwrap().headers;
        got.get_all("accept-encoding").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(bed.post_with(&gzip, CALL).await.status, 200);
    assert_eq!(sent(&node), ["gzip;q=0.9", "br"]);
    // A client that says nothing can't read any; the client of these tests says so.
    bed.post(CALL).await;
    assert_eq!(sent(&node), ["identity"]);
    // Not a byte of a compressed answer is looked at: an error inside it, or what looks like one, changes nothing.
    let other = Node::new().await;
    let bed = Bed::new(&[&node, &other], "").await;
    for (status, body) in [(200, &b"\x1f\x8b{\"error\":"[..]), (500, b"\x1f\x8b\x08\x00"), (400, b"")] {
        let headers = vec![("content-encoding", "gzip"), ("content-type", "application/json")];
        let body = Bytes::copy_from_slice(body);
        for node in [&node, &other] {
            node.act(Act::Reply(status, headers.clone(), body.clone()));
        }
        let before = node.count() + other.count();
        let reply = bed.post_with(&gzip, CALL).await;
        assert_eq!((reply.status.as_u16(), &reply.body), (status, &body));
        assert_eq!(header(&reply, "content-encoding").as_deref(), Some("gzip"));
        assert_eq!(node.count() + other.count(), before + 1, "{status} is tried once");
    }
    assert!(bed.views().iter().all(|node| node.fit));
    // Parts of a batch are put together, so they have to come as they are; a node that doesn't care is told.
    let split = Bed::new(&[&node], "split_batches = true\n").await;
    node.act(Act::Answer(ms(0)));
    let batch = format!("[{CALL},{CALL}]");
    let reply = split.post_with(&gzip, &batch).await;
    assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap()[1]["result"], "ok");
    assert_eq!(sent(&node), ["identity"]);
    node.act(Act::Reply(200, vec![("content-encoding", "gzip")], Bytes::from_static(b"\x1f\x8b")));
    let reply: Value = serde_json::from_slice(&split.post_with(&gzip, &batch).await.body).unwrap();
    assert_eq!(reply[0]["error"]["message"], "proxying request failed: HTTP 200 without a JSON-RPC answer");
}

#[tokio::test]
async fn the_headers_of_an_answer() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "").await;
    let reply = bed.post_with(&[("x-request-id", "abc")], CALL).await;
    for name in ["queuedurationus", "simdurationus", "totaldurationus", "queuesizestart", "queuesizeend"] {
        let value = header(&reply, &format!("x-priolb-{name}")).unwrap_or_else(|| panic!("no {name}"));
        value.parse::<u64>().unwrap();
    }
    assert!(header(&reply, "server-timing").unwrap().starts_with("queue;dur="));
    assert_eq!(header(&reply, "x-request-id").as_deref(), Some("abc"));
    let made = [
        header(&bed.post(CALL).await, "x-request-id").unwrap(),
        header(&bed.post(CALL).await, "x-request-id").unwrap(),
    ];
    assert_ne!(made[0], made[1]);
    let long = "x".repeat(1000);
    let replaced = header(&bed.post_with(&[("x-request-id", &long)], CALL).await, "x-request-id").unwrap();
    assert_eq!(replaced.len(), 32, "what is as long as that is no id");
    let sent: Vec<_> =
        node.got().iter().map(|got| got.headers["x-request-id"].to_str().unwrap().to_owned()).collect();
    assert_eq!(sent, ["abc", &made[0], &made[1], &replaced]);
}

/// 14: an error says what went wrong, with the request's id, and no address.
#[tokio::test]
async fn errors_are_in_the_form_of_the_request() {
    let bed = Bed::of(&[], "").await;
    let reply = bed.post(r#"{"jsonrpc":"2.0","id":"x1","method":"eth_call","params":[]}"#).await;
    assert_eq!(reply.status, 503);
    assert_eq!(header(&reply, "content-type").as_deref(), Some("application/json"));
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&body["id"], &body["error"]["message"]), (&json!("x1"), &json!("no nodes available")));
    assert!(header(&reply, "retry-after").is_some() && header(&reply, "x-request-id").is_some());
    let reply = bed.post("taskLowPrio").await;
    assert_eq!((reply.status.as_u16(), text(&reply).as_str()), (503, "no nodes available\n"));
    assert_eq!(header(&reply, "content-type").as_deref(), Some("text/plain; charset=utf-8"));
}

/// 14: what is said of a node that can't be reached doesn't say where it is.
#[tokio::test]
async fn a_failure_names_no_node() {
    let mut node = Node::new().await;
    let bed = Bed::new(&[&node], "retries_max = 1\nhealth = \"none\"\n").await;
    node.kill().await;
    let reply = bed.post(CALL).await;
    assert_eq!(reply.status, 502);
    let body = text(&reply);
    assert!(body.contains("proxying request failed: connection re"), "{body}");
    assert!(!body.contains("127.0.0.1") && !body.contains(&node.address.port().to_string()), "{body}");
}

/// 7: a body is refused while it comes; nobody waits for the rest, or keeps it.
#[tokio::test]
async fn a_large_body_is_refused_before_it_is_in() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "payload_max = \"100KiB\"\n").await;
    for head in ["content-length: 268435456", "transfer-encoding: chunked"] {
        let mut stream = TcpStream::connect(bed.address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if head.contains("chunked") {
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            stream.write_all(&chunk.repeat(3)).await.unwrap();
        }
        let mut start = [0; 12];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut start)).await.unwrap().unwrap();
        assert_eq!(&start, b"HTTP/1.1 413");
    }
    let reply = bed.post(&"x".repeat(100 * 1024 + 1)).await;
    assert_eq!((reply.status.as_u16(), text(&reply).as_str()), (413, "Payload too large\n"));
    assert_eq!(bed.post(&"x".repeat(100 * 1024)).await.status, 200);
    assert_eq!(node.count(), 1);
}

/// Bodies that are sent by and by take memory before the queue can count them.
#[tokio::test]
async fn bodies_on_their_way_have_a_bound_together() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "reading_bytes = \"100KiB\"\n").await;
    let mut slow = TcpStream::connect(bed.address).await.unwrap();
    // Larger than all of it: one may come alone.
    slow.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 204800\r\n\r\n").await.unwrap();
    slow.write_all(&[b'x'; 150 << 10]).await.unwrap();
    let large = "x".repeat(64 << 10);
    let refused = async {
        loop {
            let reply = bed.post(&large).await;
            if reply.status != 200 {
                return reply;
            }
        }
    };
    let reply = tokio::time::timeout(PATIENCE, refused).await.expect("all are let in");
    let told = "queue full: too many request bodies are coming in at once\n";
    assert_eq!((reply.status.as_u16(), text(&reply).as_str()), (503, told));
    assert_eq!(header(&reply, "retry-after").as_deref(), Some("1"));
    assert_eq!(bed.post(CALL).await.status, 200, "a small one is in at once");
    slow.write_all(&[b'x'; 50 << 10]).await.unwrap();
    let mut start = [0; 12];
    tokio::time::timeout(PATIENCE, slow.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    assert_eq!(bed.post(&large).await.status, 200);
}

#[tokio::test]
async fn a_rate_is_kept_for_each_key() {
    let node = Node::new().await;
    let bed = Bed::new(&[&node], "[[rpc.rule]]\nheader = \"x-api-key\"\nrate = 1\nburst = 2\n").await;
    let mut seen = Vec::new();
    for key in ["a", "a", "a", "b"] {
        let reply = bed.post_with(&[("x-api-key", key)], CALL).await;
        seen.push((reply.status.as_u16(), header(&reply, "retry-after")));
    }
    let ok = (200, None);
    assert_eq!(seen, [ok.clone(), ok.clone(), (429, Some("1".into())), ok]);
    // More at once than ever are let through: to come again later is no use, and nobody is told to.
    let reply = bed.post_with(&[("x-api-key", "c")], &format!("[{CALL},{CALL},{CALL}]")).await;
    assert_eq!((reply.status.as_u16(), header(&reply, "retry-after")), (429, None));
    assert!(text(&reply).contains("more calls than are ever let through at once"), "{}", text(&reply));
    assert_eq!(bed.post_with(&[("x-api-key", "c")], CALL).await.status, 200, "it has taken nothing");
}

/// One key that is refused takes nothing of what all keys share.
#[tokio::test]
async fn a_key_over_its_rate_leaves_the_others_theirs() {
    let node = Node::new().await;
    let rules = "[[rpc.rule]]\nrate = 1\nburst = 3\n[[rpc.rule]]\nheader = \"x-api-key\"\nrate = 1\n";
    let bed = Bed::new(&[&node], rules).await;
    let mut seen = Vec::new();
    for key in ["a", "a", "a", "a", "b", "c"] {
        seen.push(bed.post_with(&[("x-api-key", key)], CALL).await.status.as_u16());
    }
    assert_eq!(seen, [200, 429, 429, 429, 200, 200]);
}

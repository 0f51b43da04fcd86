//! §3: who is let in, what a body may look like, and that every reply has the envelope that its request asked for.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::*;
use http::Request;
use mainstay_node::Operated;
use mainstay_sim::{Family, Fault};
use mainstay_wire::jwt::{self, Claims, Secret};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Sends raw bytes and reads until `enough` or the connection's end.
async fn raw(bed: &Bed, request: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(bed.url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        while !enough(&String::from_utf8_lossy(&seen)) {
            match stream.read(&mut piece).await {
                Ok(n) if n > 0 => seen.extend_from_slice(&piece[..n]),
                _ => break,
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("a reply");
    String::from_utf8(seen).unwrap()
}

fn with_token(token: Option<&str>, body: &'static str) -> Request<Bytes> {
    let mut request = Request::post("/").header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    request.body(Bytes::from_static(body.as_bytes())).unwrap()
}

const CHAIN_ID: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;

#[tokio::test]
async fn only_a_fresh_token_of_the_shared_secret_is_let_in() {
    let bed = Setup::new(1).ready().await;
    bed.els[0].clear_calls();
    let other = Secret::from_hex(&"22".repeat(32)).unwrap();
    let at = |seconds: i64| {
        let now = Claims::at(wall()).iat;
        jwt::sign(&shared_secret(), &Claims { iat: now.saturating_add_signed(seconds), ..Claims::at(wall()) })
    };
    let fine = bed.token();
    let claims = fine.split('.').nth(1).unwrap();
    // {"typ":"JWT","alg":"none"}
    let none = format!("Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{claims}.");
    for token in [
        None,
        Some(String::new()),
        Some("Basic dXNlcjpwYXNz".to_owned()),
        Some("Bearer x".to_owned()),
        Some(format!("Bearer {}", jwt::sign(&other, &Claims::at(wall())))),
        Some(format!("Bearer {}", at(-90))),
        Some(format!("Bearer {}", at(90))),
        Some(none),
    ] {
        let reply = bed.send(with_token(token.as_deref(), CHAIN_ID)).await;
        assert_eq!(reply.status, 401, "{token:?}");
        assert!(header(&reply, "content-type").unwrap().starts_with("text/plain"));
    }
    for token in [fine, at(-50), at(50)] {
        assert_eq!(bed.send(with_token(Some(&format!("Bearer {token}")), CHAIN_ID)).await.status, 200);
    }
    let asked = bed.els[0].calls().iter().filter(|c| c.method == "eth_chainId").count();
    assert_eq!(asked, 3, "the others reached nobody");
    let page = bed.get("/metrics", Some("text/plain")).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    for (why, times) in [("missing", 1), ("not_bearer", 2), ("signature", 1), ("clock", 2), ("no_iat", 0)] {
        let line = format!("mainstay_engine_refused_tokens_total{{engine=\"engine\",why=\"{why}\"}} {times}");
        assert!(page.lines().any(|l| l == line), "{line} in\n{page}");
    }
}

/// B15: no memory for strangers.
#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_read() {
    let bed = Setup::new(1).ready().await;
    let request = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n";
    let reply = raw(&bed, request, |seen| seen.contains("\r\n\r\n")).await;
    assert!(reply.starts_with("HTTP/1.1 401"), "{reply}");
}

/// B15: the limit holds while the body is read, announced or not.
#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let bed = Setup::new(1).set("max_body", "1000").ready().await;
    let token = bed.token();
    let start = format!("POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n");
    let announced = format!("{start}content-length: 1001\r\n\r\n");
    let reply = raw(&bed, &announced, |seen| seen.contains("\r\n\r\n")).await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    let chunk = "x".repeat(600);
    let chunked = format!("{start}transfer-encoding: chunked\r\n\r\n258\r\n{chunk}\r\n258\r\n{chunk}\r\n");
    let reply = raw(&bed, &chunked, |seen| seen.contains("\r\n\r\n")).await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    let fits = format!("{:<1000}", CHAIN_ID);
    assert_eq!(bed.post(fits).await.status, 200);
}

/// Most clients send all of a request before they read.
#[tokio::test]
async fn a_refusal_can_be_read_by_who_sends_the_whole_body_first() {
    let bed = Setup::new(1).set("max_body", "1000").ready().await;
    let piece = vec![b'x'; 1 << 20];
    let pieces = 32;
    for (authorization, told) in [
        (String::new(), "HTTP/1.1 401"),
        (format!("authorization: Bearer {}\r\n", bed.token()), "HTTP/1.1 413"),
    ] {
        let mut stream = TcpStream::connect(bed.url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
        let length = pieces * piece.len();
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{authorization}content-length: {length}\r\n\r\n");
        let mut reply = String::new();
        let exchange = async {
            stream.write_all(head.as_bytes()).await?;
            for _ in 0..pieces {
                stream.write_all(&piece).await?;
            }
            stream.read_to_string(&mut reply).await
        };
        timeout(PATIENCE, exchange).await.expect("a reply").expect("no reset");
        assert!(reply.starts_with(told), "{reply}");
    }
}

/// B11: each node's token is from its own secret, and says who calls.
#[tokio::test]
async fn each_node_gets_a_token_of_its_own_secret_with_the_callers_claims() {
    let mut bed = Setup::new(2).own_secret(1).ready().await;
    let block = bed.chain.grow();
    let claims = Claims { id: Some("cl-1".into()), clv: Some("v1.5.1".into()), ..Claims::at(wall()) };
    let token = jwt::sign(&shared_secret(), &claims);
    let deadline = Instant::now() + PATIENCE;
    let body = mainstay_sim::request::new_payload(1, 4, &block);
    let reply = bed.client.post(body, Some(&token), deadline).await.unwrap();
    assert_eq!(reply.status, 200);
    let body = Bytes::from_static(CHAIN_ID.as_bytes());
    bed.client.post(body, Some(&token), deadline).await.unwrap();
    for el in &bed.els {
        let call = el.calls_of(Family::NewPayload).remove(0);
        let seen = call.claims.unwrap();
        assert_eq!((seen.id.as_deref(), seen.clv.as_deref()), (Some("cl-1"), Some("v1.5.1")));
        assert_eq!(el.refused(), 0);
    }
    let forwarded = bed.els[0].calls().into_iter().rfind(|c| c.method == "eth_chainId").unwrap();
    assert_eq!(forwarded.claims.unwrap().id.as_deref(), Some("cl-1"));
}

#[tokio::test]
async fn a_401_of_a_node_is_shown_as_what_it_is() {
    let setup = Setup::new(2);
    let stranger = mainstay_sim::El::new("el9", mainstay_sim::chain::Chain::new(1).tip().clone());
    let other = Secret::from_hex(&"33".repeat(32)).unwrap();
    let (el, _) = mainstay_sim::ElServer::start(stranger, other).await.unwrap();
    let mut bed = setup.node(format!("{}#name=el9", el.url())).start().await;
    bed.condition("el9", "unfit").await;
    let reason = bed.view("el9").reason;
    assert!(reason.contains("401") && reason.contains("secret") && reason.contains("clock"), "{reason}");
    bed.advance().await;
    assert!(bed.handle.health().1.iter().any(|r| r.contains("el9") && r.contains("secret")));
}

/// B17: ids are the client's business.
#[tokio::test]
async fn any_id_comes_back_byte_for_byte() {
    let mut bed = Setup::new(2).ready().await;
    let block = bed.chain.grow();
    let payload = String::from_utf8(mainstay_sim::request::new_payload(1, 4, &block).to_vec()).unwrap();
    for id in [
        "7",
        "0",
        "-1",
        "1.50",
        "1e3",
        "123456789012345678901234567890",
        "null",
        r#""x""#,
        r#""aA\n\"\/é""#,
        r#""""#,
    ] {
        for (body, what) in [
            (payload.replacen("\"id\":1", &format!("\"id\":{id}"), 1), "newPayload"),
            (CHAIN_ID.replacen("\"id\":1", &format!("\"id\":{id}"), 1), "chainId"),
            (
                format!(
                    r#"{{"id":{id},"jsonrpc":"2.0","method":"engine_getClientVersionV1","params":[{{}}]}}"#
                ),
                "merged",
            ),
            (
                format!(r#"{{"id":{id},"jsonrpc":"2.0","method":"engine_getPayloadV5","params":["0x01"]}}"#),
                "error",
            ),
        ] {
            let reply = bed.post(body).await;
            let text = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(
                text.contains(&format!("\"id\":{id},")) || text.contains(&format!("\"id\":{id}}}")),
                "{what}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn params_may_be_absent_and_so_may_the_id() {
    let bed = Setup::new(2).ready().await;
    let reply = bed.json(r#"{"jsonrpc":"2.0","id":5,"method":"eth_chainId"}"#).await;
    assert_eq!(reply, json!({"jsonrpc":"2.0","id":5,"result":"0x539"}));
    let reply = bed.json(r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#).await;
    assert_eq!(reply["result"], "0x539");
    // Nothing that can be read, and still an answer.
    for method in
        ["engine_newPayloadV4", "engine_forkchoiceUpdatedV3", "engine_getPayloadV5", "engine_getBlobsV1"]
    {
        let reply = bed.json(format!(r#"{{"jsonrpc":"2.0","id":5,"method":"{method}"}}"#)).await;
        assert_eq!((code(&reply), &reply["id"]), (-32602, &5.into()), "{method}");
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order_element_by_element() {
    let mut bed = Setup::new(2).ready().await;
    let block = bed.chain.grow();
    let payload = String::from_utf8(mainstay_sim::request::new_payload(2, 4, &block).to_vec()).unwrap();
    let head = mainstay_sim::request::Forkchoice::head(block.hash);
    let head = mainstay_sim::request::forkchoice_updated(3, 3, head, None);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let batch = format!(
        r#"[{{"jsonrpc":"2.0","id":"a","method":"eth_chainId"}}, 7, {payload}, {{"id":9}}, {head},
            {{"jsonrpc":"2.0","id":4,"method":"eth_nope"}}, [], {{"jsonrpc":"2.0","id":5,"method":"x","Method":"y"}}]"#
    );
    bed.els[0].set(Fault::Lag(ms(50)).on(Family::Eth));
    let reply = bed.post(batch).await;
    assert_eq!(reply.status, 200);
    let reply: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply.len(), 8);
    assert_eq!((&reply[0]["id"], &reply[0]["result"]), (&"a".into(), &"0x539".into()));
    assert_eq!((code(&reply[1]), &reply[1]["id"]), (-32600, &Value::Null));
    assert_eq!((&reply[2]["id"], status(&reply[2]["result"])), (&2.into(), "VALID"));
    assert_eq!((code(&reply[3]), &reply[3]["id"]), (-32600, &9.into()));
    assert_eq!((&reply[4]["id"], status(&reply[4]["result"])), (&3.into(), "VALID"), "after its payload");
    assert_eq!((code(&reply[5]), &reply[5]["id"]), (-32601, &4.into()));
    assert_eq!(code(&reply[6]), -32600);
    assert_eq!((code(&reply[7]), &reply[7]["id"]), (-32600, &5.into()));
    for el in &bed.els {
        el.wait_until(PATIENCE, |el| el.head().hash == block.hash).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_json_and_what_is_no_request() {
    let bed = Setup::new(1).ready().await;
    for (body, expected) in [
        (&b""[..], -32700),
        (b"{", -32700),
        (b"[", -32700),
        (b"[{]", -32700),
        (b"\xff\xfe", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\"} trailing", -32700),
        (b"[]", -32600),
        (b"5", -32600),
        (b"\"eth_chainId\"", -32600),
        (b"{}", -32600),
        (br#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600),
        (br#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":"x"}"#, -32600),
    ] {
        let reply = bed.post(Bytes::from_static(body)).await;
        assert_eq!(header(&reply, "content-type").as_deref(), Some("application/json"));
        let reply: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(code(&reply), expected, "{}", String::from_utf8_lossy(body));
        assert_eq!(reply["jsonrpc"], "2.0");
        assert!(reply.get("id").is_some() && reply.get("result").is_none());
    }
}

#[tokio::test]
async fn keys_that_parsers_disagree_about_are_refused() {
    let bed = Setup::new(1).ready().await;
    bed.els[0].clear_calls();
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"eth_a","method":"eth_b"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"eth_a","Method":"eth_b"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"eth_a","METHOD":"eth_b"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"eth_a","\u006dethod":"eth_b"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"eth_a","params":[],"Params":[1]}"#,
        r#"{"jsonrpc":"2.0","id":1,"ID":2,"method":"eth_a"}"#,
    ] {
        let reply = bed.post(body).await;
        assert_eq!(code(&serde_json::from_slice(&reply.body).unwrap()), -32600, "{body}");
    }
    assert!(bed.els[0].calls().iter().all(|c| !["eth_a", "eth_b"].contains(&c.method.as_str())));
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let bed = Setup::new(1).ready().await;
    let (token, length) = (bed.token(), CHAIN_ID.len());
    let one = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n{CHAIN_ID}"
    );
    let replies = raw(&bed, &one.repeat(3), |seen| seen.matches("0x539").count() == 3).await;
    assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 3, "{replies}");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_works() {
    let bed = Setup::new(1).ready().await;
    let stream = TcpStream::connect(bed.url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let driver = tokio::spawn(connection);
    for _ in 0..2 {
        let request = Request::post(bed.url.as_str())
            .header("authorization", format!("Bearer {}", bed.token()))
            .body(http_body_util::Full::new(Bytes::from_static(CHAIN_ID.as_bytes())))
            .unwrap();
        let reply = sender.send_request(request).await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.version()), (200, http::Version::HTTP_2));
        let body = http_body_util::BodyExt::collect(reply.into_body()).await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("0x539"));
    }
    driver.abort();
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let bed = Setup::new(1).ready().await;
    for (method, path, status, allow) in [
        ("GET", "/", 405, Some("POST")),
        ("PUT", "/", 405, Some("POST")),
        ("POST", "/metrics", 405, Some("GET,HEAD")),
        ("POST", "/recheck", 405, Some("GET,HEAD")),
        ("GET", "/add_nodes", 405, Some("POST")),
        ("GET", "/health", 404, None),
        ("POST", "/engine/v1/payloads", 404, None),
        ("GET", "/engine/v1/capabilities", 404, None),
    ] {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).unwrap();
        let reply = bed.send(request).await;
        assert_eq!(
            (reply.status.as_u16(), header(&reply, "allow").as_deref()),
            (status, allow),
            "{method} {path}"
        );
        assert!(reply.body.is_empty());
    }
}

#[tokio::test]
async fn what_is_in_flight_is_answered_after_the_stop() {
    let mut bed = Setup::new(2).ready().await;
    for el in &bed.els {
        el.set(Fault::Lag(ms(150)).on(Family::NewPayload));
    }
    let block = bed.chain.grow();
    let stop = async {
        bed.els[0].wait_for_calls(Family::NewPayload, 1, PATIENCE).await.unwrap();
        bed.stop.cancel();
    };
    let (told, ()) = tokio::join!(bed.new_payload(&block), stop);
    assert_eq!(told["status"], "VALID");
}

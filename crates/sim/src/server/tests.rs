#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use http::StatusCode;
use mainstay_wire::{
    client::{self, CallError, Client, HttpReply},
    jwt::{self, Claims},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use tokio::net::TcpStream;

use super::*;
use crate::{
    chain::Chain,
    clock,
    fault::Fault,
    request::{self, Forkchoice},
};

const SECRET: &str = "0x0101010101010101010101010101010101010101010101010101010101010101";
const SHORT: Duration = Duration::from_secs(5);

struct Bed {
    chain: Chain,
    el: ElHandle,
    client: Client,
    token: String,
}

async fn bed() -> Bed {
    let secret = Secret::from_hex(SECRET).unwrap();
    let chain = Chain::new(1);
    let (el, addr) = ElServer::start(El::new("el1", chain.tip().clone()), secret.clone()).await.unwrap();
    let url = url::Url::parse(&format!("http://{addr}/")).unwrap();
    let claims = Claims { iat: Claims::at(clock::wall()).iat, id: Some("cl".into()), clv: None };
    let client = Client::new(&url, client::Options::default()).unwrap();
    Bed { chain, el, client, token: jwt::sign(&secret, &claims) }
}

impl Bed {
    async fn post(&self, body: Bytes) -> Result<HttpReply, CallError> {
        self.client.post(body, Some(&self.token), Instant::now() + SHORT).await
    }

    async fn result(&self, body: Bytes) -> Value {
        let reply = self.post(body).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK);
        serde_json::from_slice::<Value>(&reply.body).unwrap()["result"].clone()
    }

    async fn block_number(&self) -> Result<HttpReply, CallError> {
        self.post(request::call(1, "eth_blockNumber", "[]")).await
    }
}

#[tokio::test(start_paused = true)]
async fn it_answers_and_notes_what_it_was_asked() {
    let mut bed = bed().await;
    let block = bed.chain.grow();
    let body = request::new_payload(7, 4, &block);
    assert_eq!(bed.result(body.clone()).await["status"], "VALID");
    let head = request::forkchoice_updated(8, 3, Forkchoice::head(block.hash), None);
    assert_eq!(bed.result(head).await["payloadStatus"]["status"], "VALID");
    bed.el.wait_until(SHORT, |el| el.head().number == 1).await.unwrap();
    let calls = bed.el.calls();
    assert_eq!((calls.len(), calls[0].seq, calls[1].seq), (2, 0, 1));
    assert_eq!(calls[0].raw, body);
    assert_eq!(calls[0].claims.as_ref().unwrap().id.as_deref(), Some("cl"));
    assert_eq!(bed.el.count(Family::NewPayload), 1);
    assert_eq!(bed.el.calls_of(Family::ForkchoiceUpdated).len(), 1);
    bed.el.wait_for_calls(Family::NewPayload, 1, SHORT).await.unwrap();
    assert!(bed.el.wait_for_calls(Family::Eth, 1, SHORT).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn batches_and_bad_requests_get_their_envelopes() {
    let bed = bed().await;
    let batch = Bytes::from_static(
        br#"[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},5,{"jsonrpc":"2.0","id":"x","method":"no"}]"#,
    );
    let reply: Value = serde_json::from_slice(&bed.post(batch).await.unwrap().body).unwrap();
    assert_eq!(reply[0]["result"], "0x539");
    assert_eq!(reply[1]["error"]["code"], -32600);
    assert_eq!((&reply[2]["error"]["code"], &reply[2]["id"]), (&(-32601).into(), &"x".into()));
    let reply = bed.post(Bytes::from_static(b"{")).await.unwrap();
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply["error"]["code"], -32700);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_secret_is_refused_as_geth_does() {
    let bed = bed().await;
    let other = Secret::from_hex(&"02".repeat(32)).unwrap();
    let now = clock::wall();
    let stale = now - Duration::from_secs(100);
    let right = Secret::from_hex(SECRET).unwrap();
    for (token, text) in [
        (None, "missing token\n"),
        (Some(jwt::sign(&other, &Claims::at(now))), "signature is invalid\n"),
        (Some(jwt::sign(&right, &Claims::at(stale))), "stale token\n"),
    ] {
        let body = request::call(1, "eth_chainId", "[]");
        let reply = bed.client.post(body, token.as_deref(), Instant::now() + SHORT).await.unwrap();
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::UNAUTHORIZED, text.as_bytes()));
    }
    assert_eq!(bed.el.refused(), 3);
    assert!(bed.el.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn down_refuses_at_once_and_heals_on_the_same_port() {
    let bed = bed().await;
    for _ in 0..20 {
        bed.block_number().await.unwrap();
        bed.el.set(Fault::Down);
        assert_eq!(bed.el.faults().as_deref(), Some("down"));
        let fault = bed.block_number().await.unwrap_err().fault;
        assert!(matches!(fault, client::Fault::Refused | client::Fault::Reset), "{fault:?}");
        let fault = bed.block_number().await.unwrap_err().fault;
        assert!(matches!(fault, client::Fault::Refused), "{fault:?}");
        bed.el.heal();
    }
    bed.block_number().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn down_resets_a_call_in_flight() {
    let bed = bed().await;
    bed.el.set(Fault::Hang);
    let killer = async {
        bed.el.wait_for_calls(Family::Eth, 1, SHORT).await.unwrap();
        bed.el.set(Fault::Down);
    };
    let (reply, ()) = tokio::join!(bed.block_number(), killer);
    assert!(matches!(reply.unwrap_err().fault, client::Fault::Reset));
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_answers_nothing_until_it_heals_then_works_off_what_came() {
    let mut bed = bed().await;
    bed.el.set(Fault::Hang);
    let block = bed.chain.grow();
    let start = Instant::now();
    let reply = bed.post(request::new_payload(1, 4, &block)).await;
    assert!(matches!(reply.unwrap_err().fault, client::Fault::Timeout));
    assert_eq!(start.elapsed(), SHORT);
    assert!(bed.el.with(|el| !el.knows(block.hash)));
    bed.el.heal();
    bed.el.wait_until(SHORT, |el| el.knows(block.hash)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn hung_calls_are_worked_off_in_the_order_in_which_they_came() {
    let mut bed = bed().await;
    bed.el.set(Fault::Hang);
    let blocks = bed.chain.grow_by(8);
    let calls = async {
        for (at, block) in blocks.iter().enumerate() {
            let body = request::new_payload(1, 4, block);
            let deadline = Instant::now() + Duration::from_millis(10);
            assert!(bed.client.post(body, Some(&bed.token), deadline).await.is_err());
            bed.el.wait_for_calls(Family::NewPayload, at + 1, SHORT).await.unwrap();
        }
        bed.el.heal();
    };
    calls.await;
    let tip = bed.chain.tip().hash;
    bed.el.wait_until(SHORT, |el| el.knows(tip)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_crash_forgets_what_hung_and_keeps_what_was_imported() {
    let mut bed = bed().await;
    let (kept, lost) = (bed.chain.grow(), bed.chain.grow());
    bed.result(request::new_payload(1, 4, &kept)).await;
    bed.el.set(Fault::Hang);
    assert!(bed.post(request::new_payload(2, 4, &lost)).await.is_err());
    bed.el.set(Fault::Down);
    bed.el.heal();
    bed.block_number().await.unwrap();
    assert!(bed.el.with(|el| el.knows(kept.hash) && !el.knows(lost.hash)));
}

#[tokio::test(start_paused = true)]
async fn a_lag_lasts_as_long_as_it_says_and_only_for_its_family() {
    let bed = bed().await;
    bed.el.set(Fault::Lag(Duration::from_millis(800)).on(Family::Eth));
    let start = Instant::now();
    bed.block_number().await.unwrap();
    assert_eq!(start.elapsed().as_millis(), 800);
    let capabilities = request::call(1, "engine_exchangeCapabilities", "[[]]");
    bed.post(capabilities).await.unwrap();
    assert_eq!(start.elapsed().as_millis(), 800);
}

#[tokio::test(start_paused = true)]
async fn answers_can_be_broken_in_every_way() {
    let bed = bed().await;
    bed.el.set(Fault::HttpError(503, "busy".to_owned()));
    let reply = bed.block_number().await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::SERVICE_UNAVAILABLE, &b"busy"[..]));
    bed.el.set(Fault::Garbage);
    let reply = bed.block_number().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
    bed.el.set(Fault::RpcError(-32000));
    let reply: Value = serde_json::from_slice(&bed.block_number().await.unwrap().body).unwrap();
    assert_eq!(reply["error"]["code"], -32000);
    bed.el.set(Fault::Truncate);
    let error = bed.block_number().await.unwrap_err();
    assert!(!matches!(error.fault, client::Fault::Timeout | client::Fault::Refused), "{error:?}");
    bed.el.set(Fault::SlowBody(Duration::from_secs(2)));
    let start = Instant::now();
    bed.block_number().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 2);
    bed.el.set(Fault::SlowBody(Duration::from_secs(20)));
    assert!(matches!(bed.block_number().await.unwrap_err().fault, client::Fault::Timeout));
    bed.el.set(Fault::RpcError(-1).times(1));
    let reply: Value = serde_json::from_slice(&bed.block_number().await.unwrap().body).unwrap();
    assert_eq!(reply["error"]["code"], -1);
    bed.block_number().await.unwrap();
    assert_eq!(bed.el.faults(), None);
}

#[tokio::test(start_paused = true)]
async fn without_a_secret_nobody_is_asked_and_stop_frees_the_port() {
    let (el, addr) = ElServer::start(El::new("el1", Chain::new(1).tip().clone()), None).await.unwrap();
    let client = Client::new(&url::Url::parse(&el.url()).unwrap(), client::Options::default()).unwrap();
    let call = || request::call(1, "eth_chainId", "[]");
    client.post(call(), None, Instant::now() + SHORT).await.unwrap();
    el.stop();
    assert!(client.post(call(), None, Instant::now() + SHORT).await.is_err());
    let again = El::new("el2", Chain::new(1).tip().clone());
    let (again, _) = ElServer::start_at(addr, again, None).await.unwrap();
    client.post(call(), None, Instant::now() + SHORT).await.unwrap();
    again.stop();
}

/// A connection to a node that asks for no token, and one request on it.
async fn raw(el: &ElHandle) -> TcpStream {
    let mut stream = TcpStream::connect(el.addr()).await.unwrap();
    let body = request::call(1, "eth_blockNumber", "[]");
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    stream
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_promises_more_than_it_sends() {
    let (el, _) = ElServer::start(El::new("el1", Chain::new(1).tip().clone()), None).await.unwrap();
    el.set(Fault::Truncate);
    let mut answer = String::new();
    raw(&el).await.read_to_string(&mut answer).await.unwrap();
    let whole = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"0x0\"}";
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", whole.len())), "{head}");
    assert_eq!(body, &whole[..whole.len().div_ceil(2)]);
}

#[tokio::test(start_paused = true)]
async fn what_replaces_an_answer_and_a_reset() {
    let (el, _) = ElServer::start(El::new("el1", Chain::new(1).tip().clone()), None).await.unwrap();
    let ask = async |el: &ElHandle| {
        let mut answer = String::new();
        let mut stream = raw(el).await;
        tokio::time::timeout(SHORT, async {
            while !answer.contains("\r\n\r\n") {
                let mut piece = vec![0; 4096];
                let read = stream.read(&mut piece).await?;
                answer.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            Ok::<_, io::Error>(answer)
        })
        .await
        .unwrap()
    };
    el.set(Fault::Text("[1]".to_owned()).at("eth_block"));
    assert!(ask(&el).await.unwrap().ends_with("[1]"));
    el.set(Fault::Empty);
    assert!(ask(&el).await.unwrap().contains("content-length: 0\r\n"));
    el.set(Fault::Empty.at("eth_syncing"));
    assert!(ask(&el).await.unwrap().ends_with("\"result\":\"0x0\"}"));
    el.set(Fault::Reset);
    assert_eq!(ask(&el).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn down_resets_connections_that_wait_for_nothing() {
    let (el, _) = ElServer::start(El::new("el1", Chain::new(1).tip().clone()), None).await.unwrap();
    let mut stream = raw(&el).await;
    let mut answer = vec![0; 4096];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    el.set(Fault::Down);
    let broken = stream.read(&mut answer).await.unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_when_everything_happens_at_once() {
    let (el, _) = ElServer::start(El::new("el1", Chain::new(1).tip().clone()), None).await.unwrap();
    let url = url::Url::parse(&el.url()).unwrap();
    let client = Client::new(&url, client::Options::default()).unwrap();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    let body = request::call(1, "eth_blockNumber", "[]");
                    // Some of these fail, which is what the breaker is for.
                    let _ = client.post(body, None, Instant::now() + SHORT).await;
                }
            })
        })
        .collect();
    for _ in 0..20 {
        el.set(Fault::Down);
        tokio::task::yield_now().await;
        el.heal();
        el.set(Fault::Hang);
        tokio::task::yield_now().await;
        el.heal();
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let body = request::call(1, "eth_blockNumber", "[]");
    client.post(body, None, Instant::now() + SHORT).await.unwrap();
}

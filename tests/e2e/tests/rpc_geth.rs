//! Real geths behind `mainstay rpc`: what passes is what geth says, and the death of one of two isn't felt.
//!
//! That a stop under load loses nothing is shown in `crates/mainstay/tests/rpc.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use mainstay_e2e::balancer::Balancer;
use mainstay_e2e::execution::Genesis;
use mainstay_e2e::minicl::MiniCl;
use mainstay_e2e::rpc::{LIMIT, ask};
use mainstay_e2e::{Failure, Result, ensure, fail, geth, scenario, until};
use tokio::task::JoinSet;

/// What mainstay gets to see that a node has gone or come.
const SEES: Duration = Duration::from_secs(15);

/// What a client posts; `gzip`: whether it takes that.
struct Posted {
    kind: &'static str,
    gzip: bool,
    body: Bytes,
}

fn posted(body: impl Into<String>) -> Posted {
    Posted { kind: "application/json", gzip: false, body: Bytes::from(body.into()) }
}

async fn post(url: &str, posted: &Posted) -> Result<Response<Bytes>> {
    let mut request =
        Request::builder().method(Method::POST).uri(url).header(header::CONTENT_TYPE, posted.kind);
    if posted.gzip {
        request = request.header(header::ACCEPT_ENCODING, "gzip");
    }
    ask(request.body(posted.body.clone())?, LIMIT).await
}

/// What a client sees of an answer: status, type, encoding and body.
fn seen(reply: &Response<Bytes>) -> (u16, [Option<&str>; 2], &Bytes) {
    let field = |name| reply.headers().get(name).and_then(|value| value.to_str().ok());
    let fields = [header::CONTENT_TYPE, header::CONTENT_ENCODING].map(field);
    (reply.status().as_u16(), fields, reply.body())
}

fn call(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

/// Each with what its answer must be like, so that two wrong ones aren't taken for right.
fn everything() -> Vec<(Posted, u16, &'static str)> {
    let mut all = Vec::new();
    let mut add = |body: String, wanted: &'static str| all.push((posted(body), 200, wanted));
    for (method, params, wanted) in [
        ("eth_chainId", "[]", r#""result":"0x539""#),
        ("eth_blockNumber", "[]", r#""result":"0x3""#),
        ("eth_getBlockByNumber", r#"["0x2",true]"#, r#""parentHash":"#),
        ("eth_getBlockByNumber", r#"["0x999",true]"#, r#""result":null"#),
        ("web3_clientVersion", "[]", "Geth/"),
        (
            "eth_call",
            r#"[{"to":"0x0000000000000000000000000000000000000004","data":"0xc0ffee"},"latest"]"#,
            "c0ffee",
        ),
        // Errors of each kind: of the chain, of parameters, of a method that isn't, of a transaction.
        ("eth_call", r#"[{"data":"0xfe"},"latest"]"#, r#""error":"#),
        ("eth_getBalance", r#"["nonsense","latest"]"#, r#""code":-32602"#),
        ("eth_noSuchMethod", "[]", r#""code":-32601"#),
        ("eth_sendRawTransaction", r#"["0x02f8"]"#, r#""error":"#),
        ("eth_sendRawTransaction", r#"["0xzz"]"#, r#""code":-32602"#),
    ] {
        add(call("1", method, params), wanted);
    }
    for id in [
        "0",
        "-7",
        "1.50",
        "1e3",
        "123456789012345678901234567890",
        "null",
        "\"\"",
        "\"a b\"",
        r#""\u00e9\\\"""#,
        "\"é→\u{1F980}\"",
        "true",
        "{}",
        "[1]",
    ] {
        add(call(id, "net_version", "[]"), "jsonrpc");
    }
    let version = call("9", "net_version", "[]");
    let bad = call("8", "eth_getBalance", "[]");
    add(format!("[{version},{bad},{version}]"), r#""result":"1337"}]"#);
    add(format!("[{version},7,{{}},{version}]"), r#""code":-32600"#);
    add("[]".to_owned(), r#""code":-32600"#);
    add(format!(" \r\n\t[ {version} ]\n"), r#""result":"1337"}]"#);
    // As a client may write them: space, order, escapes, what no standard knows.
    add(
        r#"{ "params" : [ ] , "id" : 5,"method":"net_\u0076ersion", "x":{"y":[]}, "jsonrpc":"2.0" }"#
            .to_owned(),
        "1337",
    );
    add(r#"{"jsonrpc":"2.0","method":"net_version","params":[]}"#.to_owned(), "");
    add(r#"{"id":1,"method":"net_version"}"#.to_owned(), "");
    add("{\"jsonrpc\":\"2.0\",".to_owned(), "");
    add("not json".to_owned(), r#""code":-32700"#);
    add("\u{feff}{}".to_owned(), "");
    add(String::new(), "");
    // Large each way; the answer comes in chunks.
    let large = format!(
        r#"[{{"to":"0x0000000000000000000000000000000000000004","data":"0x{}"}},"latest"]"#,
        "5a".repeat(60_000)
    );
    add(call("1", "eth_call", &large), "5a5a5a5a");
    let block = call("1", "eth_getBlockByNumber", r#"["0x1",true]"#);
    add(format!("[{}]", vec![block; 300].join(",")), r#""parentHash":"#);
    // What geth refuses before it reads JSON.
    all.push((posted(call("1", "eth_call", &format!("[\"{}\"]", "5a".repeat(3_000_000)))), 413, "too large"));
    all
}

#[test]
fn requests_and_answers_are_those_of_geth_byte_for_byte() {
    scenario("rpc-geth", Duration::from_secs(90), async |lab| {
        let geth = geth::start(lab, "geth", Genesis::Osaka).await?;
        let mut cl = MiniCl::new(geth.endpoint().clone(), Genesis::Osaka).await?;
        for _ in 0..3 {
            cl.step().await?;
        }
        let balancer = Balancer::start(lab, &[geth.rpc()]).await?;
        let node = balancer.finds(geth.rpc(), true, SEES).await?;
        until("its head and version to be known", SEES, async || {
            let node = balancer.node(geth.rpc()).await?;
            let version = node["client"].as_str().unwrap_or_default();
            Ok((node["head"] == 3 && version.starts_with("Geth/")).then_some(()))
        })
        .await?;
        lab.say(format!("geth is fit: {node}"));

        let (root, sim) = (format!("{}/", balancer.url()), format!("{}/sim", balancer.url()));
        let mut statuses = BTreeMap::new();
        let mut compressed = 0;
        for (mut posted, status, wanted) in everything() {
            for gzip in [false, true] {
                posted.gzip = gzip;
                let direct = post(geth.rpc(), &posted).await?;
                let shown =
                    || String::from_utf8_lossy(&posted.body[..posted.body.len().min(200)]).into_owned();
                let (told, [_, encoding], body) = seen(&direct);
                ensure!(told == status, "geth says {told} to {}", shown());
                match encoding {
                    Some(_) => compressed += 1,
                    None => ensure!(
                        String::from_utf8_lossy(body).contains(wanted),
                        "geth says {:?} to {}, without {wanted}",
                        String::from_utf8_lossy(body),
                        shown()
                    ),
                }
                for url in [&root, &sim] {
                    let through = post(url, &posted).await?;
                    if seen(&through) != seen(&direct) {
                        fail!("{} (gzip: {gzip})\n  direct  {direct:?}\n  through {through:?}", shown());
                    }
                }
                *statuses.entry(told).or_insert(0) += 1;
            }
        }
        ensure!(compressed > 30, "geth has compressed {compressed} answers");
        lab.say(format!("the same, answers by status: {statuses:?}, {compressed} of them gzip"));

        // A client may call its body what it likes (a form, says `curl -d`): geth is told that it is JSON, as by prio-load-balancer.
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            let version = Posted { kind, ..posted(call("9", "net_version", "[]")) };
            let (direct, through) = (post(geth.rpc(), &version).await?, post(&root, &version).await?);
            let told = (direct.status().as_u16(), through.status().as_u16());
            ensure!(told == (415, 200), "{kind}: {told:?}");
        }

        // GET is the balancer's own: prio-load-balancer's word.
        let get = ask(Request::get(&root).body(Bytes::new())?, LIMIT).await?;
        ensure!(get.status() == 200 && &get.body()[..] == b"prio-load-balancer\n", "GET / gives {get:?}");
        let node = balancer.node(geth.rpc()).await?;
        ensure!(node["fit"] == true, "geth's word on wrong requests made it unfit: {node}");
        Ok(())
    });
}

/// A few clients that ask one request after the other, with a pause; what goes wrong is kept.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    fn start(url: &str, clients: usize, pause: Duration) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let (url, stop, answered) = (url.to_owned(), stop.clone(), answered.clone());
            running.spawn(async move {
                let mut failures = Vec::new();
                let request = posted(call("1", "eth_getBlockByNumber", r#"["0x0",true]"#));
                while !stop.load(Ordering::SeqCst) {
                    match post(&url, &request).await {
                        Ok(reply)
                            if reply.status() == 200
                                && String::from_utf8_lossy(reply.body()).contains(r#""number":"0x0""#) => {}
                        Ok(reply) => failures.push(format!("{reply:?}")),
                        Err(failure) => failures.push(failure.to_string()),
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(pause).await;
                }
                failures
            });
        }
        Load { stop, answered, clients: running }
    }

    /// Waits for `more` answers.
    async fn answers(&self, more: usize) -> Result<()> {
        let wanted = self.answered.load(Ordering::SeqCst) + more;
        until(&format!("{more} more answers"), SEES, async || {
            Ok((self.answered.load(Ordering::SeqCst) >= wanted).then_some(()))
        })
        .await
    }

    /// Ends it; how many answers there were.
    async fn end(mut self) -> Result<usize> {
        self.stop.store(true, Ordering::SeqCst);
        let mut failures = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            failures.append(&mut client.map_err(|error| Failure::new(error.to_string()))?);
        }
        let answered = self.answered.load(Ordering::SeqCst);
        ensure!(failures.is_empty(), "{} of {answered} failed: {:#?}", failures.len(), failures.first());
        Ok(answered)
    }
}

#[test]
fn the_death_of_one_of_two_geths_costs_no_request() {
    scenario("rpc-two-geths", Duration::from_secs(120), async |lab| {
        let mut one = geth::start(lab, "one", Genesis::Osaka).await?;
        let two = geth::start(lab, "two", Genesis::Osaka).await?;
        let balancer = Balancer::start(lab, &[one.rpc(), two.rpc()]).await?;
        for node in [&one, &two] {
            balancer.finds(node.rpc(), true, SEES).await?;
        }
        let tries = async |url: &str| -> Result<u64> {
            Ok(balancer.node(url).await?["tries"].as_u64().unwrap_or_default())
        };
        // Far below what one of them can do.
        let load = Load::start(&format!("{}/", balancer.url()), 4, Duration::from_millis(10));
        load.answers(100).await?;
        for round in 1..=2 {
            let (before, other) = (tries(one.rpc()).await?, tries(two.rpc()).await?);
            load.answers(100).await?;
            ensure!(tries(one.rpc()).await? > before, "round {round}: the first geth gets no requests");
            ensure!(tries(two.rpc()).await? > other, "round {round}: the second geth gets no requests");

            one.kill()?;
            balancer.finds(one.rpc(), false, SEES).await?;
            load.answers(200).await?;
            lab.say(format!("round {round}: one of two is dead"));
            one.restart().await?;
            balancer.finds(one.rpc(), true, SEES).await?;
            load.answers(100).await?;
        }
        let answered = load.end().await?;
        lab.say(format!("{answered} requests, none failed"));
        Ok(())
    });
}

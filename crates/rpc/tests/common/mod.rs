//! A bed for the role: scripted nodes on loopback, the real role before them, and a client's side of the wire.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses its part

pub mod node;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use mainstay_rpc::{Config, Handle, Metrics, NodeView, Operated, Rpc, SECTION};
use mainstay_settings::{File, Sources, resolve};
use mainstay_store::{MemoryStore, Store};
use mainstay_wire::client::{Attestation, Client, HttpReply, Options};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

#[allow(unused_imports)]
pub use node::{Act, Node};

/// The longest that anything is waited for; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"eth_call","params":[]}"#;
pub const SEND: &str = r#"{"jsonrpc":"2.0","id":8,"method":"eth_sendRawTransaction","params":["0x00"]}"#;

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What comes of a file, or what is wrong with it.
pub fn settings(text: &str) -> Result<Config, Vec<String>> {
    let file = File::parse(std::path::Path::new("mainstay.toml"), text).unwrap();
    let sources = Sources { file: file.instances("rpc").first().copied(), ..Sources::default() };
    let mut problems = Vec::new();
    let settings = resolve(&SECTION, &sources, &mut problems);
    match Config::from_settings(&settings, &mut problems) {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

/// Settings with quick probes and no slow start, unless the text says otherwise.
pub fn config(nodes: &[String], text: &str) -> Config {
    let mut file = format!("[rpc]\nnodes = {nodes:?}\n");
    for line in ["probe_interval = \"50ms\"", "slow_start = \"0s\""] {
        if !text.contains(line.split(' ').next().unwrap()) {
            file.push_str(line);
            file.push('\n');
        }
    }
    file.push_str(text);
    settings(&file).unwrap()
}

/// The role before its nodes.
pub struct Bed {
    pub address: SocketAddr,
    pub handle: Handle,
    pub client: Client,
    pub stop: CancellationToken,
    pub served: JoinHandle<()>,
    registry: Registry,
}

impl Bed {
    /// Before these nodes, all of them fit.
    pub async fn new(nodes: &[&Node], text: &str) -> Self {
        let uris: Vec<String> = nodes.iter().map(|node| node.uri.clone()).collect();
        let bed = Self::of(&uris, text).await;
        bed.until("all fit", |bed| bed.views().iter().all(|node| node.fit)).await;
        bed
    }

    /// Before whatever these are.
    pub async fn of(uris: &[String], text: &str) -> Self {
        Self::on(Arc::new(MemoryStore::new()), uris, text).await
    }

    /// With a store that others may have too.
    pub async fn on(store: Arc<dyn Store>, uris: &[String], text: &str) -> Self {
        Self::serve(uris, text, |config, metrics| Rpc::on(store, config, metrics, None)).await
    }

    /// With somebody who judges nodes that are to prove what they run.
    pub async fn judged(uris: &[String], text: &str, attest: Attestation) -> Self {
        let store = Arc::new(MemoryStore::new());
        let make = |config, metrics: &Metrics| {
            Rpc::on(store, Config { attest: Some(attest), ..config }, metrics, None)
        };
        Self::serve(uris, text, make).await
    }

    /// With the store that the settings name.
    pub async fn build(uris: &[String], text: &str) -> Self {
        Self::serve(uris, text, |config, metrics| Rpc::build(config, metrics, None).unwrap()).await
    }

    async fn serve(uris: &[String], text: &str, make: impl FnOnce(Config, &Metrics) -> Rpc) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let rpc = make(config(uris, text), &metrics);
        let handle = rpc.handle();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(rpc.serve(listener, stop.clone(), PATIENCE));
        let client = client(address);
        let bed = Self { address, handle, client, stop, served, registry };
        // Answered once the list was read.
        assert_eq!(bed.get("/").await.status, 200);
        bed
    }

    pub async fn send(&self, request: Request<Bytes>) -> HttpReply {
        self.client.send(request, Instant::now() + PATIENCE).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> HttpReply {
        self.ask(Method::GET, path, "").await
    }

    pub async fn ask(&self, method: Method, path: &str, body: &str) -> HttpReply {
        let request = Request::builder().method(method).uri(path).body(Bytes::from(body.to_owned())).unwrap();
        self.send(request).await
    }

    pub async fn post(&self, body: &str) -> HttpReply {
        self.ask(Method::POST, "/", body).await
    }

    /// Posts with headers.
    pub async fn post_with(&self, headers: &[(&str, &str)], body: &str) -> HttpReply {
        self.send(with(headers, body)).await
    }

    /// Sends a request in a task of its own.
    pub fn start(&self, headers: &[(&str, &str)], body: &str) -> JoinHandle<HttpReply> {
        let (client, request) = (self.client.clone(), with(headers, body));
        tokio::spawn(async move { client.send(request, Instant::now() + PATIENCE).await.unwrap() })
    }

    /// `clients` that each send `each` requests one after the other; all replies' statuses.
    pub fn load(&self, clients: usize, each: usize, body: &'static str) -> JoinSet<Vec<u16>> {
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let client = self.client.clone();
            running.spawn(async move {
                let mut statuses = Vec::new();
                for _ in 0..each {
                    let reply = client.send(with(&[], body), Instant::now() + PATIENCE).await;
                    statuses.push(reply.map_or(0, |reply| reply.status.as_u16()));
                }
                statuses
            });
        }
        running
    }

    pub fn views(&self) -> Vec<NodeView> {
        self.handle.snapshot().nodes
    }

    pub fn view(&self, node: &Node) -> NodeView {
        let name = node.address.to_string();
        self.views().into_iter().find(|view| view.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.handle.snapshot().lanes.iter().map(|lane| lane.waiting).sum()
    }

    /// How many slots are in use.
    pub fn in_flight(&self) -> u32 {
        self.views().iter().map(|node| node.in_flight).sum()
    }

    /// Waits until `wanted` holds.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            assert!(Instant::now() < deadline, "not seen: {what}; {:#?}", self.handle.snapshot());
            tokio::time::sleep(ms(2)).await;
        }
    }

    /// Waits until a node is fit, or not.
    pub async fn until_fit(&self, node: &Node, fit: bool) {
        self.until(&format!("{} fit: {fit}", node.address), |bed| bed.view(node).fit == fit).await;
    }

    /// The Prometheus page.
    pub fn page(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page
    }

    /// The value of a line of the Prometheus page.
    pub fn metric(&self, start: &str) -> Option<f64> {
        let page = self.page();
        let line = page.lines().find(|line| line.starts_with(start))?.to_owned();
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Clients that ask without a pause until they are told to stop; they give what went wrong.
pub struct Load {
    stop: CancellationToken,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    pub fn on(bed: &Bed, clients: usize) -> Self {
        let (stop, answered) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let (client, stop, answered) = (bed.client.clone(), stop.clone(), answered.clone());
            running.spawn(async move {
                let mut failures = Vec::new();
                while !stop.is_cancelled() {
                    match client.send(with(&[], CALL), Instant::now() + PATIENCE).await {
                        Ok(reply) if reply.status == 200 => {
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(reply) => failures.push(format!("{} {:?}", reply.status, reply.body)),
                        Err(error) => failures.push(error.to_string()),
                    }
                }
                failures
            });
        }
        Self { stop, answered, clients: running }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Waits for so many more answers.
    pub async fn goes_on(&self, bed: &Bed, more: usize) {
        let wanted = self.answered() + more;
        bed.until("the load goes on", |_| self.answered() >= wanted).await;
    }

    /// Ends it; how many were answered. None must have failed.
    pub async fn ends_well(self) -> usize {
        self.stop.cancel();
        let failures = tokio::time::timeout(PATIENCE * 2, self.clients.join_all()).await;
        let (failures, answered) =
            (failures.expect("the load ends").concat(), self.answered.load(Ordering::SeqCst));
        assert!(failures.is_empty(), "{} beside {answered}: {failures:?}", failures.len());
        answered
    }
}

pub fn client(address: SocketAddr) -> Client {
    Client::new(&Url::parse(&format!("http://{address}/")).unwrap(), Options::default()).unwrap()
}

/// A POST with headers.
pub fn with(headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::post("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::from(body.to_owned())).unwrap()
}

/// A header field's text.
pub fn header(reply: &HttpReply, name: &str) -> Option<String> {
    reply.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

pub fn text(reply: &HttpReply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

/// All statuses of a load.
pub async fn statuses(load: JoinSet<Vec<u16>>) -> Vec<u16> {
    tokio::time::timeout(PATIENCE * 2, load.join_all()).await.expect("the load ends").concat()
}

/// How many of a load's answers weren't 200.
pub async fn failed(load: JoinSet<Vec<u16>>) -> usize {
    statuses(load).await.iter().filter(|status| **status != 200).count()
}

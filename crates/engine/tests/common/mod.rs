//! A bed for the role: simulated execution clients on loopback, the real engine before them, and a consensus client's
//! side of the wire.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)] // each test file uses its part

#[path = "../../../../tests/els.rs"]
mod els;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use mainstay_engine::{Config, Engine, Handle, Metrics, SECTION};
use mainstay_execution::{NodeView, Round};
use mainstay_node::Operated;
use mainstay_settings::{Flags, Sources, resolve};
use mainstay_sim::chain::{Attributes, Block, Chain, Hash};
use mainstay_sim::request::{self, Forkchoice};
use mainstay_sim::{El, ElConfig, ElHandle, ElServer};
use mainstay_wire::client::{Client, HttpReply, Options};
use mainstay_wire::jwt::{self, Claims};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use els::*;

type Change = Box<dyn FnOnce(&mut Config)>;
type Break = Box<dyn FnOnce(&ElHandle)>;

/// How the bed is made.
pub struct Setup {
    chain: Chain,
    els: Vec<ElConfig>,
    before: Vec<Break>,
    suffixes: Vec<String>,
    own_secrets: Vec<usize>,
    extra_nodes: Vec<String>,
    settings: BTreeMap<&'static str, String>,
    changes: Vec<Change>,
}

impl Setup {
    /// `n` nodes called el1 to eln, whose blocks differ. Replies are waited for a second, so that votes don't depend on the
    /// machine's load; probes are quick.
    pub fn new(n: usize) -> Self {
        let chain = Chain::new(1);
        let els = (1..=n).map(|i| {
            let name = format!("el{i}");
            ElConfig { extra_data: name.clone().into_bytes(), ..ElConfig::new(&name, chain.tip().clone()) }
        });
        let settings = [
            ("timeout", "3s"),
            ("probe_interval", "100ms"),
            ("straggler_wait", "1s"),
            ("max_lag", "1000"),
            ("failback_after", "0s"),
        ];
        Self {
            els: els.collect(),
            chain,
            before: (0..n).map(|_| Box::new(|_: &ElHandle| {}) as Break).collect(),
            suffixes: vec![String::new(); n],
            own_secrets: Vec::new(),
            extra_nodes: Vec::new(),
            settings: settings.map(|(k, v)| (k, v.to_owned())).into(),
            changes: Vec::new(),
        }
    }

    /// Changes the simulated client `i` (from 0) before it starts.
    pub fn el(mut self, i: usize, change: impl FnOnce(&mut ElConfig)) -> Self {
        change(&mut self.els[i]);
        self
    }

    /// Breaks node `i` before the engine starts.
    pub fn before(mut self, i: usize, break_it: impl FnOnce(&ElHandle) + 'static) -> Self {
        self.before[i] = Box::new(break_it);
        self
    }

    /// Adds suffixes to a node's URL.
    pub fn suffix(mut self, i: usize, suffix: &str) -> Self {
        self.suffixes[i].push_str(suffix);
        self
    }

    /// Gives a node a secret of its own.
    pub fn own_secret(mut self, i: usize) -> Self {
        self.own_secrets.push(i);
        self
    }

    /// A node that isn't simulated, after the others.
    pub fn node(mut self, text: String) -> Self {
        self.extra_nodes.push(text);
        self
    }

    /// A key of the section.
    pub fn set(mut self, key: &'static str, value: &str) -> Self {
        self.settings.insert(key, value.to_owned());
        self
    }

    /// Changes the config itself.
    pub fn config(mut self, change: impl FnOnce(&mut Config) + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// The role without its listener, for tests that bring their own. Only nodes that aren't simulated.
    pub fn engine(self) -> Engine {
        assert!(self.els.is_empty());
        let dir = tempfile::tempdir().unwrap();
        let config = config(&secret_file(&dir), self.extra_nodes, self.settings, self.changes);
        Engine::build(config, &Metrics::new(&mut Registry::default())).unwrap()
    }

    /// Starts nodes and engine; nothing has been probed yet.
    pub async fn start(self) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let shared = secret_file(&dir);
        let (mut els, mut nodes) = (Vec::new(), Vec::new());
        for (i, (config, before)) in self.els.into_iter().zip(self.before).enumerate() {
            let mut suffix = format!("#name={}{}", config.name, self.suffixes[i]);
            let mut secret = shared_secret();
            if self.own_secrets.contains(&i) {
                let own = dir.path().join(format!("el{i}.hex"));
                std::fs::write(&own, format!("{:02x}", 0xa0 + i).repeat(32)).unwrap();
                suffix.push_str(&format!("#jwt-secret={}", own.display()));
                secret = secret_of(i);
            }
            let (el, _) = ElServer::start(El::with(config), secret).await.unwrap();
            before(&el);
            nodes.push(format!("{}{suffix}", el.url()));
            els.push(el);
        }
        nodes.extend(self.extra_nodes);
        let config = config(&shared, nodes, self.settings, self.changes);
        let engine = Engine::build(config, &Metrics::new(&mut Registry::default())).unwrap();
        let handle = engine.handle();
        let rounds = handle.rounds();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(engine.serve(listener, stop.clone(), ms(500)));
        let url = Url::parse(&format!("http://{addr}/")).unwrap();
        let client = Client::new(&url, Options::default()).unwrap();
        Bed { chain: self.chain, els, handle, url, client, rounds, stop, dir, id: 0.into() }
    }

    /// Starts it and waits until every node is fit.
    pub async fn ready(self) -> Bed {
        let bed = self.start().await;
        bed.until("all nodes fit", |bed| bed.views().iter().all(|n| n.fit)).await;
        bed
    }
}

fn config(
    shared: &std::path::Path,
    nodes: Vec<String>,
    settings: BTreeMap<&'static str, String>,
    changes: Vec<Change>,
) -> Config {
    let mut flags = Flags::default();
    flags.set("nodes", "--nodes", nodes);
    flags.set("jwt_secret", "--jwt-secret", vec![shared.display().to_string()]);
    for (key, value) in settings {
        flags.set(key, format!("--{key}"), vec![value]);
    }
    let mut problems = Vec::new();
    let sources = Sources { flags: &flags, ..Sources::default() };
    let settings = resolve(&SECTION, &sources, &mut problems);
    let config = Config::from_settings(&settings, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    let mut config = config.unwrap();
    config.execution.health.backoff = ms(20);
    for change in changes {
        change(&mut config);
    }
    config
}

/// A running engine with its nodes.
pub struct Bed {
    pub chain: Chain,
    pub els: Vec<ElHandle>,
    pub handle: Handle,
    pub url: Url,
    pub client: Client,
    pub rounds: broadcast::Receiver<std::sync::Arc<Round>>,
    pub stop: CancellationToken,
    pub dir: TempDir,
    id: std::cell::Cell<u64>,
}

impl Bed {
    /// A fresh token of the consensus client.
    pub fn token(&self) -> String {
        jwt::sign(&shared_secret(), &Claims::at(wall()))
    }

    /// Posts a body as the consensus client does.
    pub async fn post(&self, body: impl Into<Bytes>) -> HttpReply {
        let token = self.token();
        self.client.post(body.into(), Some(&token), Instant::now() + PATIENCE).await.unwrap()
    }

    /// Posts a body and reads the JSON of the reply.
    pub async fn json(&self, body: impl Into<Bytes>) -> Value {
        let reply = self.post(body).await;
        serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("{e}: {reply:?}"))
    }

    /// Calls a method; `params` is a JSON array.
    pub async fn call(&self, method: &str, params: &str) -> Value {
        self.json(request::call(self.next_id(), method, params)).await
    }

    /// Calls several methods at once; each with its reply and how long it took.
    pub async fn all(&self, calls: &[(&'static str, &str)]) -> Vec<(&'static str, HttpReply, Duration)> {
        let mut running = tokio::task::JoinSet::new();
        for (method, params) in calls {
            let (client, token, method) = (self.client.clone(), self.token(), *method);
            let body = request::call(self.next_id(), method, params);
            running.spawn(async move {
                let (reply, took) = timed(client.post(body, Some(&token), Instant::now() + PATIENCE)).await;
                (method, reply.unwrap(), took)
            });
        }
        running.join_all().await
    }

    /// `GET` of one of the operator's routes.
    pub async fn get(&self, path: &str, accept: Option<&str>) -> HttpReply {
        let mut request = Request::get(path);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        self.send(request.body(Bytes::new()).unwrap()).await
    }

    /// Sends any request to the engine.
    pub async fn send(&self, request: Request<Bytes>) -> HttpReply {
        self.client.send(request, Instant::now() + PATIENCE).await.unwrap()
    }

    pub fn next_id(&self) -> u64 {
        self.id.set(self.id.get() + 1);
        self.id.get()
    }

    /// newPayload V4; the `result`.
    pub async fn new_payload(&self, block: &Block) -> Value {
        let reply = self.json(request::new_payload(self.next_id(), 4, block)).await;
        result(reply)
    }

    /// forkchoiceUpdated V3 without attributes; the `result`.
    pub async fn forkchoice(&self, head: Hash) -> Value {
        let body = request::forkchoice_updated(self.next_id(), 3, Forkchoice::head(head), None);
        result(self.json(body).await)
    }

    /// forkchoiceUpdated V3 with attributes; the `result`.
    pub async fn build_on(&self, head: Hash, attributes: &Attributes) -> Value {
        let body = request::forkchoice_updated(self.next_id(), 3, Forkchoice::head(head), Some(attributes));
        result(self.json(body).await)
    }

    /// A block that everybody gets: newPayload and forkchoiceUpdated, both VALID.
    pub async fn advance(&mut self) -> Block {
        let block = self.chain.grow();
        assert_eq!(self.new_payload(&block).await["status"], "VALID");
        assert_eq!(self.forkchoice(block.hash).await["payloadStatus"]["status"], "VALID");
        block
    }

    pub fn views(&self) -> Vec<NodeView> {
        self.handle.snapshot().nodes
    }

    pub fn view(&self, name: &str) -> NodeView {
        self.views().into_iter().find(|n| n.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// Waits until `wanted` holds of the engine's state.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Bed) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            assert!(Instant::now() < deadline, "not seen: {what}; nodes are {:#?}", self.views());
            tokio::time::sleep(ms(2)).await;
        }
    }

    /// Waits until a node's condition is this word.
    pub async fn condition(&self, name: &str, word: &str) {
        self.until(&format!("{name} {word}"), |bed| bed.view(name).condition == word).await;
    }

    /// Waits until a node's standing is this word.
    pub async fn standing(&self, name: &str, word: &str) {
        self.until(&format!("{name} {word}"), |bed| bed.view(name).standing == word).await;
    }

    /// The next round of this method that is told to those who watch.
    pub async fn round(&mut self, method: &str) -> std::sync::Arc<Round> {
        let next = async {
            loop {
                let round = self.rounds.recv().await.unwrap();
                if round.method.starts_with(method) {
                    return round;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a round")
    }

    /// What the lines of the Prometheus page that begin so add up to.
    pub async fn metric(&self, start: &str) -> Option<f64> {
        let page = self.get("/metrics", Some("text/plain")).await;
        let text = String::from_utf8(page.body.to_vec()).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(start));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.reduce(|sum, value| sum + value)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

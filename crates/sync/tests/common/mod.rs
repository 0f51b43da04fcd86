//! A bed for the role: simulated execution clients (EL) on loopback, the real role before them, and consensus clients (CL) by
//! name on connections of their own.
//!
//! The chain's blocks are one second apart and begin a thousand slots ago, so whatever a test builds is of the past unless it says
//! otherwise. Their hashes are real ones.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)] // each test file uses its part

#[path = "../../../../tests/els.rs"]
mod els;
mod sink;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use mainstay_execution::NodeView;
use mainstay_execution::block_hash::{self, Check};
use mainstay_node::Operated;
use mainstay_settings::{Flags, Sources, resolve};
use mainstay_sim::chain::{self, Attributes, Block, Chain, Hash, HashFn, Hashing, Recipe, Unhashed};
use mainstay_sim::request::{self, Forkchoice};
use mainstay_sim::{El, ElConfig, ElHandle, ElServer};
use mainstay_sync::{ClientView, Config, Handle, Metrics, SECTION, Sync};
use mainstay_wire::client::{Client, HttpReply, Options};
use mainstay_wire::jwt::{self, Claims, Secret};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use els::*;
pub use sink::Sink;

/// Slots that have passed when a test begins.
pub const PAST: u64 = 1000;

/// Seconds since 1970.
pub fn seconds() -> u64 {
    wall().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The hash that Ethereum gives a block.
pub fn real_hashing() -> Hashing {
    let rule: HashFn = Arc::new(|unhashed: &Unhashed<'_>| {
        match block_hash::check(&Bytes::from(unhashed.new_payload_params(4))) {
            Check::Mismatch { expected, .. } => Hash::parse(&expected).unwrap(),
            other => panic!("{other:?}"),
        }
    });
    Hashing::Custom(rule)
}

fn recipe(extra: &[u8]) -> Recipe {
    Recipe { hashing: real_hashing(), extra_data: extra.to_vec(), ..Recipe::default() }
}

/// A block on `parent` so many seconds after it; `extra` tells it from others.
pub fn child(parent: &Block, after: u64, extra: &[u8]) -> Block {
    let attributes = Attributes::of_slot(parent.number + 1, parent.timestamp.saturating_add(after));
    chain::build(parent, &attributes, &recipe(extra))
}

/// The next block.
pub fn next(parent: &Block) -> Block {
    child(parent, 1, b"")
}

/// So many blocks on `parent`.
pub fn chain(parent: &Block, count: usize) -> Vec<Block> {
    std::iter::successors(Some(next(parent)), |block| Some(next(block))).take(count).collect()
}

/// A newPayload with the hash of `block` and other content.
pub fn forged(block: &Block) -> Block {
    let text = String::from_utf8(block.payload.to_vec()).unwrap();
    let payload = text.replacen("\"extraData\":\"0x", "\"extraData\":\"0x66", 1);
    assert_ne!(payload, text);
    Block { payload: payload.into(), ..block.clone() }
}

type Change = Box<dyn FnOnce(&mut Config)>;

/// How the bed is made.
pub struct Setup {
    genesis: Block,
    els: Vec<ElConfig>,
    suffixes: Vec<String>,
    own_secrets: Vec<usize>,
    extra_nodes: Vec<String>,
    settings: BTreeMap<&'static str, String>,
    changes: Vec<Change>,
    secret: bool,
}

impl Setup {
    /// `n` ELs called el1 to eln. Replies are waited for a second, so that answers don't depend on the machine's load; probes are
    /// quick.
    pub fn new(n: usize) -> Self {
        let genesis = chain::genesis(1, seconds() - PAST);
        let els = (1..=n).map(|i| ElConfig {
            hashing: real_hashing(),
            verify_hash: true,
            ..ElConfig::new(&format!("el{i}"), genesis.clone())
        });
        let begin = genesis.timestamp.to_string();
        let settings = [
            ("probe_interval", "100ms"),
            ("straggler_wait", "1s"),
            ("max_lag", "1000"),
            ("failback_after", "0s"),
            ("genesis_time", &begin),
            ("seconds_per_slot", "1"),
            // Nobody is silent because the machine is busy.
            ("leader_timeout", "60s"),
        ];
        Self {
            els: els.collect(),
            genesis,
            suffixes: vec![String::new(); n],
            own_secrets: Vec::new(),
            extra_nodes: Vec::new(),
            settings: settings.map(|(k, v)| (k, v.to_owned())).into(),
            changes: vec![Box::new(|config| config.leader.slot = Duration::from_secs(60))],
            secret: true,
        }
    }

    /// Changes the simulated client `i` (from 0) before it starts.
    pub fn el(mut self, i: usize, change: impl FnOnce(&mut ElConfig)) -> Self {
        change(&mut self.els[i]);
        self
    }

    /// Adds suffixes to an EL's URL.
    pub fn suffix(mut self, i: usize, suffix: &str) -> Self {
        self.suffixes[i].push_str(suffix);
        self
    }

    /// Gives an EL a secret of its own.
    pub fn own_secret(mut self, i: usize) -> Self {
        self.own_secrets.push(i);
        self
    }

    /// No secret for consensus clients, and none for ELs that have none of their own.
    pub fn pass_through(mut self) -> Self {
        self.secret = false;
        self
    }

    /// A node that isn't simulated, after the others.
    pub fn node(mut self, text: String) -> Self {
        self.extra_nodes.push(text);
        self
    }

    /// A key of the section; nothing: the section's own default.
    pub fn set(mut self, key: &'static str, value: &str) -> Self {
        if value.is_empty() {
            self.settings.remove(key);
        } else {
            self.settings.insert(key, value.to_owned());
        }
        self
    }

    /// Changes the config itself.
    pub fn config(mut self, change: impl FnOnce(&mut Config) + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Slots of this many milliseconds for the rules of the lead, and silence of two of them.
    pub fn quick_slots(self, millis: u64) -> Self {
        self.config(move |config| {
            config.leader.slot = ms(millis);
            config.leader.leader_timeout = ms(2 * millis);
        })
    }

    /// Starts ELs and role; nothing has been probed yet.
    pub async fn start(self) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let shared = secret_file(&dir);
        let (mut els, mut nodes) = (Vec::new(), Vec::new());
        for (i, config) in self.els.into_iter().enumerate() {
            let mut suffix = format!("#name={}{}", config.name, self.suffixes[i]);
            let mut secret = shared_secret();
            if self.own_secrets.contains(&i) {
                let own = dir.path().join(format!("el{i}.hex"));
                std::fs::write(&own, format!("{:02x}", 0xa0 + i).repeat(32)).unwrap();
                suffix.push_str(&format!("#jwt-secret={}", own.display()));
                secret = secret_of(i);
            }
            let (el, _) = ElServer::start(El::with(config), secret).await.unwrap();
            nodes.push(format!("{}{suffix}", el.url()));
            els.push(el);
        }
        nodes.extend(self.extra_nodes);
        let mut flags = Flags::default();
        flags.set("nodes", "--nodes", nodes);
        if self.secret {
            flags.set("jwt_secret", "--jwt-secret", vec![shared.display().to_string()]);
        }
        for (key, value) in self.settings {
            let values = value.split(',').map(str::to_owned).collect();
            flags.set(key, format!("--{key}"), values);
        }
        let mut problems = Vec::new();
        let sources = Sources { flags: &flags, ..Sources::default() };
        let settings = resolve(&SECTION, &sources, &mut problems);
        let config = Config::from_settings(&settings, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let mut config = config.unwrap();
        config.execution.health.backoff = ms(20);
        for change in self.changes {
            change(&mut config);
        }
        let mut registry = Registry::default();
        let sync = Sync::build(config, &Metrics::new(&mut registry)).unwrap();
        let handle = sync.handle();
        let core = sync.execution().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(sync.serve(listener, stop.clone(), ms(500)));
        let url = Url::parse(&format!("http://{addr}/")).unwrap();
        let has_secret = self.secret;
        Bed { genesis: self.genesis, els, handle, core, url, stop, dir, registry, has_secret }
    }

    /// Starts it and waits until every EL is fit. Without a secret of its own the role has "a" for its leader then.
    pub async fn ready(self) -> Bed {
        let bed = self.start().await;
        if !bed.has_secret {
            // Without a secret of its own it asks the ELs nothing before anybody has called.
            bed.cl("a").call("eth_chainId", "[]").await;
        }
        bed.until("all nodes fit", |bed| bed.views().iter().all(|n| n.fit)).await;
        bed
    }
}

/// A running role with its ELs.
pub struct Bed {
    pub genesis: Block,
    pub els: Vec<ElHandle>,
    pub handle: Handle,
    pub core: Arc<mainstay_execution::Core>,
    pub url: Url,
    pub stop: CancellationToken,
    pub dir: TempDir,
    pub registry: Registry,
    has_secret: bool,
}

impl Bed {
    /// A CL with connections of its own. It is known by its token's claim, or where no token is verified by the address that a
    /// proxy of this machine tells: 10.0.0. and a number made of the name.
    pub fn cl(&self, name: &str) -> Cl {
        Cl {
            name: name.to_owned(),
            client: Client::new(&self.url, Options::default()).unwrap(),
            url: self.url.clone(),
            secret: Some(shared_secret()),
            age: 0,
            forwarded: (!self.has_secret).then(|| forwarded_for(name)),
            id: Cell::new(0),
        }
    }

    /// What this CL is called where it shows.
    pub fn shown(&self, cl: &Cl) -> String {
        cl.forwarded.clone().unwrap_or_else(|| cl.name.clone())
    }

    pub fn views(&self) -> Vec<NodeView> {
        self.handle.snapshot().nodes
    }

    pub fn view(&self, name: &str) -> NodeView {
        self.views().into_iter().find(|n| n.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// A CL as the role sees it.
    pub fn client(&self, name: &str) -> Option<ClientView> {
        self.handle.snapshot().clients.into_iter().find(|c| c.name == name)
    }

    /// Who leads.
    pub fn leader(&self) -> Option<String> {
        self.handle.snapshot().leader
    }

    /// Waits until `wanted` holds.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Bed) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            assert!(Instant::now() < deadline, "not seen: {what}; {:#?}", self.handle.snapshot());
            tokio::time::sleep(ms(2)).await;
        }
    }

    /// Waits until an EL's condition is this word.
    pub async fn condition(&self, name: &str, word: &str) {
        self.until(&format!("{name} {word}"), |bed| bed.view(name).condition == word).await;
    }

    /// Waits until each of these ELs has this head.
    pub async fn followed(&self, els: &[usize], head: Hash) {
        for i in els {
            let el = &self.els[*i];
            if let Err(error) = el.wait_until(PATIENCE, |el| el.head().hash == head).await {
                panic!("{el:?} isn't at {head}: {error}; {:#?}", self.handle.snapshot());
            }
        }
    }

    /// Lets `cl` call until it leads.
    pub async fn leads(&self, cl: &Cl) {
        let deadline = Instant::now() + PATIENCE;
        while self.leader() != Some(self.shown(cl)) {
            assert!(Instant::now() < deadline, "{} doesn't lead: {:#?}", cl.name, self.handle.snapshot());
            cl.call("eth_chainId", "[]").await;
            tokio::time::sleep(ms(5)).await;
        }
    }

    /// How often an EL was sent this block's newPayload.
    pub fn sent(&self, el: usize, block: &Block) -> usize {
        let calls = self.els[el].calls_of(mainstay_sim::Family::NewPayload);
        calls.iter().filter(|call| holds(&call.raw, &block.hash)).count()
    }

    /// Heads that an EL was told, in order.
    pub fn told_heads(&self, el: usize) -> Vec<String> {
        let calls = self.els[el].calls_of(mainstay_sim::Family::ForkchoiceUpdated);
        let head = |raw: &Bytes| {
            let call: Value = serde_json::from_slice(raw).unwrap();
            call["params"][0]["headBlockHash"].as_str().unwrap().to_owned()
        };
        calls.iter().map(|call| head(&call.raw)).collect()
    }

    /// The page of metrics.
    pub fn metrics(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whether a payload has this block's hash.
pub fn holds(raw: &Bytes, hash: &Hash) -> bool {
    let call: Value = serde_json::from_slice(raw).unwrap();
    call["params"][0]["blockHash"] == hash.to_string()
}

fn forwarded_for(name: &str) -> String {
    let number = name.bytes().fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    format!("10.0.0.{number}")
}

/// A consensus client.
pub struct Cl {
    pub name: String,
    pub client: Client,
    pub url: Url,
    /// What its tokens are signed with; nothing: it sends none.
    pub secret: Option<Secret>,
    /// How many seconds ago its tokens were signed.
    pub age: u64,
    /// `X-Forwarded-For` of its calls.
    pub forwarded: Option<String>,
    id: Cell<u64>,
}

impl Cl {
    fn next_id(&self) -> u64 {
        self.id.set(self.id.get() + 1);
        self.id.get()
    }

    /// A request as it sends it.
    pub fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(secret) = &self.secret {
            let signed = wall() - Duration::from_secs(self.age);
            let claims = Claims { id: Some(self.name.clone()), ..Claims::at(signed) };
            request = request.header("authorization", format!("Bearer {}", jwt::sign(secret, &claims)));
        }
        if let Some(forwarded) = &self.forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        request.body(body.into()).unwrap()
    }

    /// Posts a body.
    pub async fn post(&self, body: impl Into<Bytes>) -> HttpReply {
        let request = self.request(Method::POST, "/", body);
        self.client.send(request, Instant::now() + PATIENCE).await.unwrap()
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

    /// newPayload V4; the `result`.
    pub async fn payload(&self, block: &Block) -> Value {
        result(self.json(request::new_payload(self.next_id(), 4, block)).await)
    }

    /// forkchoiceUpdated V3 without attributes; the `result`.
    pub async fn head(&self, head: Hash) -> Value {
        result(self.json(self.head_body(head, None)).await)
    }

    /// forkchoiceUpdated V3 with attributes; the `result`.
    pub async fn build_on(&self, head: Hash, attributes: &Attributes) -> Value {
        result(self.json(self.head_body(head, Some(attributes))).await)
    }

    pub fn head_body(&self, head: Hash, attributes: Option<&Attributes>) -> Bytes {
        request::forkchoice_updated(self.next_id(), 3, Forkchoice::head(head), attributes)
    }

    /// newPayload and forkchoiceUpdated of a block, both VALID.
    pub async fn block(&self, block: &Block) {
        let told = self.payload(block).await;
        assert_eq!(told["status"], "VALID", "{} {block:?}: {told}", self.name);
        let told = self.head(block.hash).await;
        assert_eq!(status(&told), "VALID", "{} {block:?}: {told}", self.name);
    }
}

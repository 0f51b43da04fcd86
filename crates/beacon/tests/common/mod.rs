//! A role before simulated beacon nodes.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses some of it

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Empty;
use mainstay_beacon::{Beacon, Config, Handle, Listeners, Metrics, SECTION};
use mainstay_node::Operated as _;
use mainstay_settings::{File, Sources, resolve};
use mainstay_wire::client::{CallError, Client, HttpReply, Options, Pass, StreamedReply};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub const SOON: Duration = Duration::from_secs(20);

/// A running role.
pub struct Running {
    pub handle: Handle,
    pub addresses: Vec<SocketAddr>,
    pub agents: Vec<SocketAddr>,
    pub registry: Registry,
    pub stop: CancellationToken,
    pub task: tokio::task::JoinHandle<()>,
}

/// A config with these nodes, rounds every 50 ms, no warm-up and no clock.
pub fn config(nodes: &[String], more: &str) -> Config {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("{node:?}")).collect();
    let listen: Vec<String> = nodes.iter().map(|_| "\"127.0.0.1:0\"".to_owned()).collect();
    let text = format!(
        "[beacon]\nbeacon_node = [{}]\nlisten = [{}]\ninterval = \"50ms\"\nwarm_up = \"0s\"\nmax_sync_distance = \"off\"\n{more}",
        nodes.join(", "),
        listen.join(", ")
    );
    let file = File::parse(std::path::Path::new("mainstay.toml"), &text).unwrap();
    let sources = Sources { file: file.instances("beacon").first().copied(), ..Sources::default() };
    let mut problems = Vec::new();
    let settings = resolve(&SECTION, &sources, &mut problems);
    let config = Config::from_settings(&settings, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    config.unwrap()
}

pub async fn start(config: Config) -> Running {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let (mut listeners, mut addresses, mut agents) = (Vec::new(), Vec::new(), Vec::new());
    for guard in &config.guards {
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(clients.local_addr().unwrap());
        let agent = match guard.agent_check {
            Some(address) => Some(TcpListener::bind(address).await.unwrap()),
            None => None,
        };
        agents.extend(agent.as_ref().map(|agent| agent.local_addr().unwrap()));
        listeners.push(Listeners { clients: clients.into(), agent });
    }
    let role = Beacon::build(config, &metrics).unwrap();
    let (handle, stop) = (role.handle(), CancellationToken::new());
    let task = tokio::spawn(role.serve(listeners, stop.clone(), Duration::from_secs(5)));
    Running { handle, addresses, agents, registry, stop, task }
}

impl Running {
    /// Waits until a guard's condition is this one.
    pub async fn until(&self, guard: usize, condition: &str) {
        let give_up = Instant::now() + SOON;
        loop {
            let snapshot = self.handle.snapshot();
            if snapshot.nodes[guard].condition == condition {
                return;
            }
            assert!(Instant::now() < give_up, "never {condition}: {snapshot:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn client(&self, guard: usize) -> Client {
        let url = format!("http://{}", self.addresses[guard]).parse().unwrap();
        Client::new(&url, Options::default()).unwrap()
    }

    pub async fn get(&self, guard: usize, path: &str) -> HttpReply {
        self.ask(guard, Request::get(path).body(Bytes::new()).unwrap()).await.unwrap()
    }

    pub async fn ask(&self, guard: usize, request: Request<Bytes>) -> Result<HttpReply, CallError> {
        self.client(guard).send(request, Instant::now() + SOON).await
    }

    pub async fn open(&self, guard: usize, path: &str) -> StreamedReply {
        let request = Request::get(path).body(Empty::new()).unwrap();
        let limits = Pass { head_within: Some(SOON), read_stall: Some(SOON), ..Pass::default() };
        self.client(guard).pass(request, limits).await.unwrap()
    }
}

/// Checks that an answer is the 503 of a closed guard, and gives its message.
pub fn refusal(reply: &HttpReply) -> String {
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let headers: HeaderMap = reply.headers();
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["code"], 503);
    assert!(body["failures"].is_array());
    body["message"].as_str().unwrap().to_owned()
}

/// Waits until there is something.
pub async fn soon<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! The configs of docs/beacon-haproxy.md in a real HAProxy, before guards of simulated nodes: it obeys their agent checks.
//! `tests/tools.sh` installs it.

#![allow(clippy::unwrap_used)]

#[path = "../../../tests/authority.rs"]
mod authority;
mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use authority::Authority;
use common::{Running, SOON, config, start};
use mainstay_node::{Action, Operated as _};
use mainstay_sim::Fault;
use mainstay_sim::beacon::{BeaconHandle, BeaconServer, BeaconState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// The configs of the docs, in their order.
fn configs() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/beacon-haproxy.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let blocks = docs.split("```haproxy\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// A running HAProxy.
struct Haproxy {
    child: Child,
    socket: PathBuf,
    admin: PathBuf,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Debian user has no /usr/sbin on the path.
fn program() -> PathBuf {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
    let mut found = folders.iter().map(|folder| Path::new(folder).join("haproxy"));
    found
        .find(|path| path.exists())
        .expect("haproxy is not installed: run tests/tools.sh, or your package manager")
}

impl Haproxy {
    /// Starts it with a config of the docs, whose addresses are put in place of these.
    async fn start(folder: &Path, text: &str, addresses: &[(&str, String)]) -> Self {
        let (socket, admin) = (folder.join("front.sock"), folder.join("admin.sock"));
        let mut text = text.replace("bind 127.0.0.1:5064", &format!("bind {}", socket.display()));
        for (from, to) in addresses {
            assert!(text.contains(from), "no {from} in {text}");
            text = text.replace(from, to);
        }
        let text = format!("global\n    stats socket {}\n{text}", admin.display());
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        let log = folder.join("log");
        let output = std::fs::File::create(&log).unwrap();
        let child = Command::new(program())
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut running = Self { child, socket, admin };
        let give_up = Instant::now() + SOON;
        while UnixStream::connect(&running.socket).await.is_err() {
            let ended = running.child.try_wait().unwrap().is_some();
            assert!(!ended && Instant::now() < give_up, "{}", std::fs::read_to_string(&log).unwrap());
            sleep(Duration::from_millis(5)).await;
        }
        running
    }

    async fn talk(socket: &Path, said: &str) -> String {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    /// A request through it.
    async fn get(&self) -> String {
        let head = "GET /eth/v1/node/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        Self::talk(&self.socket, head).await
    }

    /// Waits until what comes of a request has this in it.
    async fn until(&self, wanted: &str) {
        let give_up = Instant::now() + SOON;
        loop {
            let answer = self.get().await;
            if answer.contains(wanted) {
                return;
            }
            assert!(Instant::now() < give_up, "never {wanted}: {answer}\n{}", self.states().await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the statistics have a line of a server with these words.
    async fn until_stats(&self, server: &str, words: &[&str]) {
        let give_up = Instant::now() + SOON;
        loop {
            let stats = self.states().await;
            let mut lines = stats.lines().filter(|line| line.starts_with(&format!("beacon,{server},")));
            if lines.any(|line| words.iter().all(|word| line.contains(word))) {
                return;
            }
            assert!(Instant::now() < give_up, "{server} never {words:?}: {stats}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn states(&self) -> String {
        Self::talk(&self.admin, "show stat\n").await
    }
}

async fn nodes(more: &str) -> (BeaconHandle, BeaconHandle, Running) {
    let node = async |name: &str| {
        let version = format!("v-{name}");
        BeaconServer::start(name, BeaconState { version, ..BeaconState::default() }).await.unwrap()
    };
    let (one, two) = (node("one").await, node("two").await);
    let agents = "agent_check = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n";
    let role = start(config(&[one.url(), two.url()], &format!("{agents}{more}"))).await;
    role.until(0, "fit").await;
    role.until(1, "fit").await;
    (one, two, role)
}

async fn obeys(config: usize, straight: bool) {
    let (one, two, role) = nodes("").await;
    let folder = tempfile::tempdir().unwrap();
    let mut addresses = vec![
        ("agent-port 5072", format!("agent-port {}", role.agents[0].port())),
        ("agent-port 5073", format!("agent-port {}", role.agents[1].port())),
    ];
    let to = if straight { [one.addr(), two.addr()] } else { [role.addresses[0], role.addresses[1]] };
    let from =
        if straight { ["10.0.0.1:5052", "10.0.0.2:5052"] } else { ["127.0.0.1:5062", "127.0.0.1:5063"] };
    addresses.extend(from.into_iter().zip(to.map(|address| address.to_string())));
    let haproxy = Haproxy::start(folder.path(), &configs()[config], &addresses).await;

    haproxy.until("v-one").await;
    one.with(|state| state.is_syncing = true);
    haproxy.until("v-two").await;
    haproxy.until_stats("one", &["DOWN", "is_syncing: true"]).await;
    // Neither is fit.
    two.set(Fault::HttpError(500, String::new()).at("/eth/v1/node/syncing"));
    haproxy.until("503 Service Unavailable").await;
    two.heal();
    haproxy.until("v-two").await;
    one.with(|state| state.is_syncing = false);
    haproxy.until("v-one").await;

    // For maintenance.
    let act = |action| role.handle.act(action);
    act(Action::Drain { node: "beacon-1".to_owned() }).await.unwrap();
    haproxy.until("v-two").await;
    haproxy.until_stats("one", &["DRAIN (agent)"]).await;
    act(Action::Uncordon { node: "beacon-1".to_owned() }).await.unwrap();
    haproxy.until("v-one").await;
}

#[tokio::test]
async fn before_guards() {
    obeys(0, false).await;
}

#[tokio::test]
async fn straight_to_the_nodes() {
    obeys(1, true).await;
}

/// What the docs say of TLS: requests and connects go by it, and what the agents say still comes.
#[tokio::test]
async fn agents_are_asked_in_the_clear_also_before_guards_that_serve_tls() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let (one, _two, role) = nodes(&format!("tls_cert = {certificate:?}\ntls_key = {key:?}\n")).await;
    let folder = tempfile::tempdir().unwrap();
    let tls = format!("default-server ssl verify required ca-file {} check-ssl ", authority.file().display());
    let addresses = [
        ("default-server ", tls),
        ("agent-port 5072", format!("agent-port {}", role.agents[0].port())),
        ("agent-port 5073", format!("agent-port {}", role.agents[1].port())),
        ("127.0.0.1:5062", role.addresses[0].to_string()),
        ("127.0.0.1:5063", role.addresses[1].to_string()),
    ];
    let haproxy = Haproxy::start(folder.path(), &configs()[0], &addresses).await;
    haproxy.until("v-one").await;
    one.with(|state| state.is_syncing = true);
    haproxy.until("v-two").await;
    haproxy.until_stats("one", &["DOWN", "is_syncing: true"]).await;
}

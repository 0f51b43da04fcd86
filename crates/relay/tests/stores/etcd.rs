//! Real etcd members, each with a directory and free ports of its own on loopback, and ended with the test.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peers::Peers;
use crate::servers::server::free_port;
use crate::servers::{eventually, within};

/// How often ports that somebody else has taken meanwhile are given up for others.
const STARTS: usize = 5;

/// A running member (or one that was killed).
pub struct Etcd {
    pub port: u16,
    dir: TempDir,
    options: Vec<String>,
    child: Child,
}

/// Quick to write to: nothing here is about disks.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    match tempfile::tempdir_in(memory) {
        Ok(dir) => dir,
        Err(_) => tempfile::tempdir().unwrap(),
    }
}

fn run(dir: &Path, options: &[String]) -> Child {
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(dir.join("data")).args(options).args(["--log-level", "error"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!(
            "cannot run etcd ({error}): install it with tests/tools.sh, or with your system's package manager"
        )
    })
}

impl Etcd {
    /// One alone.
    pub async fn start() -> Self {
        Self::start_with("http", &[]).await
    }

    /// With more options, and clients that come by `http` or `https`.
    pub async fn start_with(scheme: &str, more: &[&str]) -> Self {
        for _ in 0..STARTS {
            let peer = format!("http://127.0.0.1:{}", free_port());
            let cluster = format!("default={peer}");
            let peers = [
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
                "--initial-cluster",
                &cluster,
            ];
            let mut member = Self::spawn(scheme, &[&peers[..], more].concat());
            if member.answers(scheme == "https").await {
                return member;
            }
        }
        panic!("etcd did not start {STARTS} times over");
    }

    fn spawn(scheme: &str, more: &[&str]) -> Self {
        let (dir, port) = (directory(), free_port());
        let url = format!("{scheme}://127.0.0.1:{port}");
        let options = [&["--listen-client-urls", &url, "--advertise-client-urls", &url][..], more].concat();
        let options: Vec<String> = options.into_iter().map(str::to_owned).collect();
        let child = run(dir.path(), &options);
        Self { port, dir, options, child }
    }

    /// Whether it says anything, or ends instead. A TLS port just has to be open.
    async fn answers(&mut self, tls: bool) -> bool {
        let mut ended = false;
        eventually(20, "an answer of etcd", async || {
            ended = self.child.try_wait().unwrap().is_some();
            if ended {
                return true;
            }
            if tls {
                return TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
            }
            self.try_post("/v3/kv/range", &json!({ "key": "eA==" })).await.is_some()
        })
        .await;
        !ended
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Etcd::kill`], on the same ports.
    pub async fn restart(&mut self) {
        self.child = run(self.dir.path(), &self.options);
        assert!(self.answers(false).await, "it does not start again");
    }

    /// The same where it answers to nobody without a password.
    pub async fn restart_any(&mut self) {
        self.child = run(self.dir.path(), &self.options);
        assert!(self.answers(true).await, "it does not start again");
    }

    /// Stops it without closing anything, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, if frozen { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// What a function of its API answers.
    pub async fn post(&self, function: &str, body: &Value) -> Value {
        within(10, self.try_post(function, body)).await.unwrap_or_else(|| panic!("{function}: no answer"))
    }

    /// `None`: none, or an error.
    pub async fn try_post(&self, function: &str, body: &Value) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let body = body.to_string();
        let request =
            format!("POST {function} HTTP/1.0\r\nhost: etcd\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        if !head.split(' ').nth(1)?.starts_with('2') {
            return None;
        }
        serde_json::from_str(body).ok()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three members of one cluster, with what they say to each other in our hands.
pub struct Cluster {
    pub members: Vec<Etcd>,
    peers: Vec<Peers>,
    /// As they call themselves to each other.
    names: Vec<String>,
}

impl Cluster {
    pub async fn start() -> Self {
        for _ in 0..STARTS {
            if let Some(cluster) = Self::try_start().await {
                return cluster;
            }
        }
        panic!("the cluster did not start {STARTS} times over");
    }

    async fn try_start() -> Option<Self> {
        let ports = [free_port(), free_port(), free_port()];
        let mut peers = Vec::new();
        for port in ports {
            peers.push(Peers::start(port).await);
        }
        let urls: Vec<String> = peers.iter().map(|it| format!("http://127.0.0.1:{}", it.port)).collect();
        let cluster = format!("a={},b={},c={}", urls[0], urls[1], urls[2]);
        let mut members = Vec::new();
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            let listen = format!("http://127.0.0.1:{}", ports[at]);
            // Elections take half a second.
            let options = [
                ["--name", name],
                ["--listen-peer-urls", &listen],
                ["--initial-advertise-peer-urls", &urls[at]],
                ["--initial-cluster", &cluster],
                ["--heartbeat-interval", "50"],
                ["--election-timeout", "500"],
            ];
            members.push(Etcd::spawn("http", &options.concat()));
        }
        for member in &mut members {
            if !member.answers(false).await {
                return None;
            }
        }
        let list = members[0].post("/v3/cluster/member/list", &json!({})).await;
        let id = |name: &str| {
            let found = list["members"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
            format!("{:x}", found["ID"].as_str().unwrap().parse::<u64>().unwrap())
        };
        Some(Self { names: ["a", "b", "c"].map(id).into(), members, peers })
    }

    /// By all of them, in this order.
    pub fn url(&self, order: [usize; 3]) -> String {
        let [a, b, c] = order.map(|at| self.members[at].port);
        format!("etcd://127.0.0.1:{a},127.0.0.1:{b},127.0.0.1:{c}")
    }

    /// The one that leads, by the word of one that doesn't or does.
    pub async fn leader(&self, asked: usize) -> Option<usize> {
        let status = self.members[asked].try_post("/v3/maintenance/status", &json!({})).await?;
        let leader = status["leader"].as_str()?.parse::<u64>().ok()?;
        self.names.iter().position(|name| *name == format!("{leader:x}"))
    }

    /// Whoever leads now, by the word of `asked`, other than `not`.
    pub async fn next_leader(&self, asked: usize, not: Option<usize>) -> usize {
        let mut found = None;
        eventually(20, "a leader", async || {
            found = self.leader(asked).await.filter(|leader| Some(*leader) != not);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// One member hears nothing of the others, nor they of it; `None`: all hear each other.
    pub fn cut_off(&self, alone: Option<usize>) {
        for (at, peers) in self.peers.iter().enumerate() {
            let deaf_to = |from: usize| alone.is_some_and(|alone| (from == alone) != (at == alone));
            let from = (0..self.names.len()).filter(|from| deaf_to(*from));
            peers.deaf_to(from.map(|from| self.names[from].clone()).collect());
        }
    }
}

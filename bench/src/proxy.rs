//! The proxies under test, each a process of its own, and where they are called.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use mainstay_wire::jwt::{Claims, Secret, sign};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Result;
use crate::options::Options;

const START_LIMIT: Duration = Duration::from_secs(15);
const SECRET: &str = "7365637265747365637265747365637265747365637265747365637265747365";

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Direct,
    Mainstay,
    Haproxy,
}

/// Everything that measurements start their processes with.
pub(crate) struct Bench {
    folder: TempDir,
    secret: Secret,
    nodes: Vec<SocketAddr>,
    mainstay: PathBuf,
    /// `None`: it isn't installed.
    haproxy: Option<PathBuf>,
}

/// What is compared, by version.
pub(crate) struct Compared {
    pub(crate) mainstay: String,
    pub(crate) haproxy: Option<String>,
}

/// A process under test; killed when it is dropped.
pub(crate) struct Proxy {
    child: Option<Child>,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
}

impl Bench {
    pub(crate) fn new(options: &Options, nodes: Vec<SocketAddr>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("jwt.hex"), SECRET)?;
        let candidates = [options.haproxy.clone(), "/usr/sbin/haproxy".into()];
        let haproxy = candidates.into_iter().find(|path| version(path, "-v").is_some());
        if haproxy.is_none() {
            eprintln!("bench: haproxy is not installed: its columns stay empty");
        }
        let mainstay = options.mainstay.clone();
        Ok(Self { secret: Secret::from_hex(SECRET)?, folder, nodes, mainstay, haproxy })
    }

    /// What is compared. Starts mainstay once, so that a binary that doesn't serve is told before minutes have passed.
    pub(crate) async fn compared(&self) -> Result<Compared> {
        self.mainstay(None).await?;
        let haproxy = self.haproxy.as_deref().and_then(|path| version(path, "-v"));
        let short = |text: String| text.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        Ok(Compared {
            mainstay: version(&self.mainstay, "--version").ok_or("mainstay tells no version")?,
            haproxy: haproxy.map(short),
        })
    }

    /// Lets `node` be the first one from now on.
    pub(crate) fn prefer(&mut self, node: SocketAddr) {
        self.nodes[0] = node;
    }

    /// The ways that can be compared here.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let mut ways = vec![Way::Direct, Way::Mainstay];
        ways.extend(self.haproxy.as_ref().map(|_| Way::Haproxy));
        ways
    }

    /// A token that is good for a minute.
    #[allow(clippy::disallowed_methods, reason = "tokens carry the wall clock's time")]
    pub(crate) fn token(&self) -> String {
        sign(&self.secret, &Claims::at(SystemTime::now()))
    }

    /// Starts one of the ways, on `core` if given.
    pub(crate) async fn start(&self, way: Way, core: Option<&str>) -> Result<Proxy> {
        match way {
            Way::Direct => Ok(Proxy { child: None, address: self.nodes[0] }),
            Way::Mainstay => self.mainstay(core).await,
            Way::Haproxy => self.haproxy(core).await,
        }
    }

    /// mainstay with its defaults before all nodes; returns when all of them are fit.
    async fn mainstay(&self, core: Option<&str>) -> Result<Proxy> {
        let (address, admin) = (free_address()?, free_address()?);
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("http://{node}")).collect();
        let mut command = pinned(core, &self.mainstay);
        command.args(["engine", "--nodes", &nodes.join(",")]).arg("--jwt-secret").arg(self.path("jwt.hex"));
        command.args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()]);
        let mut proxy = self.spawn(command, "mainstay", address)?;
        let wanted = nodes.len();
        proxy
            .until("every node to be fit", async || {
                let Ok(state) = get(address, "/metrics").await else { return false };
                let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
                state["alive_nodes"].as_array().is_some_and(|alive| alive.len() == wanted)
            })
            .await?;
        Ok(proxy)
    }

    /// HAProxy in HTTP mode before the first node, on one thread.
    async fn haproxy(&self, core: Option<&str>) -> Result<Proxy> {
        let binary = self.haproxy.as_deref().ok_or("haproxy is not installed")?;
        let (address, node) = (free_address()?, self.nodes[0]);
        let file = self.path("haproxy.cfg");
        std::fs::write(
            &file,
            format!(
                "global\n  nbthread 1\n  maxconn 4096\n\
                 defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
                 option http-keep-alive\n  http-reuse always\n\
                 frontend f\n  bind {address}\n  default_backend b\n\
                 backend b\n  server el {node}\n"
            ),
        )?;
        let mut command = pinned(core, binary);
        command.args(["-db", "-f"]).arg(file);
        let mut proxy = self.spawn(command, "haproxy", address)?;
        proxy.until("haproxy to listen", async || TcpStream::connect(address).await.is_ok()).await?;
        Ok(proxy)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&self, mut command: Command, name: &str, address: SocketAddr) -> Result<Proxy> {
        let log = File::create(self.path(&format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).env_remove("RUST_LOG");
        let child = command.spawn().map_err(|why| format!("cannot start {name}: {why}"))?;
        Ok(Proxy { child: Some(child), address })
    }
}

impl Proxy {
    /// Its process, if it has one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    async fn until(&mut self, what: &str, holds: impl AsyncFn() -> bool) -> Result<()> {
        let limit = Instant::now() + START_LIMIT;
        while !holds().await {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                return Err(format!("waiting for {what}: the process ended with {status}").into());
            }
            if Instant::now() >= limit {
                return Err(format!("waited {START_LIMIT:?} for {what}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `taskset` becomes the program itself, so the process is the same.
fn pinned(core: Option<&str>, binary: &Path) -> Command {
    match core {
        None => Command::new(binary),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", core]).arg(binary);
            command
        }
    }
}

fn version(binary: &Path, flag: &str) -> Option<String> {
    let output = Command::new(binary).arg(flag).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    tokio::time::timeout(Duration::from_secs(2), stream.read_to_string(&mut reply)).await??;
    Ok(reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

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
/// Slots of a node of `mainstay rpc` that asks for no other number.
const SLOTS: u32 = 8;
const SECRET: &str = "7365637265747365637265747365637265747365637265747365637265747365";

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Direct,
    /// `mainstay engine` before all nodes.
    Engine,
    /// `mainstay rpc` before the first node.
    Rpc,
    /// `mainstay beacon` before the beacon node.
    Beacon,
    Haproxy,
    /// HAProxy with a queue before as many slots as `mainstay rpc` gives a node by default.
    HaproxyQueue,
    Nginx,
}

/// Everything that measurements start their processes with.
pub(crate) struct Bench {
    folder: TempDir,
    secret: Secret,
    nodes: Vec<SocketAddr>,
    /// The first node is a beacon node, whose health HAProxy checks.
    is_beacon: bool,
    mainstay: PathBuf,
    /// `None`: it isn't installed.
    haproxy: Option<PathBuf>,
    /// `None`: it isn't installed.
    nginx: Option<PathBuf>,
    /// `None`: it isn't installed.
    pub(crate) etcd: Option<PathBuf>,
    /// `None`: it isn't installed.
    pub(crate) redis: Option<PathBuf>,
}

/// What is compared, by version.
pub(crate) struct Compared {
    pub(crate) mainstay: String,
    pub(crate) haproxy: Option<String>,
    pub(crate) nginx: Option<String>,
    pub(crate) etcd: Option<String>,
    pub(crate) redis: Option<String>,
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
        let (haproxy, nginx) = (installed(&options.haproxy, "-v"), installed(&options.nginx, "-v"));
        let (etcd, redis) = (installed(&options.etcd, "--version"), installed(&options.redis, "--version"));
        let mainstay = options.mainstay.clone();
        Ok(Self {
            secret: Secret::from_hex(SECRET)?,
            folder,
            nodes,
            is_beacon: false,
            mainstay,
            haproxy,
            nginx,
            etcd,
            redis,
        })
    }

    /// What is compared. Starts mainstay once, so that a binary that doesn't serve is told before minutes have passed.
    pub(crate) async fn compared(&self) -> Result<Compared> {
        self.engine(None).await?;
        self.rpc(None).await?;
        let short = |path: &Option<PathBuf>, flag| {
            let text = version(path.as_deref()?, flag)?;
            Some(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        };
        Ok(Compared {
            mainstay: version(&self.mainstay, "--version").ok_or("mainstay tells no version")?,
            haproxy: short(&self.haproxy, "-v"),
            nginx: short(&self.nginx, "-v"),
            etcd: short(&self.etcd, "--version"),
            redis: short(&self.redis, "--version"),
        })
    }

    /// Lets `node` be the first one from now on.
    pub(crate) fn prefer(&mut self, node: SocketAddr) {
        self.nodes[0] = node;
    }

    /// Lets a beacon node be the first one from now on.
    pub(crate) fn prefer_beacon(&mut self, node: SocketAddr) {
        self.prefer(node);
        self.is_beacon = true;
    }

    /// Whether this way can be measured here.
    pub(crate) fn has(&self, way: Way) -> bool {
        match way {
            Way::Direct | Way::Engine | Way::Rpc | Way::Beacon => true,
            Way::Haproxy | Way::HaproxyQueue => self.haproxy.is_some(),
            Way::Nginx => self.nginx.is_some(),
        }
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
            Way::Engine => self.engine(core).await,
            Way::Rpc => self.rpc(core).await,
            Way::Beacon => self.beacon(core).await,
            Way::Haproxy => self.haproxy(core, None).await,
            Way::HaproxyQueue => self.haproxy(core, Some(SLOTS)).await,
            Way::Nginx => self.nginx(core).await,
        }
    }

    /// mainstay with its defaults before all nodes; returns when all of them are fit.
    async fn engine(&self, core: Option<&str>) -> Result<Proxy> {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("http://{node}")).collect();
        let (secret, wanted) = (self.path("jwt.hex").display().to_string(), nodes.len());
        let flags = ["--nodes", &nodes.join(","), "--jwt-secret", &secret];
        let (mut proxy, _) = self.mainstay(core, "engine", &flags)?;
        let address = proxy.address;
        proxy
            .until("every node to be fit", async || {
                let Ok((_, state)) = get(address, "/metrics").await else { return false };
                let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
                state["alive_nodes"].as_array().is_some_and(|alive| alive.len() == wanted)
            })
            .await?;
        Ok(proxy)
    }

    /// `mainstay sync` with its defaults before these nodes, on `core` if given; returns when the first is fit.
    pub(crate) async fn sync(&self, nodes: &[SocketAddr], core: Option<&str>) -> Result<Proxy> {
        let nodes: Vec<String> = nodes.iter().map(|node| format!("http://{node}")).collect();
        let secret = self.path("jwt.hex").display().to_string();
        let flags = ["--nodes", &nodes.join(","), "--jwt-secret", &secret];
        let (mut proxy, admin) = self.mainstay(core, "sync", &flags)?;
        proxy
            .until("a node to be fit", async || {
                let Ok((_, state)) = get(admin, "/api/v1/sync/sync/nodes").await else { return false };
                let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
                let nodes = state.as_array().or(state["nodes"].as_array());
                nodes.is_some_and(|nodes| nodes.iter().any(|node| node["fit"] == true))
            })
            .await?;
        Ok(proxy)
    }

    /// `mainstay relay` with its defaults before `outer`, or with claims in a store: then they get longer than by default, so that a late one
    /// shows in the figures. Returns when it serves; the second is its admin listener's.
    pub(crate) async fn relay(
        &self,
        outer: SocketAddr,
        producers: &str,
        claims: Option<&str>,
    ) -> Result<(Proxy, SocketAddr)> {
        let outer = outer.to_string();
        let mut flags = vec!["--outer", &outer, "--producer", producers];
        if let Some(claims) = claims {
            flags.extend(["--claims", claims, "--claims-timeout", "2s"]);
        }
        let (mut proxy, admin) = self.mainstay(None, "relay", &flags)?;
        proxy.until("the relay to serve", async || is_ok(admin, "/livez").await).await?;
        Ok((proxy, admin))
    }

    /// HAProxy in TCP mode before `outer`, on one thread. Returns when it serves.
    pub(crate) async fn tcp(&self, outer: SocketAddr) -> Result<Proxy> {
        let binary = self.haproxy.as_deref().ok_or("haproxy is not installed")?;
        let address = free_address()?;
        let ready = free_address()?;
        let file = self.path("haproxy-tcp.cfg");
        std::fs::write(
            &file,
            format!(
                "global\n  nbthread 1\n\
                 defaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
                 frontend ready\n  mode http\n  bind {ready}\n  monitor-uri /\n\
                 listen f\n  mode tcp\n  bind {address}\n  server outer {outer}\n"
            ),
        )?;
        let mut command = Command::new(binary);
        command.args(["-db", "-f"]).arg(file);
        let mut proxy = self.spawn(command, "haproxy-tcp", address)?;
        // A connection to try would be one to the outer node.
        proxy.until("haproxy to serve", async || is_ok(ready, "/").await).await?;
        Ok(proxy)
    }

    /// mainstay with its defaults before the first node, but for the line that it writes of each request: the others write none.
    /// Returns when the node is fit.
    async fn rpc(&self, core: Option<&str>) -> Result<Proxy> {
        let node = format!("http://{}", self.nodes[0]);
        let (mut proxy, admin) = self.mainstay(core, "rpc", &["--nodes", &node, "--log-level", "warn"])?;
        proxy.until("the node to be fit", async || is_ok(admin, "/healthz").await).await?;
        Ok(proxy)
    }

    /// mainstay with its defaults before the beacon node, whose peers it counts too; but for the warm-up, which HAProxy has none of.
    /// Returns when the guard is open.
    async fn beacon(&self, core: Option<&str>) -> Result<Proxy> {
        let node = format!("http://{}", self.nodes[0]);
        let flags = ["--beacon-node", &node, "--min-peers", "64", "--warm-up", "0s"];
        let (mut proxy, _) = self.mainstay(core, "beacon", &flags)?;
        let address = proxy.address;
        proxy.until("the guard to be open", async || is_ok(address, "/eth/v1/node/syncing").await).await?;
        Ok(proxy)
    }

    /// Starts a role of mainstay on ports of its own; the second is its admin listener's.
    fn mainstay(&self, core: Option<&str>, role: &str, flags: &[&str]) -> Result<(Proxy, SocketAddr)> {
        let (address, admin) = (free_address()?, free_address()?);
        let mut command = pinned(core, &self.mainstay);
        command.arg(role).args(flags);
        command.args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()]);
        Ok((self.spawn(command, role, address)?, admin))
    }

    /// HAProxy in HTTP mode before the first node, on one thread; if `slots` are given, no more requests are at the node at once, and the
    /// others wait. A beacon node is checked as operators do it.
    async fn haproxy(&self, core: Option<&str>, slots: Option<u32>) -> Result<Proxy> {
        let binary = self.haproxy.as_deref().ok_or("haproxy is not installed")?;
        let (address, node) = (free_address()?, self.nodes[0]);
        let (checks, check) = match self.is_beacon {
            true => (
                "  timeout check 1s\n  option httpchk\n  http-check send meth GET uri /eth/v1/node/syncing\n  \
                 http-check expect string \\\"is_syncing\\\":false\n",
                " check inter 1s fall 1 rise 2",
            ),
            false => ("", ""),
        };
        let (queue, name) = match slots {
            Some(slots) => (format!(" maxconn {slots}"), "haproxy-queue"),
            None => (String::new(), "haproxy"),
        };
        let file = self.path(&format!("{name}.cfg"));
        std::fs::write(
            &file,
            format!(
                "global\n  nbthread 1\n  maxconn 4096\n\
                 defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
                 option http-keep-alive\n  http-reuse always\n\
                 frontend f\n  bind {address}\n  default_backend b\n\
                 backend b\n{checks}  server node {node}{check}{queue}\n"
            ),
        )?;
        let mut command = pinned(core, binary);
        command.args(["-db", "-f"]).arg(file);
        let mut proxy = self.spawn(command, name, address)?;
        proxy.until("haproxy to listen", async || TcpStream::connect(address).await.is_ok()).await?;
        Ok(proxy)
    }

    /// nginx before the first node, with one worker, which is the process itself. Bodies stay in memory, connections stay open.
    async fn nginx(&self, core: Option<&str>) -> Result<Proxy> {
        let binary = self.nginx.as_deref().ok_or("nginx is not installed")?;
        let (address, node, folder) = (free_address()?, self.nodes[0], self.folder.path().display());
        let file = self.path("nginx.conf");
        let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
            .concat();
        std::fs::write(
            &file,
            format!(
                "daemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
                 events {{\n  worker_connections 4096;\n}}\n\
                 http {{\n{scratch}  access_log off;\n  keepalive_requests 1000000000;\n  \
                 client_max_body_size 16m;\n  client_body_buffer_size 256k;\n  \
                 upstream b {{\n    server {node};\n    keepalive 256;\n    keepalive_requests 1000000000;\n  }}\n  \
                 server {{\n    listen {address};\n    location / {{\n      proxy_pass http://b;\n      \
                 proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n    }}\n  }}\n}}\n"
            ),
        )?;
        let mut command = pinned(core, binary);
        command.args(["-e", "stderr", "-c"]).arg(file);
        let mut proxy = self.spawn(command, "nginx", address)?;
        proxy.until("nginx to listen", async || TcpStream::connect(address).await.is_ok()).await?;
        Ok(proxy)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn spawn(&self, mut command: Command, name: &str, address: SocketAddr) -> Result<Proxy> {
        let log = File::create(self.path(&format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).env_remove("RUST_LOG");
        let child = command.spawn().map_err(|why| format!("cannot start {name}: {why}"))?;
        Ok(Proxy { child: Some(child), address })
    }
}

impl Proxy {
    /// No proxy: clients call this address.
    pub(crate) fn none(address: SocketAddr) -> Self {
        Self { child: None, address }
    }

    /// Its process, if it has one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) async fn until(&mut self, what: &str, holds: impl AsyncFn() -> bool) -> Result<()> {
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

/// Where a program is: as it was named, or where Debian has it.
fn installed(program: &Path, flag: &str) -> Option<PathBuf> {
    let candidates = [program.to_owned(), Path::new("/usr/sbin").join(program)];
    let found = candidates.into_iter().find(|path| version(path, flag).is_some());
    if found.is_none() {
        eprintln!("bench: {} is not installed: its rows are left out", program.display());
    }
    found
}

/// The first line of what a program says of itself; nginx says it on standard error.
fn version(binary: &Path, flag: &str) -> Option<String> {
    let output = Command::new(binary).arg(flag).output().ok().filter(|output| output.status.success())?;
    let said = String::from_utf8([output.stdout, output.stderr].concat()).ok()?;
    said.lines().next().map(str::to_owned)
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub(crate) async fn is_ok(address: SocketAddr, path: &str) -> bool {
    get(address, path).await.is_ok_and(|(status, _)| status.ends_with("200 OK"))
}

/// The status line and the body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    tokio::time::timeout(Duration::from_secs(2), stream.read_to_string(&mut reply)).await??;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_default();
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

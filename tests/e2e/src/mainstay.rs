//! The binary under test: `mainstay engine` from its flags, its port 7000 and its admin API.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::process::{Process, free_port};
use crate::rpc::{Endpoint, LIMIT, exchange, get, post};
use crate::{Failure, Lab, Result, ensure, fail, until};

pub(crate) const START_LIMIT: Duration = Duration::from_secs(10);
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(12);
/// What the role is called where no name is given to it.
const ROLE: &str = "engine";

/// A running mainstay in front of some execution clients.
pub struct Mainstay {
    binary: PathBuf,
    arguments: Vec<String>,
    process: Process,
    engine: Endpoint,
    admin: String,
    evidence: PathBuf,
}

impl Mainstay {
    /// Starts `mainstay engine` before `nodes` (name and address, in order of preference) with `more`
    /// flags, and waits until it serves.
    ///
    /// # Errors
    /// If the binary is missing or does not serve in time.
    pub async fn start(lab: &Lab, nodes: &[(&str, &str)], more: &[&str]) -> Result<Mainstay> {
        let binary = binary()?;
        let (port, admin_port) = (free_port()?, free_port()?);
        let evidence = lab.path("evidence");
        let nodes: Vec<String> = nodes.iter().map(|(name, url)| format!("{url}#name={name}")).collect();
        let mut arguments: Vec<String> = vec!["engine".into(), "--nodes".into(), nodes.join(",")];
        for (flag, value) in [
            ("--jwt-secret", lab.secret.path().display().to_string()),
            ("--listen", format!("127.0.0.1:{port}")),
            ("--admin-listen", format!("127.0.0.1:{admin_port}")),
            ("--evidence-dir", evidence.display().to_string()),
            ("--log-level", "debug".to_owned()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        arguments.extend(more.iter().map(|&flag| flag.to_owned()));

        let process = spawn(lab, &binary, &arguments)?;
        let engine = Endpoint::new(format!("http://127.0.0.1:{port}"), &lab.secret);
        let admin = format!("http://127.0.0.1:{admin_port}");
        let mut mainstay = Mainstay { binary, arguments, process, engine, admin, evidence };
        mainstay.serves().await?;
        Ok(mainstay)
    }

    /// Where the consensus client calls.
    pub fn engine(&self) -> &Endpoint {
        &self.engine
    }

    /// SIGTERM, which must end it with status 0, and a new start on the same ports.
    ///
    /// # Errors
    /// If it does not end, ends with another status, or does not come back.
    pub async fn restart(&mut self, lab: &Lab) -> Result<()> {
        let status = self.process.terminate(STOP_LIMIT).await?;
        ensure!(status.success(), "mainstay ended with {status} after SIGTERM");
        self.process = spawn(lab, &self.binary, &self.arguments)?;
        self.serves().await
    }

    /// `kill -9` and a new start on the same ports.
    ///
    /// # Errors
    /// If it does not come back.
    pub async fn crash(&mut self, lab: &Lab) -> Result<()> {
        self.process.kill()?;
        self.process = spawn(lab, &self.binary, &self.arguments)?;
        self.serves().await
    }

    async fn serves(&mut self) -> Result<()> {
        let url = format!("{}/livez", self.admin);
        let process = &mut self.process;
        until("mainstay to serve", START_LIMIT, async || {
            process.must_run()?;
            let (status, _) = exchange(Request::get(&url).body(Bytes::new())?, LIMIT).await?;
            Ok(status.is_success().then_some(()))
        })
        .await?;
        // The chain behind it answers too, so that the first call of a consensus client is not the first.
        let endpoint = &self.engine;
        until("a node behind mainstay to answer", START_LIMIT, async || {
            endpoint.call("eth_chainId", json!([])).await.map(Some)
        })
        .await?;
        Ok(())
    }

    /// What `GET /metrics` of its engine port says: `alive_nodes`, `syncing_nodes`, `dead_nodes`, ….
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn nodes(&self) -> Result<Value> {
        let url = format!("{}/metrics", self.engine.url());
        get(&url).await?.ok_or_else(|| Failure::new(format!("there is no {url}")))
    }

    /// Waits until exactly `urls` are alive.
    ///
    /// # Errors
    /// If that has not come about after `limit`.
    pub async fn alive(&self, urls: &[&str], limit: Duration) -> Result<()> {
        let mut wanted: Vec<&str> = urls.iter().map(|url| url.trim_end_matches('/')).collect();
        wanted.sort_unstable();
        until(&format!("{wanted:?} to be alive"), limit, async || {
            let nodes = self.nodes().await?;
            let Some(alive) = nodes["alive_nodes"].as_array() else { fail!("no alive_nodes in {nodes}") };
            let mut alive: Vec<&str> =
                alive.iter().filter_map(Value::as_str).map(|url| url.trim_end_matches('/')).collect();
            alive.sort_unstable();
            ensure!(alive == wanted, "{nodes}");
            Ok(Some(()))
        })
        .await
    }

    /// Asks the admin API to `cordon`, `uncordon`, `drain`, … a node.
    ///
    /// # Errors
    /// If it refuses.
    pub async fn act(&self, action: &str, node: &str) -> Result<()> {
        let url = format!("{}/api/v1/engine/{ROLE}/nodes/{node}/{action}", self.admin);
        let (status, body) = post(&url, &json!({})).await?;
        ensure!(status.is_success(), "POST {url}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    /// What `/healthz` says: the status and why.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn health(&self) -> Result<(StatusCode, String)> {
        let request = Request::get(format!("{}/healthz", self.admin)).body(Bytes::new())?;
        let (status, body) = exchange(request, LIMIT).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The Prometheus text of the admin listener.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let request = Request::get(format!("{}/metrics", self.admin)).body(Bytes::new())?;
        let (status, body) = exchange(request, LIMIT).await?;
        ensure!(status.is_success(), "/metrics: {status}");
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The files of evidence that it has kept, at any depth.
    ///
    /// # Errors
    /// If the folder cannot be read; one that does not exist is empty.
    pub fn evidence(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut folders = vec![self.evidence.clone()];
        while let Some(folder) = folders.pop() {
            if !folder.exists() {
                continue;
            }
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        Ok(files)
    }
}

/// Starts the binary with these arguments.
pub(crate) fn spawn(lab: &Lab, binary: &PathBuf, arguments: &[String]) -> Result<Process> {
    let mut command = Command::new(binary);
    command.args(arguments);
    // The harness has variables of its own, and a variable that mainstay doesn't know is an error to it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MAINSTAY_"))
    {
        command.env_remove(name);
    }
    Process::spawn(lab, "mainstay", command)
}

/// `$E2E_MAINSTAY`, else the binary that cargo has built beside the running test.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("E2E_MAINSTAY") {
        return Ok(std::path::absolute(path)?);
    }
    // …/target/debug/deps/test-0123 → …/target/debug/mainstay
    let test = std::env::current_exe()?;
    match test.ancestors().nth(2).map(|folder| folder.join("mainstay")) {
        Some(path) if path.exists() => Ok(path),
        Some(path) => {
            fail!("{} is missing: run `cargo build -p mainstay` (or set E2E_MAINSTAY)", path.display())
        }
        None => fail!("{} is in no target folder: set E2E_MAINSTAY", test.display()),
    }
}

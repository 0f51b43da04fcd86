//! `mainstay beacon`: a guard before each of some beacon nodes.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::mainstay::{START_LIMIT, STOP_LIMIT, binary, spawn};
use crate::process::{Process, free_port};
use crate::rpc::{LIMIT, exchange, get};
use crate::{Failure, Lab, Result, ensure, until};

/// A beacon node and its execution client, as a guard is told.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// Address of the beacon node's API.
    pub beacon_node: String,
    /// Address of the Engine API of its execution client.
    pub execution_node: String,
}

/// A running `mainstay beacon`.
pub struct Guards {
    binary: PathBuf,
    arguments: Vec<String>,
    process: Process,
    urls: Vec<String>,
    admin: String,
}

impl Guards {
    /// Starts a guard before each node with `min_peers` (one number for each), and waits until they listen.
    ///
    /// # Errors
    /// If the binary is missing or does not serve in time.
    pub async fn start(lab: &Lab, nodes: &[Guarded], min_peers: &[u64]) -> Result<Guards> {
        let admin_port = free_port()?;
        let mut arguments = vec!["beacon".to_owned()];
        let mut urls = Vec::new();
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        for node in nodes {
            let port = free_port()?;
            urls.push(format!("http://127.0.0.1:{port}"));
            add("--listen", format!("127.0.0.1:{port}"));
            add("--beacon-node", node.beacon_node.clone());
            add("--execution-node", node.execution_node.clone());
        }
        add("--jwt-secret", lab.secret.path().display().to_string());
        // Slots of 3 s: what holds for 12 s is a quarter of it here.
        add("--warm-up", "3s".to_owned());
        add("--max-block-age", "15s".to_owned());
        add("--admin-listen", format!("127.0.0.1:{admin_port}"));
        add("--log-level", "debug".to_owned());
        let binary = binary()?;
        let process = spawn(lab, &binary, &with_peers(&arguments, min_peers))?;
        let admin = format!("http://127.0.0.1:{admin_port}");
        let mut guards = Guards { binary, arguments, process, urls, admin };
        guards.serves().await?;
        Ok(guards)
    }

    /// SIGTERM, which must end it with status 0, and a new start on the same ports that asks for so many peers.
    ///
    /// # Errors
    /// If it does not end, ends with another status, or does not come back.
    pub async fn restart(&mut self, lab: &Lab, min_peers: &[u64]) -> Result<()> {
        let status = self.process.terminate(STOP_LIMIT).await?;
        ensure!(status.success(), "mainstay ended with {status} after SIGTERM");
        self.process = spawn(lab, &self.binary, &with_peers(&self.arguments, min_peers))?;
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
        .await
    }

    /// Where validator clients reach the node of guard `index`.
    pub fn url(&self, index: usize) -> &str {
        &self.urls[index]
    }

    /// What guard `index` answers to any request: `None` if its node does, else why it is closed.
    ///
    /// # Errors
    /// If it does not answer, or with a 503 that is not its own.
    pub async fn closed(&self, index: usize) -> Result<Option<String>> {
        let request = Request::get(format!("{}/eth/v1/node/version", self.urls[index])).body(Bytes::new())?;
        let (status, body) = exchange(request, LIMIT).await?;
        if status != StatusCode::SERVICE_UNAVAILABLE {
            ensure!(status.is_success(), "guard {index}: {status}");
            return Ok(None);
        }
        let body: Value = serde_json::from_slice(&body)?;
        let failures = body["failures"].as_array().filter(|failures| !failures.is_empty());
        ensure!(body["code"] == 503 && failures.is_some(), "guard {index} says {body}");
        Ok(body["message"].as_str().map(str::to_owned))
    }

    /// Waits until guard `index` is closed, and gives what it says why.
    ///
    /// # Errors
    /// If it is not after `limit`.
    pub async fn closes(&self, index: usize, limit: Duration) -> Result<String> {
        until(&format!("guard {index} to close"), limit, async || self.closed(index).await).await
    }

    /// Waits until guard `index` lets requests through.
    ///
    /// # Errors
    /// If it does not after `limit`; says what it said.
    pub async fn opens(&self, index: usize, limit: Duration) -> Result<()> {
        until(&format!("guard {index} to open"), limit, async || match self.closed(index).await? {
            None => Ok(Some(())),
            Some(why) => Err(Failure::new(why)),
        })
        .await
    }

    /// What `GET /api/v1/beacon` says.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self) -> Result<Value> {
        let url = format!("{}/api/v1/beacon", self.admin);
        get(&url).await?.ok_or_else(|| Failure::new(format!("there is no {url}")))
    }
}

fn with_peers(arguments: &[String], min_peers: &[u64]) -> Vec<String> {
    let mut arguments = arguments.to_vec();
    for peers in min_peers {
        arguments.extend(["--min-peers".to_owned(), peers.to_string()]);
    }
    arguments
}

//! The binary under test as a process: one role from its subcommand's flags, and its admin API.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::process::{Process, free_port};
use crate::rpc::{LIMIT, exchange, get, post};
use crate::{Failure, Lab, Result, ensure, fail, until};

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(12);

/// A running mainstay of one role, which has its subcommand's name.
pub struct Program {
    role: &'static str,
    process: Process,
    urls: Vec<String>,
    admin: String,
}

impl Program {
    /// Starts `mainstay ROLE` with `flags` and ports of its own, and waits until it serves.
    ///
    /// # Errors
    /// If the binary is missing or does not serve in time.
    pub(crate) async fn start(lab: &Lab, role: &'static str, flags: Vec<String>) -> Result<Program> {
        Program::start_with(lab, role, 1, flags).await
    }

    /// The same with so many listeners.
    ///
    /// # Errors
    /// As [`Program::start`].
    pub(crate) async fn start_with(
        lab: &Lab,
        role: &'static str,
        listeners: usize,
        flags: Vec<String>,
    ) -> Result<Program> {
        let binary = binary()?;
        let address = |port| format!("127.0.0.1:{port}");
        let mut arguments = vec![role.to_owned()];
        let mut add = |flag: &str, value: &str| arguments.extend([flag.to_owned(), value.to_owned()]);
        let mut urls = Vec::new();
        for _ in 0..listeners {
            let listen = address(free_port()?);
            add("--listen", &listen);
            urls.push(format!("http://{listen}"));
        }
        let admin = address(free_port()?);
        add("--admin-listen", &admin);
        add("--log-level", "debug");
        arguments.extend(flags);
        let mut command = command(&binary);
        command.args(arguments);
        let process = Process::spawn(lab, &format!("mainstay-{role}"), command)?;
        let admin = format!("http://{admin}");
        let mut program = Program { role, process, urls, admin };
        program.serves().await?;
        Ok(program)
    }

    /// Where its clients call; of several listeners the first.
    pub fn url(&self) -> &str {
        &self.urls[0]
    }

    /// Where the clients of each listener call.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// SIGTERM, which must end it with status 0, and a new start on the same ports.
    ///
    /// # Errors
    /// If it does not end, ends with another status, or does not come back.
    pub async fn restart(&mut self) -> Result<()> {
        let status = self.process.terminate(STOP_LIMIT).await?;
        ensure!(status.success(), "mainstay ended with {status} after SIGTERM");
        self.crash().await
    }

    /// `kill -9` and a new start on the same ports.
    ///
    /// # Errors
    /// If it does not come back.
    pub async fn crash(&mut self) -> Result<()> {
        self.process.again()?;
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

    /// What the admin API shows of the role.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn state(&self) -> Result<Value> {
        let url = format!("{}/api/v1/{}/{}", self.admin, self.role, self.role);
        get(&url).await?.ok_or_else(|| Failure::new(format!("there is no {url}")))
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The role's nodes as the admin API shows them.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn nodes(&self) -> Result<Vec<Value>> {
        let url = format!("{}/api/v1/{}/{}/nodes", self.admin, self.role, self.role);
        let mut list = get(&url).await?.ok_or_else(|| Failure::new(format!("there is no {url}")))?;
        match list["nodes"].take() {
            Value::Array(nodes) => Ok(nodes),
            other => fail!("no list of nodes at {url}: {other}"),
        }
    }

    /// Asks the admin API to `cordon`, `uncordon`, `drain`, … a node.
    ///
    /// # Errors
    /// If it refuses.
    pub async fn act(&self, action: &str, node: &str) -> Result<()> {
        let url = format!("{}/api/v1/{}/{}/nodes/{node}/{action}", self.admin, self.role, self.role);
        let (status, body) = post(&url, &json!({})).await?;
        ensure!(status.is_success(), "POST {url}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    /// The value of the metric whose line begins with `name` and has all of `labels` (`key="value"`); 0 where there is none yet.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<u64> {
        let request = Request::get(format!("{}/metrics", self.admin)).body(Bytes::new())?;
        let (status, body) = exchange(request, LIMIT).await?;
        ensure!(status.is_success(), "GET {}/metrics: {status}", self.admin);
        let text = String::from_utf8_lossy(&body);
        let line = text.lines().find(|line| {
            line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label))
        });
        Ok(line.and_then(|line| line.rsplit(' ').next()).map_or(Ok(0), str::parse)?)
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
}

/// A run of `binary` that knows nothing of the environment's own settings of mainstay.
pub(crate) fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    // The harness has variables of its own, and a variable that mainstay doesn't know is an error to it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MAINSTAY_"))
    {
        command.env_remove(name);
    }
    command
}

/// Runs the binary to its end, whatever its status.
///
/// # Errors
/// If the binary is missing.
pub fn run(arguments: &[&str]) -> Result<std::process::Output> {
    Ok(command(&binary()?).args(arguments).output()?)
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

//! `mainstay engine`, the binary under test before execution clients.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::Program;
use crate::rpc::{Endpoint, get};
use crate::{Failure, Lab, Result, ensure, fail, until};

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running `mainstay engine`; what any role can do is [`Program`]'s.
pub struct Mainstay {
    program: Program,
    engine: Endpoint,
    evidence: PathBuf,
}

impl Deref for Mainstay {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl Mainstay {
    /// Starts `mainstay engine` before `nodes` (name and address, in order of preference) with `more`
    /// flags, and waits until it serves.
    ///
    /// # Errors
    /// If the binary is missing or does not serve in time.
    pub async fn start(lab: &Lab, nodes: &[(&str, &str)], more: &[&str]) -> Result<Mainstay> {
        let evidence = lab.path("evidence");
        let nodes: Vec<String> = nodes.iter().map(|(name, url)| format!("{url}#name={name}")).collect();
        let mut flags = Vec::new();
        for (flag, value) in [
            ("--nodes", nodes.join(",")),
            ("--jwt-secret", lab.secret.path().display().to_string()),
            ("--evidence-dir", evidence.display().to_string()),
        ] {
            flags.extend([flag.to_owned(), value]);
        }
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        let program = Program::start(lab, "engine", flags).await?;
        let engine = Endpoint::new(program.url(), &lab.secret);
        let mainstay = Mainstay { program, engine, evidence };
        mainstay.a_node_answers().await?;
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
    pub async fn restart(&mut self) -> Result<()> {
        self.program.restart().await?;
        self.a_node_answers().await
    }

    /// `kill -9` and a new start on the same ports.
    ///
    /// # Errors
    /// If it does not come back.
    pub async fn crash(&mut self) -> Result<()> {
        self.program.crash().await?;
        self.a_node_answers().await
    }

    /// The chain behind it answers too, so that the first call of a consensus client is not the first.
    async fn a_node_answers(&self) -> Result<()> {
        let endpoint = &self.engine;
        until("a node behind mainstay to answer", START_LIMIT, async || {
            endpoint.call("eth_chainId", json!([])).await.map(Some)
        })
        .await?;
        Ok(())
    }

    /// Waits until exactly `urls` are alive, by what `GET /metrics` of its engine port says.
    ///
    /// # Errors
    /// If that has not come about after `limit`.
    pub async fn alive(&self, urls: &[&str], limit: Duration) -> Result<()> {
        let mut wanted: Vec<&str> = urls.iter().map(|url| url.trim_end_matches('/')).collect();
        wanted.sort_unstable();
        let url = format!("{}/metrics", self.engine.url());
        until(&format!("{wanted:?} to be alive"), limit, async || {
            let nodes = get(&url).await?.ok_or_else(|| Failure::new(format!("there is no {url}")))?;
            let Some(alive) = nodes["alive_nodes"].as_array() else { fail!("no alive_nodes in {nodes}") };
            let mut alive: Vec<&str> =
                alive.iter().filter_map(Value::as_str).map(|url| url.trim_end_matches('/')).collect();
            alive.sort_unstable();
            ensure!(alive == wanted, "{nodes}");
            Ok(Some(()))
        })
        .await
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

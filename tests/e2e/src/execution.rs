//! An execution client (EL): the same handle for every kind.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::process::Process;
use crate::rpc::{Endpoint, number, text};
use crate::{Failure, Lab, Result, until};

/// EthereumJS takes most of it, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A block that an EL knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// Its hash, `0x…`.
    pub hash: String,
    /// Seconds since 1970.
    pub timestamp: u64,
}

/// A running (or killed) EL; what any process can do is [`Process`]'s. Its data outlive a kill, its port stays the same.
pub struct Execution {
    process: Process,
    port: u16,
    endpoint: Endpoint,
    rpc: String,
}

impl Deref for Execution {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Execution {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Execution {
    /// Starts `command` and waits until its engine port answers; its other port is for anyone.
    pub(crate) async fn start(
        lab: &Lab,
        name: &str,
        (engine_port, rpc_port): (u16, u16),
        command: Command,
    ) -> Result<Execution> {
        let process = Process::spawn(lab, name, command)?;
        let endpoint = Endpoint::new(format!("http://127.0.0.1:{engine_port}"), &lab.secret);
        let rpc = format!("http://127.0.0.1:{rpc_port}");
        let mut execution = Execution { process, port: engine_port, endpoint, rpc };
        execution.answers().await?;
        Ok(execution)
    }

    /// The port of its engine endpoint, for another one in its place.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its engine endpoint; `eth_…` works there too.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where anyone may call `eth_…`, without a token.
    pub fn rpc(&self) -> &str {
        &self.rpc
    }

    /// SIGTERM, after which it writes down what it has in memory, and waits for its end.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.terminate(STOP_LIMIT).await?;
        Ok(())
    }

    /// Kills it where it still runs, starts it anew on its data and port, and waits until it answers.
    ///
    /// # Errors
    /// If it does not come back in time.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.again()?;
        self.answers().await
    }

    /// [`Execution::stop`] and a start on its data and port.
    ///
    /// # Errors
    /// If it does not end or does not come back in time.
    pub async fn restart_cleanly(&mut self) -> Result<()> {
        self.stop().await?;
        self.restart().await
    }

    async fn answers(&mut self) -> Result<()> {
        let what = format!("{} to answer", self.name());
        let process = &mut self.process;
        let endpoint = &self.endpoint;
        until(&what, START_LIMIT, async || {
            process.must_run()?;
            endpoint.call("eth_getBlockByNumber", json!(["0x0", false])).await.map(Some)
        })
        .await?;
        Ok(())
    }

    /// The newest block of its chain.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn head(&self) -> Result<Block> {
        self.block("latest").await?.ok_or_else(|| Failure::new(format!("{} has no head", self.name())))
    }

    /// The block at `number` (`0x…` or a tag) of its chain, if it has one.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn block(&self, tag: &str) -> Result<Option<Block>> {
        block(&self.endpoint, tag).await
    }

    /// Waits until its head is block `hash`, or a later one on top of it at height `number`.
    ///
    /// # Errors
    /// If that has not come about after `limit`.
    pub async fn reaches(&self, number: u64, hash: &str, limit: Duration) -> Result<()> {
        let what = format!("{} to have block {number} ({hash})", self.name());
        let tag = format!("{number:#x}");
        until(&what, limit, async || {
            // Numbers, not only hashes: only blocks of the canonical chain have one.
            let found = self.block(&tag).await?;
            Ok(found.filter(|block| block.hash == hash).map(|_| ()))
        })
        .await
    }
}

/// The block at `tag` of the chain behind `endpoint`, if it has one.
///
/// # Errors
/// If it does not answer.
pub async fn block(endpoint: &Endpoint, tag: &str) -> Result<Option<Block>> {
    let value = endpoint.call("eth_getBlockByNumber", json!([tag, false])).await?;
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(Block {
        number: number(&value, "/number")?,
        hash: text(&value, "/hash")?,
        timestamp: number(&value, "/timestamp")?,
    }))
}

/// An execution genesis of `tests/e2e/devnet`; in each all forks up to its name hold from block 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Genesis {
    /// With withdrawals; what Lodestar 1.5.1 knows as Capella.
    Shanghai,
    /// The current fork.
    Osaka,
}

impl Genesis {
    /// Its file.
    pub fn file(self, lab: &Lab) -> PathBuf {
        lab.tools.devnet.join(match self {
            Genesis::Shanghai => "genesis-shanghai.json",
            Genesis::Osaka => "genesis-osaka.json",
        })
    }
}

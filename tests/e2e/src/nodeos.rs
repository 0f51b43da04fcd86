//! nodeos: a node of an Antelope chain, with a folder and ports of its own.
//!
//! | module | what it knows |
//! |---|---|
//! | [`pack`] | transactions, as bytes |
//! | [`key`] | the development key |
//! | [`frames`] | what nodes send to each other, as far as a witness has to |
//! | [`tap`] | stands on a connection and keeps a record |
//! | [`chain`] | asks a node for its chain, and gives it transactions |
//! | [`devnet`] | five producers, one of them twice |
//! | [`toll`] | what a long run has cost: slots, and what nodes complained of |
//! | [`round`] | what became of a round of the producer that is there twice |
//!
//! A node that was killed does not start again as it is: its data are marked as torn. It replays its blocks, or starts from nothing.

pub mod chain;
pub mod devnet;
pub mod frames;
pub mod key;
pub mod pack;
pub mod round;
pub mod tap;
pub mod toll;

use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::time::Duration;

use crate::nodeos::chain::Chain;
use crate::process::{Process, free_port};
use crate::{Failure, Lab, Result, until};

/// On a machine that others use too.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// With what a node begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The genesis alone; what it had is deleted.
    Empty,
    /// What a clean end has left.
    Kept,
    /// Its blocks, which it applies once more: what is left to one that was killed.
    Replay,
}

/// What nodes differ in.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Whom it produces for.
    pub producers: &'static [&'static str],
    /// Whether it begins to produce on an old chain: the one that makes the first block.
    pub first: bool,
    /// Whom it dials (`host:port`).
    pub peers: Vec<String>,
}

/// A running (or killed) nodeos; what any process can do is [`Process`]'s.
pub struct Nodeos {
    name: String,
    part: Part,
    ports: (u16, u16),
    process: Process,
    chain: Chain,
}

impl Deref for Nodeos {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Nodeos {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Nodeos {
    /// Starts a node from the genesis and waits until it answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn start(lab: &Lab, name: &str, part: Part) -> Result<Nodeos> {
        let ports = (free_port()?, free_port()?);
        let process = spawn(lab, name, &part, ports, Begin::Empty)?;
        let chain = Chain::new(format!("http://127.0.0.1:{}", ports.0))?;
        let mut node = Nodeos { name: name.to_owned(), part, ports, process, chain };
        node.answers().await?;
        Ok(node)
    }

    /// Where other nodes find it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.1)
    }

    /// Its chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// SIGTERM, after which it writes down what it has in memory, and waits for its end.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.terminate(STOP_LIMIT).await?;
        Ok(())
    }

    /// Kills it where it still runs, starts it anew on its ports, and waits until it answers.
    ///
    /// # Errors
    /// If it does not come back.
    pub async fn restart(&mut self, lab: &Lab, begin: Begin) -> Result<()> {
        self.process.kill()?;
        self.process = spawn(lab, &self.name, &self.part, self.ports, begin)?;
        self.answers().await
    }

    async fn answers(&mut self) -> Result<()> {
        let (process, chain) = (&mut self.process, &self.chain);
        until(&format!("{} to answer", self.name), START_LIMIT, async || {
            process.must_run()?;
            chain.head().await.map(Some)
        })
        .await?;
        Ok(())
    }
}

fn spawn(lab: &Lab, name: &str, part: &Part, (http, p2p): (u16, u16), begin: Begin) -> Result<Process> {
    let folder = lab.path(name);
    let mut command = Command::new(&lab.tools.nodeos);
    command.arg("nodeos");
    match begin {
        Begin::Empty => {
            if folder.exists() {
                std::fs::remove_dir_all(&folder)?;
            }
            command.arg("--genesis-json").arg(lab.tools.devnet.join("antelope/genesis.json"));
        }
        Begin::Kept => {}
        Begin::Replay => {
            command.arg("--hard-replay-blockchain");
        }
    }
    std::fs::create_dir_all(&folder)?;
    command
        .arg("--config-dir")
        .arg(folder.join("config"))
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--plugin", "eosio::chain_api_plugin", "--http-validate-host=false"])
        .args(["--http-server-address", &format!("127.0.0.1:{http}")])
        .args(["--p2p-listen-endpoint", &format!("127.0.0.1:{p2p}")])
        // One for each leg: all of them come from this host. And how long it waits before it dials again.
        .args(["--p2p-max-nodes-per-host", "20", "--connection-cleanup-period", "2"])
        .args(["--chain-state-db-size-mb", "256"])
        // A disk that is nine tenths full is no reason to end.
        .arg("--resource-monitor-not-shutdown-on-threshold-exceeded");
    if part.first {
        command.arg("--enable-stale-production");
    }
    for producer in part.producers {
        command.args(["--producer-name", producer]);
    }
    for peer in &part.peers {
        command.args(["--p2p-peer-address", peer]);
    }
    Process::spawn(lab, name, command).map_err(|failure| Failure::new(format!("nodeos {failure}")))
}

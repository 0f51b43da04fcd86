//! Lodestar: a beacon node and all its validators in one process.

use std::process::Command;
use std::time::Duration;

use crate::process::{Process, free_port};
use crate::rpc::{get, number, text, unix_time};
use crate::{Lab, Result, ensure, fail, until};

/// Slots of an epoch in the minimal preset.
pub const SLOTS_PER_EPOCH: u64 = 8;
/// From starting Lodestar to slot 0; it must be up before, on a busy machine too.
const BEFORE_GENESIS: Duration = Duration::from_secs(15);
const VALIDATORS: u32 = 8;

/// A running Lodestar that drives one engine endpoint.
pub struct Lodestar {
    process: Process,
    api: String,
    genesis_time: u64,
    slot: Duration,
}

/// A beacon block and the payload in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeaconBlock {
    /// Its slot.
    pub slot: u64,
    /// Height of its payload.
    pub number: u64,
    /// Block hash of its payload.
    pub hash: String,
}

impl Lodestar {
    /// Starts a chain whose slot 0 is some seconds ahead, with `slot` (whole seconds) between its slots, on
    /// the engine at `engine_url`, whose chain begins with block `eth1_hash`. Waits for its API.
    ///
    /// # Errors
    /// If its API does not answer before slot 0.
    pub async fn start(lab: &Lab, engine_url: &str, eth1_hash: &str, slot: Duration) -> Result<Lodestar> {
        let genesis_time = unix_time().as_secs() + BEFORE_GENESIS.as_secs();
        let (rest, p2p) = (free_port()?, free_port()?);
        let api = format!("http://127.0.0.1:{rest}");
        let mut command = Command::new("node");
        command
            .env("NODE_BACKEND", "js")
            .env("LODESTAR_PRESET", "minimal")
            .arg("-r")
            .arg(lab.tools.devnet.join("polyfill.cjs"))
            .arg(&lab.tools.lodestar)
            .arg("dev")
            .arg("--dataDir")
            .arg(lab.path("lodestar"))
            .args(["--genesisValidators", &VALIDATORS.to_string()])
            .args(["--startValidators", &format!("0..{}", VALIDATORS - 1)])
            .args(["--beaconNodes", &api])
            .args(["--genesisTime", &genesis_time.to_string(), "--genesisEth1Hash", eth1_hash])
            .args(["--params.ALTAIR_FORK_EPOCH", "0", "--params.BELLATRIX_FORK_EPOCH", "0"])
            .args(["--params.CAPELLA_FORK_EPOCH", "0", "--params.TERMINAL_TOTAL_DIFFICULTY", "0"])
            .args(["--params.SECONDS_PER_SLOT", &slot.as_secs().to_string()])
            .args(["--params.ETH1_FOLLOW_DISTANCE", "1"])
            .args(["--params.DEPOSIT_CHAIN_ID", "1337", "--params.DEPOSIT_NETWORK_ID", "1337"])
            .args(["--execution.urls", engine_url, "--execution.timeout", "8000", "--eth1", "false"])
            .arg("--jwt-secret")
            .arg(lab.secret.path())
            .args(["--suggestedFeeRecipient", "0xfefefefefefefefefefefefefefefefefefefefe"])
            .arg("--chain.blsVerifyAllMainThread")
            .args(["--rest", "--rest.address", "127.0.0.1", "--rest.port", &rest.to_string()])
            .args(["--rest.namespace", "*"])
            .args(["--listenAddress", "127.0.0.1", "--port", &p2p.to_string()])
            .args(["--discv5", "false", "--mdns", "false", "--targetPeers", "0"])
            .args(["--network.connectToDiscv5Bootnodes", "false", "--metrics", "false"]);
        let process = Process::spawn(lab, "lodestar", command)?;
        let mut lodestar = Lodestar { process, api, genesis_time, slot };
        lodestar.answers().await?;
        Ok(lodestar)
    }

    async fn answers(&mut self) -> Result<()> {
        let url = format!("{}/eth/v1/beacon/genesis", self.api);
        let process = &mut self.process;
        let found = until("Lodestar to answer before slot 0", BEFORE_GENESIS, async || {
            process.must_run()?;
            get(&url).await
        })
        .await?;
        let time = number(&found, "/data/genesis_time")?;
        ensure!(time == self.genesis_time, "Lodestar's chain begins at {time}, not at {}", self.genesis_time);
        Ok(())
    }

    /// The time between two slots.
    pub fn slot(&self) -> Duration {
        self.slot
    }

    /// The slot of this moment; 0 before the first too.
    pub fn now(&self) -> u64 {
        let age = unix_time().saturating_sub(Duration::from_secs(self.genesis_time));
        age.as_secs() / self.slot.as_secs()
    }

    /// Time from now to the start of `slot`; zero if that is past.
    pub fn time_to(&self, slot: u64) -> Duration {
        let start = Duration::from_secs(self.genesis_time + slot * self.slot.as_secs());
        start.saturating_sub(unix_time())
    }

    /// The newest block of its chain.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn head(&self) -> Result<BeaconBlock> {
        match self.block_at("head").await? {
            Some(block) => Ok(block),
            None => fail!("Lodestar has no head"),
        }
    }

    /// The block of `slot` in its chain, or `None` where the slot was missed (or is still to come).
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn block(&self, slot: u64) -> Result<Option<BeaconBlock>> {
        Ok(self.block_at(&slot.to_string()).await?.filter(|block| block.slot == slot))
    }

    async fn block_at(&self, id: &str) -> Result<Option<BeaconBlock>> {
        let Some(value) = get(&format!("{}/eth/v2/beacon/blocks/{id}", self.api)).await? else {
            return Ok(None);
        };
        let message = "/data/message";
        let slot = number(&value, &format!("{message}/slot"))?;
        if slot == 0 {
            // The block of genesis holds no payload.
            return Ok(Some(BeaconBlock { slot, number: 0, hash: String::new() }));
        }
        let payload = format!("{message}/body/execution_payload");
        Ok(Some(BeaconBlock {
            slot,
            number: number(&value, &format!("{payload}/block_number"))?,
            hash: text(&value, &format!("{payload}/block_hash"))?,
        }))
    }

    /// The newest epoch that is final.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn finalized_epoch(&self) -> Result<u64> {
        let url = format!("{}/eth/v1/beacon/states/head/finality_checkpoints", self.api);
        match get(&url).await? {
            Some(value) => number(&value, "/data/finalized/epoch"),
            None => fail!("Lodestar has no head state"),
        }
    }

    /// Waits until `epoch` is final.
    ///
    /// # Errors
    /// If it is not after `limit`.
    pub async fn finalizes(&self, epoch: u64, limit: Duration) -> Result<()> {
        until(&format!("epoch {epoch} to be final"), limit, async || {
            Ok((self.finalized_epoch().await? >= epoch).then_some(()))
        })
        .await
    }
}

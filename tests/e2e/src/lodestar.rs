//! Lodestar: a beacon node, alone or with all validators in its process; and the validators alone.

use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, free_port};
use crate::rpc::{get, number, text, unix_time};
use crate::{Lab, Result, ensure, fail, until};

/// Slots of an epoch in the minimal preset.
pub const SLOTS_PER_EPOCH: u64 = 8;
/// Validators of the chain; in each slot one of them attests.
pub const VALIDATORS: u64 = 8;
/// From the moment of a chain's making to its slot 0, for one Lodestar; it must be up before, on a busy machine too.
const BEFORE_GENESIS: Duration = Duration::from_secs(15);
/// The same for one more.
const BEFORE_GENESIS_EACH: Duration = Duration::from_secs(10);
/// Several that start at once, or one on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);
const FEE_RECIPIENT: &str = "0xfefefefefefefefefefefefefefefefefefefefe";

/// What all clients of one chain have to agree on, and its clock.
#[derive(Clone, Debug)]
pub struct Chain {
    eth1_hash: String,
    genesis_time: u64,
    slot: Duration,
}

impl Chain {
    /// A chain on execution clients whose chain begins with block `eth1_hash`, with `slot` (whole seconds) between
    /// slots; slot 0 is as far ahead as `nodes` beacon nodes take to start.
    pub fn soon(eth1_hash: &str, slot: Duration, nodes: u32) -> Chain {
        let ahead = BEFORE_GENESIS + BEFORE_GENESIS_EACH * nodes.saturating_sub(1);
        Chain { eth1_hash: eth1_hash.to_owned(), genesis_time: unix_time().as_secs() + ahead.as_secs(), slot }
    }

    /// When slot 0 begins, in seconds since 1970.
    pub fn genesis_time(&self) -> u64 {
        self.genesis_time
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

    fn command(&self, lab: &Lab, subcommand: &str, name: &str) -> Command {
        let mut command = Command::new("node");
        command
            // It writes `genesis.ssz` where it is started, so each has a folder of its own.
            .current_dir(lab.path(name))
            .env("NODE_BACKEND", "js")
            .env("LODESTAR_PRESET", "minimal")
            .arg("-r")
            .arg(lab.tools.devnet.join("polyfill.cjs"))
            .arg("-r")
            .arg(lab.tools.devnet.join("token-id.cjs"))
            .arg(&lab.tools.lodestar)
            .arg(subcommand)
            .arg("--dataDir")
            .arg(lab.path(name))
            .args(["--params.ALTAIR_FORK_EPOCH", "0", "--params.BELLATRIX_FORK_EPOCH", "0"])
            .args(["--params.CAPELLA_FORK_EPOCH", "0", "--params.TERMINAL_TOTAL_DIFFICULTY", "0"])
            .args(["--params.SECONDS_PER_SLOT", &self.slot.as_secs().to_string()])
            .args(["--params.ETH1_FOLLOW_DISTANCE", "1"])
            .args(["--params.DEPOSIT_CHAIN_ID", "1337", "--params.DEPOSIT_NETWORK_ID", "1337"])
            .args(["--suggestedFeeRecipient", FEE_RECIPIENT]);
        command
    }
}

/// All validators of a chain in a process of their own, behind some beacon nodes.
pub struct Validators {
    process: Process,
}

impl Validators {
    /// Starts Lodestar's validator client on beacon nodes at these addresses, in order of preference.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(lab: &Lab, chain: &Chain, beacon_nodes: &[&str]) -> Result<Validators> {
        const NAME: &str = "validators";
        std::fs::create_dir_all(lab.path(NAME))?;
        let mut command = chain.command(lab, "validator", NAME);
        command
            .args(["--network", "dev", "--force", "--interopIndexes", &all_validators()])
            .arg("--beaconNodes")
            .args(beacon_nodes);
        Ok(Validators { process: Process::spawn(lab, NAME, command)? })
    }

    /// Fails where it has ended by itself.
    ///
    /// # Errors
    /// If it is not running.
    pub fn must_run(&mut self) -> Result<()> {
        self.process.must_run()
    }
}

fn all_validators() -> String {
    format!("0..{}", VALIDATORS - 1)
}

/// A Lodestar beacon node that drives one engine endpoint; what any process can do is [`Process`]'s. Its data outlive a kill, its port
/// stays the same.
pub struct Lodestar {
    process: Process,
    api: String,
    chain: Chain,
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

impl Deref for Lodestar {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Lodestar {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Lodestar {
    /// Starts a chain of its own, with all validators, with `slot` (whole seconds) between its slots, on the engine at
    /// `engine_url`, whose chain begins with block `eth1_hash`. Waits for its API.
    ///
    /// # Errors
    /// If its API does not answer in time.
    pub async fn start(lab: &Lab, engine_url: &str, eth1_hash: &str, slot: Duration) -> Result<Lodestar> {
        Lodestar::start_producer(lab, "lodestar", engine_url, &Chain::soon(eth1_hash, slot, 1)).await
    }

    /// Starts a beacon node of `chain` with all validators, and waits for its API.
    ///
    /// # Errors
    /// If its API does not answer in time.
    pub async fn start_producer(lab: &Lab, name: &str, engine_url: &str, chain: &Chain) -> Result<Lodestar> {
        Lodestar::run(lab, name, engine_url, chain, (true, None)).await
    }

    /// Starts a beacon node of `chain` that has no validators, and waits for its API.
    ///
    /// # Errors
    /// If its API does not answer in time.
    pub async fn start_node(lab: &Lab, name: &str, engine_url: &str, chain: &Chain) -> Result<Lodestar> {
        Lodestar::run(lab, name, engine_url, chain, (false, None)).await
    }

    /// The same with its name in its tokens, as the claim `id`.
    ///
    /// # Errors
    /// If its API does not answer in time.
    pub async fn start_named(lab: &Lab, name: &str, engine_url: &str, chain: &Chain) -> Result<Lodestar> {
        Lodestar::run(lab, name, engine_url, chain, (false, Some(name))).await
    }

    async fn run(
        lab: &Lab,
        name: &str,
        engine_url: &str,
        chain: &Chain,
        (with_validators, token_id): (bool, Option<&str>),
    ) -> Result<Lodestar> {
        let (rest, p2p) = (free_port()?, free_port()?);
        let api = format!("http://127.0.0.1:{rest}");
        std::fs::create_dir_all(lab.path(name))?;
        let mut command = chain.command(lab, "dev", name);
        if let Some(id) = token_id {
            command.env("TOKEN_ID", id);
        }
        let mut add = |flags: &[&str]| {
            command.args(flags);
        };
        add(&["--genesisValidators", &VALIDATORS.to_string()]);
        if with_validators {
            add(&["--startValidators", &all_validators(), "--beaconNodes", &api]);
        }
        add(&["--genesisTime", &chain.genesis_time.to_string(), "--genesisEth1Hash", &chain.eth1_hash]);
        add(&["--execution.urls", engine_url, "--execution.timeout", "8000", "--eth1", "false"]);
        add(&["--jwt-secret", &lab.secret.path().display().to_string(), "--chain.blsVerifyAllMainThread"]);
        add(&["--rest", "--rest.address", "127.0.0.1", "--rest.port", &rest.to_string()]);
        add(&["--rest.namespace", "*", "--listenAddress", "127.0.0.1", "--port", &p2p.to_string()]);
        add(&["--discv5", "false", "--mdns", "false"]);
        // With 0 it would turn away whoever dials it.
        add(&["--targetPeers", "5"]);
        add(&["--network.connectToDiscv5Bootnodes", "false", "--metrics", "false"]);
        let process = Process::spawn(lab, name, command)?;
        let mut lodestar = Lodestar { process, api, chain: chain.clone() };
        lodestar.answers().await?;
        Ok(lodestar)
    }

    async fn answers(&mut self) -> Result<()> {
        let url = format!("{}/eth/v1/beacon/genesis", self.api);
        let what = format!("{} to answer", self.name());
        let process = &mut self.process;
        let found = until(&what, START_LIMIT, async || {
            process.must_run()?;
            get(&url).await
        })
        .await?;
        let (time, wanted) = (number(&found, "/data/genesis_time")?, self.chain.genesis_time);
        ensure!(time == wanted, "{}'s chain begins at {time}, not at {wanted}", self.name());
        Ok(())
    }

    /// Where its API is.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// SIGTERM, at which it hangs up on everyone and writes down what it has; then `kill -9`, as a supervisor does, where it doesn't end:
    /// 1.5.1 stays for ever when it had a peer.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.terminate(STOP_LIMIT).await {
            Ok(_) => Ok(()),
            Err(_) => self.process.kill(),
        }
    }

    /// Kills it where it still runs, starts it anew on its data and port, and waits until it answers. Its head is then at the last
    /// final block that it has written down: a relay brings it back to the tip.
    ///
    /// # Errors
    /// If it does not come back in time.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.again()?;
        self.answers().await
    }

    /// The time between two slots.
    pub fn slot(&self) -> Duration {
        self.chain.slot()
    }

    /// The slot of this moment; 0 before the first too.
    pub fn now(&self) -> u64 {
        self.chain.now()
    }

    /// Time from now to the start of `slot`; zero if that is past.
    pub fn time_to(&self, slot: u64) -> Duration {
        self.chain.time_to(slot)
    }

    /// The newest block of its chain.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn head(&self) -> Result<BeaconBlock> {
        match block_at(&self.api, "head").await? {
            Some(block) => Ok(block),
            None => fail!("Lodestar has no head"),
        }
    }

    /// The block of `slot` in its chain, or `None` where the slot was missed (or is still to come).
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn block(&self, slot: u64) -> Result<Option<BeaconBlock>> {
        Ok(block_at(&self.api, &slot.to_string()).await?.filter(|block| block.slot == slot))
    }

    /// What it took the payload of its head for in the middle of each slot so far, by what it logs: valid, syncing, invalid.
    ///
    /// # Errors
    /// If its log can't be read.
    pub fn verdicts(&self) -> Result<Vec<(u64, String)>> {
        let log = String::from_utf8_lossy(&std::fs::read(self.log())?).into_owned();
        let between = |line: &str, from: &str, to: &[char]| {
            line.split(from).nth(1).and_then(|rest| rest.split(to).next()).map(str::to_owned)
        };
        let verdict = |line: &str| {
            let slot = between(line, "slot: ", &[' '])?.parse().ok()?;
            Some((slot, between(line, "execution: ", &['(', ' '])?))
        };
        Ok(log.lines().filter_map(verdict).collect())
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

/// The block `id` (a slot or `head`) in the chain of the beacon node at `api`; where a slot has none some give the one before.
///
/// # Errors
/// If it does not answer.
pub(crate) async fn block_at(api: &str, id: &str) -> Result<Option<BeaconBlock>> {
    let Some(value) = get(&format!("{api}/eth/v2/beacon/blocks/{id}")).await? else {
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

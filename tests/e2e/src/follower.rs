//! `mainstay sync`, the binary under test between consensus clients and the execution clients that follow them.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde_json::Value;

use crate::lodestar::Chain;
use crate::program::Program;
use crate::rpc::Endpoint;
use crate::{Failure, Lab, Result, until};

/// A running `mainstay sync`; what any role can do is [`Program`]'s.
pub struct Follower {
    program: Program,
    engine: Endpoint,
}

impl Deref for Follower {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Follower {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Follower {
    /// Starts `mainstay sync` for the consensus clients of `chain` before `nodes` (name and address) with `more` flags, and waits until
    /// it serves.
    ///
    /// # Errors
    /// If the binary is missing or does not serve in time.
    pub async fn start(lab: &Lab, chain: &Chain, nodes: &[(&str, &str)], more: &[&str]) -> Result<Follower> {
        let nodes: Vec<String> = nodes.iter().map(|(name, url)| format!("{url}#name={name}")).collect();
        let mut flags: Vec<String> = [
            ("--nodes", nodes.join(",")),
            ("--jwt-secret", lab.secret.path().display().to_string()),
            ("--genesis-time", chain.genesis_time().to_string()),
            ("--seconds-per-slot", chain.slot().as_secs().to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        Follower::run(lab, flags).await
    }

    /// Starts `mainstay sync` before the execution client at `url` for consensus clients with a secret of their own, and tokens for them
    /// at `/tokens/` under `host`.
    ///
    /// # Errors
    /// As [`Follower::start`].
    pub async fn start_with_tokens(lab: &Lab, url: &str, host: &str) -> Result<Follower> {
        const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let paths = ["clients.hex", "tokens.json", "tokens.toml"].map(|name| lab.path(name));
        let [secret, hosts, config] = &paths;
        std::fs::write(secret, SECRET)?;
        std::fs::write(hosts, format!("{{\"{host}\":\"{SECRET}\"}}"))?;
        let table =
            format!("[sync.tokens]\nconfig = {hosts:?}\npeers = [\"127.0.0.1\"]\nclient_id = \"nginx\"\n");
        std::fs::write(config, table)?;
        let node = format!("{url}#jwt-secret={}", lab.secret.path().display());
        let flags = ["--config", &config.display().to_string(), "--nodes", &node, "--jwt-secret"];
        let flags = flags.into_iter().map(str::to_owned).chain([secret.display().to_string()]);
        Follower::run(lab, flags.collect()).await
    }

    async fn run(lab: &Lab, flags: Vec<String>) -> Result<Follower> {
        let program = Program::start(lab, "sync", flags).await?;
        let engine = Endpoint::new(program.url(), &lab.secret);
        Ok(Follower { program, engine })
    }

    /// Where consensus clients call.
    pub fn engine(&self) -> &Endpoint {
        &self.engine
    }

    /// The name of the consensus client that leads, if one does.
    ///
    /// # Errors
    /// If the admin API does not answer.
    pub async fn leader(&self) -> Result<Option<String>> {
        Ok(self.shown().await?["leader"].as_str().map(str::to_owned))
    }

    /// Waits until another than `old` leads, and gives its name.
    ///
    /// # Errors
    /// If none does after `limit`.
    pub async fn another_leads(&self, old: &str, limit: Duration) -> Result<String> {
        until(&format!("another than {old} to lead"), limit, async || match self.leader().await? {
            Some(leader) if leader != old => Ok(Some(leader)),
            leader => Err(Failure::new(format!("{leader:?} leads"))),
        })
        .await
    }

    /// The role as the admin API shows it.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn shown(&self) -> Result<Value> {
        Ok(self.program.state().await?["state"].take())
    }
}

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
        let mut flags = Vec::new();
        for (flag, value) in [
            ("--nodes", nodes.join(",")),
            ("--jwt-secret", lab.secret.path().display().to_string()),
            ("--genesis-time", chain.genesis_time().to_string()),
            ("--seconds-per-slot", chain.slot().as_secs().to_string()),
        ] {
            flags.extend([flag.to_owned(), value]);
        }
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
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

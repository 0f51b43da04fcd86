//! `mainstay relay`, the binary under test between nodes that make the same producer's blocks and the public network.

use std::ops::{Deref, DerefMut};

use serde_json::Value;

use crate::nodeos::devnet::PRODUCER;
use crate::program::Program;
use crate::{Lab, Result};

/// A running `mainstay relay`; what any role can do is [`Program`]'s.
pub struct Gate(Program);

impl Deref for Gate {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl DerefMut for Gate {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.0
    }
}

impl Gate {
    /// Starts `mainstay relay` before `outer` (`host:port` each) with `more` flags, and waits until it serves.
    ///
    /// # Errors
    /// If the binary is missing or does not serve in time.
    pub async fn start(lab: &Lab, outer: &[&str], more: &[&str]) -> Result<Gate> {
        let outer = outer.join(",");
        let flags = ["--outer", &outer, "--producer", PRODUCER];
        let flags = flags.iter().chain(more).map(|&flag| flag.to_owned()).collect();
        Ok(Gate(Program::start(lab, "relay", flags).await?))
    }

    /// Where the nodes dial.
    pub fn address(&self) -> String {
        self.0.url().trim_start_matches("http://").to_owned()
    }

    /// The role as the admin API shows it.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn shown(&self) -> Result<Value> {
        Ok(self.0.state().await?["state"].take())
    }
}

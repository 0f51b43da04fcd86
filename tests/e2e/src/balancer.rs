//! `mainstay rpc`, the binary under test before nodes that anyone may call.

use std::time::Duration;

use serde_json::Value;

use crate::program::Program;
use crate::{Failure, Lab, Result, until};

/// A running `mainstay rpc`.
pub struct Balancer(Program);

impl Balancer {
    /// Starts it before `nodes` (their addresses) and waits until it serves.
    ///
    /// # Errors
    /// If the binary is missing or does not serve in time.
    pub async fn start(lab: &Lab, nodes: &[&str]) -> Result<Balancer> {
        let flags = ["--nodes", &nodes.join(","), "--probe-interval", "200ms", "--slow-start", "0s"];
        let program = Program::start(lab, "rpc", flags.map(str::to_owned).into()).await?;
        Ok(Balancer(program))
    }

    /// Where clients call.
    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// The node at `url` as the admin API shows it.
    ///
    /// # Errors
    /// If it is not among the nodes.
    pub async fn node(&self, url: &str) -> Result<Value> {
        let found = self.0.nodes().await?.into_iter().find(|node| node["uri"] == url);
        found.ok_or_else(|| Failure::new(format!("{url} is none of the nodes")))
    }

    /// Waits until the node at `url` is fit, or until it isn't.
    ///
    /// # Errors
    /// If that has not come about after `limit`.
    pub async fn finds(&self, url: &str, fit: bool, limit: Duration) -> Result<Value> {
        until(&format!("{url} to be found {}", if fit { "fit" } else { "unfit" }), limit, async || {
            let node = self.node(url).await?;
            if node["fit"] == fit { Ok(Some(node)) } else { Err(Failure::new(node.to_string())) }
        })
        .await
    }
}

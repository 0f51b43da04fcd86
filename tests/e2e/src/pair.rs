//! Two beacon nodes of one chain, each with its own geth, and the relay between them.

use std::time::Duration;

use crate::execution::{Execution, Genesis};
use crate::lodestar::{Chain, Lodestar};
use crate::peering::{self, Peering};
use crate::relay::Relay;
use crate::{Lab, Result, geth};

/// The network that a validator client with a spare beacon node needs.
pub struct Pair {
    /// What all clients share.
    pub chain: Chain,
    /// The execution clients.
    pub execution: [Execution; 2],
    /// The beacon node of each.
    pub beacon: [Lodestar; 2],
    peering: Option<Peering>,
    _relay: Relay,
}

impl Pair {
    /// Starts all of it; returns when both beacon nodes answer, before slot 0.
    ///
    /// # Errors
    /// If one does not start in time.
    pub async fn start(lab: &Lab, slot: Duration) -> Result<Pair> {
        let execution = tokio::try_join!(
            geth::start(lab, "geth-1", Genesis::Shanghai),
            geth::start(lab, "geth-2", Genesis::Shanghai)
        )?;
        let chain = Chain::soon(&execution.0.head().await?.hash, slot, 2);
        let beacon = tokio::try_join!(
            Lodestar::start_node(lab, "beacon-1", execution.0.endpoint().url(), &chain),
            Lodestar::start_node(lab, "beacon-2", execution.1.endpoint().url(), &chain)
        )?;
        let relay = Relay::start(&beacon.0, &beacon.1);
        let mut pair =
            Pair { chain, execution: execution.into(), beacon: beacon.into(), peering: None, _relay: relay };
        pair.meet();
        Ok(pair)
    }

    /// From now on the beacon nodes are peers.
    pub fn meet(&mut self) {
        self.peering = Some(Peering::start(&self.beacon[0], &self.beacon[1]));
    }

    /// From now on they are not.
    ///
    /// # Errors
    /// If they don't part.
    pub async fn part(&mut self) -> Result<()> {
        self.peering = None;
        peering::part(&self.beacon[0], &self.beacon[1]).await
    }
}

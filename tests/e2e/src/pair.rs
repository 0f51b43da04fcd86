//! Two beacon nodes of one chain, each with an engine of its own, their peering and the relay between them.

use std::time::Duration;

use crate::lodestar::{Chain, Lodestar};
use crate::peering::{self, Peering};
use crate::relay::Relay;
use crate::{Lab, Result};

/// The network that a validator client with a spare beacon node needs.
pub struct Pair {
    /// What all clients share.
    pub chain: Chain,
    /// Where the Engine API is that each drives.
    pub engines: [String; 2],
    /// The beacon nodes.
    pub beacon: [Lodestar; 2],
    peering: Option<Peering>,
    _relay: Relay,
}

impl Pair {
    /// Starts them on `engines`, whose chain begins with block `eth1_hash`; returns when both answer, before slot 0.
    ///
    /// # Errors
    /// If one does not start in time.
    pub async fn start(lab: &Lab, slot: Duration, eth1_hash: &str, engines: [&str; 2]) -> Result<Pair> {
        let chain = Chain::soon(eth1_hash, slot, 2);
        let beacon = tokio::try_join!(
            Lodestar::start_node(lab, "beacon-1", engines[0], &chain),
            Lodestar::start_node(lab, "beacon-2", engines[1], &chain)
        )?;
        let relay = Relay::start(&beacon.0, &beacon.1);
        let engines = engines.map(str::to_owned);
        let mut pair = Pair { chain, engines, beacon: beacon.into(), peering: None, _relay: relay };
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

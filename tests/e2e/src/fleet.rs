//! A beacon node that makes all blocks, and two that follow it as its peers: what consensus clients are to `mainstay sync`.

use std::time::Duration;

use crate::lodestar::{Chain, Lodestar};
use crate::peering::{self, Peering};
use crate::{Lab, Result};

/// Three beacon nodes of one chain.
pub struct Fleet {
    /// What all clients share.
    pub chain: Chain,
    /// Has all validators, so a fault of a follower costs no block.
    pub producer: Lodestar,
    /// They have no validators, and their names in their tokens.
    pub followers: [Lodestar; 2],
    /// Between each of these and the producer.
    peerings: [Option<Peering>; 2],
}

impl Fleet {
    /// The chain that [`Fleet::start`] is for, as [`Chain::soon`] makes it.
    pub fn chain(eth1_hash: &str, slot: Duration) -> Chain {
        Chain::soon(eth1_hash, slot, 3)
    }

    /// Starts the three, the producer on the engine at `engine`, the followers (by name) on others; returns when all answer, before
    /// slot 0.
    ///
    /// # Errors
    /// If one does not start in time.
    pub async fn start(lab: &Lab, chain: Chain, engine: &str, followers: [(&str, &str); 2]) -> Result<Fleet> {
        let [one, other] = followers;
        let (producer, one, other) = tokio::try_join!(
            Lodestar::start_producer(lab, "producer", engine, &chain),
            Lodestar::start_named(lab, one.0, one.1, &chain),
            Lodestar::start_named(lab, other.0, other.1, &chain)
        )?;
        let mut fleet = Fleet { chain, producer, followers: [one, other], peerings: [None, None] };
        for follower in [0, 1] {
            fleet.meet(follower);
        }
        Ok(fleet)
    }

    /// From now on the follower and the producer are peers.
    pub fn meet(&mut self, follower: usize) {
        self.peerings[follower] = Some(Peering::start(&self.followers[follower], &self.producer));
    }

    /// From now on they are not: the follower hears of no block.
    ///
    /// # Errors
    /// If they don't part.
    pub async fn part(&mut self, follower: usize) -> Result<()> {
        self.peerings[follower] = None;
        peering::part(&self.followers[follower], &self.producer).await
    }
}

//! The first thing that a peer says, and again whenever it thinks that the other may be behind.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::pack::packed;
use crate::{Id, Nanos, PublicKey, Signature, Text, Version};

/// `handshake` (0): who a peer is and how far its chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Handshake<'a> {
    /// The protocol version ([`Handshake::version`]).
    pub network_version: u16,
    /// The chain.
    pub chain_id: Id,
    /// The peer, for as long as its process lives.
    pub node_id: Id,
    /// Whose signature `sig` is, or empty.
    pub key: PublicKey<'a>,
    /// When it was sent, since 1970.
    pub time: Nanos,
    /// The hash of `time` ([`Handshake::token_of`]), or zero.
    pub token: Id,
    /// The signature of `token`, or empty. It proves nothing about the connection: whoever has heard it can say it again.
    pub sig: Signature<'a>,
    /// `host:port[:trx|:blk] - ` and the beginning of `node_id`.
    pub p2p_address: Text<'a>,
    /// The last irreversible block's number.
    pub lib_num: u32,
    /// Its id.
    pub lib_id: Id,
    /// The head's number.
    pub head_num: u32,
    /// Its id.
    pub head_id: Id,
    /// The operating system; never empty.
    pub os: Text<'a>,
    /// What the peer calls itself.
    pub agent: Text<'a>,
    /// Which of this connection's handshakes in this direction it is, from 1.
    pub generation: i16,
}

packed!(Handshake<'a> {
    network_version, chain_id, node_id, key, time, token, sig, p2p_address, lib_num, lib_id, head_num, head_id, os,
    agent, generation,
});

impl Handshake<'_> {
    /// The version that is announced.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::announced(self.network_version)
    }

    /// The token that goes with a time.
    #[must_use]
    pub fn token_of(time: Nanos) -> Id {
        Id(Sha256::digest(time.0.to_le_bytes()).into())
    }
}

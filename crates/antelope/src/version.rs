//! Versions of the protocol. Nothing is negotiated: each side looks at what the other announced to know what it may send.

use crate::Kind;

/// A protocol version, which a handshake announces as [`Version::BASE_NUMBER`] + version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16);

impl Version {
    /// The number announced for version 0.
    pub const BASE_NUMBER: u16 = 1205;
    /// Announced numbers further above the base than this mean version 0.
    const SPAN: u16 = 106;

    /// The first one.
    pub const BASE: Self = Self(0);
    /// EOSIO 1.0 to 2.0.
    pub const EXPLICIT_SYNC: Self = Self(1);
    /// EOSIO 2.1, with encodings of its own for blocks and transactions; up to [`Version::DUP_NODE_ID_GOAWAY`].
    pub const PRUNED_TYPES: Self = Self(3);
    /// The last of EOSIO 2.1.
    pub const DUP_NODE_ID_GOAWAY: Self = Self(6);
    /// Leap 3.1 to 4: encodings as in EOSIO 1.
    pub const LEAP_INITIAL: Self = Self(7);
    /// Leap 5: a notice may have a second block id, of the earliest block.
    pub const BLOCK_RANGE: Self = Self(8);
    /// Spring 1.0: votes.
    pub const SAVANNA: Self = Self(9);
    /// Spring 1.1: block_nack and block_notice.
    pub const BLOCK_NACK: Self = Self(10);
    /// Spring 1.2: gossip of producers' peers.
    pub const GOSSIP_BP_PEERS: Self = Self(11);
    /// Spring 2.0: transaction_notice.
    pub const TRX_NOTICE: Self = Self(12);
    /// The newest one known here. A peer of a newer one may know types that this crate doesn't.
    pub const NEWEST: Self = Self::TRX_NOTICE;

    /// The version that a handshake's `network_version` announces.
    #[must_use]
    pub const fn announced(network_version: u16) -> Self {
        match network_version.checked_sub(Self::BASE_NUMBER) {
            Some(version) if version <= Self::SPAN => Self(version),
            _ => Self::BASE,
        }
    }

    /// The `network_version` that announces it.
    #[must_use]
    pub const fn network_version(self) -> u16 {
        Self::BASE_NUMBER.saturating_add(self.0)
    }

    /// Whether a peer that announced this version takes, and may send, messages of a type. A node closes the connection over a type that it
    /// doesn't know. Types that are unknown here are passed on unread, but only between peers of versions that are too.
    #[must_use]
    pub fn takes(self, kind: Kind) -> bool {
        self >= kind.since()
    }

    /// Whether blocks and transactions of such a peer are in the encodings of EOSIO 2.1, which neither nodes of today nor this crate read.
    /// A node answers such a handshake with one that announces [`Version::EXPLICIT_SYNC`].
    #[must_use]
    pub fn has_pruned_types(self) -> bool {
        self >= Self::PRUNED_TYPES && self <= Self::DUP_NODE_ID_GOAWAY
    }
}

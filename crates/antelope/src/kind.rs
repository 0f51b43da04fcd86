//! The types of messages: their numbers, names, limits, and since when there are such.

use std::fmt;

use crate::{MAX_LENGTH, MAX_SMALL, Version};

/// A message's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are called as in the protocol, and explained where their structs are")]
pub enum Kind {
    Handshake,
    ChainSize,
    GoAway,
    Time,
    Notice,
    Request,
    SyncRequest,
    SignedBlock,
    PackedTransaction,
    Vote,
    BlockNack,
    BlockNotice,
    GossipBpPeers,
    TransactionNotice,
    /// One that this crate doesn't know: its number.
    Unknown(u32),
}

/// Every known type at the place of its number, with its name and the first version that has it.
const KNOWN: [(Kind, &str, Version); 14] = [
    (Kind::Handshake, "handshake", Version::BASE),
    (Kind::ChainSize, "chain_size", Version::BASE),
    (Kind::GoAway, "go_away", Version::BASE),
    (Kind::Time, "time", Version::BASE),
    (Kind::Notice, "notice", Version::BASE),
    (Kind::Request, "request", Version::BASE),
    (Kind::SyncRequest, "sync_request", Version::BASE),
    (Kind::SignedBlock, "signed_block", Version::BASE),
    (Kind::PackedTransaction, "packed_transaction", Version::BASE),
    (Kind::Vote, "vote", Version::SAVANNA),
    (Kind::BlockNack, "block_nack", Version::BLOCK_NACK),
    (Kind::BlockNotice, "block_notice", Version::BLOCK_NACK),
    (Kind::GossipBpPeers, "gossip_bp_peers", Version::GOSSIP_BP_PEERS),
    (Kind::TransactionNotice, "transaction_notice", Version::TRX_NOTICE),
];

impl Kind {
    /// The type with this number.
    #[must_use]
    pub fn of(number: u32) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|at| KNOWN.get(at))
            .map_or(Self::Unknown(number), |(kind, ..)| *kind)
    }

    /// All that are known, in the order of their numbers.
    pub fn known() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(|(kind, ..)| *kind)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Unknown(number) => number,
            known => KNOWN.iter().zip(0..).find(|((kind, ..), _)| *kind == known).map_or(0, |(_, at)| at),
        }
    }

    /// Its name; `unknown` for those that aren't known.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("unknown", |(_, name, _)| name)
    }

    /// The longest that a frame of it may be, in bytes without the four of its length.
    #[must_use]
    pub fn limit(self) -> u32 {
        match self {
            Self::SignedBlock | Self::PackedTransaction | Self::GossipBpPeers => MAX_LENGTH,
            _ => MAX_SMALL,
        }
    }

    /// The first version whose peers take it.
    #[must_use]
    pub fn since(self) -> Version {
        self.row().map_or(Version(Version::NEWEST.0 + 1), |(_, _, since)| *since)
    }

    fn row(self) -> Option<&'static (Self, &'static str, Version)> {
        KNOWN.iter().find(|(kind, ..)| *kind == self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.name())
    }
}

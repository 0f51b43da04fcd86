//! Votes on blocks, and short words about blocks and transactions instead of them.

use serde::Serialize;

use crate::pack::packed;
use crate::{Fixed, Id};

/// `vote` (9), since [`SAVANNA`](crate::Version::SAVANNA): a finalizer's on a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Vote<'a> {
    /// The block.
    pub block_id: Id,
    /// Whether it is bound to no other branch.
    pub strong: bool,
    /// Whose: a BLS public key.
    pub finalizer_key: Fixed<'a, 96>,
    /// A BLS signature.
    pub sig: Fixed<'a, 192>,
}
packed!(Vote<'a> { block_id, strong, finalizer_key, sig });

/// `block_nack` (10), since [`BLOCK_NACK`](crate::Version::BLOCK_NACK): "I had it already".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BlockNack {
    /// The block; zero means "send me whole blocks again".
    pub id: Id,
}
packed!(BlockNack { id });

/// `block_notice` (11), since [`BLOCK_NACK`](crate::Version::BLOCK_NACK): a block that there is. Its number is its parent's plus one, or
/// the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BlockNotice {
    /// The parent.
    pub previous: Id,
    /// The block.
    pub id: Id,
}
packed!(BlockNotice { previous, id });

/// `transaction_notice` (13), since [`TRX_NOTICE`](crate::Version::TRX_NOTICE): a transaction that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TransactionNotice {
    /// The transaction.
    pub id: Id,
}
packed!(TransactionNotice { id });

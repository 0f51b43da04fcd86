//! Transactions, as they go around.

use serde::Serialize;

use crate::pack::packed;
use crate::{Blob, List, Signature};

/// `packed_transaction` (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PackedTransaction<'a> {
    /// Of those who authorised it.
    pub signatures: List<'a, Signature<'a>>,
    /// 0: none, 1: zlib, of both that follow.
    pub compression: u8,
    /// Data that is not kept in state.
    pub packed_context_free_data: Blob<'a>,
    /// The transaction.
    pub packed_trx: Blob<'a>,
}
packed!(PackedTransaction<'a> { signatures, compression, packed_context_free_data, packed_trx });

//! Blocks. A relay needs the header only: who made it for which slot on which parent, and its id.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::pack::{Pack, Reader, Sink, packed};
use crate::{Blob, DecodeError, Fault, Id, List, Name, PackedTransaction, PublicKey, Signature, Varuint};

/// `signed_block` (7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SignedBlock<'a> {
    /// What the id is of.
    #[serde(flatten)]
    pub header: Header<'a>,
    /// The producer's; can't be checked without the chain's state.
    pub producer_signature: Signature<'a>,
    /// What it executed.
    pub transactions: List<'a, Receipt<'a>>,
    /// More signatures, certificates.
    pub block_extensions: List<'a, Extension<'a>>,
}
packed!(SignedBlock<'a> { header, producer_signature, transactions, block_extensions });

/// A block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Header<'a> {
    /// Its time.
    pub slot: Slot,
    /// Who made it.
    pub producer: Name,
    /// Legacy: how many blocks it confirms. 0 in Savanna.
    pub confirmed: u16,
    /// The parent's id.
    pub previous: Id,
    /// Root of its transactions.
    pub transaction_mroot: Id,
    /// Root of its actions; in Savanna of the finality tree.
    pub action_mroot: Id,
    /// The schedule of producers; `0x8000_0000` in Savanna.
    pub schedule_version: u32,
    /// Legacy: the next schedule.
    pub new_producers: Option<NewProducers<'a>>,
    /// Protocol features, schedules, finality.
    pub header_extensions: List<'a, Extension<'a>>,
}
packed!(Header<'a> {
    slot, producer, confirmed, previous, transaction_mroot, action_mroot, schedule_version, new_producers,
    header_extensions,
});

impl Header<'_> {
    /// One more than the parent's.
    #[must_use]
    pub fn block_num(&self) -> u32 {
        // The parent's is a stranger's word, so it may be the last there is.
        self.previous.block_num().wrapping_add(1)
    }

    /// The block's id: the hash of the header, with the number in the place of its first four bytes.
    #[must_use]
    pub fn id(&self) -> Id {
        let mut hash = Sha256::new();
        self.pack(&mut hash);
        let mut id: [u8; 32] = hash.finalize().into();
        id[..4].copy_from_slice(&self.block_num().to_be_bytes());
        Id(id)
    }
}

/// A time that blocks are made for: half seconds since 2000-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Slot(pub u32);
packed!(Slot(..));

impl Slot {
    /// Slots that a producer has in a row.
    pub const PER_ROUND: u32 = 12;
    /// A slot's length in milliseconds.
    pub const MILLIS: u64 = 500;
    /// Slot 0, in milliseconds since 1970.
    const EPOCH: u64 = 946_684_800_000;

    /// When it begins, in milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        Self::EPOCH + Self::MILLIS * u64::from(self.0)
    }

    /// The one that a time is in, in milliseconds since 1970; before the first one that, after the last one the last.
    #[must_use]
    pub fn at(unix_millis: u64) -> Self {
        let slot = unix_millis.saturating_sub(Self::EPOCH) / Self::MILLIS;
        Self(u32::try_from(slot).unwrap_or(u32::MAX))
    }

    /// The producer's turn that it is in.
    #[must_use]
    pub fn round(self) -> u32 {
        self.0 / Self::PER_ROUND
    }

    /// Its place in its round, from 0.
    #[must_use]
    pub fn position(self) -> u32 {
        self.0 % Self::PER_ROUND
    }
}

/// A legacy schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NewProducers<'a> {
    /// Its number.
    pub version: u32,
    /// Who produces, in order.
    pub producers: List<'a, Producer<'a>>,
}
packed!(NewProducers<'a> { version, producers });

/// One producer of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Producer<'a> {
    /// Who.
    pub name: Name,
    /// What it signs with.
    pub public_key: PublicKey<'a>,
}
packed!(Producer<'a> { name, public_key });

/// Something that a later version put into a block or its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Extension<'a> {
    /// What it is.
    pub id: u16,
    /// Its content, unread.
    pub data: Blob<'a>,
}
packed!(Extension<'a> { id, data });

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Receipt<'a> {
    /// 0 executed, 1 soft_fail, 2 hard_fail, 3 delayed, 4 expired.
    pub status: u8,
    /// Microseconds.
    pub cpu_usage_us: u32,
    /// Words of 8 bytes.
    pub net_usage_words: Varuint,
    /// Which one.
    #[serde(flatten)]
    pub transaction: ReceiptBody<'a>,
}
packed!(Receipt<'a> { status, cpu_usage_us, net_usage_words, transaction });

/// The transaction of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptBody<'a> {
    /// Only its id (one that the chain itself had waiting).
    Id(Id),
    /// All of it.
    PackedTransaction(PackedTransaction<'a>),
}

impl<'a> Pack<'a> for ReceiptBody<'a> {
    fn unpack(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = from.at();
        match Varuint::unpack(from)?.0 {
            0 => Pack::unpack(from).map(Self::Id),
            1 => Pack::unpack(from).map(Self::PackedTransaction),
            other => Err(DecodeError { at, field: None, fault: Fault::Variant(other) }),
        }
    }

    fn pack(&self, to: &mut impl Sink) {
        match self {
            Self::Id(id) => {
                Varuint(0).pack(to);
                id.pack(to);
            }
            Self::PackedTransaction(transaction) => {
                Varuint(1).pack(to);
                transaction.pack(to);
            }
        }
    }
}

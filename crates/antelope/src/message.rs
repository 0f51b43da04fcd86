//! A message of any type.

use bytes::BytesMut;
use serde::Serialize;

use crate::pack::{Pack, Reader, Sink};
use crate::{
    Blob, BlockNack, BlockNotice, ChainSize, DecodeError, Frame, FrameError, GoAway, Gossip, Handshake, Kind,
    Notice, PackedTransaction, Request, SignedBlock, SyncRequest, Time, TransactionNotice, Varuint, Vote,
};

/// A decoded message, or one to be sent. Serialises as its fields, without its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "their structs are explained")]
pub enum Message<'a> {
    Handshake(Handshake<'a>),
    ChainSize(ChainSize),
    GoAway(GoAway),
    Time(Time),
    Notice(Notice<'a>),
    Request(Request<'a>),
    SyncRequest(SyncRequest),
    SignedBlock(SignedBlock<'a>),
    PackedTransaction(PackedTransaction<'a>),
    Vote(Vote<'a>),
    BlockNack(BlockNack),
    BlockNotice(BlockNotice),
    GossipBpPeers(Gossip<'a>),
    TransactionNotice(TransactionNotice),
    /// Of a type that this crate doesn't know.
    Unknown {
        /// The type.
        #[serde(skip)]
        number: u32,
        /// All that follows the type.
        data: Blob<'a>,
    },
}

impl<'a> Message<'a> {
    /// Reads all that is left as a message of a type.
    pub(crate) fn read(kind: Kind, from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let message = match kind {
            Kind::Handshake => Self::Handshake(Pack::unpack(from)?),
            Kind::ChainSize => Self::ChainSize(Pack::unpack(from)?),
            Kind::GoAway => Self::GoAway(Pack::unpack(from)?),
            Kind::Time => Self::Time(Pack::unpack(from)?),
            Kind::Notice => Self::Notice(Pack::unpack(from)?),
            Kind::Request => Self::Request(Pack::unpack(from)?),
            Kind::SyncRequest => Self::SyncRequest(Pack::unpack(from)?),
            Kind::SignedBlock => Self::SignedBlock(Pack::unpack(from)?),
            Kind::PackedTransaction => Self::PackedTransaction(Pack::unpack(from)?),
            Kind::Vote => Self::Vote(Pack::unpack(from)?),
            Kind::BlockNack => Self::BlockNack(Pack::unpack(from)?),
            Kind::BlockNotice => Self::BlockNotice(Pack::unpack(from)?),
            Kind::GossipBpPeers => Self::GossipBpPeers(Pack::unpack(from)?),
            Kind::TransactionNotice => Self::TransactionNotice(Pack::unpack(from)?),
            Kind::Unknown(number) => Self::Unknown { number, data: Blob(from.take(from.left())?) },
        };
        from.end()?;
        Ok(message)
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Handshake(_) => Kind::Handshake,
            Self::ChainSize(_) => Kind::ChainSize,
            Self::GoAway(_) => Kind::GoAway,
            Self::Time(_) => Kind::Time,
            Self::Notice(_) => Kind::Notice,
            Self::Request(_) => Kind::Request,
            Self::SyncRequest(_) => Kind::SyncRequest,
            Self::SignedBlock(_) => Kind::SignedBlock,
            Self::PackedTransaction(_) => Kind::PackedTransaction,
            Self::Vote(_) => Kind::Vote,
            Self::BlockNack(_) => Kind::BlockNack,
            Self::BlockNotice(_) => Kind::BlockNotice,
            Self::GossipBpPeers(_) => Kind::GossipBpPeers,
            Self::TransactionNotice(_) => Kind::TransactionNotice,
            Self::Unknown { number, .. } => Kind::of(*number),
        }
    }

    /// Its frame. An error if it is longer than its type allows.
    pub fn frame(&self) -> Result<Frame, FrameError> {
        let mut bytes = BytesMut::new();
        bytes.put(&[0; 4]);
        Varuint(self.kind().number()).pack(&mut bytes);
        self.pack(&mut bytes);
        let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        Frame::whole(bytes.freeze())
    }

    fn pack(&self, to: &mut impl Sink) {
        match self {
            Self::Handshake(message) => message.pack(to),
            Self::ChainSize(message) => message.pack(to),
            Self::GoAway(message) => message.pack(to),
            Self::Time(message) => message.pack(to),
            Self::Notice(message) => message.pack(to),
            Self::Request(message) => message.pack(to),
            Self::SyncRequest(message) => message.pack(to),
            Self::SignedBlock(message) => message.pack(to),
            Self::PackedTransaction(message) => message.pack(to),
            Self::Vote(message) => message.pack(to),
            Self::BlockNack(message) => message.pack(to),
            Self::BlockNotice(message) => message.pack(to),
            Self::GossipBpPeers(message) => message.pack(to),
            Self::TransactionNotice(message) => message.pack(to),
            Self::Unknown { data, .. } => to.put(data.0),
        }
    }
}

//! Frames for tests of what passes.

use mainstay_antelope::{
    Blob, Fixed, Frame, Header, Id, List, Message, Name, PackedTransaction, Signature, SignedBlock, Slot,
    Splitter, Version, Vote,
};

use crate::egress::Block;
use crate::greeting::greeting;

/// The producer whose nodes are behind the relay.
pub(crate) const OURS: Name = Name(1);

pub(crate) fn frame(message: Message<'_>) -> Frame {
    message.frame().unwrap()
}

pub(crate) fn cut(bytes: &[u8]) -> Frame {
    let mut splitter = Splitter::default();
    splitter.push(bytes);
    splitter.split().unwrap().unwrap()
}

/// A frame that is nothing but its type.
pub(crate) fn empty(kind: u8) -> Frame {
    cut(&[1, 0, 0, 0, kind])
}

pub(crate) fn handshake(version: Version, head: Id) -> Frame {
    frame(greeting(version, Id::ZERO, head))
}

/// A block of ours; `content` makes it another one.
pub(crate) fn block(slot: Slot, previous: Id, content: u8) -> (Block, Frame) {
    let header = Header {
        slot,
        producer: OURS,
        confirmed: 0,
        previous,
        transaction_mroot: Id([content; 32]),
        action_mroot: Id::ZERO,
        schedule_version: 1,
        new_producers: None,
        header_extensions: List::EMPTY,
    };
    let signed = SignedBlock {
        header,
        producer_signature: Signature::EMPTY,
        transactions: List::EMPTY,
        block_extensions: List::EMPTY,
    };
    (Block::from(&header), frame(Message::SignedBlock(signed)))
}

pub(crate) fn transaction(content: &[u8]) -> Frame {
    frame(Message::PackedTransaction(PackedTransaction {
        signatures: List::EMPTY,
        compression: 0,
        packed_context_free_data: Blob(&[]),
        packed_trx: Blob(content),
    }))
}

pub(crate) fn vote(block_id: Id, key: u8) -> Frame {
    let (finalizer_key, sig) = (&[key; 96], &[0; 192]);
    frame(Message::Vote(Vote {
        block_id,
        strong: true,
        finalizer_key: Fixed(finalizer_key),
        sig: Fixed(sig),
    }))
}

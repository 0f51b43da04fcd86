//! The Antelope net protocol (EOSIO, Leap, Spring), without IO.
//!
//! Whoever sits between nodes passes nearly every byte on as it came. So there are two layers, and most frames see only the first:
//!
//! 1. [`Splitter`] cuts a stream into [`Frame`]s. A frame is a slice of the buffer that it was read into: nothing is copied, and of
//!    what is inside only the message's type is looked at, for its limit.
//! 2. [`Frame::message`] decodes where somebody wants to know. A [`Message`] borrows from its frame: lists are walked once to see that
//!    they hold, then read item by item ([`List`]), so a stranger's frame costs no allocation however much it claims to have inside.
//!
//! Layouts are written down once: a struct's fields in their order ([`pack`]) are its decoder, its encoder, and the names under which
//! it serialises. What is decoded is exact: a byte too few or too many is an error that tells where ([`DecodeError`]).
//!
//! A block's id is the hash of its *packed* header ([`Header::id`]). It is computed from the fields, as nodes do it, not from the bytes
//! that came: the same header could be written with longer varuints, and would get another id.
//!
//! What is deliberately absent: sockets, clocks, sessions (who may say what when), and cryptography on curves. A block's signature can't
//! be checked without the chain's state.

mod block;
mod data;
mod error;
mod frame;
mod gossip;
mod handshake;
mod key_text;
mod keys;
mod kind;
mod list;
mod message;
mod name;
pub mod pack;
mod sync;
mod transaction;
mod version;
mod vote;

pub use block::{Extension, Header, NewProducers, Producer, Receipt, ReceiptBody, SignedBlock, Slot};
pub use data::{Blob, Fixed, Id, Nanos, Text, Varuint};
pub use error::{DecodeError, Fault, FrameError};
pub use frame::{Frame, MAX_LENGTH, MAX_SMALL, Splitter};
pub use gossip::{Gossip, GossipPeer, PeerInfo};
pub use handshake::Handshake;
pub use key_text::{NotAKey, OwnedKey};
pub use keys::{Assertion, Authenticator, OnCurve, PublicKey, Signature};
pub use kind::Kind;
pub use list::{List, ListItems};
pub use message::Message;
pub use name::{Name, NotAName};
pub use sync::{ChainSize, GoAway, IdList, Mode, Notice, Reason, Request, SyncRequest, Time};
pub use transaction::PackedTransaction;
pub use version::Version;
pub use vote::{BlockNack, BlockNotice, TransactionNotice, Vote};

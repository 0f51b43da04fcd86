//! Blocks and messages that no chain has made.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_antelope::{
    Frame, Id, IdList, List, Message, Mode, Name, Notice, Request, Slot, SyncRequest, Version,
};
use mainstay_relay::egress::Block;

mod greeting;

pub use greeting::{CHAIN, greeting};

/// The producer whose nodes are behind relays.
pub const OURS: Name = Name(1);

/// A block on a parent. Those of the same producer, slot, parent and content are the same.
pub fn block(producer: Name, slot: u32, previous: Id, content: u64) -> Block {
    let mut hasher = DefaultHasher::new();
    (producer, slot, previous, content).hash(&mut hasher);
    let mut id = [0; 32];
    id[..4].copy_from_slice(&(previous.block_num() + 1).to_be_bytes());
    id[4..12].copy_from_slice(&hasher.finish().to_be_bytes());
    Block { producer, slot: Slot(slot), id: Id(id), previous }
}

/// When a slot begins, and some milliseconds later or earlier.
pub fn time(slot: u32, millis: i64) -> SystemTime {
    let begins = UNIX_EPOCH + Duration::from_millis(Slot(slot).unix_millis());
    let span = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { begins - span } else { begins + span }
}

/// What a node says that holds `lib` irreversible and has this head.
pub fn handshake(lib: Id, head: Id) -> Frame {
    greeting(Version::LEAP_INITIAL, lib, head).frame().unwrap()
}

/// What a node says that has this head.
pub fn notice(head: Id) -> Frame {
    let known_trx = IdList { mode: Mode::NONE, pending: 0, ids: List::EMPTY };
    let known_blocks = IdList { mode: Mode::CATCH_UP, pending: head.block_num(), ids: List::Items(&[head]) };
    Message::Notice(Notice { known_trx, known_blocks }).frame().unwrap()
}

/// "Send me what I may lack."
pub fn catch_up() -> Frame {
    let list = |mode| IdList { mode, pending: 0, ids: List::EMPTY };
    Message::Request(Request { req_trx: list(Mode::NONE), req_blocks: list(Mode::CATCH_UP) }).frame().unwrap()
}

pub fn sync_request(start: u32, end: u32) -> Frame {
    Message::SyncRequest(SyncRequest { start, end }).frame().unwrap()
}

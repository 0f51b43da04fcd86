//! What a node says first. The crate's own tests have it from here too.
#![allow(unreachable_pub)]

use mainstay_antelope::{Handshake, Id, Message, Nanos, PublicKey, Signature, Text, Version};

pub const CHAIN: Id = Id([9; 32]);

/// What a node of a version says that holds `lib` irreversible and has this head.
pub fn greeting(version: Version, lib: Id, head: Id) -> Message<'static> {
    Message::Handshake(Handshake {
        network_version: version.network_version(),
        chain_id: CHAIN,
        node_id: Id([5; 32]),
        key: PublicKey::EMPTY,
        time: Nanos(1),
        token: Id::ZERO,
        sig: Signature::EMPTY,
        p2p_address: Text(b"node:9876 - 0505050"),
        lib_num: lib.block_num(),
        lib_id: lib,
        head_num: head.block_num(),
        head_id: head,
        os: Text(b"linux"),
        agent: Text(b"test"),
        generation: 1,
    })
}

//! Frames of real nodes and of other encoders, both ways.
#![allow(clippy::unwrap_used)]

mod support;

use mainstay_antelope::{
    Assertion, Authenticator, Blob, BlockNotice, Fixed, GoAway, Gossip, GossipPeer, Handshake, Id, IdList,
    Kind, List, Message, Mode, Name, Nanos, Notice, PublicKey, Reason, Signature, SyncRequest, Text, Time,
    Varuint, Version, Vote,
};
use serde_json::{Value, json};
use support::{described, every_frame, frame, hex_of, name, nodeos};

#[test]
fn every_field_of_every_described_frame() {
    for entry in described() {
        let (name, bytes, expect) = (name(&entry), hex_of(&entry), &entry["expect"]);
        let frame = frame(&bytes);
        assert_eq!(frame.kind().number(), expect["type"], "{name}");
        assert_eq!(frame.kind().name(), expect["type_name"], "{name}");
        assert_eq!(frame.payload().len(), expect["payload_len"], "{name}");
        let message = frame.message().unwrap_or_else(|why| panic!("{name}: {why}"));
        let mut fields = expect["fields"].clone();
        rename(&mut fields);
        assert_eq!(serde_json::to_value(message).unwrap(), fields, "{name}");
    }
}

#[test]
fn what_is_worked_out_of_them() {
    for entry in described() {
        let (name, derived) = (name(&entry), &entry["expect"]["derived"]);
        let frame = frame(&hex_of(&entry));
        match frame.message().unwrap() {
            Message::Handshake(handshake) => {
                assert_eq!(
                    handshake.version().0,
                    derived.get("protocol_version").map_or(10, number),
                    "{name}"
                );
                if derived["token_is_sha256_of_time_le"] == true {
                    assert_eq!(Handshake::token_of(handshake.time), handshake.token, "{name}");
                }
            }
            Message::SignedBlock(block) => {
                let header = block.header;
                assert_eq!(header.block_num(), derived["block_num"], "{name}");
                assert_eq!(header.id().to_string(), derived["block_id"], "{name}");
                assert_eq!(header.id().block_num(), derived["block_num"], "{name}");
                assert_eq!(header.slot.round(), derived["round"], "{name}");
                assert_eq!(header.slot.position(), derived["pos"], "{name}");
                assert_eq!(block.transactions.len(), derived["trx_ids"].as_array().unwrap().len(), "{name}");
                assert_eq!(frame.block_header().unwrap().unwrap(), header, "{name}");
            }
            Message::Vote(vote) => assert_eq!(vote.block_id.block_num(), derived["block_num"], "{name}"),
            Message::BlockNack(nack) => assert_eq!(nack.id.block_num(), derived["block_num"], "{name}"),
            Message::BlockNotice(notice) => {
                assert_eq!(notice.id.block_num(), derived["block_num"], "{name}");
                assert_eq!(notice.id.block_num(), notice.previous.block_num() + 1, "{name}");
            }
            Message::GossipBpPeers(gossip) => {
                let peers = entry["expect"]["fields"]["peers"].as_array().unwrap();
                for (peer, told) in gossip.peers.iter().zip(peers) {
                    let mut signed = Vec::new();
                    peer.pack_signed(&mut signed);
                    assert_eq!(const_hex::encode(signed), told["digest_input_without_chain_id"], "{name}");
                }
            }
            _ => assert!(frame.block_header().is_none(), "{name}"),
        }
    }
}

#[test]
fn every_frame_is_encoded_as_it_came() {
    let all = every_frame();
    assert!(all.len() > 250);
    for bytes in all {
        let frame = frame(&bytes);
        let again = frame.message().unwrap().frame().unwrap();
        assert_eq!(const_hex::encode(again.bytes()), const_hex::encode(&bytes));
        assert_eq!(again, frame);
    }
}

#[test]
fn every_type_is_among_them_or_made_here() {
    let seen: Vec<Kind> = every_frame().iter().map(|bytes| frame(bytes).kind()).collect();
    let unseen: Vec<Kind> = Kind::known().filter(|kind| !seen.contains(kind)).collect();
    assert_eq!(unseen, [Kind::TransactionNotice]);
}

/// What is made of values in Rust, not of a decoded frame.
#[test]
fn messages_are_made_byte_for_byte() {
    let block = id("0000001fa8dab976c069203965acc9ee069e0d41a0a112d90fe85045b54a29e9");
    let ids = [block];
    let none = IdList { mode: Mode::NONE, pending: 0, ids: List::EMPTY };
    let filler: Vec<Vec<u8>> = described().iter().map(hex_of).collect();
    let named = |wanted: &str| {
        filler
            .iter()
            .zip(described())
            .find(|(_, entry)| name(entry) == wanted)
            .map(|(bytes, _)| bytes.clone())
            .unwrap()
    };
    let (vote, gossip, handshake) =
        (named("vote_strong"), named("gossip_initial"), named("handshake_dialer_gen1"));

    let ping = Time { org: Nanos(0), rec: Nanos(0), xmt: Nanos(1_795_229_746_102_638_643), dst: Nanos(0) };
    made("time_ping", Message::Time(ping));
    made("sync_request_2_29", Message::SyncRequest(SyncRequest { start: 2, end: 29 }));
    made("sync_request_cancel", Message::SyncRequest(SyncRequest { start: 0, end: 0 }));
    made("go_away_wrong_chain", Message::GoAway(GoAway { reason: Reason(3), node_id: Id::ZERO }));
    made(
        "notice_last_irr",
        Message::Notice(Notice {
            known_trx: IdList { mode: Mode::LAST_IRR_CATCH_UP, pending: 29, ..none },
            known_blocks: IdList { mode: Mode::LAST_IRR_CATCH_UP, pending: 31, ids: List::Items(&ids) },
        }),
    );
    made(
        "block_notice",
        Message::BlockNotice(BlockNotice {
            previous: id("0000004d8860646b40f17b10cfcb90a2c717a4df6c5976b9bd38201d2cd231d5"),
            id: id("0000004e73f6128db300f3751f2e509545be996d162d20f9e030864632f85e34"),
        }),
    );
    made(
        "vote_strong",
        Message::Vote(Vote {
            block_id: id("00001092ce9ad9e64710577437be7e6c3a5aba1737bd69d314cdabcd078e5356"),
            strong: true,
            finalizer_key: Fixed(vote[4 + 1 + 33 + 1..][..96].try_into().unwrap()),
            sig: Fixed(vote[4 + 1 + 33 + 1 + 96 + 2..].try_into().unwrap()),
        }),
    );
    let peers = [GossipPeer {
        version: Varuint(1),
        producer_name: "prodx".parse::<Name>().unwrap(),
        bp_peer_info: Blob(&[]),
        sig: Signature::K1(gossip[gossip.len() - 65..].try_into().unwrap()),
    }];
    made("gossip_initial", Message::GossipBpPeers(Gossip { peers: List::Items(&peers) }));
    let genesis = id("00000001bcf2f448225d099685f14da76803028926af04d2607eafcf609c265c");
    made(
        "handshake_dialer_gen1",
        Message::Handshake(Handshake {
            network_version: Version::LEAP_INITIAL.network_version(),
            chain_id: id("cf057bbfb72640471fd910bcb67639c22df9f92470936cddc1ade0e2f2e7dc4f"),
            node_id: Id(handshake[4 + 35..][..32].try_into().unwrap()),
            key: PublicKey::EMPTY,
            time: Nanos(1_795_229_746_102_652_629),
            token: Id::ZERO,
            sig: Signature::EMPTY,
            p2p_address: Text(b"127.0.0.1:19877 - 36fd3a1"),
            lib_num: 1,
            lib_id: genesis,
            head_num: 1,
            head_id: genesis,
            os: Text(b"linux"),
            agent: Text(b"EOS Test Agent"),
            generation: 1,
        }),
    );
    let notice =
        Message::TransactionNotice(mainstay_antelope::TransactionNotice { id: block }).frame().unwrap();
    assert_eq!(const_hex::encode(notice.bytes()), format!("210000000d{block}"));
    assert_eq!(notice.message().unwrap().kind(), Kind::TransactionNotice);
}

#[track_caller]
fn made(wanted: &str, message: Message<'_>) {
    let entry = described().into_iter().find(|entry| name(entry) == wanted).unwrap();
    let made = message.frame().unwrap();
    assert_eq!(const_hex::encode(made.bytes()), entry["hex"], "{wanted}");
    // A list of items is the list that they were packed into.
    assert_eq!(made.message().unwrap(), message, "{wanted}");
}

/// A stranger may say that a parent has the last number that there is.
#[test]
fn the_block_after_the_last_number() {
    let bytes = nodeos().iter().map(hex_of).find(|bytes| frame(bytes).kind() == Kind::SignedBlock).unwrap();
    let frame = frame(&bytes);
    let mut header = frame.block_header().unwrap().unwrap();
    header.previous = Id([0xff; 32]);
    assert_eq!((header.block_num(), header.id().block_num()), (0, 0));
}

/// Keys and signatures of the longer kind, which no frame here has.
#[test]
fn webauthn_keys_and_signatures() {
    let plain = nodeos().iter().map(hex_of).find(|bytes| frame(bytes).kind() == Kind::Handshake).unwrap();
    let plain = frame(&plain);
    let Message::Handshake(mut handshake) = plain.message().unwrap() else { panic!() };
    handshake.key = PublicKey::WebAuthn(&[3; 33], Authenticator { presence: 1, rpid: Text(b"example.org") });
    handshake.sig =
        Signature::WebAuthn(&[4; 65], Assertion { auth_data: Blob(&[5, 6]), client_json: Text(b"{}") });
    let made = Message::Handshake(handshake).frame().unwrap();
    let at = 4 + 67;
    assert_eq!(made.bytes()[at..at + 47], [&[2][..], &[3; 33], &[1, 11], b"example.org"].concat());
    let shown = serde_json::to_value(made.message().unwrap()).unwrap();
    assert_eq!(
        shown["key"],
        json!({"type": 2, "data": "03".repeat(33), "presence": 1, "rpid": "example.org"})
    );
    assert_eq!(
        shown["sig"],
        json!({"type": 2, "data": "04".repeat(65), "auth_data": "0506", "client_json": "{}"})
    );
    assert_eq!(made.message().unwrap(), Message::Handshake(handshake));
}

fn id(hex: &str) -> Id {
    Id(const_hex::decode_to_array(hex).unwrap())
}

fn number(value: &Value) -> u16 {
    value.as_u64().unwrap().try_into().unwrap()
}

/// The descriptions' names to those of the protocol's description, which ours are.
fn rename(fields: &mut Value) {
    match fields {
        Value::Array(items) => items.iter_mut().for_each(rename),
        Value::Object(members) => {
            for gone in ["producer_u64", "digest_input_without_chain_id"] {
                members.remove(gone);
            }
            for (old, new) in [
                ("time_ns", "time"),
                ("start_block", "start"),
                ("end_block", "end"),
                ("outbound_ip_address", "outbound_ip"),
                ("expiration_slot", "expiration"),
            ] {
                if let Some(value) = members.remove(old) {
                    members.insert(new.to_owned(), value);
                }
            }
            for (list, old, new) in [
                ("producers", "key", "public_key"),
                ("header_extensions", "type", "id"),
                ("block_extensions", "type", "id"),
            ] {
                for item in members.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    let value = item.as_object_mut().unwrap().remove(old).unwrap();
                    item[new] = value;
                }
            }
            members.values_mut().for_each(rename);
        }
        _ => {}
    }
}

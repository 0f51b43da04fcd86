//! One frame as a line: JSON with every field, or text with what one looks for. Pure.

use std::time::{Duration, UNIX_EPOCH};

use mainstay_antelope::{
    Frame, Gossip, Handshake, Id, IdList, Message, PackedTransaction, PublicKey, SignedBlock, Text, Time,
};
use serde::Serialize;
use serde_json::json;

/// What a line looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// A frame that could be decoded.
pub(super) fn frame(form: Form, offset: u64, frame: &Frame, message: &Message<'_>) -> String {
    match form {
        Form::Json => object(frame, message),
        Form::Text => {
            let length = frame.payload().len();
            format!("{offset:>9}  {:<18}  {} [{length} bytes]", frame.kind().name(), text(message))
        }
    }
}

/// Something that could not.
pub(super) fn error(form: Form, offset: u64, why: &str) -> String {
    match form {
        Form::Json => json!({ "error": why, "offset": offset }).to_string(),
        Form::Text => format!("{offset:>9}  ERROR               {why}"),
    }
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(rename = "type")]
    number: u32,
    type_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_num: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    #[serde(flatten)]
    message: &'a Message<'a>,
}

fn object(frame: &Frame, message: &Message<'_>) -> String {
    let header = if let Message::SignedBlock(block) = message { Some(block.header) } else { None };
    let object = Object {
        number: frame.kind().number(),
        type_name: frame.kind().name(),
        block_num: header.map(|header| header.block_num()),
        id: header.map(|header| header.id()),
        message,
    };
    // Nothing in it is a map with keys that aren't text, which is all that could go wrong.
    serde_json::to_string(&object).unwrap_or_default()
}

fn text(message: &Message<'_>) -> String {
    match message {
        Message::Handshake(handshake) => greeting(handshake),
        Message::ChainSize(size) => {
            format!("lib {} {}, head {} {}", size.lib_num, size.lib_id, size.head_num, size.head_id)
        }
        Message::GoAway(gone) => format!("reason {}, node {}", gone.reason, gone.node_id),
        Message::Time(time) => times(time),
        Message::Notice(notice) => {
            format!("has trx: {}; blocks: {}", ids(&notice.known_trx), ids(&notice.known_blocks))
        }
        Message::Request(request) => {
            format!("wants trx: {}; blocks: {}", ids(&request.req_trx), ids(&request.req_blocks))
        }
        Message::SyncRequest(request) if request.end == 0 => "cancel".to_owned(),
        Message::SyncRequest(request) => format!("blocks {} to {}", request.start, request.end),
        Message::SignedBlock(made) => block(made),
        Message::PackedTransaction(transaction) => packed(transaction),
        Message::Vote(vote) => {
            let strength = if vote.strong { "strong" } else { "weak" };
            let key = const_hex::encode(vote.finalizer_key.0);
            format!("{strength}, block {} {}, finalizer {key}", vote.block_id.block_num(), vote.block_id)
        }
        Message::BlockNack(nack) if nack.id == Id::ZERO => "reset".to_owned(),
        Message::BlockNack(nack) => format!("block {} {}", nack.id.block_num(), nack.id),
        Message::BlockNotice(notice) => {
            format!("block {} {} on {}", notice.id.block_num(), notice.id, notice.previous)
        }
        Message::GossipBpPeers(gossip) => gossiped(gossip),
        Message::TransactionNotice(notice) => format!("transaction {}", notice.id),
        Message::Unknown { number, data } => format!("type {number}, {}", shortened(data.0)),
    }
}

fn greeting(handshake: &Handshake<'_>) -> String {
    let signed = if handshake.key == PublicKey::EMPTY { "unsigned" } else { "signed" };
    format!(
        "{}, generation {}, version {} ({}), chain {}, node {}, lib {} {}, head {} {}, agent {}, os {}, {signed}",
        quoted(handshake.p2p_address),
        handshake.generation,
        handshake.version().0,
        handshake.network_version,
        handshake.chain_id,
        handshake.node_id,
        handshake.lib_num,
        handshake.lib_id,
        handshake.head_num,
        handshake.head_id,
        quoted(handshake.agent),
        quoted(handshake.os),
    )
}

fn times(time: &Time) -> String {
    match (time.org.0, time.rec.0) {
        (0, 0) => format!("ping, sent {}", time.xmt.0),
        (org, rec) => format!("reply to {org}, received {rec}, sent {}", time.xmt.0),
    }
}

fn ids(list: &IdList<'_>) -> String {
    let mut text = format!("{} pending {}", list.mode.name(), list.pending);
    for id in &list.ids {
        text.push_str(&format!(" {id}"));
    }
    text
}

fn block(block: &SignedBlock<'_>) -> String {
    let header = &block.header;
    let time = UNIX_EPOCH + Duration::from_millis(header.slot.unix_millis());
    let schedule = match &header.new_producers {
        Some(new) => format!(", new schedule {} of {} producers", new.version, new.producers.len()),
        None => String::new(),
    };
    format!(
        "{} {} by {}, slot {} ({}, {} of its round), on {}, {} transactions{schedule}",
        header.block_num(),
        header.id(),
        header.producer,
        header.slot.0,
        httpdate::fmt_http_date(time),
        header.slot.position(),
        header.previous,
        block.transactions.len(),
    )
}

fn packed(transaction: &PackedTransaction<'_>) -> String {
    let form = match transaction.compression {
        0 => "plain".to_owned(),
        1 => "zlib".to_owned(),
        other => format!("compression {other}"),
    };
    format!(
        "{} signatures, {form}, {} bytes, {} of them context-free",
        transaction.signatures.len(),
        transaction.packed_trx.0.len() + transaction.packed_context_free_data.0.len(),
        transaction.packed_context_free_data.0.len(),
    )
}

fn gossiped(gossip: &Gossip<'_>) -> String {
    let peers = gossip.peers.iter().map(|peer| match peer.info() {
        None => format!("{} (no peers told)", peer.producer_name),
        Some(Err(why)) => format!("{} (unreadable: {why})", peer.producer_name),
        Some(Ok(info)) => format!(
            "{} at {}, dials from {}, until slot {}",
            peer.producer_name,
            quoted(info.server_endpoint),
            quoted(info.outbound_ip),
            info.expiration.0
        ),
    });
    peers.collect::<Vec<String>>().join("; ")
}

/// A peer's text, with nothing in it that a terminal would obey.
fn quoted(text: Text<'_>) -> String {
    format!("{:?}", text.lossy())
}

/// As much as fits in a line.
fn shortened(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    match bytes.get(..SHOWN) {
        Some(start) if bytes.len() > SHOWN => format!("{}…", const_hex::encode(start)),
        _ => const_hex::encode(bytes),
    }
}

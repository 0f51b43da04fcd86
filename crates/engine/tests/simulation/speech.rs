//! Engine API in JSON-RPC, as the model consensus client (CL) and execution clients (EL) write and read it.

use bytes::Bytes;
use http::StatusCode;
use mainstay_execution::status::{Heard, PayloadStatus, Silence, Status};
use mainstay_node::Cause;
use mainstay_wire::client::{CallError, Delivered, Fault, HttpReply};
use mainstay_wire::envelope::{self, Message, Outcome as Read, Reply};

use crate::chain::{Chain, Id};
use crate::el::{Ask, Attributes, Failure, Outcome, Said};

pub const HEAD_METHOD: &str = "engine_forkchoiceUpdatedV3";

/// What the CL is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Status(PayloadStatus, Option<String>),
    /// Anything but a payload status.
    Result(Bytes),
    Error(i64),
    /// No node gave an answer: HTTP 503.
    Nothing,
}

impl Told {
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Status(status, _) => Some(status.status),
            _ => None,
        }
    }

    /// One word, as in the rounds that are shown.
    pub fn word(&self) -> &'static str {
        self.status().map_or("error", Status::word)
    }
}

/// A call as the CL writes it. `otherwise`: the same attributes in other words.
pub fn write_ask(ask: &Ask, id: u64, chain: &Chain, payload_method: &str, otherwise: bool) -> Bytes {
    let hash = |block: Id| &chain.get(block).hash;
    let (method, params) = match ask {
        Ask::Payload(block) => {
            let mut body =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{payload_method}","params":"#).into_bytes();
            body.extend_from_slice(&chain.get(*block).params);
            body.push(b'}');
            return body.into();
        }
        Ask::Head(block, attributes) => {
            let zero = "0".repeat(64);
            let attributes = attributes.map_or("null".to_owned(), |a| written(a, otherwise));
            let head = hash(*block);
            let state = format!(
                r#"{{"headBlockHash":"{head}","safeBlockHash":"0x{zero}","finalizedBlockHash":"0x{zero}"}}"#
            );
            (HEAD_METHOD, format!("[{state},{attributes}]"))
        }
        Ask::GetPayload(id) => ("engine_getPayloadV5", format!(r#"["{id}"]"#)),
        Ask::Bodies(blocks) => {
            let hashes: Vec<String> = blocks.iter().map(|b| format!(r#""{}""#, hash(*b))).collect();
            ("engine_getPayloadBodiesByHashV1", format!("[[{}]]", hashes.join(",")))
        }
        Ask::Blobs(blobs) => {
            let hashes: Vec<String> = blobs.iter().map(|b| format!(r#""0x{b:x}""#)).collect();
            ("engine_getBlobsV1", format!("[[{}]]", hashes.join(",")))
        }
        Ask::Versions => ("engine_getClientVersionV1", "[{}]".to_owned()),
        Ask::Capabilities => ("engine_exchangeCapabilities", "[[]]".to_owned()),
        _ => ("eth_getCode", r#"["0x00","latest"]"#.to_owned()),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#).into()
}

/// The attributes as the CL writes them; the same ones not always in the same way.
fn written(attributes: Attributes, otherwise: bool) -> String {
    if otherwise {
        format!(r#"{{ "prevRandao": "0xAB", "timestamp": "0x{attributes:X}" }}"#)
    } else {
        format!(r#"{{"timestamp":"0x{attributes:x}","prevRandao":"0xab"}}"#)
    }
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

fn text(value: &Bytes) -> String {
    envelope::string(value).unwrap()
}

/// What mainstay asks an EL, and the id of the call.
pub fn read_ask(body: &Bytes, chain: &Chain) -> (Ask, u64) {
    let Ok(Message::Single(Ok(call))) = envelope::parse_request(body) else {
        panic!("mainstay sent {body:?}")
    };
    let params = call.params.unwrap_or_default();
    let first = || envelope::first_element(&params).unwrap();
    let block = |name: &str| {
        let [hash] = envelope::fields(&first(), [name]).unwrap();
        chain.id_of(&text(&hash.unwrap()))
    };
    let list = || envelope::elements(&first()).unwrap();
    let ask = match call.method.as_str() {
        method if method.starts_with("engine_newPayload") => Ask::Payload(block("blockHash")),
        HEAD_METHOD => {
            let attributes = envelope::elements(&params).unwrap().get(1).cloned();
            let attributes = attributes.filter(|a| !envelope::is_null(a)).map(|attributes| {
                let [timestamp] = envelope::fields(&attributes, ["timestamp"]).unwrap();
                number(&text(&timestamp.unwrap()))
            });
            Ask::Head(block("headBlockHash"), attributes)
        }
        "eth_getBlockByNumber" => Ask::OwnHead,
        "eth_syncing" => Ask::Syncing,
        "eth_blockNumber" => Ask::Number,
        "eth_chainId" => Ask::ChainId,
        "web3_clientVersion" => Ask::Version,
        "engine_getPayloadV5" => Ask::GetPayload(text(&first())),
        "engine_getPayloadBodiesByHashV1" => {
            Ask::Bodies(list().iter().map(|h| chain.id_of(&text(h))).collect())
        }
        "engine_getBlobsV1" => Ask::Blobs(list().iter().map(|h| number(&text(h))).collect()),
        "engine_getClientVersionV1" => Ask::Versions,
        "engine_exchangeCapabilities" => Ask::Capabilities,
        "eth_getCode" => Ask::Forwarded,
        other => panic!("mainstay asks for {other}"),
    };
    let id = call.id.as_deref().map(|id| std::str::from_utf8(id).unwrap().parse().unwrap());
    (ask, id.unwrap_or_default())
}

/// What goes over the wire for an EL's answer.
pub fn write_answer(
    outcome: &Outcome,
    ask: &Ask,
    id: u64,
    place: usize,
    chain: &Chain,
) -> Result<HttpReply, CallError> {
    let reply = |status: u16, body: String| {
        let status = StatusCode::from_u16(status).unwrap();
        Ok(HttpReply::new(status, &http::HeaderMap::new(), body.into()))
    };
    let result = match outcome {
        Err(Failure::Refused) => return Err(CallError::new(Fault::Refused, Delivered::No)),
        Err(Failure::Reset) => return Err(CallError::new(Fault::Reset, Delivered::Maybe)),
        Err(Failure::Timeout) => return Err(CallError::new(Fault::Timeout, Delivered::Maybe)),
        Err(Failure::Http(status)) => return reply(*status, "<html>no</html>".to_owned()),
        Err(Failure::Garbage) => return reply(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"resu"#)),
        Ok(Said::Error(code)) => {
            return reply(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{}}}"#, error(*code)));
        }
        Ok(said) => said,
    };
    let nulls = |texts: Vec<Option<String>>| {
        let texts: Vec<String> = texts.into_iter().map(|t| t.unwrap_or("null".to_owned())).collect();
        format!("[{}]", texts.join(","))
    };
    let result = match result {
        Said::Status(status, id) => {
            let status = payload_status(*status, ask, chain);
            let status = String::from_utf8(mainstay_execution::status::write(&status)).unwrap();
            match (ask, id) {
                (Ask::Payload(_), _) => status,
                (_, Some(id)) => format!(r#"{{"payloadStatus":{status},"payloadId":"{id}"}}"#),
                (_, None) => format!(r#"{{"payloadStatus":{status},"payloadId":null}}"#),
            }
        }
        Said::OwnHead(block) => {
            let block = chain.get(*block);
            format!(r#"{{"number":"0x{:x}","hash":"{}","transactions":[]}}"#, block.number, block.hash)
        }
        Said::Flag(flag) => flag.to_string(),
        Said::Number(number) => format!(r#""0x{number:x}""#),
        Said::Version if *ask == Ask::Version => format!(r#""model/{place}""#),
        Said::Version => {
            format!(r#"[{{"code":"XX","name":"model","version":"{place}","commit":"00000000"}}]"#)
        }
        Said::Built { value, head } => {
            format!(
                r#"{{"executionPayload":{{"parentHash":"{}","extraData":"0x{place:02x}"}},"blockValue":"0x{value:x}"}}"#,
                chain.get(*head).hash
            )
        }
        Said::Bodies(bodies) => nulls(
            bodies
                .iter()
                .map(|b| b.map(|b| format!(r#"{{"transactions":["0x{b:x}"],"withdrawals":[]}}"#)))
                .collect(),
        ),
        Said::Blobs(blobs) => {
            nulls(blobs.iter().map(|b| b.map(|b| format!(r#"{{"blob":"0x{b:x}","proof":"0x"}}"#))).collect())
        }
        Said::Capabilities => {
            let own: Vec<String> = capabilities(place).iter().map(|c| format!(r#""{c}""#)).collect();
            format!("[{}]", own.join(","))
        }
        Said::Forwarded => format!(r#""0x{place:x}""#),
        Said::Error(_) => String::new(),
    };
    reply(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

fn error(code: i64) -> String {
    format!(r#"{{"code":{code},"message":"simulated"}}"#)
}

/// What the EL at this place offers.
pub fn capabilities(place: usize) -> Vec<&'static str> {
    let odd =
        ["engine_newPayloadV4", "engine_forkchoiceUpdatedV3", "engine_getPayloadV5", "engine_getBlobsV1"];
    let even =
        ["engine_getPayloadV5", "engine_newPayloadV4", "engine_newPayloadV5", "engine_forkchoiceUpdatedV3"];
    if place % 2 == 1 { odd.to_vec() } else { even.to_vec() }
}

/// What an EL says with a status: VALID has the block's hash, INVALID a reason.
fn payload_status(status: Status, ask: &Ask, chain: &Chain) -> PayloadStatus {
    let (Ask::Payload(block) | Ask::Head(block, _)) = ask else { panic!("no vote: {ask:?}") };
    let quoted = |hash: &str| Some(Bytes::from(format!(r#""{hash}""#)));
    let latest_valid_hash = match status {
        Status::Valid => quoted(&chain.get(*block).hash),
        Status::Invalid => quoted(&chain.get(chain.parent(*block)).hash),
        _ => None,
    };
    let wrong = matches!(status, Status::Invalid | Status::InvalidBlockHash);
    PayloadStatus {
        status,
        latest_valid_hash,
        validation_error: wrong.then(|| Bytes::from_static(br#""simulated""#)),
        inclusion_list_satisfied: None,
    }
}

/// What mainstay has to make of an EL's answer to a voted call.
pub fn heard(outcome: &Outcome, ask: &Ask, chain: &Chain) -> Heard {
    let cause = match outcome {
        Ok(Said::Status(status, id)) => {
            return Heard::Status(payload_status(*status, ask, chain), id.clone());
        }
        Ok(Said::Error(code)) => return Heard::Error(*code, Bytes::from(error(*code))),
        Err(Failure::Refused) => Cause::Refused,
        Err(Failure::Reset) => Cause::Reset,
        Err(Failure::Timeout) => Cause::Timeout,
        Err(Failure::Http(401)) => Cause::Unauthorized,
        Err(Failure::Http(status)) => Cause::Http(*status),
        Ok(_) | Err(Failure::Garbage) => Cause::Unreadable,
    };
    Heard::Silent(Silence::Failed(cause))
}

/// What the CL reads.
pub fn read_told(status: StatusCode, body: &Bytes, ask: &Ask, id: u64) -> Told {
    let reply = envelope::parse_reply(body).unwrap_or_else(|e| panic!("{e}: {body:?}"));
    assert_eq!(reply.id.as_deref(), Some(id.to_string().as_bytes()), "the id is another: {body:?}");
    let voted = |heard: fn(&Reply) -> Heard| match heard(&reply) {
        Heard::Status(status, id) => Told::Status(status, id),
        other => panic!("{other:?} in {body:?}"),
    };
    match (&reply.outcome, ask) {
        (Read::Error { .. }, _) if status == StatusCode::SERVICE_UNAVAILABLE => Told::Nothing,
        (Read::Error { code, .. }, _) => Told::Error(*code),
        (Read::Result(_), Ask::Payload(_)) => voted(Heard::new_payload),
        (Read::Result(_), Ask::Head(..)) => voted(Heard::forkchoice_updated),
        (Read::Result(result), _) => Told::Result(result.clone()),
    }
}

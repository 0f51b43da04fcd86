//! A model execution client (EL): what it knows of the chain, and what is wrong with it at the moment.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use mainstay_wire::client::{CallError, Delivered, Fault, HttpReply};
use mainstay_wire::envelope::{self, Call};

use crate::chain::{Chain, Id};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Well,
    Down,
    Hung,
    /// So many milliseconds for everything.
    Slow(u64),
    /// HTTP 500, an error or nonsense, by turns.
    Erring,
    /// Says this of every block, and believes nothing of it.
    Lying(&'static str),
}

pub struct El {
    pub mode: Mode,
    /// Since when it is well, in milliseconds.
    pub since: u64,
    pub head: Id,
    /// What it knows: for each block how often its payload came, replays aside.
    known: HashMap<Id, u32>,
    /// A replay goes on: it begins with a look at the own head and ends with forkchoiceUpdated.
    is_replayed: bool,
    turn: u32,
}

/// What is said of a call.
pub struct Answer {
    pub result: Result<String, u32>,
    /// A payload that came once more than it should.
    pub again: Option<Id>,
}

impl El {
    pub fn new() -> Self {
        let known = HashMap::from([(0, 0)]);
        Self { mode: Mode::Well, since: 0, head: 0, known, is_replayed: false, turn: 0 }
    }

    /// It was killed, and what it had not written is lost.
    pub fn restart(&mut self, behind: usize, chain: &Chain) {
        self.head = chain.back_from(self.head).nth(behind).unwrap_or(0);
        self.known = chain.back_from(self.head).map(|block| (block, 0)).collect();
        self.is_replayed = false;
    }

    pub fn answer(&mut self, call: &Call, chain: &Chain) -> Answer {
        self.turn += 1;
        let mut again = None;
        let result = match call.method.as_str() {
            "eth_syncing" => "false".to_owned(),
            "eth_blockNumber" => format!(r#""0x{:x}""#, chain.get(self.head).number),
            "eth_chainId" => r#""0x539""#.to_owned(),
            "web3_clientVersion" => r#""model/1""#.to_owned(),
            "eth_getBlockByNumber" => {
                self.is_replayed = true;
                let head = chain.get(self.head);
                format!(r#"{{"number":"0x{:x}","hash":"{}"}}"#, head.number, head.hash)
            }
            "engine_exchangeCapabilities" => r#"["engine_newPayloadV4"]"#.to_owned(),
            method if method.starts_with("engine_newPayload") => {
                let (word, block) = self.payload(call, chain);
                if let Some(block) = block {
                    let times = self.known.entry(block).or_default();
                    *times += u32::from(!self.is_replayed);
                    again = (*times > 1).then_some(block);
                }
                self.status(word)
            }
            method if method.starts_with("engine_forkchoiceUpdated") => {
                self.is_replayed = false;
                let word = self.follow(call, chain);
                format!(r#"{{"payloadStatus":{},"payloadId":null}}"#, self.status(word))
            }
            _ => return Answer { result: Err(0), again: None },
        };
        let result = if self.mode == Mode::Erring { Err(self.turn) } else { Ok(result) };
        Answer { result, again }
    }

    fn status(&self, word: &str) -> String {
        let word = if let Mode::Lying(lie) = self.mode { lie } else { word };
        format!(r#"{{"status":"{word}","latestValidHash":null,"validationError":null}}"#)
    }

    fn payload(&mut self, call: &Call, chain: &Chain) -> (&'static str, Option<Id>) {
        let params = call.params.clone().unwrap();
        let payload = envelope::first_element(&params).unwrap();
        let [hash] = envelope::fields(&payload, ["blockHash"]).unwrap();
        let hash = envelope::string(&hash.unwrap()).unwrap();
        let Some(block) = chain.id_of(&hash).filter(|block| chain.get(*block).params == params) else {
            return ("INVALID", None);
        };
        let facts = chain.get(block);
        if !self.known.contains_key(&facts.parent) {
            return ("SYNCING", None);
        }
        if !facts.sound {
            return ("INVALID", None);
        }
        ("VALID", Some(block))
    }

    fn follow(&mut self, call: &Call, chain: &Chain) -> &'static str {
        let state = envelope::first_element(&call.params.clone().unwrap()).unwrap();
        let [hash] = envelope::fields(&state, ["headBlockHash"]).unwrap();
        let hash = envelope::string(&hash.unwrap()).unwrap();
        match chain.id_of(&hash) {
            Some(block) if !chain.get(block).sound => "INVALID",
            Some(block) if self.known.contains_key(&block) => {
                self.head = block;
                "VALID"
            }
            _ => "SYNCING",
        }
    }
}

/// What goes over the wire.
pub fn reply(call: &Call, result: Result<String, u32>) -> Result<HttpReply, CallError> {
    let id =
        String::from_utf8(call.id.clone().unwrap_or_else(|| Bytes::from_static(b"null")).to_vec()).unwrap();
    let (status, text) = match result {
        Ok(result) => (200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)),
        Err(turn) if turn % 4 == 1 => (500, "<html>no</html>".to_owned()),
        Err(turn) if turn % 4 == 2 => (200, "nonsense".to_owned()),
        Err(turn) if turn % 4 == 3 => return Err(CallError::new(Fault::Reset, Delivered::Maybe)),
        Err(_) => (200, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"x"}}}}"#)),
    };
    Ok(HttpReply::new(StatusCode::from_u16(status).unwrap(), &http::HeaderMap::new(), text.into()))
}

pub fn failure(fault: Fault, delivered: Delivered) -> CallError {
    CallError::new(fault, delivered)
}

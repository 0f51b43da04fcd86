//! Reading a recording: one object with the blocks of a round, or a line for everything that passed.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use mainstay_antelope::{Frame, Id, Kind, Message, Name, Slot, Splitter};
use serde_json::{Map, Value};

use super::{Event, Recorded, Recording, What};
use crate::egress::{Block, Leg};

/// Seconds that a recording may be long, either way: three hundred years.
const LONGEST: f64 = 1e10;

/// Why a text is no recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where in it: a path, after a line's number if it is one of lines. Empty: all of it.
    pub place: String,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.why),
            place => write!(f, "{place}: {}", self.why),
        }
    }
}

impl Error for Wrong {}

/// Reads a recording.
///
/// # Errors
/// What is wrong first.
pub fn read(text: &str) -> Result<Recording, Wrong> {
    let mut reading = Reading::default();
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(whole)) if whole.contains_key("blocks") => reading.whole(&whole)?,
        // The whole is one line, or several.
        Ok(Value::Object(_)) => reading.lines(text)?,
        Err(_) if is_lines(text) => reading.lines(text)?,
        Ok(_) => {
            return wrong("", "an object with \"blocks\" is expected, or such with an event on each line");
        }
        Err(why) => return wrong("", format!("not JSON: {why}")),
    }
    Ok(reading.done())
}

/// Whether the first line is an object by itself.
fn is_lines(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty());
    first.is_some_and(|line| matches!(serde_json::from_str(line), Ok(Value::Object(_))))
}

#[derive(Default)]
struct Reading {
    producers: Vec<Name>,
    chain: Option<Id>,
    public_before: Option<Vec<Id>>,
    began: Option<u64>,
    events: Vec<Event>,
    /// Every block of which there is more than the id.
    blocks: BTreeMap<Id, Block>,
}

impl Reading {
    fn whole(&mut self, whole: &Map<String, Value>) -> Result<(), Wrong> {
        self.head(&Part { place: String::new(), map: whole })?;
        let Some(Value::Array(blocks)) = whole.get("blocks") else {
            return wrong("blocks", "a list is expected");
        };
        for (at, block) in blocks.iter().enumerate() {
            let place = format!("blocks[{at}]");
            let Value::Object(map) = block else { return wrong(&place, "an object is expected") };
            self.event(&Part { place: format!("{place}."), map })?;
        }
        Ok(())
    }

    fn lines(&mut self, text: &str) -> Result<(), Wrong> {
        for (line, number) in text.lines().zip(1_u64..).filter(|(line, _)| !line.trim().is_empty()) {
            let place = format!("line {number}");
            let map = match serde_json::from_str(line) {
                Ok(Value::Object(map)) => map,
                Ok(_) => return wrong(&place, "an object is expected"),
                Err(why) => return wrong(&place, format!("not JSON: {why}")),
            };
            let part = Part { place: format!("{place}: "), map: &map };
            if map.contains_key("hex") || map.contains_key("block_id") {
                self.event(&part)?;
            } else {
                self.head(&part)?;
            }
        }
        Ok(())
    }

    /// What is said of the whole recording.
    fn head(&mut self, part: &Part<'_>) -> Result<(), Wrong> {
        if let Some(name) = part.text("producer")? {
            self.producers.push(part.name("producer", name)?);
        }
        for (key, name) in part.texts("producers")?.unwrap_or_default() {
            self.producers.push(part.name(&key, name)?);
        }
        if let Some(text) = part.text("chain_id")? {
            self.chain = Some(part.id("chain_id", text)?);
        }
        if let Some(began) = part.map.get("began") {
            let Some(millis) = began.as_u64().filter(|millis| *millis < 1 << 53) else {
                return part.wrong("began", "milliseconds since 1970 are expected");
            };
            self.began = Some(millis);
        }
        if let Some(texts) = part.texts("public_before")? {
            let ids: Result<Vec<Id>, Wrong> =
                texts.into_iter().map(|(key, text)| part.id(&key, text)).collect();
            self.public_before.get_or_insert_default().extend(ids?);
        }
        Ok(())
    }

    fn event(&mut self, part: &Part<'_>) -> Result<(), Wrong> {
        let outward = match part.text("dir")? {
            None | Some("inner->outer") => true,
            Some("outer->inner") => false,
            Some(_) => return part.wrong("dir", "inner->outer or outer->inner is expected"),
        };
        let at = match part.map.get("at") {
            None => 0.0,
            Some(at) => match at.as_f64() {
                Some(at) if at.abs() < LONGEST => at,
                _ => return part.wrong("at", "seconds are expected"),
            },
        };
        let leg = Leg(part.number("leg")?.unwrap_or(0));
        let frame = match part.text("hex")? {
            Some(text) => Some(part.frame(text)?),
            None => None,
        };
        if let Some(frame) = &frame
            && frame.kind() == Kind::Handshake
            && self.chain.is_none()
            && let Ok(Message::Handshake(handshake)) = frame.message()
        {
            self.chain = Some(handshake.chain_id);
        }
        let what = match frame {
            Some(frame) if frame.kind() != Kind::SignedBlock && outward => What::Inner(frame),
            Some(frame) if !outward => {
                if let Some(Ok(header)) = frame.block_header() {
                    let block = Block::from(&header);
                    self.blocks.insert(block.id, block);
                }
                What::Outer(frame)
            }
            frame => self.block(part, frame, outward)?,
        };
        self.events.push(Event { at, leg, what });
        Ok(())
    }

    /// A block of an inner node, by its frame, by its fields, or by its id if it came before; of an outer peer's the id is enough.
    fn block(&mut self, part: &Part<'_>, frame: Option<Frame>, outward: bool) -> Result<What, Wrong> {
        let id = match part.text("block_id")? {
            Some(text) => Some(part.id("block_id", text)?),
            None => None,
        };
        let block = match (frame.as_ref().and_then(Frame::block_header), id) {
            (Some(Err(why)), _) => return part.wrong("hex", why.to_string()),
            (Some(Ok(header)), id) => {
                let block = Block::from(&header);
                if id.is_some_and(|id| id != block.id) {
                    return part.wrong("block_id", format!("the block in hex is {}", block.id));
                }
                block
            }
            (None, Some(id)) if !outward => return Ok(What::Public(id)),
            (None, Some(id)) => self.fields(part, id)?,
            (None, None) => return part.wrong("block_id", "hex or block_id is expected"),
        };
        self.blocks.insert(block.id, block);
        let recorded = match part.text("verdict")? {
            None => None,
            Some(word) if Recorded::WORDS.contains(&word) => Some(Recorded(word.to_owned())),
            Some(_) => {
                return part.wrong("verdict", format!("one of {} is expected", Recorded::WORDS.join(", ")));
            }
        };
        Ok(What::Block(block, recorded))
    }

    fn fields(&self, part: &Part<'_>, id: Id) -> Result<Block, Wrong> {
        let Some(previous) = part.text("previous")? else {
            return match self.blocks.get(&id) {
                Some(known) => Ok(*known),
                None => part.wrong(
                    "block_id",
                    "nothing before it has this block's hex, nor is there \"previous\" here",
                ),
            };
        };
        let previous = part.id("previous", previous)?;
        if previous.block_num().wrapping_add(1) != id.block_num() {
            return part.wrong("previous", "its number is not the one before the block's");
        }
        let slot = match part.number("slot")?.map(u32::try_from) {
            Some(Ok(slot)) => Slot(slot),
            _ => return part.wrong("slot", "a slot's number is expected"),
        };
        let producer = match (part.text("producer")?, self.producers.as_slice()) {
            (Some(name), _) => part.name("producer", name)?,
            (None, [only]) => *only,
            (None, _) => return part.wrong("producer", "who made it is expected"),
        };
        Ok(Block { producer, slot, id, previous })
    }

    fn done(mut self) -> Recording {
        if self.producers.is_empty() {
            let ours = self.events.iter().filter_map(|event| match &event.what {
                What::Block(block, Some(recorded)) if recorded.tells_ours() => Some(block.producer),
                _ => None,
            });
            self.producers = ours.collect::<BTreeSet<Name>>().into_iter().collect();
        }
        let public_before = self.public_before.take().unwrap_or_else(|| self.lineage());
        Recording {
            producers: self.producers,
            chain: self.chain.unwrap_or(Id::ZERO),
            public_before,
            began: self.began.map(|millis| UNIX_EPOCH + Duration::from_millis(millis)),
            events: self.events,
        }
    }

    /// Where a recording doesn't say what was public before it began: what the first block of ours builds on.
    fn lineage(&self) -> Vec<Id> {
        let first = self.events.iter().find_map(|event| match &event.what {
            What::Block(block, _) if self.producers.contains(&block.producer) => Some(block.previous),
            _ => None,
        });
        let mut public = Vec::new();
        let mut next = first;
        // Numbers fall with every step, so it ends.
        while let Some(id) = next {
            public.push(id);
            next = self.blocks.get(&id).map(|block| block.previous);
        }
        public
    }
}

/// An object, and where it stands.
struct Part<'a> {
    /// With what comes between it and a key.
    place: String,
    map: &'a Map<String, Value>,
}

impl<'a> Part<'a> {
    fn wrong<T>(&self, key: &str, why: impl Into<String>) -> Result<T, Wrong> {
        wrong(&format!("{}{key}", self.place), why)
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, Wrong> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => self.wrong(key, "a text is expected"),
        }
    }

    /// A list's texts, each with its key.
    fn texts(&self, key: &str) -> Result<Option<Vec<(String, &'a str)>>, Wrong> {
        let items = match self.map.get(key) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(_) => return self.wrong(key, "a list of texts is expected"),
        };
        let texts = items.iter().enumerate().map(|(at, item)| {
            let key = format!("{key}[{at}]");
            match item.as_str() {
                Some(text) => Ok((key, text)),
                None => self.wrong(&key, "a text is expected"),
            }
        });
        texts.collect::<Result<Vec<(String, &str)>, Wrong>>().map(Some)
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Wrong> {
        match self.map.get(key) {
            None => Ok(None),
            Some(number) => match number.as_u64() {
                Some(number) => Ok(Some(number)),
                None => self.wrong(key, "a whole number is expected"),
            },
        }
    }

    fn name(&self, key: &str, text: &str) -> Result<Name, Wrong> {
        text.parse().or_else(|why| self.wrong(key, format!("{why}")))
    }

    fn id(&self, key: &str, text: &str) -> Result<Id, Wrong> {
        let mut bytes = [0; 32];
        match const_hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Id(bytes)),
            Err(_) => self.wrong(key, "64 hex digits are expected"),
        }
    }

    fn frame(&self, text: &str) -> Result<Frame, Wrong> {
        let Ok(bytes) = const_hex::decode(text) else { return self.wrong("hex", "hex digits are expected") };
        let mut splitter = Splitter::default();
        splitter.push(&bytes);
        match splitter.split() {
            Ok(Some(frame)) if splitter.pending() == 0 => Ok(frame),
            Ok(Some(_)) => self.wrong("hex", format!("{} bytes follow the frame", splitter.pending())),
            Ok(None) => self.wrong("hex", "the frame isn't whole"),
            Err(why) => self.wrong("hex", why.to_string()),
        }
    }
}

fn wrong<T>(place: &str, why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { place: place.to_owned(), why: why.into() })
}

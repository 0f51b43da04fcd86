//! Calls without a vote: who may be asked, and what the answers have to be of what the nodes said.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mainstay_execution::method::Method;
use mainstay_node::Tier;
use mainstay_wire::envelope;

use crate::chain::Id;
use crate::el::{Ask, Outcome, Said};
use crate::setup::SLOT;
use crate::speech::{self, Told};
use crate::world::{Event, World};

/// A call under way.
pub struct Read {
    ask: Ask,
    begun: u64,
    deadline: Duration,
    /// Nodes that the operator had taken out when it began.
    held: Vec<bool>,
    quick: Vec<bool>,
    /// What came, and when.
    replies: Vec<(u64, usize, Said)>,
}

pub type Reads = BTreeMap<u64, Read>;

/// A payload as the CL got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    pub value: u64,
    pub head: Id,
    by: usize,
}

impl World {
    pub fn read_begins(&mut self, id: u64, ask: &Ask) {
        let limit = match ask {
            Ask::GetPayload(_) => Method::of("engine_getPayloadV4").patience(),
            Ask::Bodies(_) => Method::of("engine_getPayloadBodiesByHashV1").patience(),
            Ask::Forwarded => Method::of("eth_getCode").patience(),
            _ => Method::of("engine_getBlobsV1").patience(),
        };
        let deadline = limit.min(self.setup.timeout);
        let slot = self.now / SLOT;
        let read = Read {
            ask: ask.clone(),
            begun: self.now,
            deadline,
            held: (0..self.els.len()).map(|el| self.is_held(el)).collect(),
            quick: (0..self.els.len()).map(|el| self.is_quick(el, slot) && self.is_honest(slot)).collect(),
            replies: Vec::new(),
        };
        self.trace(|_| format!("CL: call {id} {ask:?}"));
        self.oracle.reads.insert(id, read);
        self.after(u64::try_from(deadline.as_millis()).unwrap() + 1, Event::Overdue(id));
    }

    pub fn read_sends(&mut self, node: usize, ask: &Ask, id: u64) {
        let Some(read) = self.oracle.reads.get(&id) else { return };
        let held = read.held[node];
        self.oracle.ensure(!held, || format!("8: node {node} is out of use and is asked {ask:?}"));
        if let (Ask::GetPayload(theirs), Some(Read { ask: Ask::GetPayload(ours), .. })) =
            (ask, self.oracle.reads.get(&id))
        {
            let gave = self.oracle.gave(ours, node, theirs);
            let ours = ours.clone();
            self.oracle.ensure(gave, || {
                format!("8: node {node} is asked for {theirs}, which it didn't give for {ours}")
            });
        }
    }

    pub fn read_hears(&mut self, node: usize, id: u64, outcome: &Outcome) {
        let now = self.now;
        if let (Some(read), Ok(said)) = (self.oracle.reads.get_mut(&id), outcome) {
            read.replies.push((now, node, said.clone()));
        }
    }

    /// 4, 8: the answer; a payload if it is one.
    pub fn judge_read(&mut self, id: u64, told: &Told) -> Option<Payload> {
        let read = self.oracle.reads.remove(&id)?;
        let (now, slot) = (self.now, self.now / SLOT);
        self.trace(|_| format!("call {id} told {told:?}"));
        let late = Duration::from_millis(now - read.begun) > read.deadline;
        self.oracle.ensure(!late, || format!("4: {:?} took {} ms", read.ask, now - read.begun));
        let quick: Vec<usize> =
            (0..self.els.len()).filter(|el| read.quick[*el] && self.is_quick(*el, slot)).collect();
        // Where most are on another chain, or a liar's friends quarantine it, an honest node isn't used.
        let quick = if self.is_honest(slot) { quick } else { Vec::new() };
        let checked = match &read.ask {
            Ask::GetPayload(_) => self.judge_payload(&read, told, now),
            Ask::Forwarded => judge_forwarded(&read, told, &quick),
            Ask::Bodies(blocks) => self.judge_bodies(blocks, told, &quick),
            Ask::Blobs(blobs) => judge_blobs(&read, blobs, told, &quick, now),
            Ask::Versions => judge_versions(told, &quick),
            Ask::Capabilities => judge_capabilities(&read, told, &quick, now),
            other => Err(format!("{other:?} is no read")),
        };
        match &read.ask {
            Ask::Forwarded => self.oracle.count.forwarded += 1,
            Ask::GetPayload(_) => {}
            _ => self.oracle.count.merged += 1,
        }
        match checked {
            Ok(payload) => payload,
            Err(what) => {
                let heard: Vec<String> = read
                    .replies
                    .iter()
                    .map(|(at, n, said)| format!("{n}: {said:?} +{}", at - read.begun))
                    .collect();
                let ask = &read.ask;
                self.oracle.ensure(false, || {
                    format!(
                        "8: {ask:?} was told {told:?}, {what}; quick are {quick:?}, and what came is {}",
                        heard.join(", ")
                    )
                });
                None
            }
        }
    }

    /// The best of the payloads that came in time.
    fn judge_payload(&mut self, read: &Read, told: &Told, now: u64) -> Result<Option<Payload>, String> {
        let rank = |by: usize, value: u64| {
            (self.setup.natures[by].tier == Tier::Backup, std::cmp::Reverse(value), by)
        };
        let built = read.replies.iter().filter_map(|(at, node, said)| match said {
            Said::Built { value, head } => Some((*at, Payload { value: *value, head: *head, by: *node })),
            _ => None,
        });
        let built: Vec<(u64, Payload)> = built.collect();
        let wait = u64::try_from(self.setup.getpayload_wait.as_millis()).unwrap();
        let enough = built.first().map(|(first, _)| *first.max(&(read.begun + wait)));
        if enough.is_some_and(|enough| now > enough) {
            return Err(format!("only {} ms later", now - read.begun));
        }
        let Told::Result(result) = told else {
            return if built.iter().any(|(at, _)| *at < now) {
                Err("and a payload had come".into())
            } else {
                Ok(None)
            };
        };
        let told = read_payload(result, &self.chain);
        if !built.iter().any(|(_, payload)| *payload == told) {
            return Err("which nobody gave".into());
        }
        let best = built.iter().filter(|(at, _)| *at < now).map(|(_, p)| rank(p.by, p.value)).min();
        if best.is_some_and(|best| best < rank(told.by, told.value)) {
            return Err("and another is better".into());
        }
        self.oracle.count.payloads += 1;
        Ok(Some(told))
    }

    fn judge_bodies(&self, blocks: &[Id], told: &Told, quick: &[usize]) -> Result<Option<Payload>, String> {
        let Told::Result(result) = told else { return nobody_could(quick) };
        let bodies = envelope::elements(result).ok_or("no array")?;
        for (i, block) in blocks.iter().enumerate() {
            let body = bodies.get(i).filter(|body| !envelope::is_null(body));
            let right = body.is_none_or(|b| contains(b, &format!(r#""0x{block:x}""#)));
            let known = quick.iter().any(|el| self.els[*el].knows(*block));
            if !right || (known && body.is_none()) {
                return Err(format!("but block {block}"));
            }
        }
        Ok(None)
    }
}

fn nobody_could(quick: &[usize]) -> Result<Option<Payload>, String> {
    if quick.is_empty() { Ok(None) } else { Err("though somebody could answer".into()) }
}

fn contains(text: &Bytes, part: &str) -> bool {
    String::from_utf8_lossy(text).contains(part)
}

fn read_payload(result: &Bytes, chain: &crate::chain::Chain) -> Payload {
    let [value, payload] = envelope::fields(result, ["blockValue", "executionPayload"]).unwrap();
    let [parent, extra] = envelope::fields(&payload.unwrap(), ["parentHash", "extraData"]).unwrap();
    let text = |raw: Option<Bytes>| envelope::string(&raw.unwrap()).unwrap();
    let number = |raw: Option<Bytes>| u64::from_str_radix(text(raw).trim_start_matches("0x"), 16).unwrap();
    let by = usize::try_from(number(extra)).unwrap();
    Payload { value: number(value), head: chain.id_of(&text(parent)), by }
}

fn judge_forwarded(read: &Read, told: &Told, quick: &[usize]) -> Result<Option<Payload>, String> {
    let Told::Result(result) = told else { return nobody_could(quick) };
    let came = |(_, node, _): &(u64, usize, Said)| *result == format!(r#""0x{node:x}""#);
    if read.replies.iter().any(came) { Ok(None) } else { Err("which nobody said".into()) }
}

fn judge_blobs(
    read: &Read,
    blobs: &[u64],
    told: &Told,
    quick: &[usize],
    now: u64,
) -> Result<Option<Payload>, String> {
    let Told::Result(result) = told else { return nobody_could(quick) };
    let positions = envelope::elements(result).ok_or("no array")?;
    let has = |before: u64, i: usize| {
        read.replies
            .iter()
            .filter(|(at, ..)| *at < before)
            .any(|(.., said)| matches!(said, Said::Blobs(blobs) if blobs[i].is_some()))
    };
    let mut complete = true;
    for (i, blob) in blobs.iter().enumerate() {
        let told = positions.get(i).filter(|position| !envelope::is_null(position));
        complete &= told.is_some();
        let right = told.is_none_or(|t| contains(t, &format!(r#""0x{blob:x}""#)));
        if !right || (told.is_none() && has(now, i)) || (told.is_some() && !has(now + 1, i)) {
            return Err(format!("but position {i}"));
        }
    }
    heard_all(read, quick, complete)
}

/// Nobody quick was left out, unless enough had come.
fn heard_all(read: &Read, quick: &[usize], enough: bool) -> Result<Option<Payload>, String> {
    let heard = |el: &usize| read.replies.iter().any(|(_, node, _)| node == el);
    if enough || quick.iter().all(heard) { Ok(None) } else { Err("and somebody quick was left out".into()) }
}

fn judge_versions(told: &Told, quick: &[usize]) -> Result<Option<Payload>, String> {
    let Told::Result(result) = told else { return nobody_could(quick) };
    let versions = envelope::elements(result).ok_or("no array")?;
    let listed = |el: &usize| versions.iter().any(|v| contains(v, &format!(r#""version":"{el}""#)));
    if quick.iter().all(listed) { Ok(None) } else { Err("and somebody quick is left out".into()) }
}

fn judge_capabilities(
    read: &Read,
    told: &Told,
    quick: &[usize],
    now: u64,
) -> Result<Option<Payload>, String> {
    let Told::Result(result) = told else { return nobody_could(quick) };
    let list = envelope::elements(result).ok_or("no array")?;
    let listed = |c: &str| list.iter().any(|l| envelope::string(l).as_deref() == Some(c));
    let common = |before: u64| {
        let replied: Vec<usize> =
            read.replies.iter().filter(|(at, ..)| *at < before).map(|(_, node, _)| *node).collect();
        let mut all = speech::capabilities(0);
        all.extend(speech::capabilities(1));
        all.retain(|c| replied.iter().all(|node| speech::capabilities(*node).contains(c)));
        all
    };
    let (most, least) = (common(now), common(now + 1));
    let right = least.iter().all(|c| listed(c))
        && list.iter().all(|l| envelope::string(l).is_some_and(|l| most.contains(&l.as_str())));
    if !right {
        return Err(format!("which isn't what all have: {least:?}"));
    }
    heard_all(read, quick, false)
}

//! A model execution client (EL): what it knows of the chain, its queue of engine calls that it works off one at a time, and
//! what is wrong with it at the moment.

use std::collections::{BTreeSet, VecDeque};

use mainstay_execution::status::Status;
use tokio::sync::oneshot;

use crate::chain::{Chain, Id};
use crate::rng::{Rng, mix};
use crate::setup::Nature;

/// Attributes of a build: which ones (the CL may write the same ones differently).
pub type Attributes = u64;

/// What mainstay asks of an EL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Payload(Id),
    Head(Id, Option<Attributes>),
    /// `eth_getBlockByNumber`: how a replay begins.
    OwnHead,
    Syncing,
    Number,
    ChainId,
    Version,
    GetPayload(String),
    Bodies(Vec<Id>),
    Blobs(Vec<u64>),
    Versions,
    Capabilities,
    /// A call for one node.
    Forwarded,
}

impl Ask {
    /// newPayload and forkchoiceUpdated are worked off one at a time.
    pub fn is_voted(&self) -> bool {
        matches!(self, Self::Payload(_) | Self::Head(..))
    }
}

/// What an EL answers.
#[derive(Clone, Debug)]
pub enum Said {
    Status(Status, Option<String>),
    Error(i64),
    OwnHead(Id),
    Flag(bool),
    Number(u64),
    /// The client's version.
    Version,
    Built {
        value: u64,
        head: Id,
    },
    /// Blocks whose bodies it has.
    Bodies(Vec<Option<Id>>),
    /// Blobs that it has.
    Blobs(Vec<Option<u64>>),
    Capabilities,
    Forwarded,
}

/// Why nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Refused,
    Reset,
    Timeout,
    /// Something that isn't JSON-RPC, with this status.
    Http(u16),
    /// HTTP 200 with half of a reply.
    Garbage,
}

pub type Outcome = Result<Said, Failure>;

/// A call that the EL has taken, to be answered. Whoever asked may have given up.
#[derive(Debug)]
pub struct Taken {
    pub ask: Ask,
    pub answer: oneshot::Sender<Outcome>,
}

/// What is wrong with an EL. Everything at its default is a healthy one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The process is gone.
    pub down: bool,
    /// The process is stopped: it takes calls and does nothing.
    pub hangs: bool,
    /// Added to every engine call, in milliseconds.
    pub slow: u64,
    /// Calls in a thousand that take seconds.
    pub spikes: u64,
    pub lies_invalid: bool,
    pub lies_syncing: bool,
    /// Calls in a thousand answered with this JSON-RPC error.
    pub errors: Option<(u64, i64)>,
    /// What comes instead of any answer.
    pub instead: Option<Failure>,
    pub null_ids: bool,
    /// It says that it syncs.
    pub says_syncing: bool,
}

pub struct El {
    pub place: usize,
    pub nature: Nature,
    pub faults: Faults,
    pub head: Id,
    /// It was started for another chain.
    pub wrong_chain: bool,
    /// Slots at whose end it has been so, or not been so.
    pub same_for: u64,
    pub was_wrong: bool,
    known: Vec<bool>,
    invalid: BTreeSet<Id>,
    /// Voted calls, the first being worked on.
    pub inbox: VecDeque<Taken>,
    pub working: bool,
    /// Calls that came while it hung.
    pub frozen: Vec<Taken>,
    /// Told apart from work that a crash or stop has ended.
    pub epoch: u64,
    builds: VecDeque<(String, Id)>,
}

impl El {
    pub fn new(place: usize, nature: Nature) -> Self {
        Self {
            place,
            nature,
            faults: Faults::default(),
            head: 0,
            wrong_chain: false,
            same_for: 0,
            was_wrong: false,
            known: vec![true],
            invalid: BTreeSet::new(),
            inbox: VecDeque::new(),
            working: false,
            frozen: Vec::new(),
            epoch: 0,
            builds: VecDeque::new(),
        }
    }

    pub fn knows(&self, block: Id) -> bool {
        self.known.get(block).copied().unwrap_or(false)
    }

    fn learn(&mut self, block: Id) {
        if self.known.len() <= block {
            self.known.resize(block + 1, false);
        }
        self.known[block] = true;
    }

    /// The process ends. Comes back `behind` blocks before its head (a real geth does after `kill -9`).
    pub fn crash(&mut self, behind: u64, chain: &Chain) {
        self.epoch += 1;
        self.working = false;
        self.inbox.clear();
        self.frozen.clear();
        self.builds.clear();
        self.invalid.clear();
        for _ in 0..behind {
            self.head = chain.parent(self.head);
        }
        let keep: BTreeSet<Id> = chain.back_from(self.head).collect();
        for (block, known) in self.known.iter_mut().enumerate() {
            *known &= keep.contains(&block);
        }
    }

    /// The process is stopped or goes on; what it was doing is begun anew.
    pub fn interrupt(&mut self) {
        self.epoch += 1;
        self.working = false;
    }

    /// A bug is mended: what it wrongly found invalid is open again.
    pub fn mend(&mut self) {
        self.invalid.clear();
    }

    /// It got the chain up to `head` from its peers.
    pub fn synced(&mut self, head: Id, chain: &Chain) {
        let missing: Vec<Id> = chain.back_from(head).take_while(|b| !self.knows(*b)).collect();
        for block in missing {
            self.learn(block);
        }
        self.head = head;
    }

    /// How long a call takes, in milliseconds.
    pub fn work_time(&self, ask: &Ask, rng: &mut Rng) -> u64 {
        let (low, high) = self.nature.work;
        let spike = if rng.chance(self.faults.spikes) { rng.within(500, 9000) } else { 0 };
        let usual = match ask {
            Ask::Payload(_) => rng.within(low, high),
            Ask::Head(..) => rng.within(low / 2, high / 2) + 1,
            _ => return rng.within(0, 3),
        };
        usual + self.faults.slow + spike
    }

    /// Answers.
    pub fn answer(&mut self, ask: &Ask, chain: &Chain, rng: &mut Rng) -> Outcome {
        if let Some(failure) = self.faults.instead {
            return Err(failure);
        }
        match ask {
            Ask::Payload(_) | Ask::Head(..) => {
                if let Some((per_mille, code)) = self.faults.errors
                    && rng.chance(per_mille)
                {
                    return Ok(Said::Error(code));
                }
                if self.wrong_chain {
                    return Ok(Said::Status(Status::Syncing, None));
                }
                let (status, id) = match ask {
                    Ask::Head(block, attributes) => self.forkchoice(*block, *attributes),
                    Ask::Payload(block) => (self.payload(*block, chain), None),
                    _ => return Err(Failure::Garbage),
                };
                Ok(self.bent(status, id, rng))
            }
            Ask::OwnHead => Ok(Said::OwnHead(self.head)),
            Ask::Syncing => Ok(Said::Flag(self.faults.says_syncing)),
            Ask::Number => Ok(Said::Number(chain.number(self.head))),
            Ask::ChainId => Ok(Said::Number(if self.wrong_chain { 2 } else { 1 })),
            Ask::Version | Ask::Versions => Ok(Said::Version),
            Ask::Capabilities => Ok(Said::Capabilities),
            Ask::Forwarded => Ok(Said::Forwarded),
            Ask::Bodies(blocks) => {
                Ok(Said::Bodies(blocks.iter().map(|b| self.knows(*b).then_some(*b)).collect()))
            }
            Ask::Blobs(blobs) => {
                // Gossip is as gossip does.
                let has = |blob: &u64| mix(blob ^ ((self.place as u64) << 32)) % 100 < 70;
                Ok(Said::Blobs(blobs.iter().map(|b| has(b).then_some(*b)).collect()))
            }
            Ask::GetPayload(id) => match self.builds.iter().find(|(known, _)| known == id) {
                Some((_, head)) => {
                    let digits = rng.within(0, 40);
                    let value = rng.within(0, 1 << digits);
                    Ok(Said::Built { value, head: *head })
                }
                None => Ok(Said::Error(-38001)),
            },
        }
    }

    fn payload(&mut self, block: Id, chain: &Chain) -> Status {
        let facts = chain.get(block);
        if self.invalid.contains(&block) || self.invalid.contains(&facts.parent) {
            self.invalid.insert(block);
            return Status::Invalid;
        }
        if self.knows(block) {
            return Status::Valid;
        }
        if !self.knows(facts.parent) {
            return Status::Syncing;
        }
        if !facts.sound || facts.wronged_by & (1 << self.place) != 0 {
            self.invalid.insert(block);
            return Status::Invalid;
        }
        self.learn(block);
        if self.nature.accepts_side && !chain.is_ancestor(self.head, facts.parent) {
            return Status::Accepted;
        }
        Status::Valid
    }

    fn forkchoice(&mut self, block: Id, attributes: Option<Attributes>) -> (Status, Option<String>) {
        if self.invalid.contains(&block) {
            let word = if self.nature.remembers_invalid { Status::Invalid } else { Status::Syncing };
            return (word, None);
        }
        if !self.knows(block) {
            return (Status::Syncing, None);
        }
        self.head = block;
        let id = attributes.map(|attributes| {
            let own = mix(mix(block as u64 ^ (attributes << 24)) ^ self.nature.client);
            let id = format!("0x{own:016x}");
            if !self.builds.iter().any(|(known, _)| *known == id) {
                self.builds.push_back((id.clone(), block));
            }
            if self.builds.len() > 10 {
                self.builds.pop_front();
            }
            id
        });
        (Status::Valid, id)
    }

    /// What the faults make of an honest answer.
    fn bent(&self, status: Status, id: Option<String>, rng: &mut Rng) -> Said {
        let id = id.filter(|_| !self.faults.null_ids);
        if status == Status::Valid && self.faults.lies_invalid {
            let word = if rng.chance(100) { Status::InvalidBlockHash } else { Status::Invalid };
            return Said::Status(word, None);
        }
        if status == Status::Valid && self.faults.lies_syncing {
            return Said::Status(Status::Syncing, None);
        }
        Said::Status(status, id)
    }
}

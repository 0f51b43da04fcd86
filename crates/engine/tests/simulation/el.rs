//! A model execution client (EL): what it knows of the chain, its queue of engine calls that it works off one at a time, and
//! what is wrong with it at the moment.

use std::collections::{BTreeSet, VecDeque};

use mainstay_engine::status::Status;
use mainstay_node::{Cause, Seen};

use crate::chain::{Chain, Id};
use crate::rng::{Rng, mix};
use crate::setup::{MS, Nature};

pub type CallId = u64;

/// Attributes of a build: which ones (the CL may write the same ones differently).
pub type Attributes = u64;

/// What mainstay asks of an EL.
#[derive(Clone, Debug)]
pub enum Ask {
    Payload(Id),
    Head(Id, Option<Attributes>),
    OwnHead,
    Probe { chain: bool },
    GetPayload(String),
}

impl Ask {
    /// newPayload and forkchoiceUpdated are worked off one at a time.
    pub fn is_engine(&self) -> bool {
        matches!(self, Self::Payload(_) | Self::Head(..))
    }
}

/// What an EL answers.
#[derive(Clone, Debug)]
pub enum Said {
    Status(Status, Option<String>),
    Error(i64),
    OwnHead(Id),
    Seen(Seen),
    Built { value: u64, head: Id },
}

pub type Outcome = Result<Said, Cause>;

/// What is wrong with an EL. Everything at its default is a healthy one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The process is gone.
    pub down: bool,
    /// The process is stopped: it takes calls and does nothing.
    pub hangs: bool,
    /// Added to every engine call, in microseconds.
    pub slow: u64,
    /// Calls in a thousand that take seconds.
    pub spikes: u64,
    pub lies_invalid: bool,
    pub lies_syncing: bool,
    /// Calls in a thousand answered with this JSON-RPC error.
    pub errors: Option<(u64, i64)>,
    /// What HTTP says instead of an answer.
    pub http: Option<u16>,
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
    known: Vec<bool>,
    invalid: BTreeSet<Id>,
    /// Engine calls, the first being worked on.
    pub inbox: VecDeque<(CallId, Ask)>,
    pub working: bool,
    /// Calls that came while it hung.
    pub frozen: Vec<(CallId, Ask)>,
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

    /// How long the call in front takes, in microseconds.
    pub fn work_time(&self, ask: &Ask, rng: &mut Rng) -> u64 {
        let (low, high) = self.nature.work;
        let spike = if rng.chance(self.faults.spikes) { rng.within(500, 9000) * MS } else { 0 };
        let usual = match ask {
            Ask::Payload(_) => rng.within(low, high),
            _ => rng.within(low / 2, high / 2) + 500,
        };
        usual + self.faults.slow + spike
    }

    /// Answers.
    pub fn answer(&mut self, ask: &Ask, chain: &Chain, rng: &mut Rng) -> Outcome {
        if let Some(status) = self.faults.http {
            return Err(if status == 401 { Cause::Unauthorized } else { Cause::Http(status) });
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
                    Ask::Payload(block) => (self.payload(*block, chain), None),
                    Ask::Head(block, attributes) => self.forkchoice(*block, *attributes),
                    _ => return Err(Cause::Unreadable),
                };
                Ok(self.bent(status, id, rng))
            }
            Ask::OwnHead => Ok(Said::OwnHead(self.head)),
            Ask::Probe { chain: ask_chain } => Ok(Said::Seen(Seen {
                syncing: self.faults.says_syncing,
                head: Some(chain.number(self.head)),
                chain_id: ask_chain.then_some(if self.wrong_chain { 2 } else { 1 }),
            })),
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

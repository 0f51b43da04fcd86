//! A model consensus client (CL) in a network of others: every slot somebody proposes a block; it imports it with newPayload
//! and forkchoiceUpdated, prepares its own proposals with attributes, repeats itself now and then, and reorgs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mainstay_execution::status::Status;

use crate::chain::Id;
use crate::el::{Ask, Attributes};
use crate::setup::SLOT;
use crate::speech::Told;
use crate::world::{Event, World};

/// Who of the CL waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// The import of this slot's blocks.
    Import(u64),
    /// The preparation of a proposal in this slot.
    Prepare(u64),
    /// The proposal in this slot.
    Propose(u64),
    /// Nobody: a repetition, or a look at something.
    Nobody,
}

/// What the CL does.
#[derive(Clone, Debug)]
pub enum Step {
    Slot(u64),
    Import { slot: u64, block: Id },
    Go(u64),
    Prepare { slot: u64, otherwise: bool },
    Propose(u64),
    Repeat,
    Look,
    Judge(u64),
}

/// The import of one slot's block, after those of its ancestors that are missing.
#[derive(Debug)]
struct Flow {
    payloads: VecDeque<Id>,
    head: Id,
    tries: u32,
    waits: bool,
}

/// A proposal of our own validators.
#[derive(Clone, Debug)]
struct Proposal {
    slot: u64,
    parent: Id,
    attributes: Attributes,
    id: Option<String>,
}

/// What became of a slot.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// ELs that were quick and honest when it began.
    pub quick: Vec<bool>,
    /// Block to import, when it came, and whether only this one block had to be imported.
    pub block: Option<(Id, u64, bool)>,
    pub payload: Option<Told>,
    /// What forkchoiceUpdated was told, and when.
    pub head: Option<(Told, u64)>,
    /// It was ours to propose, and no payload came.
    pub unproposed: bool,
}

pub struct Cl {
    pub head: Id,
    /// The head is known to be valid.
    pub sure: bool,
    pub network_head: Id,
    imported: BTreeSet<Id>,
    pub refused: BTreeSet<Id>,
    flows: BTreeMap<u64, Flow>,
    proposal: Option<Proposal>,
    pub slots: BTreeMap<u64, Outcome>,
}

impl Cl {
    pub fn new() -> Self {
        Self {
            head: 0,
            sure: false,
            network_head: 0,
            imported: BTreeSet::from([0]),
            refused: BTreeSet::new(),
            flows: BTreeMap::new(),
            proposal: None,
            slots: BTreeMap::new(),
        }
    }
}

impl World {
    pub fn cl_step(&mut self, step: Step) {
        match step {
            Step::Slot(slot) => self.slot_begins(slot),
            Step::Import { slot, block } => self.import(slot, block),
            Step::Go(slot) => self.go_on(slot),
            Step::Prepare { slot, otherwise } => self.prepare(slot, otherwise),
            Step::Propose(slot) => self.propose(slot),
            Step::Repeat => {
                let head = self.cl.head;
                if self.rng.chance(300) {
                    // As a CL does that goes through blocks it has missed: no time to wait for an answer.
                    let before: Vec<Id> = self.chain.back_from(head).skip(1).take(3).collect();
                    for head in before.into_iter().rev() {
                        self.call(Ask::Head(head, None), false, For::Nobody);
                    }
                }
                self.call(Ask::Head(head, None), false, For::Nobody);
            }
            Step::Look => self.look(),
            Step::Judge(slot) => self.judge_slot(slot),
        }
    }

    fn slot_begins(&mut self, slot: u64) {
        self.at((slot + 1) * SLOT, Event::Cl(Step::Slot(slot + 1)));
        self.at((slot + 1) * SLOT - 100, Event::Cl(Step::Judge(slot)));
        self.weather_of_slot(slot);
        let quick = (0..self.els.len()).map(|el| self.is_quick(el, slot)).collect();
        self.cl.slots.insert(slot, Outcome { quick, ..Outcome::default() });
        self.cl.slots.remove(&slot.saturating_sub(4));
        if self.cl.proposal.as_ref().is_some_and(|p| p.slot == slot) {
            let wait = self.rng.within(1, 50);
            self.after(wait, Event::Cl(Step::Propose(slot)));
        } else if !self.rng.chance(30) {
            self.others_propose(slot);
        }
        if self.rng.chance(150) {
            self.after(10_400, Event::Cl(Step::Prepare { slot: slot + 1, otherwise: false }));
            if self.rng.chance(400) {
                let otherwise = self.rng.chance(500);
                self.after(10_900, Event::Cl(Step::Prepare { slot: slot + 1, otherwise }));
            }
        }
        if self.rng.chance(100) {
            let wait = self.rng.within(3000, 9000);
            self.after(wait, Event::Cl(Step::Repeat));
        }
        if self.rng.chance(300) {
            let wait = self.rng.within(0, SLOT);
            self.after(wait, Event::Cl(Step::Look));
        }
    }

    fn others_propose(&mut self, slot: u64) {
        let mut parent = self.cl.network_head;
        if self.rng.chance(40) {
            // The head is orphaned.
            for _ in 0..self.rng.within(1, 3) {
                parent = self.chain.parent(parent);
            }
        }
        let sound = !self.rng.chance(10);
        let block = self.new_block(parent, sound);
        let wait = self.rng.within(100, 2000);
        self.after(wait, Event::Cl(Step::Import { slot, block }));
    }

    fn new_block(&mut self, parent: Id, sound: bool) -> Id {
        let size = usize::try_from(self.rng.within(1, 1000)).unwrap();
        let block = self.chain.add(parent, sound, size);
        if sound {
            self.cl.network_head = block;
            self.wrong_opinions(block);
        }
        self.trace(|w| {
            let facts = w.chain.get(block);
            format!("block {block} on {parent}: sound {sound}, wronged by {:b}", facts.wronged_by)
        });
        block
    }

    fn import(&mut self, slot: u64, block: Id) {
        let cl = &mut self.cl;
        let mut payloads: VecDeque<Id> =
            self.chain.back_from(block).take_while(|b| !cl.imported.contains(b)).collect();
        payloads.make_contiguous().reverse();
        if payloads.iter().any(|b| cl.refused.contains(b)) {
            return;
        }
        let only = payloads.len() == 1 && !cl.refused.contains(&self.chain.parent(block));
        if let Some(outcome) = cl.slots.get_mut(&slot) {
            outcome.block = Some((block, self.now, only));
        }
        cl.flows.insert(slot, Flow { payloads, head: block, tries: 0, waits: false });
        self.go_on(slot);
    }

    fn go_on(&mut self, slot: u64) {
        let Some(flow) = self.cl.flows.get_mut(&slot) else { return };
        if flow.waits {
            return;
        }
        let ask = match flow.payloads.front() {
            Some(block) => Ask::Payload(*block),
            None => Ask::Head(flow.head, None),
        };
        let overtaken = flow.head != self.cl.network_head && self.now > (slot + 1) * SLOT;
        if overtaken && matches!(ask, Ask::Head(..)) {
            self.cl.flows.remove(&slot);
            return;
        }
        flow.waits = true;
        let again = self.rng.chance(30);
        self.call(ask.clone(), false, For::Import(slot));
        if again {
            self.call(ask, false, For::Nobody);
        }
    }

    /// The answer to a call.
    pub fn cl_is_told(&mut self, id: u64, ask: &Ask, caller: For, told: Told) {
        if !ask.is_voted() {
            let payload = self.judge_read(id, &told);
            if let For::Propose(slot) = caller {
                self.cl_builds(slot, payload.map(|payload| payload.head));
            }
            return;
        }
        self.judge_told(id, &told);
        match caller {
            For::Import(slot) => self.import_goes_on(slot, told),
            For::Prepare(slot) => {
                if let Some(proposal) = self.cl.proposal.as_mut().filter(|p| p.slot == slot)
                    && *ask == Ask::Head(proposal.parent, Some(proposal.attributes))
                    && let Told::Status(_, Some(id)) = told
                {
                    proposal.id = Some(id);
                }
            }
            For::Propose(_) | For::Nobody => {}
        }
    }

    /// How long the CL waits: now and then its connection breaks before an answer can come.
    pub fn cl_patience(&mut self, ask: &Ask, caller: For) -> Duration {
        let after = if ask.is_voted() && self.rng.chance(self.setup.breaks) {
            self.rng.within(1, 2000)
        } else {
            60_000
        };
        let after = if matches!(caller, For::Prepare(_)) { 60_000 } else { after };
        Duration::from_millis(after)
    }

    /// The connection of a call broke.
    pub fn cl_gives_up(&mut self, id: u64, caller: For) {
        self.trace(|_| format!("CL: gave up call {id}"));
        self.oracle.gives_up(id);
        let For::Import(slot) = caller else { return };
        // Its own fault, not mainstay's.
        if let Some(outcome) = self.cl.slots.get_mut(&slot) {
            outcome.block = None;
        }
        if let Some(flow) = self.cl.flows.get_mut(&slot) {
            flow.waits = false;
            self.after(1, Event::Cl(Step::Go(slot)));
        }
    }

    /// Calls that need no vote.
    fn look(&mut self) {
        let some = self.rng.within(1, 4);
        let ask = match self.rng.within(0, 9) {
            0..=3 => Ask::Forwarded,
            4 | 5 => Ask::Bodies(
                self.chain.back_from(self.cl.head).skip(2).take(usize::try_from(some).unwrap()).collect(),
            ),
            6 | 7 => Ask::Blobs((0..some).map(|_| self.rng.within(0, 1 << 30)).collect()),
            8 => Ask::Versions,
            _ => Ask::Capabilities,
        };
        self.call(ask, false, For::Nobody);
    }

    fn import_goes_on(&mut self, slot: u64, told: Told) {
        let now = self.now;
        let Some(flow) = self.cl.flows.get_mut(&slot) else { return };
        flow.waits = false;
        let payload = flow.payloads.front().copied();
        if let Some(outcome) = self.cl.slots.get_mut(&slot) {
            match payload {
                Some(_) => outcome.payload = Some(told.clone()),
                None => outcome.head = Some((told.clone(), now)),
            }
        }
        let Some(status) = told.status() else {
            flow.tries += 1;
            if flow.tries > 2 {
                self.cl.flows.remove(&slot);
            } else {
                self.after(500, Event::Cl(Step::Go(slot)));
            }
            return;
        };
        let block = payload.unwrap_or(flow.head);
        if status == Status::Invalid {
            self.cl.refused.insert(block);
            self.cl.imported.remove(&block);
            self.cl.flows.remove(&slot);
            if self.cl.head == block {
                self.cl.head = self.chain.parent(block);
            }
            return;
        }
        if payload.is_some() {
            flow.payloads.pop_front();
            self.cl.imported.insert(block);
            self.after(1, Event::Cl(Step::Go(slot)));
            return;
        }
        self.cl.flows.remove(&slot);
        self.cl.head = block;
        self.cl.sure = status == Status::Valid;
    }

    fn prepare(&mut self, slot: u64, otherwise: bool) {
        if self.cl.head != self.cl.network_head || !self.cl.sure {
            return;
        }
        let parent = self.cl.head;
        let attributes = slot;
        if self.cl.proposal.as_ref().is_none_or(|p| p.slot != slot) {
            self.cl.proposal = Some(Proposal { slot, parent, attributes, id: None });
        }
        self.call(Ask::Head(parent, Some(attributes)), otherwise, For::Prepare(slot));
    }

    fn propose(&mut self, slot: u64) {
        match self.cl.proposal.clone() {
            Some(Proposal { id: Some(id), .. }) => self.call(Ask::GetPayload(id), false, For::Propose(slot)),
            _ => self.cl_builds(slot, None),
        }
    }

    /// getPayload's answer: the head that the payload was built on, if there is a payload.
    pub fn cl_builds(&mut self, slot: u64, built: Option<Id>) {
        let Some(Proposal { parent, .. }) = self.cl.proposal.take() else { return };
        self.oracle.count.proposals += 1;
        self.oracle.ensure(built.is_none_or(|head| head == parent), || {
            format!("8: a payload on {built:?} was given for a build on {parent}")
        });
        if built.is_none() {
            if let Some(outcome) = self.cl.slots.get_mut(&slot) {
                outcome.unproposed = true;
            }
            return;
        }
        let block = self.new_block(parent, true);
        self.import(slot, block);
    }
}

//! At the end of each slot: was it missed, is everything within bounds, and is all well after the calm.

use mainstay_execution::ballot::Part;
use mainstay_execution::config::StragglerWait;
use mainstay_execution::standing::Hold;
use mainstay_execution::status::Status;
use mainstay_node::Condition;

use crate::chain::Id;
use crate::cl::Outcome;
use crate::oracle::QUEUE;
use crate::speech::Told;
use crate::weather::SETTLE;
use crate::world::World;

/// Blocks are attested to 4 s into the slot; the last come 2 s into it. Two straggler waits fit into what is left, and all
/// that is slow by nature.
const IN_TIME: u64 = 3_500;

impl World {
    pub fn judge_slot(&mut self, slot: u64) {
        self.oracle.count.slots += 1;
        if let Some(outcome) = self.cl.slots.get(&slot).cloned() {
            self.judge_duty(slot, &outcome);
            if self.weather.settled(slot) {
                self.judge_calm(&outcome);
            }
        }
        self.judge_shown_rounds();
        self.judge_chains();
        if slot.is_multiple_of(16) {
            self.judge_bounds();
        }
    }

    /// 6: a node on another chain than most is known for it.
    fn judge_chains(&mut self) {
        for el in &mut self.els {
            let same = std::mem::replace(&mut el.was_wrong, el.wrong_chain) == el.wrong_chain;
            el.same_for = if same { el.same_for + 1 } else { 0 };
        }
        let right = self.els.iter().filter(|el| !el.wrong_chain && el.same_for > 2).count();
        for place in 0..self.els.len() {
            let el = &self.els[place];
            if !el.wrong_chain || el.same_for < 7 || right * 2 <= self.els.len() {
                continue;
            }
            let condition = self.node(place).condition();
            self.oracle.ensure(matches!(condition, Condition::Misconfigured { .. }), || {
                format!("6: node {place} is on another chain for long, and is {condition}")
            });
        }
    }

    /// 2, 3, 4: the rounds as they are shown.
    pub fn judge_shown_rounds(&mut self) {
        let now = self.now;
        let Self { oracle, chain, setup, .. } = self;
        oracle.read_shown(chain, setup, now);
    }

    /// Whether a node with a vote held something against a block, or one that it builds on, when the CL was told of it.
    fn was_objected_to(&self, block: Id) -> bool {
        let mut rounds = self.oracle.rounds.values().filter(|round| round.block == block);
        rounds.any(|round| {
            let held = round.recalled.iter().zip(&round.parts);
            let mut held = held.filter(|(_, part)| matches!(part, Part::Voter | Part::Maybe));
            held.any(|((before, by_then), _)| *before || *by_then)
        })
    }

    /// 7: no slot is missed while enough ELs are quick and nobody lies.
    fn judge_duty(&mut self, slot: u64, outcome: &Outcome) {
        let quick = outcome
            .quick
            .iter()
            .enumerate()
            .filter(|(el, quick)| **quick && self.is_quick(*el, slot))
            .count();
        let all = quick == self.els.len();
        let waits = self.setup.straggler_wait == StragglerWait::Timeout;
        if quick < self.enough() || !self.is_honest(slot) || (waits && !all) {
            return;
        }
        self.oracle.count.fair_slots += 1;
        self.oracle.count.fair_slots_with_faults += u64::from(!all);
        // It was prepared in the slot before.
        let before = self.cl.slots.get(&(slot - 1)).map(|o| o.quick.clone()).unwrap_or_default();
        let steady = before.iter().zip(&outcome.quick).filter(|(before, now)| **before && **now).count();
        self.oracle.ensure(!outcome.unproposed || steady < self.enough(), || {
            format!("7: slot {slot} was ours and has no block")
        });
        let Some((block, came, only)) = outcome.block else { return };
        if self.was_objected_to(block) {
            // Nobody lies any more, but who did hasn't taken back what it said.
            self.oracle.count.objected_slots += 1;
            return;
        }
        let sound = self.chain.get(block).sound;
        if !sound {
            let told = outcome.payload.clone();
            let right =
                told.as_ref().and_then(Told::status) == Some(Status::Invalid) || quick * 2 <= self.els.len();
            self.oracle.ensure(right, || format!("7: invalid block {block} was told as {told:?}"));
            return;
        }
        if !only {
            // After a fault of its own the CL has more to import.
            return;
        }
        let in_time = match &outcome.head {
            Some((told, at)) => told.status() == Some(Status::Valid) && at - came <= IN_TIME,
            None => false,
        };
        let payload = outcome.payload.as_ref().and_then(Told::status) == Some(Status::Valid);
        self.oracle.ensure(in_time && payload, || {
            let at = outcome.head.as_ref().map(|(_, at)| at - came);
            format!(
                "7: slot {slot} is missed with {quick} quick ELs: newPayload told {:?}, head {:?} after {at:?} ms",
                outcome.payload,
                outcome.head.as_ref().map(|(told, _)| told)
            )
        });
    }

    /// 6: after some slots of calm every EL is at the head, every node has its vote, and the verdict is VALID.
    fn judge_calm(&mut self, outcome: &Outcome) {
        self.oracle.count.calm_checks += 1;
        for node in 0..self.els.len() {
            let of = self.node(node);
            let (condition, part) = (of.condition(), of.part());
            let (note, do_not_use, hold) = {
                let state = of.state();
                (state.standing.note(), state.standing.do_not_use, state.standing.hold)
            };
            let votes = do_not_use || part == Part::Voter;
            let held = hold != Hold::None;
            self.oracle.ensure(votes && !held && condition == Condition::Fit, || {
                format!(
                    "6: {SETTLE} slots after all faults healed node {node} has no vote: {condition}, {note:?}"
                )
            });
            let (own, head) = (self.els[node].head, self.cl.head);
            self.oracle.ensure(own == head, || {
                format!("6: {SETTLE} slots after all faults healed the EL of node {node} is at {own}, not at {head}")
            });
        }
        let Some((block, ..)) = outcome.block.filter(|(block, ..)| self.chain.get(*block).sound) else {
            return;
        };
        let valid = outcome.head.as_ref().and_then(|(told, _)| told.status()) == Some(Status::Valid);
        self.oracle.ensure(valid, || {
            format!("6: {SETTLE} slots after all faults healed block {block} was told as {:?}", outcome.head)
        });
    }

    /// 5: memory, ids and blocks kept, and calls that wait.
    fn judge_bounds(&mut self) {
        let engine = self.engine.clone();
        let core = engine.core();
        let waiting = core.nodes().iter().map(|node| node.feed.waiting()).max().unwrap_or_default();
        self.oracle.ensure(waiting <= QUEUE, || format!("5: {waiting} calls wait for a node"));
        let (mut kept, mut bytes, mut said) = (0, 0, 0);
        {
            let (memory, blocks) = (core.memory.lock().unwrap(), core.blocks.lock().unwrap());
            for block in self.chain.len().saturating_sub(600)..self.chain.len() {
                let hash = self.chain.get(block).hash.as_str();
                if let Some(payload) = blocks.get(hash) {
                    kept += 1;
                    bytes += payload.request.len();
                }
                said += usize::from(!memory.objectors(std::iter::once(hash)).is_empty());
            }
        }
        let (blocks, most) = (self.setup.replay_blocks, self.setup.replay_bytes);
        self.oracle.ensure(kept <= blocks && (bytes <= most || kept == 1), || {
            format!("5: {kept} payloads of {bytes} bytes are kept, at most {blocks} and {most} may be")
        });
        self.oracle.ensure(said <= 256, || format!("5: INVALID is remembered of {said} blocks"));
        let open = self.oracle.rounds.values().filter(|round| round.told.is_none()).count()
            + self.oracle.reads.len();
        self.oracle.ensure(open <= 32, || format!("5: {open} calls are open"));
    }
}

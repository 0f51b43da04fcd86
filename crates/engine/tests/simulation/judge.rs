//! At the end of each slot: was it missed, is everything within bounds, and is all well after the calm.

use mainstay_engine::ballot::Part;
use mainstay_engine::config::StragglerWait;
use mainstay_engine::standing::Hold;
use mainstay_engine::status::Status;
use mainstay_node::Condition;

use crate::cl::Outcome;
use crate::round::Told;
use crate::setup::MS;
use crate::weather::SETTLE;
use crate::world::World;

/// Blocks are attested to 4 s into the slot; the last come 2 s into it. Two straggler waits fit into what is left, and all
/// that is slow by nature.
const IN_TIME: u64 = 3_500_000;

impl World {
    pub fn judge_slot(&mut self, slot: u64) {
        self.oracle.count.slots += 1;
        if let Some(outcome) = self.cl.slots.get(&slot).cloned() {
            self.judge_duty(slot, &outcome);
            if self.weather.settled(slot) {
                self.judge_calm(&outcome);
            }
        }
        if slot.is_multiple_of(16) {
            self.judge_bounds();
        }
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
        let sound = self.chain.get(block).sound;
        if !sound {
            let told = outcome.payload.clone();
            let right = matches!(told, Some(Told::Status(Status::Invalid, _))) || quick * 2 <= self.els.len();
            self.oracle.ensure(right, || format!("7: invalid block {block} was told as {told:?}"));
            return;
        }
        if !only {
            // After a fault of its own the CL has more to import.
            return;
        }
        let in_time = match &outcome.head {
            Some((Told::Status(Status::Valid, _), at)) => at - came <= IN_TIME,
            _ => false,
        };
        let payload = matches!(outcome.payload, Some(Told::Status(Status::Valid, _)));
        self.oracle.ensure(in_time && payload, || {
            let at = outcome.head.as_ref().map(|(_, at)| (at - came) / MS);
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
            let state = &self.main.nodes[node];
            let (condition, note) = (state.health.condition().clone(), state.standing.note());
            let votes = state.standing.do_not_use || self.main.part(node) == Part::Voter;
            let held = state.standing.hold != Hold::None;
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
        let valid = matches!(outcome.head, Some((Told::Status(Status::Valid, _), _)));
        self.oracle.ensure(valid, || {
            format!("6: {SETTLE} slots after all faults healed block {block} was told as {:?}", outcome.head)
        });
    }

    /// 5: memory, ids and blocks kept.
    fn judge_bounds(&mut self) {
        let recent = self.chain.len().saturating_sub(1500)..self.chain.len();
        let (mut kept, mut bytes, mut said) = (0, 0, 0);
        for block in recent {
            let facts = self.chain.get(block);
            if let Some(payload) = self.main.blocks.get(&facts.hash) {
                kept += 1;
                bytes += payload.request.len();
            }
            said += usize::from((0..self.els.len()).any(|n| self.main.memory.said(&facts.hash, n as u64)));
        }
        let (blocks, most) = (self.setup.replay_blocks, self.setup.replay_bytes);
        self.oracle.ensure(kept <= blocks && (bytes <= most || kept == 1), || {
            format!("5: {kept} payloads of {bytes} bytes are kept, at most {blocks} and {most} may be")
        });
        self.oracle.ensure(said <= 256, || format!("5: INVALID is remembered of {said} blocks"));
        let now = self.instant();
        let ids = self.oracle.ids().filter(|id| self.main.ids.get(id, now).is_some()).count();
        self.oracle.ensure(ids <= 256, || format!("5: {ids} builds are kept"));
        let waiting = self.main.reads.len();
        self.oracle.ensure(waiting <= 1, || format!("5: {waiting} getPayload calls are open"));
    }
}

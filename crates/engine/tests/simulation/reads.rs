//! getPayload: what `reads::get_payload` of the engine does.

use std::time::Duration;

use bytes::Bytes;
use mainstay_engine::merge::{self, Built};
use mainstay_node::{Condition, Tier};

use crate::chain::Id;
use crate::el::{Ask, Outcome, Said};
use crate::world::{Event, Origin, World, micros};

pub struct Read {
    /// The slot of the proposal.
    slot: u64,
    started: u64,
    left: usize,
    built: Vec<(Built, u64, Id)>,
}

impl World {
    pub fn get_payload(&mut self, ours: &str, slot: u64) {
        let now = self.instant();
        let Some(builders) = self.main.ids.get(ours, now) else { return self.cl_builds(slot, None) };
        let usable = |node: &usize| {
            let state = &self.main.nodes[*node];
            state.standing.may_serve() && !matches!(state.health.condition(), Condition::Misconfigured { .. })
        };
        let asked: Vec<(usize, String)> = (0..self.main.nodes.len())
            .filter(usable)
            .filter_map(|n| builders.iter().find(|(b, _)| *b == n as u64).map(|(_, id)| (n, id.clone())))
            .collect();
        if asked.is_empty() {
            return self.cl_builds(slot, None);
        }
        let read = self.main.next_read;
        self.main.next_read += 1;
        let until = self.setup.getpayload_wait.min(self.setup.timeout);
        let state = Read { slot, started: self.now, left: asked.len(), built: Vec::new() };
        self.main.reads.insert(read, state);
        self.after(micros(until), Event::ReadOver(read));
        for (node, id) in asked {
            self.oracle.asks(ours, node, &id);
            let limit = until.min(self.within(node, self.setup.timeout));
            self.call(node, Ask::GetPayload(id), Origin::Read(read), limit);
        }
    }

    pub fn read(&mut self, read: u64, node: usize, outcome: Outcome) {
        if let Some(before) = self.traffic(node, &outcome) {
            self.changed(node, &before);
        }
        let Some(state) = self.main.reads.get_mut(&read) else { return };
        state.left -= 1;
        if let Ok(Said::Built { value, head }) = outcome {
            let result = Bytes::from(format!(r#"{{"blockValue":"0x{value:x}"}}"#));
            let backup = self.setup.natures[node].tier == Tier::Backup;
            state.built.push((Built::read(node, backup, &result), value, head));
        }
        if state.left == 0 {
            self.read_over(read);
        }
    }

    pub fn read_over(&mut self, read: u64) {
        let Some(state) = self.main.reads.remove(&read) else { return };
        let took = Duration::from_micros(self.now - state.started);
        self.oracle.ensure(took <= Duration::from_millis(900), || format!("4: getPayload took {took:?}"));
        let candidates: Vec<Built> = state.built.iter().map(|(b, ..)| b.clone()).collect();
        let best = merge::best(&candidates).map(|b| b.place);
        let chosen = state.built.iter().find(|(b, ..)| Some(b.place) == best);
        self.oracle.builds(&state.built, chosen);
        let chosen = chosen.map(|(_, _, head)| *head);
        self.cl_builds(state.slot, chosen);
    }
}

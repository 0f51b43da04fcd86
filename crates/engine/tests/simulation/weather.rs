//! What goes wrong and when it is mended, what the operator does, and the calm after which everything has to be well.

use mainstay_execution::standing::Hold;
use mainstay_execution::verdict::needed;

use crate::chain::Id;
use crate::el::{Failure, Faults};
use crate::setup::SLOT;
use crate::world::{Event, World};

/// Slots of calm before all has to be well: replays that were in vain pause for up to 64 s.
pub const SETTLE: u64 = 9;
const CALM: u64 = 12;

#[derive(Clone, Debug)]
enum Kind {
    Crash { behind: u64 },
    Bent(Faults),
    WrongChain,
}

#[derive(Clone, Debug)]
pub enum Change {
    Start { el: usize, turn: u64 },
    End { el: usize, turn: u64 },
    Mend(usize),
    Hold { el: usize, hold: Hold },
}

struct Of {
    kind: Option<Kind>,
    turn: u64,
    lies: bool,
    wrong: Vec<Id>,
    /// Until when something was wrong with it; the end of time while something is.
    rough_until: u64,
}

pub struct Weather {
    of: Vec<Of>,
    /// Until when an EL told other than the truth.
    lie_until: u64,
    calm_since: Option<u64>,
    /// The slot in which storm or calm ends.
    turns: u64,
}

impl Weather {
    pub fn new(els: usize) -> Self {
        let of = || Of { kind: None, turn: 0, lies: false, wrong: Vec::new(), rough_until: 0 };
        Self { of: (0..els).map(|_| of()).collect(), lie_until: 0, calm_since: Some(0), turns: CALM }
    }

    /// Whether the calm is old enough at the end of `slot` for all to be well.
    pub fn settled(&self, slot: u64) -> bool {
        self.calm_since.is_some_and(|since| slot >= since + SETTLE)
    }

    fn anybody_lies(&self) -> bool {
        self.of.iter().any(|of| !of.wrong.is_empty() || (of.kind.is_some() && of.lies))
    }
}

impl World {
    /// Quick, honest and at the head, and so for two slots before `slot` already.
    pub fn is_quick(&self, el: usize, slot: u64) -> bool {
        let of = &self.weather.of[el];
        // A quarantine ends with the first block that it agrees on.
        let steady = of.rough_until.saturating_add(2 * SLOT) <= slot * SLOT && !self.oracle.quarantined[el];
        // ACCEPTED is no VALID, however quick.
        steady
            && !self.is_held(el)
            && !self.setup.natures[el].accepts_side
            && self.els[el].knows(self.cl.network_head)
    }

    /// Nobody has told other than the truth since two slots before `slot`.
    pub fn is_honest(&self, slot: u64) -> bool {
        !self.weather.anybody_lies() && self.weather.lie_until + 2 * SLOT <= slot * SLOT
    }

    /// Quick ELs that must suffice whatever the others do.
    pub fn enough(&self) -> usize {
        let n = (0..self.els.len()).filter(|el| !self.is_held(*el)).count();
        let rules = &self.setup.rules;
        let needed = needed(u32::try_from(n).unwrap_or(u32::MAX), rules.majority).max(rules.min_votes);
        (needed as usize).max(n.div_ceil(2)).max(1)
    }

    pub fn weather_of_slot(&mut self, slot: u64) {
        if slot == self.weather.turns {
            if self.weather.calm_since.is_some() {
                self.weather.calm_since = None;
                self.weather.turns = slot + self.rng.within(20, 60);
            } else {
                self.weather.calm_since = Some(slot);
                self.weather.turns = slot + CALM;
                self.all_clears_up();
            }
        }
        if self.weather.calm_since.is_some() {
            return;
        }
        if !self.setup.minority && self.rng.chance(8) {
            // The lights go out.
            let at = self.rng.within(0, SLOT);
            let out = self.rng.within(100, 5000);
            for el in 0..self.els.len() {
                let behind = self.rng.within(0, 5);
                let jitter = self.rng.within(0, 300);
                self.plan(el, Kind::Crash { behind }, false, at, out + jitter);
            }
            return;
        }
        for el in 0..self.els.len() {
            if self.rng.chance(self.setup.roughness) {
                let (kind, lies) = self.draw_kind();
                let at = self.rng.within(0, SLOT);
                let longest = if lies { 15 } else { 30 };
                let lasts = match self.rng.within(0, 4) {
                    0 | 1 => self.rng.within(100, 4000),
                    2 | 3 => self.rng.within(SLOT / 2, 4 * SLOT),
                    _ => self.rng.within(4, longest) * SLOT,
                };
                if self.may_fail(el) {
                    self.plan(el, kind, lies, at, lasts);
                }
            }
            self.operator(el);
        }
    }

    /// Whether what is left is enough, where faults are to be kept to a minority.
    fn may_fail(&self, el: usize) -> bool {
        if self.weather.of[el].rough_until == u64::MAX {
            return false;
        }
        let well = |i: &usize| {
            *i != el
                && !self.is_held(*i)
                && self.weather.of[*i].rough_until.saturating_add(3 * SLOT) <= self.now
        };
        !self.setup.minority || (0..self.els.len()).filter(well).count() >= self.enough()
    }

    fn draw_kind(&mut self) -> (Kind, bool) {
        let rng = &mut self.rng;
        let mut faults = Faults::default();
        let kinds = if self.setup.lies { 16 } else { 12 };
        match rng.within(0, kinds - 1) {
            0..=2 => return (Kind::Crash { behind: rng.pick(&[0, 0, 1, 2, 3, 5, 8, 14]) }, false),
            3 | 4 => faults.hangs = true,
            5 => faults.slow = rng.within(200, 6000),
            6 => faults.spikes = rng.within(50, 600),
            7 => faults.errors = Some((rng.within(200, 1000), rng.pick(&[-38005, -32000, -32603]))),
            8 => {
                let failures = [
                    Failure::Http(500),
                    Failure::Http(502),
                    Failure::Http(401),
                    Failure::Garbage,
                    Failure::Reset,
                ];
                faults.instead = Some(rng.pick(&failures));
            }
            9 => faults.null_ids = true,
            10 => faults.says_syncing = true,
            11 => faults.slow = rng.within(50, 900),
            12 => return (Kind::WrongChain, true),
            13 | 14 => faults.lies_invalid = true,
            _ => faults.lies_syncing = true,
        }
        let lies = faults.lies_invalid || faults.lies_syncing;
        (Kind::Bent(faults), lies)
    }

    fn plan(&mut self, el: usize, kind: Kind, lies: bool, wait: u64, lasts: u64) {
        self.end_fault(el);
        let of = &mut self.weather.of[el];
        of.turn += 1;
        of.kind = Some(kind);
        of.lies = lies;
        of.rough_until = u64::MAX;
        let turn = of.turn;
        self.after(wait, Event::Weather(Change::Start { el, turn }));
        self.after(wait + lasts, Event::Weather(Change::End { el, turn }));
    }

    pub fn weather_changes(&mut self, change: Change) {
        self.trace(|w| match &change {
            Change::Start { el, .. } => format!("weather: el{el} {:?}", w.weather.of[*el].kind),
            other => format!("weather: {other:?}"),
        });
        match change {
            Change::Start { el, turn } if self.weather.of[el].turn == turn => {
                match self.weather.of[el].kind.clone() {
                    Some(Kind::Crash { behind }) => {
                        self.els[el].faults.down = true;
                        self.crash(el, behind);
                    }
                    Some(Kind::Bent(faults)) => {
                        self.els[el].faults = faults.clone();
                        if faults.hangs {
                            self.els[el].interrupt();
                        }
                    }
                    Some(Kind::WrongChain) => {
                        self.els[el].wrong_chain = true;
                        self.crash(el, 0);
                    }
                    None => {}
                }
            }
            Change::End { el, turn } if self.weather.of[el].turn == turn => self.end_fault(el),
            Change::Start { .. } | Change::End { .. } => {}
            Change::Mend(el) => self.mend(el),
            Change::Hold { el, hold } => {
                if hold == Hold::None || self.weather.calm_since.is_none() {
                    self.hold(el, hold);
                    self.note_end(el);
                }
            }
        }
    }

    fn end_fault(&mut self, el: usize) {
        let of = &mut self.weather.of[el];
        let Some(kind) = of.kind.take() else { return };
        of.turn += 1;
        if std::mem::take(&mut of.lies) {
            self.weather.lie_until = self.now;
        }
        self.els[el].faults.down = false;
        if matches!(kind, Kind::WrongChain) && self.els[el].wrong_chain {
            self.els[el].wrong_chain = false;
            self.crash(el, 0);
        }
        let was = std::mem::take(&mut self.els[el].faults);
        if was.hangs {
            self.thaw(el);
        }
        self.note_end(el);
    }

    /// It has recovered by now, if nothing else ails it.
    pub fn note_end(&mut self, el: usize) {
        let of = &mut self.weather.of[el];
        let ill = of.kind.is_some() || !of.wrong.is_empty();
        of.rough_until = if ill { u64::MAX } else { self.now };
    }

    /// Some ELs have a bug that this block shows.
    pub fn wrong_opinions(&mut self, block: Id) {
        if !self.setup.lies || self.weather.calm_since.is_some() || !self.rng.chance(12) {
            return;
        }
        let lasts = self.rng.within(1, 12) * SLOT;
        let share = self.rng.pick(&[150, 300, 500, 800]);
        for el in 0..self.els.len() {
            if self.rng.chance(share) && self.may_fail(el) {
                self.chain.get_mut(block).wronged_by |= 1 << el;
                self.weather.of[el].wrong.push(block);
                self.weather.of[el].rough_until = u64::MAX;
                let jitter = self.rng.within(0, 2 * SLOT);
                self.after(lasts + jitter, Event::Weather(Change::Mend(el)));
            }
        }
    }

    fn mend(&mut self, el: usize) {
        if self.weather.of[el].wrong.is_empty() {
            return;
        }
        for block in std::mem::take(&mut self.weather.of[el].wrong) {
            self.chain.get_mut(block).wronged_by &= !(1 << el);
        }
        self.els[el].mend();
        self.weather.lie_until = self.now;
        self.note_end(el);
    }

    fn operator(&mut self, el: usize) {
        if !self.setup.operator {
            return;
        }
        let liar = self.weather.of[el].lies || !self.weather.of[el].wrong.is_empty();
        let (chance, hold) =
            if liar { (250, Hold::Cordoned) } else { (8, self.rng.pick(&[Hold::Cordoned, Hold::Drained])) };
        let hold_now = self.node(el).state().standing.hold;
        if self.rng.chance(chance) && hold_now == Hold::None && (liar || self.may_fail(el)) {
            let wait = self.rng.within(0, SLOT);
            let lasts = self.rng.within(SLOT, 10 * SLOT);
            self.after(wait, Event::Weather(Change::Hold { el, hold }));
            self.after(wait + lasts, Event::Weather(Change::Hold { el, hold: Hold::None }));
        }
    }

    fn all_clears_up(&mut self) {
        self.trace(|_| "all faults heal".to_owned());
        for el in 0..self.els.len() {
            self.end_fault(el);
            self.mend(el);
            self.hold(el, Hold::None);
            self.note_end(el);
        }
        // Whoever made it refuse a good block is mended; so is its own opinion (a restart of the CL).
        self.cl.refused.clear();
    }
}

//! What is known of one consensus client (CL).

use std::time::Instant;

use super::{Now, Suspicion};
use crate::hash::Hash;
use crate::slots::believable;

/// Blocks of a CL that are remembered: those of its highest slots.
pub(super) const CLAIMS: usize = 8;

/// A block whose payload a CL sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) hash: Hash,
    slot: u64,
    parent: Hash,
    worth: Worth,
}

/// What the ELs think of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// They don't know it, or haven't said.
    Unknown,
    /// None takes it.
    Refused,
    /// One called it VALID.
    Valid,
}

/// Which claims count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    /// The clock's slot.
    pub(super) clock: u64,
    /// Only blocks that an EL called VALID.
    pub(super) valid_only: bool,
}

impl Claim {
    /// Whether it counts. The clock may have been set back, so it is asked again.
    fn counts(&self, count: Count) -> bool {
        let is_enough = match self.worth {
            Worth::Refused => false,
            Worth::Valid => true,
            Worth::Unknown => !count.valid_only,
        };
        is_enough && believable(self.slot, count.clock)
    }
}

/// A CL.
#[derive(Debug)]
pub(super) struct Record {
    /// Its place in the operator's order.
    pub(super) rank: usize,
    /// When its last call came, whether it counted or not.
    pub(super) last: Instant,
    /// When the last call came that counted.
    pub(super) heard: Option<Instant>,
    pub(super) gone: bool,
    pub(super) head: Option<Hash>,
    /// The head that it named before this one, and when it left that.
    pub(super) former: Option<(Hash, Instant)>,
    /// The head is one that no execution client takes.
    pub(super) head_refused: bool,
    /// What it was suspected of last, and when.
    pub(super) offence: Option<(Suspicion, Instant)>,
    /// When another showed a later slot, if it has said nothing since.
    pub(super) overtaken: Option<Instant>,
    /// Since when it is `max_lag` or more below the best.
    pub(super) behind: Option<Instant>,
    /// Since when it is fit and agrees.
    pub(super) well: Option<Instant>,
    /// It was unfit, on another head than most, or lost the lead: it has something to come back from.
    pub(super) fell: bool,
    pub(super) claims: Vec<Claim>,
}

impl Record {
    pub(super) fn new(rank: usize, at: Instant) -> Self {
        Self {
            rank,
            last: at,
            heard: None,
            gone: false,
            head: None,
            former: None,
            head_refused: false,
            offence: None,
            overtaken: None,
            behind: None,
            well: None,
            fell: false,
            claims: Vec::new(),
        }
    }

    /// The highest slot that counts.
    pub(super) fn highest(&self, count: Count) -> Option<u64> {
        self.claims.iter().filter(|claim| claim.counts(count)).map(|claim| claim.slot).max()
    }

    /// The slot of a block, if this CL told of it.
    pub(super) fn slot_of(&self, hash: Hash, count: Count) -> Option<u64> {
        self.claims.iter().find(|claim| claim.hash == hash && claim.counts(count)).map(|claim| claim.slot)
    }

    /// The parent of a block whose payload this CL sent.
    pub(super) fn parent_of(&self, hash: Hash) -> Option<Hash> {
        self.claims.iter().find(|claim| claim.hash == hash).map(|claim| claim.parent)
    }

    /// A call that counts.
    pub(super) fn listen(&mut self, at: Instant) {
        self.heard = Some(at);
        self.gone = false;
        self.overtaken = None;
    }

    /// It sent this payload.
    pub(super) fn sent(&mut self, hash: Hash, parent: Hash, slot: u64, worth: Worth) {
        match self.claims.iter_mut().find(|claim| claim.hash == hash) {
            // The clock bounds the first, so that the same payload may count for more a moment later.
            Some(claim) => claim.slot = claim.slot.max(slot),
            None => self.claim(Claim { hash, slot, parent, worth }),
        }
    }

    /// It named this head.
    pub(super) fn named(&mut self, hash: Hash, worth: Worth, at: Instant) {
        if let Some(former) = self.head.replace(hash).filter(|former| *former != hash) {
            self.former = Some((former, at));
        }
        self.head_refused = worth == Worth::Refused;
        if self.head_refused {
            self.suspect(Suspicion::Refused { head: hash }, at);
        }
    }

    /// Keeps the claims of the highest slots. Of equals that of the least hash goes: the order of calls must not matter.
    fn claim(&mut self, claim: Claim) {
        self.claims.push(claim);
        if self.claims.len() > CLAIMS {
            self.claims.sort_by_key(|claim| std::cmp::Reverse((claim.slot, claim.hash)));
            self.claims.truncate(CLAIMS);
        }
    }

    pub(super) fn suspect(&mut self, suspicion: Suspicion, at: Instant) {
        self.offence = Some((suspicion, at));
    }

    /// No execution client takes this block.
    pub(super) fn refused(&mut self, hash: Hash, at: Instant) {
        self.judge(hash, Worth::Refused);
        if self.head == Some(hash) {
            self.head_refused = true;
            self.suspect(Suspicion::Refused { head: hash }, at);
        }
    }

    /// An execution client takes it after all.
    pub(super) fn taken(&mut self, hash: Hash, worth: Worth) {
        self.judge(hash, worth);
        if self.head == Some(hash) {
            self.head_refused = false;
        }
        self.offence.take_if(|(suspicion, _)| *suspicion == Suspicion::Refused { head: hash });
    }

    fn judge(&mut self, hash: Hash, worth: Worth) {
        self.claims.iter_mut().filter(|claim| claim.hash == hash).for_each(|claim| claim.worth = worth);
    }

    /// How it stands, being at `slot`, against the best slot, which has just risen or not.
    pub(super) fn compare(
        &mut self,
        slot: Option<u64>,
        best: Option<u64>,
        rose: bool,
        max_lag: u64,
        now: Now,
    ) {
        let lag = match (best, slot) {
            (None, _) => 0,
            (Some(_), None) => u64::MAX,
            (Some(best), Some(slot)) => best.saturating_sub(slot),
        };
        if lag == 0 {
            self.overtaken = None;
        } else if rose {
            self.overtaken.get_or_insert(now.at);
        }
        if lag >= max_lag {
            self.behind.get_or_insert(now.at);
        } else {
            self.behind = None;
        }
    }

    /// Whether it is fit and agrees by now.
    pub(super) fn settle(&mut self, fit: bool, agrees: bool, at: Instant) {
        if fit && agrees {
            self.well.get_or_insert(at);
        } else {
            self.well = None;
        }
        // Who has named no head yet has done nothing wrong.
        self.fell |= !fit || (!agrees && self.head.is_some());
    }

    /// It has to prove itself again before it may take the lead back.
    pub(super) fn lost_lead(&mut self, at: Instant) {
        self.fell = true;
        self.well = self.well.map(|_| at);
    }
}

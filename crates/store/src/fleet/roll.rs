//! Who is in the fleet, and what each may use. Pure.
//!
//! The roll is one document. It names the members in the order in which they came, each with a counter that it raises at
//! every [`BEAT`] and with the portion that it may be using. The rules:
//!
//! 1. **What a member uses lies within its record, and records don't overlap.** A member takes more only after the roll
//!    with its larger record has been written by compare and swap, against a roll in which nobody else has that part.
//! 2. **Shrinking comes in two steps.** A member that has more than its part first admits no more than its part; only
//!    when what it has in flight fits as well does it write the smaller record. A newcomer therefore gets nothing
//!    before the others have given it up.
//! 3. **A member is gone when its counter has stood still for [`TTL`]** by the clock of another member that has read the
//!    roll all that time. No clocks are compared. After a [`GAP`] in its reading, a member begins to count anew: the
//!    others could not write either.
//! 4. **A store may forget.** Emptied, or gone back to an earlier version by a failover, it may show as free what somebody
//!    uses. Each roll has an epoch; who finds none, finds itself missing or finds its own counter gone back gives it a new
//!    one, and nobody grows before it has seen one epoch without a gap for [`SETTLE`]: every member that can reach
//!    the store comes back within that time, with what it uses. This is also what a newcomer waits at first. And since the parts move when members come or
//!    go, nobody grows then before every other member has beaten once more: it would have found out what is forgotten.
//! 5. **A member that can't reach the store keeps what it uses.** If the store is gone for all, so do all, and 1 holds. If
//!    it alone is cut off, the others take its part over after the [`TTL`], as they must take over a dead one's; nobody
//!    can tell these two apart, so as long as it is cut off and goes on, a node may get more than its slots. It gives up
//!    what others have the moment that it is back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::portion::Portion;

/// How often a member shows that it lives.
pub(super) const BEAT: Duration = Duration::from_millis(500);
/// After this without a sign of it, a member is gone.
pub(super) const TTL: Duration = Duration::from_secs(6);
/// Longer than this without reading the roll, and what was known of the others doesn't count.
pub(super) const GAP: Duration = Duration::from_secs(2);
/// How long a member must have seen one epoch before it takes more: longer than a member takes to come back to a store
/// that is reachable again.
pub(super) const SETTLE: Duration = Duration::from_secs(3);

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Roll {
    epoch: String,
    revision: u64,
    members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    id: String,
    beat: u64,
    from: u64,
    to: u64,
}

impl Member {
    fn portion(&self) -> Portion {
        Portion::from_parts(self.from, self.to)
    }
}

/// What one member knows.
pub(super) struct Seat {
    id: String,
    /// The counter that the roll is known to have, and the last one that was tried.
    beat: u64,
    tried: u64,
    /// Whether it is on its way out: its part is nothing.
    leaving: bool,
    /// Whether the roll has ever had this member.
    present: bool,
    /// What new work is admitted within.
    used: Portion,
    /// What may be in flight: `used`, and more while that is being given up.
    held: Portion,
    epoch: String,
    revision: u64,
    /// Since when the epoch has been seen without a gap.
    since: Option<Instant>,
    read: Option<Instant>,
    /// All members, this one included, as last seen.
    members: Vec<String>,
    others: HashMap<String, Known>,
}

/// What is known of another member.
#[derive(Clone, Copy)]
struct Known {
    beat: u64,
    /// Since when its counter has stood there.
    since: Instant,
    /// Whether it has raised it since the members last changed.
    fresh: bool,
}

/// A roll that has been read, and what is to be done about it.
pub(super) struct Turn {
    roll: Roll,
    index: usize,
    taken: Vec<Portion>,
    settled: bool,
    leaving: bool,
    /// What new work must be admitted within from now on.
    pub(super) shrunk: Portion,
}

/// A roll to be written.
pub(super) struct Draft {
    pub(super) roll: Roll,
    /// What may be used once it has been written.
    pub(super) granted: Portion,
    pub(super) live: usize,
    pub(super) index: usize,
    /// Whether this member is no longer on it.
    pub(super) left: bool,
}

impl Seat {
    /// `id` must never have been used by another process.
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            beat: 0,
            tried: 0,
            leaving: false,
            present: false,
            used: Portion::NONE,
            held: Portion::NONE,
            epoch: String::new(),
            revision: 0,
            since: None,
            read: None,
            members: Vec::new(),
            others: HashMap::new(),
        }
    }

    /// What may be used now.
    pub(super) fn used(&self) -> Portion {
        self.used
    }

    /// First half of a turn, after the roll was read (`None`: there is none, or it is unreadable). New work must be limited
    /// to [`Turn::shrunk`] before the second half, [`Seat::write`].
    pub(super) fn read(&mut self, roll: Option<Roll>, now: Instant) -> Turn {
        let mut roll = roll.unwrap_or_default();
        let gap = self.read.is_none_or(|read| now.saturating_duration_since(read) > GAP);
        self.read = Some(now);
        self.see_epoch(&mut roll, gap, now);
        self.expire(&mut roll, gap, now);

        let taken: Vec<Portion> =
            roll.members.iter().filter(|member| member.id != self.id).map(Member::portion).collect();
        let index = roll.members.iter().position(|member| member.id == self.id);
        let index = index.unwrap_or_else(|| {
            // What it holds is filled in by `write`.
            roll.members.push(Member { id: self.id.clone(), beat: 0, from: 0, to: 0 });
            roll.members.len() - 1
        });
        // If the store has forgotten, or this member was taken for dead, others may have a part of it.
        let mine = self.used.without(&taken);
        let part = if self.leaving { Portion::NONE } else { Portion::of(roll.members.len(), index) };
        self.used = mine.overlap(part);
        let settled = self.since.is_some_and(|since| now.saturating_duration_since(since) >= SETTLE)
            && self.all_fresh(&roll);
        Turn { roll, index, taken, settled, leaving: self.leaving, shrunk: self.used }
    }

    fn see_epoch(&mut self, roll: &mut Roll, gap: bool, now: Instant) {
        let own = roll.members.iter().find(|member| member.id == self.id).map(|member| member.beat);
        let as_written = own.is_some_and(|beat| (self.beat..=self.tried).contains(&beat));
        let forgotten = roll.revision < self.revision || self.present && !as_written;
        if roll.epoch.is_empty() || forgotten {
            roll.epoch = format!("{}-{}", self.id, self.tried + 1);
        }
        if roll.epoch != self.epoch || gap {
            self.since = None;
        }
        self.since.get_or_insert(now);
        self.epoch.clone_from(&roll.epoch);
        self.revision = roll.revision;
        if let Some(beat) = own {
            // An answer to an earlier try may have been lost.
            self.beat = beat;
            self.present = true;
        }
    }

    fn expire(&mut self, roll: &mut Roll, gap: bool, now: Instant) {
        let mut seen = HashMap::new();
        roll.members.retain(|member| {
            if member.id == self.id {
                return true;
            }
            let beat = member.beat;
            let known = match self.others.get(&member.id) {
                Some(known) if known.beat == beat && !gap => *known,
                Some(known) => Known { beat, since: now, fresh: known.fresh || known.beat != beat },
                None => Known { beat, since: now, fresh: false },
            };
            seen.insert(member.id.clone(), known);
            now.saturating_duration_since(known.since) < TTL
        });
        self.others = seen;
    }

    /// Whether all others have shown what they use since the members last changed.
    fn all_fresh(&mut self, roll: &Roll) -> bool {
        if !roll.members.iter().map(|member| &member.id).eq(&self.members) {
            self.members = roll.members.iter().map(|member| member.id.clone()).collect();
            self.others.values_mut().for_each(|known| known.fresh = false);
        }
        let mut others = roll.members.iter().filter(|member| member.id != self.id);
        others.all(|member| self.others.get(&member.id).is_some_and(|known| known.fresh))
    }

    /// Second half of a turn. `fits`: whether all that is in flight lies within [`Turn::shrunk`].
    pub(super) fn write(&mut self, turn: Turn, fits: bool) -> Draft {
        let Turn { mut roll, index, taken, settled, leaving, shrunk } = turn;
        let live = roll.members.len();
        let (record, granted) = if !fits {
            (self.held.around(shrunk, &taken), shrunk)
        } else if settled && !leaving {
            self.held = shrunk;
            let grown = Portion::of(live, index).around(shrunk, &taken);
            (grown, grown)
        } else {
            self.held = shrunk;
            (shrunk, shrunk)
        };
        self.tried += 1;
        roll.revision += 1;
        let left = leaving && fits;
        if left {
            roll.members.remove(index);
        } else {
            let (from, to) = record.parts();
            roll.members[index] = Member { id: self.id.clone(), beat: self.tried, from, to };
        }
        Draft { roll, granted, live, index, left }
    }

    /// The draft is in place.
    pub(super) fn written(&mut self, draft: &Draft) {
        self.beat = self.tried;
        self.revision = draft.roll.revision;
        self.present = true;
        self.used = draft.granted;
        if !self.used.is_none() && self.used.overlap(self.held) != self.used {
            self.held = self.used;
        }
    }

    /// From the next turn on it gives up what it has; the draft that takes it off the roll says so.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }
}

#[cfg(test)]
mod tests;

//! A recorded round through the decision: what it says today of what came then.
//!
//! The form of a recording is told in the README. Claims are kept in memory; time is the recording's.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use mainstay_antelope::{Frame, Id, Name, Slot};
use serde::Serialize;

use crate::claims::MemoryClaims;
use crate::egress::{Block, Egress, Leg, Rules, Step, begins};
use crate::{Pass, Suppress, Verdict};

pub use read::{Wrong, read};

/// What was recorded.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Whose blocks are decided about; none if it doesn't say and nothing in it tells.
    pub producers: Vec<Name>,
    chain: Id,
    public_before: Vec<Id>,
    /// The time of day at its second 0, if it says.
    began: Option<SystemTime>,
    events: Vec<Event>,
}

/// Something that passed.
#[derive(Clone, Debug)]
struct Event {
    /// Seconds since whatever the recording counts from; may be negative.
    at: f64,
    leg: Leg,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// An inner node sent a block; what was decided then, if that is known.
    Block(Block, Option<Recorded>),
    /// An inner node sent something else.
    Inner(Frame),
    /// An outer peer sent something.
    Outer(Frame),
    /// An outer peer sent a block of which there is only the id.
    Public(Id),
}

/// A verdict that a recording has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Recorded(String);

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Recorded {
    /// Those that a prototype wrote besides our own.
    const DUP_SUPPRESSED: &str = "dup_suppressed";
    const WORDS: [&str; 13] = [
        "win",
        "same",
        "public",
        "history",
        "other",
        "open",
        "lost",
        "tainted",
        "future",
        "old",
        "copy",
        "closed",
        Self::DUP_SUPPRESSED,
    ];

    /// Whether it is of one of our own blocks.
    fn tells_ours(&self) -> bool {
        matches!(self.0.as_str(), "win" | "same" | "lost" | "tainted")
    }

    /// Whether a verdict is the same. A copy of what is the same may go out or not; a recording that knows no more than "public" says it of
    /// whatever needs no decision; one that is suppressed again has no reason of its own.
    fn agrees(&self, verdict: Verdict) -> bool {
        match self.0.as_str() {
            "same" => matches!(verdict, Verdict::Pass(Pass::Same) | Verdict::Suppress(Suppress::Copy)),
            "public" => matches!(verdict, Verdict::Pass(Pass::Public | Pass::History | Pass::Other)),
            Self::DUP_SUPPRESSED => {
                matches!(verdict, Verdict::Suppress(Suppress::Tainted | Suppress::Lost { .. }))
            }
            word => word == verdict.word(),
        }
    }
}

/// One block of a recording, and what is decided of it.
#[derive(Clone, Debug, Serialize)]
pub struct Decided {
    /// Seconds, as recorded.
    pub at: f64,
    /// The leg that it came on.
    pub leg: u64,
    /// Its number.
    pub block_num: u32,
    /// Its id.
    pub id: Id,
    /// Its parent.
    pub previous: Id,
    /// Its slot.
    pub slot: Slot,
    /// Who made it.
    pub producer: Name,
    /// Whether it goes out.
    pub passes: bool,
    /// The verdict's word.
    pub verdict: &'static str,
    /// The reason, for people.
    pub why: String,
    /// What was decided when it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// Whether that is the same; true if nothing was recorded.
    pub agrees: bool,
}

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every block that an inner node sent, in order.
    pub blocks: Vec<Decided>,
    /// Slots of ours for which two blocks went out: none, if the decision is right.
    pub doubles: Vec<(Name, Slot)>,
}

/// Puts a recording to the decision, which is about the blocks of `producers`.
#[must_use]
pub fn replay(recording: &Recording, producers: &[Name]) -> Outcome {
    let mut egress = Egress::new(recording.chain, Rules::of(producers.iter().copied()));
    let claims = MemoryClaims::default();
    for id in &recording.public_before {
        egress.make_public(*id);
    }
    let legs = recording.events.iter().map(|event| event.leg);
    for leg in legs.collect::<BTreeSet<Leg>>() {
        egress.opened(leg);
    }
    let began = recording.began.unwrap_or_else(|| recording.guessed_beginning(producers));
    let mut outcome = Outcome { blocks: Vec::new(), doubles: Vec::new() };
    let mut out: BTreeMap<(Name, Slot), Id> = BTreeMap::new();
    for event in &recording.events {
        let now = after(began, event.at);
        let (block, recorded) = match &event.what {
            What::Block(block, recorded) => (block, recorded),
            // What can't be read teaches nothing, then as now.
            What::Inner(frame) => {
                let _ = egress.hear_inner(event.leg, frame);
                continue;
            }
            What::Outer(frame) => {
                let _ = egress.hear_outer(event.leg, frame, now);
                continue;
            }
            What::Public(id) => {
                egress.make_public(*id);
                continue;
            }
        };
        let mut step = egress.before_claim(event.leg, block, now);
        let verdict = loop {
            match step {
                Step::Settled(verdict) => break verdict,
                Step::Hold(wait) => step = egress.before_claim(event.leg, block, now + wait),
                Step::Claim(bid) => step = egress.after_claim(event.leg, block, &bid, Ok(claims.bid(&bid))),
            }
        };
        if verdict.passes() && verdict != Verdict::Pass(Pass::Other) {
            let slot = (block.producer, block.slot);
            let first = *out.entry(slot).or_insert(block.id);
            if first != block.id && !outcome.doubles.contains(&slot) {
                outcome.doubles.push(slot);
            }
        }
        outcome.blocks.push(Decided {
            at: event.at,
            leg: event.leg.0,
            block_num: block.number(),
            id: block.id,
            previous: block.previous,
            slot: block.slot,
            producer: block.producer,
            passes: verdict.passes(),
            verdict: verdict.word(),
            why: verdict.to_string(),
            recorded: recorded.clone(),
            agrees: recorded.as_ref().is_none_or(|recorded| recorded.agrees(verdict)),
        });
    }
    outcome
}

impl Recording {
    /// The time of day at second 0 if the first block of ours came when its slot began.
    fn guessed_beginning(&self, producers: &[Name]) -> SystemTime {
        let first = self.events.iter().find_map(|event| match &event.what {
            What::Block(block, _) if producers.contains(&block.producer) => Some((event.at, block.slot)),
            _ => None,
        });
        let (at, slot) = first.unwrap_or((0.0, Slot(0)));
        after(begins(slot), -at)
    }
}

/// Some seconds later, or earlier; the same where that is no time at all.
fn after(time: SystemTime, seconds: f64) -> SystemTime {
    let span = Duration::try_from_secs_f64(seconds.abs()).unwrap_or_default();
    if seconds < 0.0 { time.checked_sub(span) } else { time.checked_add(span) }.unwrap_or(time)
}

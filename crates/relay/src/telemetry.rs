//! What the role says of itself: metrics, and events that log and count at once. Lines of one cause are limited where logs are written.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_antelope::{Id, Kind, Name};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::Verdict;
use crate::balance::Outcome;
use crate::claims::{Answer, Unavailable};
use crate::egress::{Block, Double, Leg};
use crate::fanout::Heard;
use crate::filter::Dropped;
use crate::leg::{End, Side};
use crate::peer::Peer;

/// Nodes that have a label of their own; who comes later is one of the others. Strangers can't get in, but what tells nodes of one
/// address apart is their own word.
const NODES: usize = 64;

/// Kinds of alarms.
const ALARMS: [&str; 12] = [
    "double",
    "claims",
    "closed",
    "open",
    "future",
    "old",
    "behind",
    "shared_outer",
    "pinned",
    "unreadable",
    "chain",
    "audit",
];
/// Answers to claims.
const ANSWERS: [&str; 5] = ["granted", "same", "orphan", "lost", "unavailable"];
/// What comes of a try to move a leg.
const OUTCOMES: [&str; 4] = ["moved", "fit", "unfit", "unready"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RelayLabels {
    relay: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    relay: String,
    node: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabels {
    relay: String,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabels {
    relay: String,
    way: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    relay: String,
    way: &'static str,
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToldLabels {
    relay: String,
    what: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OuterLabels {
    relay: String,
    outer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    relay: String,
    side: &'static str,
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProducerLabels {
    relay: String,
    producer: String,
}

type Seconds = Family<RelayLabels, Histogram, fn() -> Histogram>;

/// Half a slot is the longest that matters.
fn seconds() -> Histogram {
    Histogram::new([0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.1, 0.25])
}

/// The metrics of all `relay` roles of a process. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    blocks: Family<VerdictLabels, Counter>,
    block_seconds: Seconds,
    claims: Family<WhatLabels, Counter>,
    claim_seconds: Seconds,
    legs: Family<RelayLabels, Gauge>,
    legs_ended: Family<EndLabels, Counter>,
    outer_behind: Family<OuterLabels, Gauge>,
    outer_shared: Family<OuterLabels, Gauge>,
    tries: Family<WhatLabels, Counter>,
    refused: Family<WhatLabels, Counter>,
    dropped: Family<DropLabels, Counter>,
    votes: Family<RelayLabels, Counter>,
    told: Family<ToldLabels, Counter>,
    alarms: Family<WhatLabels, Counter>,
    gaps: Family<ProducerLabels, Counter>,
    bytes: Family<WayLabels, Counter>,
}

impl Metrics {
    /// Registers the metrics. Once a process: a second registration would show each of them twice.
    pub fn new(registry: &mut Registry) -> Self {
        let m = Self {
            blocks: Family::default(),
            block_seconds: Family::new_with_constructor(seconds),
            claims: Family::default(),
            claim_seconds: Family::new_with_constructor(seconds),
            legs: Family::default(),
            legs_ended: Family::default(),
            outer_behind: Family::default(),
            outer_shared: Family::default(),
            tries: Family::default(),
            refused: Family::default(),
            dropped: Family::default(),
            votes: Family::default(),
            told: Family::default(),
            alarms: Family::default(),
            gaps: Family::default(),
            bytes: Family::default(),
        };
        let t = m.clone();
        let r = registry.sub_registry_with_prefix("mainstay_relay");
        r.register(
            "blocks",
            "Blocks that inner nodes sent, by verdict: other, public, history, win, same and open went out; copy, lost, tainted, \
             future, old and closed didn't",
            t.blocks,
        );
        r.register_with_unit(
            "block",
            "Time from a block of ours being here to its being sent",
            Unit::Seconds,
            t.block_seconds,
        );
        r.register("claims", "Claims by answer: granted, same, orphan, lost, unavailable", t.claims);
        r.register_with_unit("claim", "Time to the answer to a claim", Unit::Seconds, t.claim_seconds);
        r.register("legs", "Inner nodes that are connected, each with its outer one", t.legs);
        r.register("legs_ended", "Legs that ended, by the side that did and why", t.legs_ended);
        r.register(
            "outer_behind",
            "Blocks that an outer peer is behind the one that is ahead, as far as its legs show it",
            t.outer_behind,
        );
        r.register("outer_shared", "Whether another relay uses an outer peer too: 1 or 0", t.outer_shared);
        r.register(
            "tries",
            "Tries to move a leg to an outer peer that has fewer, by what came of it: moved; fit, and to stay so for a while first; unfit; unready, which is the leg's own node",
            t.tries,
        );
        r.register("refused", "Inner connections that never became a leg, by reason", t.refused);
        r.register(
            "dropped",
            "Frames that were not passed on, by way and reason; blocks of inner nodes aside",
            t.dropped,
        );
        r.register("votes", "Votes of finalizers that went out", t.votes);
        r.register(
            "told",
            "Blocks, transactions and votes of one leg's outer peer for another leg's node (fan_inward); full: too much waited for that node",
            t.told,
        );
        r.register("alarms", "What an operator should look at, by kind", t.alarms);
        r.register("gaps", "Slots of ours that nobody filled", t.gaps);
        r.register_with_unit("passed", "Bytes that were passed on, by way", Unit::Bytes, t.bytes);
        m
    }
}

/// What one role says.
pub(crate) struct Telemetry {
    relay: String,
    metrics: Metrics,
    block_seconds: Histogram,
    claim_seconds: Histogram,
    legs: Gauge,
    votes: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) bytes_in: Counter,
    blocks: Mutex<HashMap<(Arc<str>, &'static str), Counter>>,
}

/// Something that an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) kind: &'static str,
    pub(crate) node: Arc<str>,
    pub(crate) what: String,
}

impl Telemetry {
    /// That of the role called `name`.
    pub(crate) fn new(name: &str, producers: &BTreeSet<Name>, metrics: &Metrics) -> Self {
        for producer in producers {
            // So that it is there before the first.
            let _ = metrics.gaps.get_or_create_owned(&gaps_of(name, *producer));
        }
        for (family, words) in
            [(&metrics.alarms, &ALARMS[..]), (&metrics.claims, &ANSWERS), (&metrics.tries, &OUTCOMES)]
        {
            for what in words {
                // These too: who watches for an increase would miss the first one.
                let _ = family.get_or_create_owned(&WhatLabels { relay: name.to_owned(), what });
            }
        }
        let relay = RelayLabels { relay: name.to_owned() };
        let way = |way| WayLabels { relay: name.to_owned(), way };
        Self {
            relay: name.to_owned(),
            block_seconds: metrics.block_seconds.get_or_create_owned(&relay),
            claim_seconds: metrics.claim_seconds.get_or_create_owned(&relay),
            legs: metrics.legs.get_or_create_owned(&relay),
            votes: metrics.votes.get_or_create_owned(&relay),
            bytes_out: metrics.bytes.get_or_create_owned(&way("out")),
            bytes_in: metrics.bytes.get_or_create_owned(&way("in")),
            blocks: Mutex::default(),
            metrics: metrics.clone(),
        }
    }

    fn what(&self, what: &'static str) -> WhatLabels {
        WhatLabels { relay: self.relay.clone(), what }
    }

    /// A connection to the inner listener was closed before it became a leg.
    pub(crate) fn refused(&self, peer: &Peer, why: &'static str, what: &str) {
        self.metrics.refused.get_or_create(&self.what(why)).inc();
        tracing::warn!(relay = self.relay, node = %peer, why = what, "inner connection refused");
    }

    /// A leg is there, however that came.
    pub(crate) fn opened(&self) {
        self.legs.inc();
    }

    /// For whom a leg is there that is a new connection's.
    pub(crate) fn begins(&self, leg: Leg, peer: &Peer, outer: &str) {
        tracing::info!(relay = self.relay, leg = leg.0, node = %peer, outer, "leg opened");
    }

    /// A leg is gone, however that came.
    pub(crate) fn closed(&self) {
        self.legs.dec();
    }

    /// Why a leg is gone.
    pub(crate) fn ended(&self, leg: Leg, node: &str, outer: &str, end: &End) {
        let labels = EndLabels { relay: self.relay.clone(), side: end.side.word(), why: end.why.word() };
        self.metrics.legs_ended.get_or_create(&labels).inc();
        if end.side == Side::Mainstay {
            tracing::info!(relay = self.relay, leg = leg.0, node, outer, %end, "leg closed");
        } else {
            tracing::warn!(relay = self.relay, leg = leg.0, node, outer, %end, "leg closed");
        }
    }

    /// A leg is in the place of another one, with another outer peer.
    pub(crate) fn moved(&self, [was, leg]: [Leg; 2], node: &str, [from, to]: [&str; 2]) {
        tracing::info!(relay = self.relay, leg = leg.0, was = was.0, node, from, to, "leg moved");
    }

    /// What came of a try to move a leg.
    pub(crate) fn tried(&self, leg: Leg, outer: &str, outcome: &Outcome) {
        self.metrics.tries.get_or_create(&self.what(outcome.word())).inc();
        let (relay, leg) = (&self.relay, leg.0);
        match outcome {
            Outcome::Moved => {}
            Outcome::Fit => tracing::debug!(relay, leg, outer, "a leg may move to an outer peer that is fit"),
            Outcome::Unfit(why) => {
                tracing::warn!(relay, leg, outer, why, "no leg moves to an outer peer that isn't fit")
            }
            Outcome::Unready(why) => tracing::debug!(relay, leg, outer, why, "a leg can't be moved now"),
        }
    }

    /// So many blocks an outer peer is behind, and whether another relay uses it too.
    pub(crate) fn outer(&self, outer: &str, behind: u32, is_shared: bool) {
        let labels = OuterLabels { relay: self.relay.clone(), outer: outer.to_owned() };
        self.metrics.outer_behind.get_or_create(&labels).set(behind.into());
        self.metrics.outer_shared.get_or_create(&labels).set(is_shared.into());
    }

    /// The settings have an outer peer no more, and no leg goes to it.
    pub(crate) fn forget_outer(&self, outer: &str) {
        let labels = OuterLabels { relay: self.relay.clone(), outer: outer.to_owned() };
        self.metrics.outer_behind.remove(&labels);
        self.metrics.outer_shared.remove(&labels);
    }

    /// An outer peer couldn't be reached.
    pub(crate) fn unreachable(&self, outer: &str, why: &str) {
        tracing::warn!(relay = self.relay, node = outer, why, "outer peer can't be reached");
    }

    /// The chain is known.
    pub(crate) fn chain(&self, chain: Id) {
        tracing::info!(relay = self.relay, %chain, "the chain is known");
    }

    /// A block was decided about.
    pub(crate) fn decided(&self, leg: Leg, node: &Arc<str>, block: &Block, verdict: Verdict) {
        self.counter(node, verdict.word()).inc();
        let (relay, leg, number, slot) = (&self.relay, leg.0, block.number(), block.slot.0);
        let (producer, id, why) = (block.producer, block.id, verdict);
        match verdict {
            Verdict::Suppress(crate::Suppress::Lost { .. }) => {
                tracing::info!(relay, leg, %node, number, slot, %producer, %id, %why, "block suppressed");
            }
            Verdict::Suppress(_) => {
                tracing::debug!(relay, leg, %node, number, slot, %producer, %id, %why, "block suppressed");
            }
            Verdict::Pass(_) => {
                tracing::debug!(relay, leg, %node, number, slot, %producer, %id, %why, "block passed");
            }
        }
    }

    fn counter(&self, node: &Arc<str>, verdict: &'static str) -> Counter {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = blocks.get(&(node.clone(), verdict)) {
            return counter.clone();
        }
        let is_known = blocks.keys().any(|(known, _)| known == node);
        let others: Arc<str> = "other".into();
        let nodes: HashSet<&Arc<str>> = blocks.keys().map(|(known, _)| known).collect();
        let node = if is_known || nodes.len() < NODES { node.clone() } else { others };
        let labels = VerdictLabels { relay: self.relay.clone(), node: node.to_string(), verdict };
        let counter = self.metrics.blocks.get_or_create_owned(&labels);
        blocks.insert((node, verdict), counter.clone());
        counter
    }

    /// A block of ours is out.
    pub(crate) fn sent(&self, took: Duration) {
        self.block_seconds.observe(took.as_secs_f64());
    }

    /// A claim was answered.
    pub(crate) fn claimed(&self, answer: &Result<Answer, Unavailable>, took: Duration) {
        let what = match answer {
            Ok(Answer::Granted) => "granted",
            Ok(Answer::Same) => "same",
            Ok(Answer::Orphan) => "orphan",
            Ok(Answer::Lost(_)) => "lost",
            Err(_) => "unavailable",
        };
        self.metrics.claims.get_or_create(&self.what(what)).inc();
        self.claim_seconds.observe(took.as_secs_f64());
    }

    /// A vote went out.
    pub(crate) fn voted(&self) {
        self.votes.inc();
    }

    /// A frame of one leg's outer peer, and what became of it at the other legs.
    pub(crate) fn told(&self, kind: Kind, heard: &Heard) {
        for (outcome, legs) in [("told", heard.told.len()), ("full", heard.full.len())] {
            if legs > 0 {
                let labels = ToldLabels { relay: self.relay.clone(), what: kind.name(), outcome };
                self.metrics.told.get_or_create(&labels).inc_by(legs as u64);
            }
        }
    }

    /// A frame that is no block was not passed on.
    pub(crate) fn dropped(&self, way: &'static str, why: Dropped) {
        let why = match why {
            Dropped::Repeated => "repeated",
            Dropped::Private => "private",
            Dropped::Pinned(_) => "pinned",
            Dropped::Version => "version",
            Dropped::Unreadable => "unreadable",
        };
        self.metrics.dropped.get_or_create(&DropLabels { relay: self.relay.clone(), way, why }).inc();
    }

    /// Nobody filled so many slots of a round of ours.
    pub(crate) fn missed(&self, producer: Name, gaps: usize) {
        self.metrics.gaps.get_or_create(&gaps_of(&self.relay, producer)).inc_by(gaps as u64);
        tracing::warn!(relay = self.relay, %producer, gaps, "slots of a round were filled by nobody");
    }

    /// Something that an operator should look at.
    pub(crate) fn alarm(&self, alarm: &Alarm) {
        debug_assert!(ALARMS.contains(&alarm.kind), "{} is none of the kinds", alarm.kind);
        self.metrics.alarms.get_or_create(&self.what(alarm.kind)).inc();
        tracing::warn!(relay = self.relay, node = %alarm.node, kind = alarm.kind, what = alarm.what, "alarm");
    }

    /// What was published last can't be asked yet, and nothing is claimed before.
    pub(crate) fn waits_for_claims(&self, why: &Unavailable) {
        tracing::warn!(relay = self.relay, %why, "the claims don't answer, nothing is claimed before they do");
    }
}

fn gaps_of(relay: &str, producer: Name) -> ProducerLabels {
    ProducerLabels { relay: relay.to_owned(), producer: producer.to_string() }
}

/// What there is to say of two public blocks for one slot.
pub(crate) fn double(double: &Double) -> String {
    let [first, second] = &double.ids;
    format!("two public blocks of {} for slot {}: {first} and {second}", double.producer, double.slot.0)
}

//! What has to hold whatever happens, judged by books of what went over the wires and what the consensus client (CL) was told.
//! Of the engine's own state only the parts of the nodes as a round begins are taken over; whether those are right is judged by
//! what they lead to.
//!
//! The numbers in messages are those of the list at the top of `simulation.rs`. Within one millisecond the order in which the
//! engine's tasks come to know of things is theirs: what is to be known at a moment is what came before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mainstay_execution::Round as Shown;
use mainstay_execution::ballot::Part;
use mainstay_execution::standing::Hold;
use mainstay_execution::status::Heard;
use mainstay_execution::verdict::{OnDissent, Vote};
use mainstay_node::Condition;
use tokio::sync::broadcast;

use crate::chain::{Chain, Id};
use crate::count::Count;
use crate::el::{Ask, Attributes};
use crate::reads::Reads;
use crate::referee::{self, Finding};
use crate::setup::Setup;
use crate::speech::{HEAD_METHOD, Told};

/// Calls that wait for a node at most.
pub const QUEUE: usize = 256;

/// Why a node is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A round: its id.
    Job(u64),
    Replay,
    /// A call without a vote: its id.
    Read(u64),
    Probe,
}

/// A voted call of the CL.
pub struct Round {
    pub id: u64,
    pub ask: Ask,
    pub block: Id,
    pub method: &'static str,
    pub deadline: Duration,
    pub begun: u64,
    pub parts: Vec<Part>,
    /// Nodes with a full queue when it began: what those miss is replayed.
    pub full: Vec<bool>,
    /// Nodes that were down when it began.
    pub unfit: Vec<bool>,
    /// What was remembered of the block when it began.
    pub said_invalid: Vec<bool>,
    /// What each node was heard to say, in the order of arrival, and when.
    pub replies: Vec<(u64, usize, Heard)>,
    pub told: Option<(u64, Told)>,
    /// What nodes had said INVALID and not taken back before the answer, and by the end of its millisecond.
    pub recalled: Vec<(bool, bool)>,
    /// Nodes that were muted by it.
    pub muted: Vec<bool>,
    pub shown: bool,
    /// The CL went away.
    pub given_up: bool,
}

impl Round {
    /// Whether a node has a vote, be it one that nobody waits for.
    pub fn votes(&self, node: usize) -> bool {
        self.parts[node] != Part::Never
    }

    /// Whether a node's opinion is against that of two others with a vote.
    fn dissents(&self, node: usize) -> bool {
        let opinion = |node: usize| self.said(node).filter(|vote| *vote != Vote::Syncing);
        let others = (0..self.parts.len()).filter(|other| *other != node && self.votes(*other));
        let against = others.filter_map(opinion).filter(|vote| Some(*vote) != opinion(node)).count();
        opinion(node).is_some() && against >= 2
    }

    pub fn said(&self, node: usize) -> Option<Vote> {
        self.replies.iter().find(|(_, n, _)| *n == node).and_then(|(.., heard)| heard.vote())
    }
}

/// A node's last word on a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Word {
    pub invalid: bool,
    pub at: u64,
    /// As it was before `at`.
    pub before: bool,
}

#[derive(Debug)]
pub enum Feed {
    Delivers,
    /// From the question for its head to the answer to the head that it is led to.
    Replays,
}

pub struct Oracle {
    pub violation: Option<String>,
    pub count: Count,
    pub rounds: BTreeMap<u64, Round>,
    pub reads: Reads,
    pub next: u64,
    pub shown: broadcast::Receiver<Arc<Shown>>,
    pub last: HashMap<(Id, usize), Word>,
    pub last_head: Option<Id>,
    pub feeds: Vec<Feed>,
    /// Per node: whether a call of its feed is out, the last round that its EL was sent, and payloads not sent yet.
    pub busy: Vec<bool>,
    pub sent: Vec<u64>,
    pub owed: Vec<BTreeSet<u64>>,
    /// Until when calls to a node could fail or be left out; the end of time while they can.
    pub ailing_until: Vec<u64>,
    pub held: Vec<Hold>,
    /// Nodes that were last seen down, and those that were down or on another chain.
    pub down: Vec<bool>,
    pub away: Vec<bool>,
    /// Since when a node refuses or resets whatever it is asked.
    pub refuses: Vec<Option<u64>>,
    /// Since when a node that is back waits for what it missed.
    pub back_since: Vec<Option<u64>>,
    pub kept: Vec<(Id, usize)>,
    pub kept_at: HashMap<Id, usize>,
    /// Since when a node owes a VALID or INVALID, having said SYNCING where another said VALID or been down.
    pub muted: Vec<Option<u64>>,
    pub quarantined: Vec<bool>,
    /// Blocks on which a node dissented in rounds that are forgotten.
    pub dissents: Vec<BTreeSet<Id>>,
    pub primary: Option<usize>,
    pub looked_at: u64,
    /// Ids that nodes gave for a build.
    pub given: BTreeMap<(Id, Attributes), BTreeSet<(usize, String)>>,
    pub id_of: BTreeMap<(Id, Attributes), String>,
    pub build_of: BTreeMap<String, (Id, Attributes)>,
}

impl Oracle {
    pub fn new(nodes: usize, shown: broadcast::Receiver<Arc<Shown>>) -> Self {
        Self {
            violation: None,
            count: Count::default(),
            rounds: BTreeMap::new(),
            reads: Reads::new(),
            next: 1,
            shown,
            last: HashMap::new(),
            last_head: None,
            feeds: (0..nodes).map(|_| Feed::Delivers).collect(),
            busy: vec![false; nodes],
            sent: vec![0; nodes],
            owed: vec![BTreeSet::new(); nodes],
            ailing_until: vec![0; nodes],
            held: vec![Hold::None; nodes],
            down: vec![false; nodes],
            away: vec![false; nodes],
            refuses: vec![None; nodes],
            back_since: vec![None; nodes],
            kept: Vec::new(),
            kept_at: HashMap::new(),
            muted: vec![None; nodes],
            quarantined: vec![false; nodes],
            dissents: vec![BTreeSet::new(); nodes],
            primary: None,
            looked_at: 0,
            given: BTreeMap::new(),
            id_of: BTreeMap::new(),
            build_of: BTreeMap::new(),
        }
    }

    pub fn ensure(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(otherwise());
        }
    }

    pub fn held(&mut self, node: usize, hold: Hold) {
        if hold == Hold::Drained {
            self.ailing_until[node] = u64::MAX;
        }
        self.held[node] = hold;
    }

    /// 4: no answer is late.
    pub fn overdue(&mut self, id: u64) {
        let late = self.rounds.get(&id).is_some_and(|round| round.told.is_none() && !round.given_up)
            || self.reads.contains_key(&id);
        self.ensure(!late, || format!("4: call {id} has no answer at its deadline"));
    }

    /// The CL went away: the round goes on.
    pub fn gives_up(&mut self, id: u64) {
        self.count.given_up += 1;
        if let Some(round) = self.rounds.get_mut(&id) {
            round.given_up = true;
        }
    }

    /// The CL sends a payload of this length.
    pub fn keeps(&mut self, ask: &Ask, length: usize) {
        let Ask::Payload(block) = ask else { return };
        if !self.kept_at.contains_key(block) {
            self.kept_at.insert(*block, self.kept.len());
            self.kept.push((*block, length));
        }
    }

    /// Whether this block is among the last ones, which mainstay promises to replay.
    pub fn is_kept(&self, block: Id, setup: &Setup) -> bool {
        let Some(at) = self.kept_at.get(&block) else { return false };
        let since = &self.kept[*at..];
        let bytes: usize = since.iter().map(|(_, length)| length).sum();
        since.len() <= setup.replay_blocks && bytes <= setup.replay_bytes
    }

    /// A node that ailed is well again as far as can be seen, and one that is back is led to the head.
    pub fn look(&mut self, node: usize, condition: &Condition, now: u64) {
        let down = matches!(condition, Condition::Unfit(_));
        let away = down || matches!(condition, Condition::Misconfigured { .. } | Condition::Unknown);
        if down && !std::mem::replace(&mut self.down[node], down) {
            self.muted[node] = Some(now);
        }
        self.down[node] = down;
        let was_away = std::mem::replace(&mut self.away[node], away);
        if away || self.held[node] == Hold::Drained {
            self.back_since[node] = None;
        } else if was_away && self.last_head.is_some() {
            self.back_since[node] = Some(now);
        }
        // The call that it is at may hang until its deadline.
        let waits = self.back_since[node].filter(|since| since + 10_000 < now);
        self.ensure(waits.is_none(), || {
            format!("6: node {node} is back since {waits:?} ms and nobody leads it to the head")
        });
        if self.ailing_until[node] == u64::MAX && !down && self.held[node] != Hold::Drained {
            self.ailing_until[node] = now;
        }
    }

    /// 3: an EL is sent a round's call.
    pub fn sends_job(&mut self, node: usize, id: u64, now: u64) {
        let last = std::mem::replace(&mut self.sent[node], id);
        self.ensure(last < id, || format!("3: node {node} is sent round {id} after round {last}"));
        let left_out: Vec<u64> = self.owed[node].range(..id).copied().collect();
        self.owed[node].retain(|owed| *owed > id);
        for owed in left_out {
            let begun = self.rounds.get(&owed).map_or(0, |round| round.begun);
            let excused = self.ailing_until[node] >= begun;
            self.ensure(excused, || {
                format!(
                    "3: node {node} is sent round {id} and never was the payload of round {owed}, at {now} ms"
                )
            });
        }
    }

    /// 2, 3, 4: what is shown of the rounds, and by that the whole of each.
    pub fn read_shown(&mut self, chain: &Chain, setup: &Setup, now: u64) {
        loop {
            match self.shown.try_recv() {
                Ok(shown) => self.judge_shown(&shown, chain, setup),
                Err(broadcast::error::TryRecvError::Lagged(n)) => {
                    self.ensure(false, || format!("{n} rounds were shown too fast"));
                }
                Err(_) => break,
            }
        }
        // Each is told of a second after its answer at the latest.
        let due = |round: &Round| match &round.told {
            Some((at, _)) => at + 1_500,
            None => round.begun + 10_000,
        };
        let forgotten = self.rounds.values().find(|round| !round.shown && due(round) < now);
        let forgotten = forgotten.map(|round| round.id);
        self.ensure(forgotten.is_none(), || format!("round {forgotten:?} was never shown"));
        // Late replies come while the queue of a node that hung is worked off.
        let Self { rounds, dissents, .. } = self;
        rounds.retain(|_, round| {
            let stays = !round.shown || round.begun + 300_000 > now;
            if !stays {
                let against = (0..dissents.len()).filter(|node| round.dissents(*node));
                for node in against {
                    dissents[node].insert(round.block);
                }
            }
            stays
        });
    }

    fn judge_shown(&mut self, shown: &Shown, chain: &Chain, setup: &Setup) {
        let took = u64::try_from(shown.took.as_millis()).unwrap();
        let same = |round: &&Round| {
            let told = round.told.as_ref();
            !round.shown
                && round.method == shown.method
                && shown.block.as_deref() == Some(&chain.get(round.block).hash)
                && told.map_or(round.given_up, |(at, _)| at - round.begun == took)
        };
        // Equal calls at the same time can't be told apart but by their votes.
        let candidates: Vec<u64> = self.rounds.values().filter(same).map(|round| round.id).collect();
        let mut errors = Vec::new();
        for id in &candidates {
            let Some(round) = self.rounds.get(id) else { continue };
            match self.compare(round, shown, chain).and_then(|()| referee::judge(round, shown, setup)) {
                Ok(Finding { changed, waited }) => {
                    self.count.waits += u64::from(waited);
                    self.count.replaced += count(shown, "replaced");
                    self.count.not_sent += count(shown, "not_sent");
                    self.count.early += u64::from(shown.early);
                    self.count.changed_answers += u64::from(changed);
                    if let Some(round) = self.rounds.get_mut(id) {
                        round.shown = true;
                    }
                    return;
                }
                Err(error) => errors.push(error),
            }
        }
        self.ensure(false, || match errors.into_iter().next() {
            Some(error) => error,
            None => format!("a round is shown that there wasn't: {shown:?}"),
        });
    }

    /// What is shown of the votes is what came.
    fn compare(&self, round: &Round, shown: &Shown, chain: &Chain) -> Result<(), String> {
        let id = round.id;
        let told = round.told.as_ref().map_or("", |(_, told)| told.word());
        let word = if shown.verdict == "ACCEPTED" && told == "SYNCING" && round.method == HEAD_METHOD {
            told
        } else {
            &shown.verdict
        };
        if word != told && !round.given_up {
            return Err(format!("round {id} told {told} and is shown as {}", shown.verdict));
        }
        if matches!(round.ask, Ask::Payload(_)) && shown.number != Some(chain.number(round.block)) {
            return Err(format!("round {id} is shown with number {:?}", shown.number));
        }
        for (node, (_, word, at)) in shown.votes.iter().enumerate() {
            let at = at.map(|at| u64::try_from(at.as_millis()).unwrap());
            let reply = round.replies.iter().find(|(_, n, _)| *n == node);
            let right = match (*word, reply) {
                ("pending", None) => true,
                ("pending", Some((came, ..))) => *came >= round.told.as_ref().map_or(0, |(at, _)| at + 1_000),
                ("replaced", None) => self.may_be_replaced(round, at),
                ("not_sent", None) => round.full[node] || self.ailing_until[node] >= round.begun,
                (word, Some((came, _, heard))) => heard.word() == word && at == Some(came - round.begun),
                (_, None) => false,
            };
            if !right {
                return Err(format!(
                    "3: round {id}: node {node} is shown as {word} at {at:?} ms, and {reply:?} came"
                ));
            }
        }
        Ok(())
    }

    /// Only a head is, and only by another one.
    fn may_be_replaced(&self, round: &Round, at: Option<u64>) -> bool {
        let by = |other: &Round| matches!(other.ask, Ask::Head(head, None) if head != round.block);
        let until = round.begun + at.unwrap_or_default();
        let mut later = self.rounds.range(round.id + 1..).map(|(_, other)| other);
        matches!(round.ask, Ask::Head(..)) && later.any(|other| by(other) && other.begun <= until)
    }

    /// 1: the CL is told VALID of the first block of `line`.
    pub fn tells_valid(&mut self, round: &Round, line: &[Id], chain: &Chain, setup: &Setup, now: u64) {
        let (id, block) = (round.id, round.block);
        let voters = || (0..round.parts.len()).filter(|n| round.votes(*n));
        let valid = voters().filter(|n| round.said(*n) == Some(Vote::Valid)).count();
        let against: Vec<usize> = voters()
            .filter(|n| said_invalid(&self.last, line, *n, now) == (true, true))
            .filter(|n| !round.unfit[*n] || round.said(*n) == Some(Vote::Invalid))
            .collect();
        let outvoted = setup.rules.on_dissent == OnDissent::Majority && against.len() == 1 && valid >= 2;
        self.ensure(against.is_empty() || outvoted, || {
            format!("1: round {id} told VALID of block {block}, of whose line nodes {against:?} said INVALID")
        });
        self.ensure(chain.get(block).sound, || {
            format!("1: round {id} told VALID of block {block}, which is not")
        });
        self.ensure(valid > 0, || format!("1: round {id} told VALID and no node with a vote said so"));
    }

    pub fn tells_invalid(&mut self, round: &Round) {
        let of =
            |vote| (0..round.parts.len()).filter(|n| round.votes(*n) && round.said(*n) == Some(vote)).count();
        let (invalid, valid) = (of(Vote::Invalid), of(Vote::Valid));
        self.ensure(invalid > valid, || {
            format!("1: round {} told INVALID by {invalid} INVALID against {valid} VALID", round.id)
        });
    }

    /// 8: a payload id.
    pub fn tells_id(&mut self, round: &Round, told: &str) {
        let Ask::Head(block, Some(attributes)) = round.ask else {
            return self.ensure(false, || format!("8: {told} was told where no build was asked for"));
        };
        let build = (block, attributes);
        let same = self.id_of.entry(build).or_insert_with(|| told.to_owned()) == told;
        let other = *self.build_of.entry(told.to_owned()).or_insert(build);
        self.ensure(same && other == build, || {
            format!("8: {told} was told for build {build:?} and for {other:?}, or {build:?} has two ids")
        });
        let given = self.given.contains_key(&build);
        self.ensure(given, || format!("8: {told} was told, and no node gave an id"));
    }

    /// 8: whether a node gave this id for a build.
    pub fn gave(&self, ours: &str, node: usize, id: &str) -> bool {
        let build = self.build_of.get(ours).and_then(|build| self.given.get(build));
        build.is_some_and(|given| given.contains(&(node, id.to_owned())))
    }

    /// A node loses its vote for dissenting: alone against two others, on as many blocks as the owner said.
    pub fn quarantined(&mut self, node: usize, after: Option<u32>) {
        self.count.quarantines += 1;
        let mut dissents = self.dissents[node].clone();
        dissents.extend(self.rounds.values().filter(|round| round.dissents(node)).map(|round| round.block));
        let enough = after.is_some_and(|after| dissents.len() >= after as usize);
        self.ensure(enough, || format!("node {node} is quarantined after dissent on blocks {dissents:?}"));
    }
}

/// Whether a node had said INVALID of one of these blocks and not taken it back before `at`, and by the end of `at`.
pub fn said_invalid(last: &HashMap<(Id, usize), Word>, line: &[Id], node: usize, at: u64) -> (bool, bool) {
    let words = line.iter().filter_map(|block| last.get(&(*block, node)));
    words.fold((false, false), |(before, by_then), word| {
        let earlier = if word.at < at { word.invalid } else { word.before };
        (before || earlier, by_then || word.invalid)
    })
}

fn count(shown: &Shown, word: &str) -> u64 {
    shown.votes.iter().filter(|(_, w, _)| *w == word).count() as u64
}
